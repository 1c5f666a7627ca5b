"""Every import method there is, and every other flow: the one place where their names are known."""

from collections import ChainMap
from collections.abc import Iterable, Mapping

from catalog.fenced import Fenced
from flows.bring import take_back
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


def undo(tx: Fenced, flow: str, error: Exception, code: str, message: str) -> None:
    """Take back what a failed task of this flow did by the flow's own rule, or by one for any if this version does not
    know it: as after a downgrade.
    """
    if flow in ALL_FLOWS:
        ALL_FLOWS[flow].undo(tx, error, code, message)
        return
    take_back(tx, error, code, message)
    if not tx.restage():
        tx.requeue()


def import_what_is_staged(methods: Iterable[str]) -> bool:
    """Whether one of these methods begins with data that was staged before."""
    return any(FLOWS[name].begins_from == "uploading" for name in methods if name in FLOWS)
