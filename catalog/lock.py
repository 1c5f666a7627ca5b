"""The lock on an image: a fenced lease (architecture §4, §5.3; import-behaviour §2.6; celery-notes §7).

A *task* holds the lock from the request until its end (`claim` … `free`); users see its id as `os_glance_import_task`.
One *attempt* at a time exercises it (`enter` … `leave`), under a lease that it must keep renewing. Every `enter` adds
one to the fence, which never goes back. Whatever an attempt writes begins with `hold`: the database itself refuses a
fence that is not the current one, so a worker that was paused, cut off or declared dead changes zero rows.
"""

import contextlib
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, true, update

from catalog import tables as t
from catalog.engine import SECOND, Database, isoformat
from catalog.errors import LockHeld, Preempted, no_image
from catalog.leases import Claim, DatabaseLeaseKeeper, LeaseKeeper, held_by, lost, require_held
from catalog.tasks import LIVE


class ImportLock:
    """The lock of every image in one database. Statements that belong to a larger change take its connection.

    `ttl` is the length of a lease in seconds; holders renew every third of it. A task that shows no progress for
    `stale_after` seconds, or that nobody begins for `stale_pending_after`, may lose its image to another (§2.3).
    """

    def __init__(
        self,
        database: Database,
        keeper: LeaseKeeper | None = None,
        *,
        ttl: float = 60.0,
        stale_after: float = 3600.0,
        stale_pending_after: float = 7200.0,
    ) -> None:
        self._database = database
        self.keeper: LeaseKeeper = keeper or DatabaseLeaseKeeper(database)
        self.ttl = ttl
        self.stale_after = stale_after
        self.stale_pending_after = stale_pending_after

    def require_free(self, connection: Connection, image_id: str) -> None:
        """Lock the image's row and raise `LockHeld` if a task holds it, `NotFound` if there is no such image."""
        held = self.holder(connection, image_id)
        if held is not None:
            raise held

    def holder(self, connection: Connection, image_id: str) -> LockHeld | None:
        """Lock the image's row and return what to tell whoever must not meet the task that holds it, None if it is
        free. Raises `NotFound` if there is no such image.

        Requests for one image thereby follow one another, and the second sees what the first has done.
        """
        lock, task, now = t.image_locks.c, t.tasks.c, self._database.now()
        row = connection.execute(
            select(lock.os_glance_import_task, lock.owner, lock.heartbeat_at, lock.expires_at)
            .where(lock.image_id == image_id)
            .with_for_update()
        ).first()
        if row is None:
            raise no_image(image_id)
        if row.os_glance_import_task is None:
            return None
        # Asked only now that the row is ours: whoever moves a task on has it locked (see `hold`).
        shown = connection.execute(
            select(task.status, task.updated_at, now.label("now")).where(task.id == row.os_glance_import_task)
        ).one()
        stale_from = shown.updated_at + round(self._patience(shown.status) * SECOND)
        return LockHeld(
            image_id,
            row.os_glance_import_task,
            self._state(row, shown.now),
            stale_from=isoformat(stale_from + SECOND - 1),  # rounded up: who comes then shall not come too early
            stale=shown.now >= stale_from,
        )

    def _patience(self, status: str) -> float:
        """Seconds that a task of this status may hold an image without progress (§2.3; an ended one should not)."""
        if status not in LIVE:
            return 0.0
        return self.stale_pending_after if status == "pending" else self.stale_after

    def _state(self, row: Any, now: int) -> str:
        if row.owner is None or (self.keeper.kept_in_row and row.expires_at <= now):
            return "it waits for a worker"
        if row.expires_at > now:
            return f"its lease runs until {isoformat(row.expires_at)}"
        return f"its worker was last heard of at {isoformat(row.heartbeat_at)}"

    def preempt(self, connection: Connection, image_id: str, by: str, why: Preempted) -> Claim:
        """Shut out whoever works for the task that holds the image, in a change that began with `holder`.

        The fence grows: from here on, no write of the old worker counts. The claim is for taking back what the task
        did, and for no longer than this transaction.
        """
        now, lock, task = self._database.now(), t.image_locks.c, t.tasks.c
        taken = connection.execute(
            update(t.image_locks)
            .where(lock.image_id == image_id)
            .values(owner=by, fence=lock.fence + 1, heartbeat_at=now, expires_at=self._database.after(self.ttl))
            .returning(lock.os_glance_import_task, lock.fence)
        ).one()
        at = connection.execute(select(task.step, task.attempt).where(task.id == taken.os_glance_import_task)).one()
        self._lose_attempt(connection, image_id, why.code, str(why))
        return Claim(image_id, taken.os_glance_import_task, by, taken.fence, at.step, at.attempt)

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
        self._lose_attempt(connection, claim.image_id, "worker_lost", "the worker fell silent")
        connection.execute(
            insert(t.attempts).values(
                image_id=claim.image_id,
                fence=claim.fence,
                task_id=claim.task_id,
                step=claim.step,
                number=claim.attempt,
                worker=claim.owner,
                outcome="running",
                message="",
                started_at=self._database.now(),
            )
        )

    def _lose_attempt(self, connection: Connection, image_id: str, code: str, message: str) -> None:
        """End the attempt that is running, if one is: its worker has not done so."""
        attempt = t.attempts.c
        connection.execute(
            update(t.attempts)
            .where(attempt.image_id == image_id, attempt.outcome == "running")
            .values(outcome="lost", ended_at=self._database.now(), error_code=code, message=message)
        )

    def renew(self, claim: Claim) -> None:
        """Let the lease run for another `ttl`. Raises `LockLost`; `CatalogUnavailable` when nobody could be asked."""
        self.keeper.renew(claim, self.ttl)

    def require(self, connection: Connection, claim: Claim) -> None:
        """Raise `LockLost` when somebody else has entered or taken the image over. Only reads."""
        require_held(connection, claim)

    def hold(self, connection: Connection, claim: Claim) -> None:
        """The first statement of every fenced change: keep the row locked while it is ours, else raise `LockLost`."""
        if self.keeper.over(claim):
            raise lost(claim)
        seen: dict[str, ColumnElement[int]] = {"heartbeat_at": self._database.now()}
        unexpired: ColumnElement[bool] = true()
        if self.keeper.kept_in_row:
            unexpired = t.image_locks.c.expires_at > self._database.now()
        else:
            # The row is written anyway; while progress flows it can stand in for a keeper that is away.
            seen["expires_at"] = self._database.after(self.ttl)
        held = connection.execute(update(t.image_locks).where(held_by(claim), unexpired).values(**seen))
        if not held.rowcount:
            raise lost(claim)

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
        connection.execute(update(t.image_locks).where(held_by(claim)).values(owner=None, expires_at=None))
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


def _runnable(task_id: str, step: int, now: ColumnElement[int]) -> ColumnElement[bool]:
    task = t.tasks.c
    return and_(
        task.id == task_id,
        task.step == step,
        task.status.in_(LIVE),
        or_(task.next_attempt_at.is_(None), task.next_attempt_at <= now),
    )
