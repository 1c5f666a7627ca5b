"""Where an image's data is, as the asking side changes it: taken from one store, put back, under another store's id.

How a worker adds to it is in `catalog/fenced.py`, and so is the order in which rows are locked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import Conflict, LastLocation, LockHeld, NotFound, no_image
from catalog.images import Location
from catalog.objects import discard


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A location that was taken away, and what it takes to put it back.

    `since` is when it was made, by which locations are ordered. `due` is the moment from which a collector may take
    its object, and changes when one does; None where no object is on record.
    """

    image_id: str
    location: Location
    since: int
    due: int | None


def withdraw(
    connection: Connection,
    database: Database,
    image_id: str,
    store: str,
    *,
    held: LockHeld | None,
    due_in: float | None,
    grace: float,
) -> Withdrawn:
    """Take away the image's location in `store`, by the rules of import-behaviour §3.6 and in their order.

    The caller has locked the row of the image's lock, and `held` is what that said. The object becomes garbage that is
    due in `due_in` seconds, so that its bytes go also if the caller dies; with None they are not ours, and stay.

    Raises `NotFound` for an image that is not there or not in `store`, `Conflict` unless it is active, `LastLocation`
    if there is no other one, and `held`.
    """
    row = _withdrawable(connection, database, image_id, store)
    if held is not None:
        raise held
    # Of this image alone: what others publish may be the data of many.
    mine = and_(t.locations.c.image_id == image_id, _same(t.locations, row.store, row.object_key))
    connection.execute(delete(t.locations).where(mine))
    located = and_(_same(t.objects, row.store, row.object_key), t.objects.c.state == "located")
    if due_in is None:
        connection.execute(delete(t.objects).where(located))
    else:
        discard(connection, database, located, grace=grace, due_in=due_in)
    due = connection.execute(select(t.objects.c.collect_at).where(_same(t.objects, row.store, row.object_key))).scalar()
    return Withdrawn(image_id, Location(row.store, row.object_key, row.url), row.created_at, due)


def _withdrawable(connection: Connection, database: Database, image_id: str, store: str) -> Row[Any]:
    """Lock the image and return the row of its location in `store`; of two who take the last two, one comes first."""
    image, place = t.images.c, t.locations.c
    status = connection.execute(
        update(t.images)
        .where(image.id == image_id, image.status != "deleted")
        .values(updated_at=database.now())
        .returning(image.status)
    ).scalar()
    if status is None:
        raise no_image(image_id)
    if status != "active":
        raise Conflict(f"Image {image_id} is in status {status}, not active: its data is not taken from a store.")
    places = connection.execute(select(t.locations).where(place.image_id == image_id).order_by(place.created_at)).all()
    if len(places) == 1:
        raise LastLocation(f"Image {image_id} is in one store only; to let go of its data, delete the image.")
    for found in places:
        if found.store == store:
            return found
    raise NotFound(f"Image {image_id} is not in store {store}.")


def put_back(connection: Connection, database: Database, taken: Withdrawn) -> bool:
    """Undo a `withdraw`: location and object are as before.

    False, and nothing is changed, when it is too late for that: the image is deleted or has come to the store anew, or
    a collector has taken the object. What was withdrawn then stays garbage on record.
    """
    image, place, at = t.images.c, t.locations.c, taken.location
    living = connection.execute(
        update(t.images)
        .where(image.id == taken.image_id, image.status.in_(("active", "deactivated")))
        .values(updated_at=database.now())
    )
    here = select(place.object_key).where(place.image_id == taken.image_id, place.store == at.store)
    if not living.rowcount or connection.execute(here).first() is not None:
        return False
    if taken.due is not None:
        untouched = and_(_same(t.objects, at.store, at.object_key), t.objects.c.collect_at == taken.due)
        kept = connection.execute(
            update(t.objects).where(untouched).values(state="located", collect_at=None, forget_at=None)
        )
        if not kept.rowcount:
            return False
    connection.execute(
        insert(t.locations).values(
            image_id=taken.image_id, store=at.store, object_key=at.object_key, url=at.url, created_at=taken.since
        )
    )
    return True


def settle(connection: Connection, image_id: str, homes: Mapping[Location, str]) -> None:
    """Let locations of the image name the stores of `homes` instead of their own (§3.7), and their objects too.

    What a task is writing is left to it: the one that began it knows the store by the old id.
    """
    kept = select(t.images.c.id).where(t.images.c.id == image_id).with_for_update(key_share=True)
    connection.execute(kept)
    for at, store in homes.items():
        here = and_(t.locations.c.image_id == image_id, _same(t.locations, at.store, at.object_key))
        connection.execute(update(t.locations).where(here).values(store=store))
    obj = t.objects.c
    for old, store in {at.store: store for at, store in homes.items()}.items():
        connection.execute(
            update(t.objects)
            .where(obj.image_id == image_id, obj.store == old, obj.state.in_(("located", "garbage")))
            .values(store=store)
        )


def _same(table: Any, store: str, key: str) -> ColumnElement[bool]:
    return and_(table.c.store == store, table.c.object_key == key)
