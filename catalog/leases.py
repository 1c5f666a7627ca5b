"""Where the expiry of a lease is kept: in the lock row itself, or in Redis (architecture §4; celery-notes §7).

A keeper answers who seems alive. Who may write is decided elsewhere: by the fence in the row (`catalog/lock.py`).
"""

import contextlib
import time
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import redis
from sqlalchemy import ColumnElement, Connection, and_, select, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import LockLost


@dataclass(frozen=True, slots=True)
class Claim:
    """Proof of having entered: worker `owner` runs try `attempt` of step number `step` of a task, under `fence`."""

    image_id: str
    task_id: str
    owner: str
    fence: int
    step: int
    attempt: int


def held_by(claim: Claim) -> ColumnElement[bool]:
    """The condition under which the lock row is this claim's."""
    lock = t.image_locks.c
    return and_(
        lock.image_id == claim.image_id,
        lock.os_glance_import_task == claim.task_id,
        lock.owner == claim.owner,
        lock.fence == claim.fence,
    )


def lost(claim: Claim) -> LockLost:
    """The error for a claim that does not hold its lock any more."""
    return LockLost(f"attempt {claim.fence} no longer holds image {claim.image_id}")


def require_held(connection: Connection, claim: Claim) -> None:
    """Raise `LockLost` unless the lock row still shows the claim, whatever its lease says."""
    if connection.execute(select(t.image_locks.c.fence).where(held_by(claim))).first() is None:
        raise lost(claim)


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
        _extend_row(self._database, claim, ttl, t.image_locks.c.expires_at > self._database.now())

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
            raise lost(claim)
        key, began, milliseconds = self._key(claim.image_id, claim.fence), time.monotonic(), round(ttl * 1000)
        try:
            if not self._redis.set(key, claim.owner, px=milliseconds, xx=True):
                with self._database.read() as connection:
                    require_held(connection, claim)
                self._redis.set(key, claim.owner, px=milliseconds)
        except redis.RedisError:
            _extend_row(self._database, claim, ttl)
        self._deadlines[key] = began + ttl

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
    if client is None:
        if redis_url is None:
            return DatabaseLeaseKeeper(database)
        # A heartbeat must not hang on a dead Redis: it asks the database instead.
        client = redis.Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
    return RedisLeaseKeeper(client, database)


def _extend_row(database: Database, claim: Claim, ttl: float, *conditions: ColumnElement[bool]) -> None:
    with database.begin() as connection:
        extended = connection.execute(
            update(t.image_locks)
            .where(held_by(claim), *conditions)
            .values(heartbeat_at=database.now(), expires_at=database.after(ttl))
        )
    if not extended.rowcount:
        raise lost(claim)
