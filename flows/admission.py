"""Which stores an import goes to: the checks of import-behaviour §1.2, rows 10 to 14, as one pure function."""

from collections.abc import Sequence

from flows.errors import BadImportRequest, LocationQuota, StoreNotConfigured
from flows.flow import ImportRequest


def choose_stores(
    request: ImportRequest, *, ids: Sequence[str], writable: Sequence[str], default: str, quota: int
) -> tuple[str, ...]:
    """Return the target stores in the order to show them. `ids` and `writable` are in the order of the configuration.

    A store header beside `stores` passes when both name the same single store (openstacksdk sends both). Raises
    `BadImportRequest` (400), `StoreNotConfigured` (409), `LocationQuota` (413). A negative quota is none.
    """
    named, header = request.stores, request.store_header
    if request.all_stores and (named is not None or header):
        raise BadImportRequest("'all_stores' cannot be combined with 'stores' or with the x-image-meta-store header.")
    if named is not None and header and named != (header,):
        raise BadImportRequest("'stores' and the x-image-meta-store header name different stores; send one of them.")
    if named is not None and not named:
        raise BadImportRequest("'stores' is an empty list: name at least one store, or leave it out for the default.")
    chosen = tuple(writable) if request.all_stores else named or (header or default,)
    _check(chosen, ids, writable)
    if 0 <= quota < len(chosen):
        raise LocationQuota(f"An image may be in {quota} stores, and {len(chosen)} are asked for in 'stores'.")
    return chosen


def _check(chosen: Sequence[str], ids: Sequence[str], writable: Sequence[str]) -> None:
    for store in chosen:
        if chosen.count(store) > 1:
            raise BadImportRequest(f"'stores' names {store} more than once.")
        if store not in ids:
            raise StoreNotConfigured(f"Store {store} in 'stores' is not configured; there are: {', '.join(ids)}.")
        if store not in writable:
            raise BadImportRequest(f"Store {store} in 'stores' is read-only.")
    if not chosen:
        raise BadImportRequest("No configured store can be written.")
