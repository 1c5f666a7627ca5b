"""Every change that a worker makes, within one fenced transaction (architecture §5.3).

A `Fenced` exists only inside `Catalog.fenced(claim)`, which began with `ImportLock.hold`: the lock row is ours, locked,
and stays so until the commit. A worker whose fence is no longer the current one never gets here.

Who needs several rows locks them in one order, so that none waits for another in a circle: image_locks, images, tasks,
and the objects that others may want too (uploads).
"""

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, case, insert, null, select, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import Conflict
from catalog.facts import DataFacts, activate
from catalog.leases import Claim
from catalog.locations import Locations, NewLocation
from catalog.lock import ImportLock
from catalog.objects import UNCLAIMED, discard
from catalog.records import IMPORTING, Location
from catalog.tasks import WAITING
from catalog.uploads import Uploads


class Fenced:
    """The worker's pen. Image and task are those of the claim."""

    def __init__(
        self,
        connection: Connection,
        database: Database,
        lock: ImportLock,
        claim: Claim,
        uploads: Uploads,
        *,
        grace: float,
    ) -> None:
        self._connection = connection
        self._database = database
        self._lock = lock
        self._claim = claim
        self._uploads = uploads
        self._grace = grace
        self._locations = Locations(connection, database, grace=grace)

    # -- objects and targets

    def begin_objects(self, keys: Mapping[str, str]) -> None:
        """Record store → key before the first byte goes there; what earlier attempts left becomes garbage."""
        self.discard_objects()
        now = self._database.now()
        for store, key in keys.items():
            self._connection.execute(
                insert(t.objects).values(
                    store=store,
                    object_key=key,
                    image_id=self._claim.image_id,
                    task_id=self._claim.task_id,
                    state="writing",
                    created_at=now,
                )
            )
            self._connection.execute(update(t.targets).where(self._target(store)).values(bytes_done=0))
            self.set_target(store, "copying")

    def object_stored(self, store: str, key: str, size: int) -> None:
        """The session of this key is committed: `size` bytes are durable."""
        self._connection.execute(
            update(t.objects)
            .where(t.objects.c.store == store, t.objects.c.object_key == key, t.objects.c.state == "writing")
            .values(state="stored", size=size)
        )

    def discard_objects(self, store: str | None = None, states: Sequence[str] = UNCLAIMED) -> None:
        """What this task wrote (to one store, or anywhere) and no location names becomes garbage."""
        obj = t.objects.c
        which = and_(obj.task_id == self._claim.task_id, obj.state.in_(states))
        discard(
            self._connection,
            self._database,
            which if store is None else and_(which, obj.store == store),
            grace=self._grace,
        )

    def set_target(self, store: str, state: str, *, code: str | None = None, reason: str = "") -> None:
        """Write the verdict on one target store; a failed one needs a code, which stands in for a lacking reason."""
        self._connection.execute(
            update(t.targets)
            .where(self._target(store))
            .values(state=state, error_code=code, reason=reason or code or "", updated_at=self._database.now())
        )

    def _target(self, store: str) -> ColumnElement[bool]:
        return and_(t.targets.c.task_id == self._claim.task_id, t.targets.c.store == store)

    def settle_targets(self, failed: Mapping[str, tuple[str, str]] | None, rest: tuple[str, str] | None = None) -> None:
        """Give every target of a failed task its last verdict; `failed` maps stores to (code, reason).

        The others were written or not begun, and are taken back: `undone`. With `failed` None all failed for `rest`.
        What is done stays done: a location of the image names it.
        """
        mine = t.targets.c.task_id == self._claim.task_id
        everything = {"state": "undone", "error_code": None, "reason": ""}
        if failed is None and rest is not None:
            everything = {"state": "failed", "error_code": rest[0], "reason": rest[1] or rest[0]}
        self._connection.execute(
            update(t.targets)
            .where(mine, t.targets.c.state.not_in(("failed", "done")))
            .values(**everything, updated_at=self._database.now())
        )
        for store, (code, reason) in (failed or {}).items():
            self.set_target(store, "failed", code=code, reason=reason)

    def progress(self, phase: str, done: int, total: int | None, stores: Mapping[str, int]) -> None:
        """Show how far the attempt is: bytes read of the source, bytes given to each store."""
        now = self._database.now()
        self._connection.execute(
            update(t.tasks)
            .where(t.tasks.c.id == self._claim.task_id)
            .values(
                phase=phase,
                bytes_done=done,
                bytes_total=total,
                message=f"Copied {done >> 20} MiB",
                updated_at=now,
            )
        )
        for store, count in stores.items():
            self._connection.execute(
                update(t.targets).where(self._target(store)).values(bytes_done=count, updated_at=now)
            )

    # -- the image

    def add_location(self, store: str, key: str, url: str) -> None:
        """Let the stored object `key` be the image's data in `store`, after the locations that there are.

        The target is done. An image is in a store once: if it was there before, the object becomes garbage. Raises
        `Conflict` when the image is deleted, or when the object was never reported stored.
        """
        self._keep_image()
        place = t.locations.c
        here = select(place.object_key).where(place.image_id == self._claim.image_id, place.store == store)
        known = self._connection.execute(here).scalar()
        if known is None:
            self._locate(store, key)
            self._locations.insert(self._claim.image_id, Location(store, key, url))
        elif known != key:
            self.discard_objects(store)
        self.set_target(store, "done")

    def adopt_location(self, new: NewLocation) -> None:
        """Let an object that somebody else put into a store be the image's data.

        Raises `Conflict` when the image is deleted, and as `Locations.adopt`.
        """
        self._keep_image()
        self._locations.adopt(self._claim.image_id, new, task_id=self._claim.task_id)
        self.set_target(new.at.store, "done")

    def _keep_image(self) -> None:
        """Let nobody delete the image before the commit: a location must not outlive it."""
        image = t.images.c
        kept = self._connection.execute(
            update(t.images)
            .where(image.id == self._claim.image_id, image.status != "deleted")
            .values(updated_at=self._database.now())
        )
        if not kept.rowcount:
            raise Conflict(f"Image {self._claim.image_id} was deleted.")

    def _locate(self, store: str, key: str) -> None:
        obj = t.objects.c
        located = self._connection.execute(
            update(t.objects)
            .where(obj.store == store, obj.object_key == key, obj.task_id == self._claim.task_id)
            .where(obj.state == "stored")
            .values(state="located")
        )
        if not located.rowcount:
            raise Conflict(f"Object {key} is not known to be complete in store {store}.")

    def activate(self, facts: DataFacts) -> None:
        """importing → active with what is known of the data; see `catalog.facts.activate`, also for what it raises."""
        activate(self._connection, self._database, self._claim.image_id, facts, begins_from="importing")

    def requeue(self) -> None:
        """Back to queued, unless it is already or the image is deleted: a rollback may run twice (§1.1 [R])."""
        self._connection.execute(
            update(t.images)
            .where(t.images.c.id == self._claim.image_id, t.images.c.status == "importing")
            .values(
                status="queued",
                size=None,
                virtual_size=None,
                checksum=None,
                os_hash_algo=None,
                os_hash_value=None,
                updated_at=self._database.now(),
            )
        )

    def restage(self) -> bool:
        """Back to uploading, if what was staged is still there; see `Uploads.restage`."""
        return self._uploads.restage(self._claim.image_id)

    def discard_upload(self) -> None:
        """What was staged for the image becomes garbage."""
        self._uploads.discard(self._claim.image_id)

    # -- the task

    def advance(self, facts: Mapping[str, object]) -> None:
        """The step is done: remember what it found out, stand at the next one, leave.

        The chain's next message is on its way, so the sweeper need not send one now.
        """
        task = t.tasks.c
        known = json.loads(
            self._connection.execute(select(task.facts).where(task.id == self._claim.task_id)).scalar_one()
        )
        now = self._database.now()
        self._connection.execute(
            update(t.tasks)
            .where(task.id == self._claim.task_id)
            .values(
                step=self._claim.step + 1,
                attempt=0,
                facts=json.dumps(known | dict(facts)),
                sent_at=now,
                updated_at=now,
            )
        )
        self._lock.leave(self._connection, self._claim, "done")

    def retry_later(self, delay: float, *, code: str, message: str) -> None:
        """The attempt failed, another may do better: not before `delay` seconds from now.

        What it was writing is garbage; what an earlier step has stored is kept.
        """
        self.discard_objects(states=("writing",))
        self._connection.execute(
            update(t.tasks)
            .where(t.tasks.c.id == self._claim.task_id)
            .values(
                # Who asked to cancel meanwhile need not wait for the next try.
                next_attempt_at=case((t.tasks.c.cancel_requested, null()), else_=self._database.after(delay)),
                sent_at=None,
                phase="waiting to try again",
                message=message,
                updated_at=self._database.now(),
            )
        )
        self._lock.leave(self._connection, self._claim, "retry", code=code, message=message)

    def hand_back(self, why: str) -> None:
        """The worker has to go: anybody may take over at once, and the attempt does not count.

        What it was writing is garbage; what an earlier step has stored is kept.
        """
        self.discard_objects(states=("writing",))
        self._connection.execute(
            update(t.tasks)
            .where(t.tasks.c.id == self._claim.task_id)
            .values(
                attempt=self._claim.attempt - 1,
                sent_at=None,
                phase=WAITING,
                updated_at=self._database.now(),
            )
        )
        self._lock.leave(self._connection, self._claim, "handed_back", message=why)

    def succeed(self, message: str, *, keep_for: float) -> None:
        """End the task well and free the image; the record is kept for `keep_for` seconds."""
        self._end("success", keep_for, message=message, result=json.dumps({"image_id": self._claim.image_id}))
        self._lock.leave(self._connection, self._claim, "done")
        self._lock.free(self._connection, self._claim)

    def fail(self, *, code: str, message: str, keep_for: float) -> None:
        """End the task with a reason that a user can act on, and free the image."""
        self._end("failure", keep_for, message=message or code, error_code=code)
        self._lock.leave(self._connection, self._claim, "failed", code=code, message=message)
        self._lock.free(self._connection, self._claim)

    def _end(self, status: str, keep_for: float, **columns: object) -> None:
        """Nobody comes after this: what no location names is garbage, and no store is left waiting for data."""
        self.discard_objects()
        waiting = and_(t.targets.c.task_id == self._claim.task_id, t.targets.c.state.in_(IMPORTING))
        self._connection.execute(
            update(t.targets).where(waiting).values(state="undone", updated_at=self._database.now())
        )
        self._connection.execute(
            update(t.tasks)
            .where(t.tasks.c.id == self._claim.task_id)
            .values(
                status=status,
                source="{}",  # it may hold a password, and nobody needs it any more
                phase="",
                next_attempt_at=None,
                updated_at=self._database.now(),
                expires_at=self._database.after(keep_for),
                **columns,
            )
        )
