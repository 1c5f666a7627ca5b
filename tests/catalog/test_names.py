"""Reserved names, in every spelling that somebody may read as one."""

import pytest

from catalog.names import reserved

RESERVED = [
    *("stores", "os_glance", "os_glance_import_task", "os_glancexyz", "os_glance/x", "os_glance~"),
    *("Stores", "STORES", "OS_GLANCE_x", "Os_Glance_failed_import"),
    *("ｓｔｏｒｅｓ", "ｏｓ＿ｇｌａｎｃｅ＿ｘ", "𝐨𝐬_𝓰𝓵𝓪𝓷𝓬𝓮", "ﬆores", "ſtores", "ⓢⓣⓞⓡⓔⓢ", "os︳glance"),
    *(" stores", "stores ", "\tos_glance_x", "\xa0os_glance", "os_\u200bglance", "\ufeffstores", "s\u00adtores"),
    *("os_glanc\u0301e", "stör\u0308es", "\u115fstores", "\u3164os_glance", "\u2800stores", "stores\0", "\u2067stores"),
    *("%73tores", "os%5Fglance_x", "%6f%73_glance", "%2573tores", "%EF%BD%93tores", "%20stores", "%25%32%30stores"),
]
FREE = [
    *("", "store", "storeses", "my_stores", "os_glanc", "os-glance", "glance", "xos_glance", "os", "Name", "os_distro"),
    *("stores_count", "%", "%zz", "100%", "店舗stores", "оs_glance_cyrillic"),
]


@pytest.mark.parametrize("name", RESERVED)
def test_reserved(name: str) -> None:
    assert reserved(name)


@pytest.mark.parametrize("name", FREE)
def test_free(name: str) -> None:
    assert not reserved(name)
