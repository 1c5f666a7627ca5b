"""Where an image's data is: by the ids that stores have today, and no longer in one of them."""

import contextlib
import logging
from dataclasses import replace

from catalog.errors import CatalogError
from catalog.images import ImageRecord, Location
from catalog.locations import Withdrawn
from catalog.objects import Garbage
from flows.runtime import Runtime
from stores.base import Store
from stores.errors import ObjectNotFound, StoreError

log = logging.getLogger(__name__)

HANDS_OFF = 900.0
"""Seconds that collectors leave an object to the one who is deleting it, as long as a patient driver may take. Whoever
takes longer can no longer put the location back; the bytes of one who died go after them by the sweeper.
"""


def settled(runtime: Runtime, image: ImageRecord) -> ImageRecord:
    """Return the image with each location under the id of a store that is configured, where that can be told.

    An operator may have given a store another id: the one that would keep the same key at the same URL is it. That is
    saved, so that the next reader finds it so (bug 1886374); whoever reads need not be allowed to write, and where it
    cannot be saved it is shown all the same (import-behaviour §3.7).
    """
    lost = [at for at in image.locations if at.store not in runtime.stores]
    found = {at: runtime.stores.successor(at.store, at.object_key, at.url) for at in lost}
    homes = {at: store for at, store in found.items() if store is not None}
    if not homes:
        return image
    try:
        runtime.catalog.settle(image.id, homes)
    except CatalogError as error:
        log.warning("image %s: the new ids of its stores are not saved: %s", image.id, error)
    return replace(image, locations=tuple(_moved(at, homes) for at in image.locations))


def _moved(at: Location, homes: dict[Location, str]) -> Location:
    return replace(at, store=homes.get(at, at.store))


def remove(runtime: Runtime, image_id: str, store: str) -> None:
    """Take the image's data out of `store` (import-behaviour §3.6): first the record, then the bytes.

    So nobody is ever led to bytes that are gone, and whatever dies in between leaves garbage on record for the
    sweeper. A store that can only be read keeps its bytes. Bytes that are gone already are what was wanted; for any
    other refusal the location is put back.

    Raises `UnknownStore`, what `catalog.locations.withdraw` raises, and the `StoreError` of the backend.
    """
    keeper = runtime.stores.get(store)
    if not isinstance(keeper, Store):
        runtime.catalog.withdraw(image_id, store, due_in=None)
        return
    taken = runtime.catalog.withdraw(image_id, store, due_in=HANDS_OFF)
    try:
        keeper.delete(taken.location.object_key)
    except ObjectNotFound:
        pass
    except Exception:
        if not _gone(keeper, taken) and runtime.catalog.put_back(taken):
            raise
        log.exception("image %s: the sweeper sees to what is left in store %s", image_id, store)
        return
    # The sweeper would only delete it again, and forget it then.
    with contextlib.suppress(CatalogError):
        runtime.catalog.forget(Garbage(store, taken.location.object_key, last=True))


def _gone(keeper: Store, taken: Withdrawn) -> bool:
    """Whether a deletion that failed has done its work, as when only its answer was lost."""
    try:
        keeper.stat(taken.location.object_key)
    except ObjectNotFound:
        return True
    except StoreError:
        return False
    return False
