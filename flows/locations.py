"""Where an image's data is: by the ids that stores have today, by a URL that somebody names, no longer in a store."""

import contextlib
import logging
from dataclasses import replace

from catalog.errors import CatalogError
from catalog.images import ImageRecord, Location
from catalog.locations import Withdrawn
from catalog.objects import Garbage
from flows.errors import BadImportRequest
from flows.runtime import Runtime
from pipeline.uris import mask
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


def place_of(runtime: Runtime, url: str) -> tuple[str, str]:
    """Return the store, and the key in it, of an object that somebody names by its URL (http-api §12).

    The URL must be exactly where a configured store would look, so that no other file or object of a host is ever read;
    of those that others fill, also one that may be downloaded from. Whether it leads to a private address is judged at
    every request (`flows/guard.py`). Raises `BadImportRequest`, `Denied`.
    """
    place = runtime.stores.place_of(url)
    if place is None:
        raise BadImportRequest(f"'url' {mask(url)} is not the URL of an object in a store that is configured here.")
    if not is_ours(runtime, place[0]):
        runtime.uris.check_uri(url)
    return place


def is_ours(runtime: Runtime, store: str) -> bool:
    """Whether what is in the store is deleted with its locations, as in all that can be written. Raises
    `UnknownStore`.
    """
    return isinstance(runtime.stores.get(store), Store)


def remove(runtime: Runtime, image_id: str, store: str) -> None:
    """Take the image's data out of `store` (import-behaviour §3.6): first the record, then the bytes.

    Raises `UnknownStore`, what `Locations.withdraw` raises, and as `let_go`.
    """
    let_go(runtime, runtime.catalog.withdraw(image_id, store, due_in=hands_off(runtime, store)))


def hands_off(runtime: Runtime, store: str) -> float | None:
    """In how many seconds a collector may take what is withdrawn from the store; None if its bytes stay."""
    return HANDS_OFF if is_ours(runtime, store) else None


def let_go(runtime: Runtime, taken: Withdrawn) -> None:
    """Delete the bytes of a location that was withdrawn.

    So nobody is ever led to bytes that are gone, and whatever dies in between leaves garbage on record for the
    sweeper. A store that can only be read keeps its bytes. Bytes that are gone already are what was wanted; for any
    other refusal the location is put back, and the `StoreError` of the backend raised.
    """
    at = taken.location
    keeper = runtime.stores.get(at.store)
    if not isinstance(keeper, Store):
        return
    try:
        keeper.delete(at.object_key)
    except ObjectNotFound:
        pass
    except Exception:
        if not _gone(keeper, taken) and runtime.catalog.put_back(taken):
            raise
        log.exception("image %s: the sweeper sees to what is left in store %s", taken.image_id, at.store)
        return
    # The sweeper would only delete it again, and forget it then.
    with contextlib.suppress(CatalogError):
        runtime.catalog.forget(Garbage(at.store, at.object_key, last=True))


def _gone(keeper: Store, taken: Withdrawn) -> bool:
    """Whether a deletion that failed has done its work, as when only its answer was lost. What cannot be told is no."""
    try:
        keeper.stat(taken.location.object_key)
    except ObjectNotFound:
        return True
    except StoreError:
        pass
    except Exception:  # a driver that has a bug here too must not take the location along
        log.exception("image %s: store %s does not tell whether it has it still", taken.image_id, keeper.id)
    return False
