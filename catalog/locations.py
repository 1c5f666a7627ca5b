"""Where an image's data is: added to it, described, taken from one store, put back, under another store's id.

How a worker adds to it what it has written is in `catalog/fenced.py`, and so is the order in which rows are locked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from catalog import tables as t
from catalog.engine import Database, broken_rule
from catalog.errors import Conflict, LastLocation, LockHeld, NotFound, no_image
from catalog.images import Location
from catalog.objects import discard


@dataclass(frozen=True, slots=True)
class NewLocation:
    """An object of `size` bytes that is there already. If it is `ours` from now on, it is deleted with its location;
    else no record of it is kept.
    """

    at: Location
    size: int
    ours: bool


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


class Locations:
    """The locations of one database, within one transaction.

    `grace` is how many seconds garbage is looked for again.
    """

    def __init__(self, connection: Connection, database: Database, *, grace: float) -> None:
        self._connection = connection
        self._database = database
        self._grace = grace

    def insert(self, image_id: str, at: Location, *, since: int | None = None) -> None:
        """Let the image, whose row is locked, have its data there too: `since` then, or after the locations that there
        are.
        """
        self._connection.execute(
            insert(t.locations).values(
                image_id=image_id,
                store=at.store,
                object_key=at.object_key,
                url=at.url,
                metadata=at.metadata,
                created_at=self._next_moment(image_id) if since is None else since,
            )
        )

    def adopt(self, image_id: str, new: NewLocation, *, task_id: str | None = None) -> None:
        """Let an object that somebody else put into a store be data of the image, whose row is locked.

        Raises `Conflict` when the object is known already, and when the image is in the store that it is to lie in.
        """
        if new.ours:
            if self._has(image_id, new.at.store):
                raise Conflict(f"Image {image_id} is in store {new.at.store} already.")
            self._own(image_id, new, task_id)
        self.insert(image_id, new.at)

    def _has(self, image_id: str, store: str) -> bool:
        place = t.locations.c
        here = select(place.object_key).where(place.image_id == image_id, place.store == store)
        return self._connection.execute(here).first() is not None

    def _own(self, image_id: str, new: NewLocation, task_id: str | None) -> None:
        try:
            self._connection.execute(
                insert(t.objects).values(
                    store=new.at.store,
                    object_key=new.at.object_key,
                    image_id=image_id,
                    task_id=task_id,
                    state="located",
                    size=new.size,
                    created_at=self._database.now(),
                )
            )
        except IntegrityError as error:
            # Asked by the key itself: two who come at the same moment do not see each other.
            if broken_rule(error) in ("objects_pkey", "objects.store, objects.object_key"):
                raise Conflict(f"The object in store {new.at.store} belongs to an image already.") from error
            raise

    def _next_moment(self, image_id: str) -> int:
        """Now, but after the image's newest location: their order is told by time, however coarse the clock."""
        newest = select(func.max(t.locations.c.created_at)).where(t.locations.c.image_id == image_id)
        now, last = self._connection.execute(select(self._database.now(), newest.scalar_subquery())).one()
        return int(max(now, (last or 0) + 1))

    def describe(self, image_id: str, at: Location, metadata: str | None) -> None:
        """Let users have said this of the location."""
        here = and_(t.locations.c.image_id == image_id, _same(t.locations, at.store, at.object_key))
        self._connection.execute(update(t.locations).where(here).values(metadata=metadata))

    def withdraw(
        self, image_id: str, store: str, key: str | None = None, *, held: LockHeld | None, due_in: float | None
    ) -> Withdrawn:
        """Take away the image's location in `store`, by the rules of import-behaviour §3.6 and in their order; where it
        may have several, in a store that others fill, the one with that `key`.

        The caller has locked the row of the image's lock, and `held` is what that said. The object becomes garbage that
        is due in `due_in` seconds, so that its bytes go also if the caller dies; with None they are not ours, and stay.

        Raises `NotFound` for an image that is not there or not in `store`, `Conflict` unless it is active,
        `LastLocation` if there is no other one, and `held`.
        """
        row = self._withdrawable(image_id, store, key)
        if held is not None:
            raise held
        # Of this image alone: what others publish may be the data of many.
        mine = and_(t.locations.c.image_id == image_id, _same(t.locations, row.store, row.object_key))
        self._connection.execute(delete(t.locations).where(mine))
        located = and_(_same(t.objects, row.store, row.object_key), t.objects.c.state == "located")
        if due_in is None:
            self._connection.execute(delete(t.objects).where(located))
        else:
            discard(self._connection, self._database, located, grace=self._grace, due_in=due_in)
        written = select(t.objects.c.collect_at).where(_same(t.objects, row.store, row.object_key))
        due = self._connection.execute(written).scalar()
        return Withdrawn(image_id, Location(row.store, row.object_key, row.url, row.metadata), row.created_at, due)

    def _withdrawable(self, image_id: str, store: str, key: str | None) -> Row[Any]:
        """Lock the image and return the row of its location; of two who take the last two, one comes first."""
        image, place = t.images.c, t.locations.c
        status = self._connection.execute(
            update(t.images)
            .where(image.id == image_id, image.status != "deleted")
            .values(updated_at=self._database.now())
            .returning(image.status)
        ).scalar()
        if status is None:
            raise no_image(image_id)
        if status != "active":
            raise Conflict(f"Image {image_id} is in status {status}, not active: its data is not taken from a store.")
        found_by = select(t.locations).where(place.image_id == image_id).order_by(place.created_at)
        places = self._connection.execute(found_by).all()
        if len(places) == 1:
            raise LastLocation(f"Image {image_id} is in one store only; to let go of its data, delete the image.")
        for found in places:
            if found.store == store and key in (None, found.object_key):
                return found
        raise NotFound(f"Image {image_id} is not in store {store}.")

    def put_back(self, taken: Withdrawn) -> bool:
        """Undo a `withdraw`: location and object are as before.

        False, and nothing is changed, when it is too late for that: the image is deleted or has come to the store anew,
        or a collector has taken the object. What was withdrawn then stays garbage on record.
        """
        image, at = t.images.c, taken.location
        living = self._connection.execute(
            update(t.images)
            .where(image.id == taken.image_id, image.status.in_(("active", "deactivated")))
            .values(updated_at=self._database.now())
        )
        if not living.rowcount or self._has(taken.image_id, at.store):
            return False
        if taken.due is not None:
            untouched = and_(_same(t.objects, at.store, at.object_key), t.objects.c.collect_at == taken.due)
            kept = self._connection.execute(
                update(t.objects).where(untouched).values(state="located", collect_at=None, forget_at=None)
            )
            if not kept.rowcount:
                return False
        self.insert(taken.image_id, at, since=taken.since)
        return True

    def settle(self, image_id: str, homes: Mapping[Location, str]) -> None:
        """Let locations of the image name the stores of `homes` instead of their own (§3.7), and their objects too.

        What a task is writing is left to it: the one that began it knows the store by the old id.
        """
        kept = select(t.images.c.id).where(t.images.c.id == image_id).with_for_update(key_share=True)
        self._connection.execute(kept)
        for at, store in homes.items():
            here = and_(t.locations.c.image_id == image_id, _same(t.locations, at.store, at.object_key))
            self._connection.execute(update(t.locations).where(here).values(store=store))
        obj = t.objects.c
        for old, store in {at.store: store for at, store in homes.items()}.items():
            self._connection.execute(
                update(t.objects)
                .where(obj.image_id == image_id, obj.store == old, obj.state.in_(("located", "garbage")))
                .values(store=store)
            )


def _same(table: Any, store: str, key: str) -> ColumnElement[bool]:
    return and_(table.c.store == store, table.c.object_key == key)
