"""Limits as Glance writes them."""

from collections.abc import Callable

import pytest

from api.options import KeystoneLimitOptions
from flows.options import Limits
from option_files import BadSettings
from settings import Settings


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("0", -1),
        ("0GB", -1),
        ("5", 5),
        ("5B", 5),
        ("5KB", 5 << 10),
        ("5MB", 5 << 20),
        ("5GB", 5 << 30),
        (" 5TB ", 5 << 40),
    ],
)
def test_storage_has_a_unit(load: Callable[[str], Settings], text: str, stored: int) -> None:
    assert load(f"[DEFAULT]\nuser_storage_quota = {text}\n").limits == Limits(stored=stored)


@pytest.mark.parametrize("text", ["5 GB", "5gb", "-1", "1.5GB", "GB", "x"])
def test_what_is_no_size_is_refused_by_name(load: Callable[[str], Settings], text: str) -> None:
    with pytest.raises(BadSettings, match=r"\[DEFAULT\] user_storage_quota.*: .*is not a number and one of B, KB"):
        load(f"[DEFAULT]\nuser_storage_quota = {text}\n")


def test_the_other_limits(load: Callable[[str], Settings]) -> None:
    given = load("[tranship]\nimage_stage_total = 3\nimage_count_total = 4\nimage_count_uploading = 0\n")
    assert given.limits == Limits(staged=3 << 20, images=4, uploading=0)


def test_those_of_keystone(load: Callable[[str], Settings]) -> None:
    """Given that Keystone says what projects may have, then these options say nothing: nobody goes by them."""
    by_default = load("")
    assert (by_default.api.use_keystone_limits, by_default.api.keystone_limits) == (False, KeystoneLimitOptions())
    given = load(
        "[DEFAULT]\nuse_keystone_limits = true\nuser_storage_quota = 5GB\n"
        "[oslo_limit]\nauth_type = password\nendpoint_id = e\nendpoint_service_type = image\n"
        "endpoint_service_name = glance\nendpoint_region_name = one\nendpoint_interface = internal\n"
        "[tranship]\nkeystone_limits_cache_time = 5\nimage_count_total = 4\n"
    )
    assert given.limits == Limits(stored=0, staged=0, images=0, uploading=0)
    assert given.api.keystone_limits == KeystoneLimitOptions(5.0, "e", "image", "glance", "one", "internal")
