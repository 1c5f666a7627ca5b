"""Every import method there is, and every other flow: the one place where their names are known."""

from collections import ChainMap
from collections.abc import Iterable, Mapping

from flows.copy_image import COPY_IMAGE
from flows.flow import Flow
from flows.glance_direct import GLANCE_DIRECT
from flows.location_import import LOCATION_IMPORT
from flows.web_download import WEB_DOWNLOAD

FLOWS: dict[str, Flow] = {flow.name: flow for flow in (GLANCE_DIRECT, WEB_DOWNLOAD, COPY_IMAGE)}
"""What an import may be asked for by, where the operator enables it."""

_OTHERS: dict[str, Flow] = {LOCATION_IMPORT.name: LOCATION_IMPORT}
"""What is asked for by a call of its own."""

ALL_FLOWS: Mapping[str, Flow] = ChainMap(FLOWS, _OTHERS)
"""What tasks are made of: all that a worker must know."""


def import_what_is_staged(methods: Iterable[str]) -> bool:
    """Whether one of these methods begins with data that was staged before."""
    return any(FLOWS[name].begins_from == "uploading" for name in methods if name in FLOWS)
