"""Locations as users change them (http-api §4.4): what is there already is added at once, and what is taken away goes.

Nothing is read here but the size: what an image is said to hash to is believed. See
`docs/decisions/0012-locations-by-patch.md`.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from catalog.catalog import Tx
from catalog.errors import Conflict
from catalog.facts import DataFacts
from catalog.images import ImageRecord, Location
from catalog.locations import NewLocation, Withdrawn
from flows.data import require_formats
from flows.errors import BadImportRequest
from flows.locations import hands_off, is_ours, let_go, place_of
from flows.reception import require_fitting
from flows.runtime import Runtime
from pipeline.uris import mask
from stores.errors import ObjectNotFound, StoreError


@dataclass(frozen=True, slots=True)
class Promise:
    """What is said of the data of an image that has none yet: hex digests, or nothing."""

    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


@dataclass(frozen=True, slots=True)
class Relocation:
    """What becomes of an image's locations: URLs to add, locations to take away, and what is said of others now.

    What is said is JSON, or None.
    """

    added: Mapping[str, str | None] = field(default_factory=dict)
    removed: tuple[Location, ...] = ()
    described: Mapping[Location, str | None] = field(default_factory=dict)
    promise: Promise = Promise()


def find(runtime: Runtime, url: str) -> NewLocation:
    """Ask the store for the object at that URL.

    Raises as `place_of`, `BadImportRequest` when there is nothing, or nothing that can be read, `TooBig`, and the
    `StoreError` of a store that is ours to run.
    """
    store, key = place_of(runtime, url)
    ours = is_ours(runtime, store)
    try:
        size = runtime.stores.get(store).stat(key).size
    except StoreError as error:
        if ours and not isinstance(error, ObjectNotFound):
            raise
        # What others publish, and where, is for whoever names it to know.
        raise BadImportRequest(f"'url' {mask(url)} cannot be read: {error}.") from error
    if not size:
        raise BadImportRequest(f"'url' {mask(url)} leads to no bytes.")
    require_fitting(size, runtime.options.image_size_cap)
    return NewLocation(Location(store, key, url), size, ours)


def require_fit(image: ImageRecord, found: Iterable[NewLocation]) -> None:
    """Raise `Conflict` unless they all have as many bytes as the image, or, if it has none yet, as each other."""
    known = image.size
    for new in found:
        if known is not None and new.size != known:
            raise Conflict(f"'url' {mask(new.at.url)} leads to {new.size} bytes, and image {image.id} has {known}.")
        known = new.size


def relocate(
    runtime: Runtime, tx: Tx, image: ImageRecord, wish: Relocation, found: Mapping[str, NewLocation]
) -> list[Withdrawn]:
    """Write what is wished of the image, which no task holds and which is locked; what was taken away is returned, to
    be let go of once that is committed.

    A queued image becomes active. Raises `FormatsMissing`, and what `Locations.adopt` and `Locations.withdraw` raise.
    """
    for url, said in wish.added.items():
        new = found[url]
        at = Location(new.at.store, new.at.object_key, url, said)
        tx.locations.adopt(image.id, NewLocation(at, new.size, new.ours))
    if wish.added and image.status == "queued":
        require_formats(image, "a location is added")
        promise, size = wish.promise, found[next(iter(wish.added))].size
        tx.images.activate(
            image.id,
            DataFacts(
                size=size,
                virtual_size=None,
                checksum=promise.checksum,
                os_hash_algo=promise.os_hash_algo,
                os_hash_value=promise.os_hash_value,
                disk_format=str(image.disk_format),
                container_format=str(image.container_format),
            ),
        )
    for at, said in wish.described.items():
        tx.locations.describe(image.id, at, said)
    return [
        tx.locations.withdraw(image.id, at.store, at.object_key, held=None, due_in=hands_off(runtime, at.store))
        for at in wish.removed
    ]


def let_go_of_all(runtime: Runtime, taken: Iterable[Withdrawn]) -> None:
    """As `let_go`, of each, whatever becomes of the others; of several that are refused, one is raised."""
    with ExitStack() as each:
        for one in taken:
            each.callback(let_go, runtime, one)
