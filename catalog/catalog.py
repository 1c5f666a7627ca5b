"""The catalogue: one database, and the three ways to touch it: to read, to ask, and to work under a fence."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from catalog.engine import Database
from catalog.fenced import Fenced
from catalog.images import Images, Location
from catalog.leases import Claim
from catalog.locations import Locations, Withdrawn
from catalog.lock import ImportLock
from catalog.members import Members
from catalog.objects import Garbage, forget, take_garbage
from catalog.preempt import Preemption, preempt
from catalog.tasks import NewTask, Tasks
from catalog.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction of the asking side: nothing in it needs, or has, a claim."""

    connection: Connection
    images: Images
    members: Members
    tasks: Tasks
    uploads: Uploads
    locations: Locations


class Catalog:
    """The only writer of images, locations, tasks and objects.

    `grace` is how many seconds garbage objects are looked for again after their first deletion; `keep_for`, how many
    staged bytes wait to be imported.
    """

    def __init__(
        self, database: Database, lock: ImportLock, *, grace: float = 3600.0, keep_for: float = 48 * 3600.0
    ) -> None:
        self.database = database
        self.lock = lock
        self.grace = grace
        self.keep_for = keep_for

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads."""
        with self.database.read() as connection:
            yield self._tx(connection)

    @contextmanager
    def peek(self) -> Iterator[Tx]:
        """For one question, such as an image or a page of them: it sees one moment, and costs no transaction."""
        with self.database.peek() as connection:
            yield self._tx(connection)

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """A transaction of the asking side: all or nothing."""
        with self.database.begin() as connection:
            yield self._tx(connection)

    @contextmanager
    def unheld(self, image_id: str) -> Iterator[Tx]:
        """A transaction of the asking side in which no task holds the image, nor comes to hold it.

        Raises `LockHeld`, and `NotFound` when there is no such image.
        """
        with self.begin() as tx:
            self.lock.require_free(tx.connection, image_id)
            yield tx

    @contextmanager
    def fenced(self, claim: Claim) -> Iterator[Fenced]:
        """A transaction of a worker; its first statement proves the claim. Raises `LockLost`, and then nothing is
        changed.
        """
        with self.database.begin() as connection:
            self.lock.hold(connection, claim)
            yield self._pen(connection, claim)

    def _pen(self, connection: Connection, claim: Claim) -> Fenced:
        return Fenced(connection, self.database, self.lock, claim, self._uploads(connection), grace=self.grace)

    def _tx(self, connection: Connection) -> Tx:
        return Tx(
            connection,
            Images(connection, self.database),
            Members(connection, self.database),
            Tasks(connection, self.database),
            self._uploads(connection),
            Locations(connection, self.database, grace=self.grace),
        )

    def _uploads(self, connection: Connection) -> Uploads:
        return Uploads(connection, self.database, grace=self.grace, keep_for=self.keep_for)

    def request_import(self, new: NewTask, how: Preemption | None = None) -> None:
        """Record the wish whole: task, targets, lock and image status, or nothing of it (architecture §6.3).

        With `how`, a stale task that holds the image gives way in the same transaction; of many who want that, one
        gets it. Raises `LockHeld` while another task holds the image, `Conflict` when its status, a missing format or
        staged bytes that are gone forbid an import, `NotFound` when there is no such image or it is deleted.
        """
        with self._freed(new, how) as tx:
            tx.images.start_import(new.image_id, new.begins_from, new.stores)
            if new.upload is not None:
                tx.uploads.require_staged(new.image_id, new.upload)
            tx.tasks.create(new)
            self.lock.claim(tx.connection, new.image_id, new.id)

    def record_fulfilled(self, new: NewTask, message: str, how: Preemption | None = None, *, keep_for: float) -> None:
        """Record a wish for what is so already: a task that is done, for stores that all hold the image.

        Status and lock stay as they are. `keep_for` is in seconds. Raises as `request_import`, `Conflict` also when the
        image is no longer in all of the stores.
        """
        with self._freed(new, how) as tx:
            tx.images.require_held(new.image_id, new.begins_from, new.stores)
            tx.tasks.create_finished(new, message, keep_for=keep_for)

    @contextmanager
    def _freed(self, new: NewTask, how: Preemption | None) -> Iterator[Tx]:
        """A transaction in which no task holds the image of `new`, for a stale one gives way if `how` is told."""
        ousted = None
        with self.begin() as tx:
            held = self.lock.holder(tx.connection, new.image_id)
            if held is not None:
                if how is None or not held.stale:
                    raise held
                # Before the task's row, which the undo of a copy would else be the first to lock (see `fenced`).
                tx.images.get_to_change(new.image_id)
                ousted = preempt(tx.connection, tx.tasks, self.lock, held, new.id, how, self._pen)
            yield tx
        if ousted is not None:
            # A lease kept elsewhere could otherwise be renewed for as long as its worker has nothing to write.
            self.lock.keeper.drop(replace(ousted, fence=ousted.fence - 1))

    def delete_image(self, image_id: str) -> None:
        """Delete the image; its objects become garbage, its import is told to stop.

        Raises `NotFound`, `Protected`.
        """
        with self.begin() as tx:
            tx.images.delete(image_id, grace=self.grace)

    def expire_uploads(self, *, limit: int) -> list[str]:
        """Give up uploads that fell silent, and staged bytes that nobody has imported in time; the ids of the images,
        which are queued again.
        """
        with self.begin() as tx:
            return tx.uploads.expire(limit=limit)

    def forget_tasks(self, *, limit: int) -> int:
        """Delete tasks that ended long ago, at most `limit`; how many went."""
        with self.begin() as tx:
            return tx.tasks.forget(limit=limit)

    def withdraw(self, image_id: str, store: str, *, due_in: float | None) -> Withdrawn:
        """Take away the image's location in `store`; see `Locations.withdraw`, also for what it raises."""
        with self.begin() as tx:
            held = self.lock.holder(tx.connection, image_id)
            return tx.locations.withdraw(image_id, store, held=held, due_in=due_in)

    def put_back(self, taken: Withdrawn) -> bool:
        """Undo a `withdraw`; False when it is too late (`Locations.put_back`)."""
        with self.begin() as tx:
            return tx.locations.put_back(taken)

    def settle(self, image_id: str, homes: Mapping[Location, str]) -> None:
        """Let locations of the image name other stores (`Locations.settle`)."""
        with self.begin() as tx:
            tx.locations.settle(image_id, homes)

    def take_garbage(
        self, *, again_after: float, limit: int, image_id: str | None = None, host: str | None = None
    ) -> list[Garbage]:
        """Objects to delete now, by a process on `host`; each is given to one caller and comes again after
        `again_after` seconds.
        """
        with self.database.begin() as connection:
            return take_garbage(
                connection, self.database, again_after=again_after, limit=limit, image_id=image_id, host=host
            )

    def forget(self, garbage: Garbage) -> None:
        """Drop the record of a deleted object."""
        with self.database.begin() as connection:
            forget(connection, garbage)
