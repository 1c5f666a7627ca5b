"""Every import method there is: the one place where their names are known."""

from collections.abc import Iterable

from flows.copy_image import COPY_IMAGE
from flows.flow import Flow
from flows.glance_direct import GLANCE_DIRECT
from flows.web_download import WEB_DOWNLOAD

FLOWS: dict[str, Flow] = {flow.name: flow for flow in (GLANCE_DIRECT, WEB_DOWNLOAD, COPY_IMAGE)}


def import_what_is_staged(methods: Iterable[str]) -> bool:
    """Whether one of these methods begins with data that was staged before."""
    return any(FLOWS[name].begins_from == "uploading" for name in methods if name in FLOWS)
