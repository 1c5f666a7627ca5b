"""Whether an image may be imported into, and into which stores: import-behaviour §1.2, rows 4 to 6 and 10 to 14, as
pure functions.
"""

from collections.abc import Sequence

from catalog.images import ImageRecord
from flows.errors import BadImportRequest, ImageNotReady, LocationQuota, StoreNotConfigured
from flows.flow import Flow, ImportRequest


def require_ready(flow: Flow, image: ImageRecord, once_free: str) -> None:
    """Rows 4 to 6: the status that the method begins from, and both formats. Raises `ImageNotReady` (409).

    `once_free` is the status of the image without the task that holds it; whether that gives way is asked last.
    """
    if once_free != flow.begins_from:
        article = "an" if flow.begins_from[0] in "aeiou" else "a"
        raise ImageNotReady(
            f"Image {image.id} is in status {image.status}; {flow.name} takes only {article} {flow.begins_from} image."
        )
    for name in ("container_format", "disk_format"):
        if getattr(image, name) is None:
            raise ImageNotReady(f"'{name}' needs to be set before import.")


def choose_stores(
    request: ImportRequest,
    *,
    ids: Sequence[str],
    writable: Sequence[str],
    default: str,
    quota: int,
    holding: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the target stores in the order to show them. `ids` and `writable` are in the order of the configuration.

    `holding` are the stores that hold the image already, one that does so twice comes twice: `all_stores` leaves them
    out, and none at all may be left; to name one is a mistake. A store header beside `stores` passes when both name the
    same single store (openstacksdk sends both). Raises `BadImportRequest` (400), `StoreNotConfigured` (409),
    `LocationQuota` (413). A negative quota is none.
    """
    named, header = request.stores, request.store_header
    if request.all_stores and (named is not None or header):
        raise BadImportRequest("'all_stores' cannot be combined with 'stores' or with the x-image-meta-store header.")
    if named is not None and header and named != (header,):
        raise BadImportRequest("'stores' and the x-image-meta-store header name different stores; send one of them.")
    if named is not None and not named:
        raise BadImportRequest("'stores' is an empty list: name at least one store, or leave it out for the default.")
    if request.all_stores:
        chosen = tuple(store for store in writable if store not in holding)
    else:
        chosen = named or (header or default,)
    origin = " in 'stores'" if named else " in the x-image-meta-store header" if header else ", which is the default,"
    _check(chosen, origin, ids, writable, holding)
    if not (chosen or holding):
        raise BadImportRequest("No configured store can be written.")
    places = len(holding) + len(chosen)
    if chosen and 0 <= quota < places:
        raise LocationQuota(f"An image may be in {quota} stores, and with 'stores' it would be in {places}.")
    return chosen


def _check(
    chosen: Sequence[str], origin: str, ids: Sequence[str], writable: Sequence[str], holding: Sequence[str]
) -> None:
    for store in chosen:
        if chosen.count(store) > 1:
            raise BadImportRequest(f"'stores' names {store} more than once.")
        if store not in ids:
            raise StoreNotConfigured(f"Store {store}{origin} is not configured; there are: {', '.join(ids)}.")
        if store not in writable:
            raise BadImportRequest(f"Store {store}{origin} is read-only.")
        if store in holding:
            raise BadImportRequest(f"Store {store}{origin} holds the image already.")
