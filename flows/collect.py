"""Deleting what the catalogue declared garbage: after a failure, after an image is deleted, and on every sweep."""

import logging
from typing import TYPE_CHECKING

from catalog.objects import Garbage
from stores.errors import ReadOnlyStore, StoreError

if TYPE_CHECKING:
    from flows.runtime import Runtime

log = logging.getLogger(__name__)


def collect(runtime: "Runtime", *, image_id: str | None = None, limit: int = 100) -> int:
    """Delete the objects that are due (of one image, or of all) and can be reached from this host; how many went.

    A store that is away keeps its garbage on record; it is tried again after a minute. Nothing here raises for a store.
    """
    gone = 0
    for garbage in runtime.catalog.take_garbage(again_after=60.0, limit=limit, image_id=image_id, host=runtime.host):
        if _deleted(runtime, garbage):
            gone += 1
            if garbage.last:
                runtime.catalog.forget(garbage)
    return gone


def _deleted(runtime: "Runtime", garbage: Garbage) -> bool:
    try:
        runtime.keeper(garbage.store).delete(garbage.object_key)
    except ReadOnlyStore:
        # The id now belongs to a store that others fill: what is in it is not ours, and never will be.
        return True
    except StoreError as error:
        log.warning("object %s stays for now: %s", garbage.object_key, error)
        return False
    except Exception:  # a driver that has a bug with one object must not keep the others from going
        log.exception("object %s stays for now", garbage.object_key)
        return False
    return True
