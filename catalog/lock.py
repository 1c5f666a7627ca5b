"""The lock on an image: a fenced lease (architecture §4, §5.3; import-behaviour §2.6; celery-notes §7).

A *task* holds the lock from the request until its end (`claim` … `free`); users see its id as `os_glance_import_task`.
One *attempt* at a time exercises it (`enter` … `leave`), under a lease that it must keep renewing. Every `enter` adds
one to the fence, which never goes back. Whatever an attempt writes begins with `hold`: the database itself refuses a
fence that is not the current one, so a worker that was paused, cut off or declared dead changes zero rows.
"""

import contextlib
import time
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import redis
from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, true, update

from catalog import tables as t
from catalog.engine import Database, isoformat
from catalog.errors import LockHeld, LockLost, NotFound
from catalog.tasks import LIVE


@dataclass(frozen=True, slots=True)
class Claim:
    """Proof of having entered: worker `owner` runs try `attempt` of step number `step` of a task, under `fence`."""

    image_id: str
    task_id: str
    owner: str
    fence: int
    step: int
    attempt: int


class LeaseKeeper(Protocol):
    """Where the expiry of leases is kept. It answers who seems alive; who may commit, the fence in the row decides."""

    kept_in_row: bool
    """False when the expiry in the row says nothing, because it is kept elsewhere."""

    def renew(self, claim: Claim, ttl: float) -> None:
        """Let the lease run for `ttl` seconds from now. Raises `LockLost` when it is over or somebody else's."""

    def alive(self, image_id: str, fence: int) -> bool:
        """Whether the lease of the attempt with this fence is still running."""

    def over(self, claim: Claim) -> bool:
        """Whether this process knows that its lease has run out. False where only the row can tell."""

    def drop(self, claim: Claim) -> None:
        """Forget the lease: its attempt has left."""


class DatabaseLeaseKeeper:
    """The expiry lives in the lock row (the default): one small update every third of the lease."""

    kept_in_row = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def renew(self, claim: Claim, ttl: float) -> None:
        """One conditional update: same fence, not yet expired by the database's clock."""
        with self._database.begin() as connection:
            renewed = connection.execute(
                update(t.image_locks)
                .where(_held_by(claim), t.image_locks.c.expires_at > self._database.now())
                .values(heartbeat_at=self._database.now(), expires_at=self._database.after(ttl))
            )
        if not renewed.rowcount:
            raise _lost(claim)

    def alive(self, image_id: str, fence: int) -> bool:
        """Compare the row's expiry with the database's clock."""
        lock = t.image_locks.c
        running = select(lock.fence).where(
            lock.image_id == image_id,
            lock.fence == fence,
            lock.owner.is_not(None),
            lock.expires_at > self._database.now(),
        )
        with self._database.read() as connection:
            return connection.execute(running).first() is not None

    def over(self, claim: Claim) -> bool:
        """Only the row can tell."""
        return False

    def drop(self, claim: Claim) -> None:
        """`leave` has cleared the row already."""


class RedisLeaseKeeper:
    """The expiry lives in a Redis key, which spares the database the heartbeats of thousands of imports.

    Redis is believed only as far as nothing hangs on it. Emptied: the next renewal puts the key back, if the row still
    shows our fence. Unreachable: renewals and questions go to the database instead. Should another worker enter in the
    moment between, the fence shuts this one out. The key holds the fence, so nobody can renew another's lease.
    """

    kept_in_row = False

    def __init__(self, client: redis.Redis, database: Database) -> None:
        self._redis = client
        self._database = database
        self._row = DatabaseLeaseKeeper(database)
        self._deadlines: dict[str, float] = {}

    @staticmethod
    def _key(image_id: str, fence: int) -> str:
        return f"tranship:lease:{image_id}:{fence}"

    def renew(self, claim: Claim, ttl: float) -> None:
        """Extend our key, or put it back while the row still shows our fence. Raises `LockLost` otherwise."""
        if self.over(claim):
            raise _lost(claim)
        key, began, milliseconds = self._key(claim.image_id, claim.fence), time.monotonic(), round(ttl * 1000)
        try:
            if not self._redis.set(key, claim.owner, px=milliseconds, xx=True):
                self._require_row(claim)
                self._redis.set(key, claim.owner, px=milliseconds)
        except redis.RedisError:
            self._extend_row(claim, ttl)
        self._deadlines[key] = began + ttl

    def _require_row(self, claim: Claim) -> None:
        with self._database.read() as connection:
            if connection.execute(select(t.image_locks.c.fence).where(_held_by(claim))).first() is None:
                raise _lost(claim)

    def _extend_row(self, claim: Claim, ttl: float) -> None:
        with self._database.begin() as connection:
            extended = connection.execute(
                update(t.image_locks)
                .where(_held_by(claim))
                .values(heartbeat_at=self._database.now(), expires_at=self._database.after(ttl))
            )
        if not extended.rowcount:
            raise _lost(claim)

    def alive(self, image_id: str, fence: int) -> bool:
        """Whether the key is there; without Redis, what the row says."""
        try:
            return bool(self._redis.exists(self._key(image_id, fence)))
        except redis.RedisError:
            return self._row.alive(image_id, fence)

    def over(self, claim: Claim) -> bool:
        """By this process's own clock: the key was set after `began`, so it lives at least until then."""
        deadline = self._deadlines.get(self._key(claim.image_id, claim.fence))
        return deadline is not None and time.monotonic() >= deadline

    def drop(self, claim: Claim) -> None:
        """Delete our key; if Redis is away, it expires by itself."""
        key = self._key(claim.image_id, claim.fence)
        self._deadlines.pop(key, None)
        with contextlib.suppress(redis.RedisError):
            self._redis.delete(key)


RedisClient: TypeAlias = redis.Redis


def lease_keeper(database: Database, redis_url: str | None, client: RedisClient | None = None) -> LeaseKeeper:
    """The keeper of leases: the database, or with a `redis_url` (or a ready `client`) that Redis."""
    if client is None and redis_url is None:
        return DatabaseLeaseKeeper(database)
    # A heartbeat must not hang on a dead Redis: it asks the database instead.
    made = client or redis.Redis.from_url(str(redis_url), socket_timeout=2, socket_connect_timeout=2)
    return RedisLeaseKeeper(made, database)


class ImportLock:
    """The lock of every image in one database. Statements that belong to a larger change take its connection.

    `ttl` is the length of a lease in seconds; holders renew every third of it.
    """

    def __init__(self, database: Database, keeper: LeaseKeeper | None = None, *, ttl: float = 60.0) -> None:
        self._database = database
        self.keeper: LeaseKeeper = keeper or DatabaseLeaseKeeper(database)
        self.ttl = ttl

    def require_free(self, connection: Connection, image_id: str) -> None:
        """Lock the image's row and raise `LockHeld` if a task holds it, `NotFound` if there is no such image.

        Requests for one image thereby follow one another, and the second sees what the first has done.
        """
        lock = t.image_locks.c
        row = connection.execute(
            select(
                lock.os_glance_import_task,
                lock.expires_at,
                (lock.expires_at > self._database.now()).label("running"),
            )
            .where(lock.image_id == image_id)
            .with_for_update()
        ).first()
        if row is None:
            raise NotFound(f"No image found with ID {image_id}")
        if row.os_glance_import_task is not None:
            until = isoformat(row.expires_at) if row.running else None
            raise LockHeld(image_id, row.os_glance_import_task, until)

    def claim(self, connection: Connection, image_id: str, task_id: str) -> None:
        """Make the task the holder of the image, in the transaction that inserts the task. Raises as `require_free`."""
        self.require_free(connection, image_id)
        connection.execute(
            update(t.image_locks)
            .where(t.image_locks.c.image_id == image_id)
            .values(os_glance_import_task=task_id, acquired_at=self._database.now())
        )

    def enter(self, task_id: str, step: int, worker: str) -> Claim | None:
        """Begin an attempt at `step` of the task, or return None: not ours to run now, for whatever reason.

        One transaction: the fence grows by one, the task counts the attempt, the attempt gets its row. The answer is
        None while another attempt's lease lives, and when the task waits for its next try, stands elsewhere, or has
        ended.
        """
        if self.busy(task_id):
            return None
        with contextlib.suppress(_NotRunnable):
            with self._database.begin() as connection:
                claim = self._take(connection, task_id, step, worker)
                self._open_attempt(connection, claim)
            if not self.keeper.kept_in_row:
                self.keeper.renew(claim, self.ttl)
            return claim
        return None

    def _take(self, connection: Connection, task_id: str, step: int, worker: str) -> Claim:
        now, lock, task = self._database.now(), t.image_locks.c, t.tasks.c
        runnable = _runnable(task_id, step, now)
        entered = connection.execute(
            update(t.image_locks)
            .where(
                lock.os_glance_import_task == task_id, self._nobody_inside(), select(task.id).where(runnable).exists()
            )
            .values(owner=worker, fence=lock.fence + 1, heartbeat_at=now, expires_at=self._database.after(self.ttl))
            .returning(lock.image_id, lock.fence)
        ).first()
        if entered is None:
            raise _NotRunnable
        # Asked again, now that the lock is ours: if the first statement had to wait for another's lock, it judged the
        # task by how it stood before that other's work (PostgreSQL re-reads only the row that it waited for).
        attempt = connection.execute(
            update(t.tasks)
            .where(runnable)
            .values(status="processing", attempt=task.attempt + 1, next_attempt_at=None, sent_at=now, updated_at=now)
            .returning(task.attempt)
        ).scalar()
        if attempt is None:
            raise _NotRunnable
        return Claim(entered.image_id, task_id, worker, entered.fence, step, attempt)

    def busy(self, task_id: str) -> bool:
        """Whether a lease that is kept outside the row says that an attempt at the task is alive."""
        if self.keeper.kept_in_row:
            return False
        lock = t.image_locks.c
        with self._database.read() as connection:
            running = connection.execute(
                select(lock.image_id, lock.fence).where(lock.os_glance_import_task == task_id, lock.owner.is_not(None))
            ).first()
        return running is not None and self.keeper.alive(running.image_id, running.fence)

    def _nobody_inside(self) -> ColumnElement[bool]:
        return or_(t.image_locks.c.owner.is_(None), t.image_locks.c.expires_at <= self._database.now())

    def _open_attempt(self, connection: Connection, claim: Claim) -> None:
        now, attempt = self._database.now(), t.attempts.c
        connection.execute(
            update(t.attempts)
            .where(attempt.image_id == claim.image_id, attempt.outcome == "running")
            .values(outcome="lost", ended_at=now, error_code="worker_lost", message="the worker fell silent")
        )
        connection.execute(
            insert(t.attempts).values(
                image_id=claim.image_id,
                fence=claim.fence,
                task_id=claim.task_id,
                step=str(claim.step),
                number=claim.attempt,
                worker=claim.owner,
                outcome="running",
                message="",
                started_at=now,
            )
        )

    def renew(self, claim: Claim) -> None:
        """Let the lease run for another `ttl`. Raises `LockLost`; `CatalogUnavailable` when nobody could be asked."""
        self.keeper.renew(claim, self.ttl)

    def hold(self, connection: Connection, claim: Claim) -> None:
        """The first statement of every fenced change: keep the row locked while it is ours, else raise `LockLost`."""
        if self.keeper.over(claim):
            raise _lost(claim)
        seen: dict[str, ColumnElement[int]] = {"heartbeat_at": self._database.now()}
        unexpired: ColumnElement[bool] = true()
        if self.keeper.kept_in_row:
            unexpired = t.image_locks.c.expires_at > self._database.now()
        else:
            # The row is written anyway; while progress flows it can stand in for a keeper that is away.
            seen["expires_at"] = self._database.after(self.ttl)
        held = connection.execute(update(t.image_locks).where(_held_by(claim), unexpired).values(**seen))
        if not held.rowcount:
            raise _lost(claim)

    def leave(
        self,
        connection: Connection,
        claim: Claim,
        outcome: str,
        *,
        code: str | None = None,
        message: str = "",
    ) -> None:
        """End the attempt (`done`, `retry`, `failed`, `handed_back`) in a change that began with `hold`.

        The caller drops the lease (`keeper.drop`) once the change is committed.
        """
        connection.execute(update(t.image_locks).where(_held_by(claim)).values(owner=None, expires_at=None))
        connection.execute(
            update(t.attempts)
            .where(t.attempts.c.image_id == claim.image_id, t.attempts.c.fence == claim.fence)
            .values(outcome=outcome, ended_at=self._database.now(), error_code=code, message=message)
        )

    def free(self, connection: Connection, claim: Claim) -> None:
        """Let go of the image, in the change that ends the task. The row stays, and with it the fence."""
        lock = t.image_locks.c
        connection.execute(
            update(t.image_locks)
            .where(
                lock.image_id == claim.image_id,
                lock.fence == claim.fence,
                lock.os_glance_import_task == claim.task_id,
            )
            .values(os_glance_import_task=None, owner=None, acquired_at=None, expires_at=None)
        )


class _NotRunnable(Exception):
    """Nothing to enter: the transaction is undone."""


def _held_by(claim: Claim) -> ColumnElement[bool]:
    lock = t.image_locks.c
    return and_(
        lock.image_id == claim.image_id,
        lock.os_glance_import_task == claim.task_id,
        lock.owner == claim.owner,
        lock.fence == claim.fence,
    )


def _runnable(task_id: str, step: int, now: ColumnElement[int]) -> ColumnElement[bool]:
    task = t.tasks.c
    return and_(
        task.id == task_id,
        task.step == step,
        task.status.in_(LIVE),
        or_(task.next_attempt_at.is_(None), task.next_attempt_at <= now),
    )


def _lost(claim: Claim) -> LockLost:
    return LockLost(f"attempt {claim.fence} no longer holds image {claim.image_id}")
