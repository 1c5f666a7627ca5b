"""Tasks as rows: how they are asked for, shown, found by the sweeper, and what a user may do to them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import NotFound
from catalog.task_listing import TaskQuery, remembered, task_page_of

LIVE = ("pending", "processing")

WAITING = "waiting for a worker"
"""The phase of a task that nobody works on. On which host, if only one will do, is for administrators to know."""

RARELY = 900
"""Seconds between messages for a task that has waited for hours: a broker keeps each until somebody takes it."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A wish, as the API records it. `input` is shown to users (secrets masked); `source` is for the worker alone.

    `begins_from` is the status that the image must be in; only an active one stays in it. `host` names the one host
    whose workers can read the source, None says that all can. `upload` is the key of the staged bytes that it brings,
    if it brings such.
    """

    id: str
    image_id: str
    flow: str
    stores: tuple[str, ...]
    input: Mapping[str, object]
    source: Mapping[str, object]
    all_stores_must_succeed: bool
    owner: str | None
    user_id: str | None
    request_id: str | None
    begins_from: str = "queued"
    host: str | None = None
    upload: str | None = None
    type: str = "api_image_import"


@dataclass(frozen=True, slots=True)
class Target:
    """One target store of a task: its state (see schema.sql), bytes given to it by this attempt, why it failed."""

    store: str
    state: str
    bytes_done: int
    error_code: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a worker entered the lock."""

    fence: int
    step: int
    number: int
    worker: str
    outcome: str
    error_code: str | None
    message: str
    started_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A snapshot of one task with its targets, in the order of the request. Times are microseconds."""

    id: str
    image_id: str
    type: str
    flow: str
    step: int
    status: str
    owner: str | None
    user_id: str | None
    request_id: str | None
    input: Mapping[str, Any]
    source: Mapping[str, Any]
    host: str | None
    facts: Mapping[str, Any]
    result: Mapping[str, Any] | None
    message: str
    error_code: str | None
    all_stores_must_succeed: bool
    cancel_requested: bool
    phase: str
    bytes_done: int
    bytes_total: int | None
    attempt: int
    sent_at: int | None
    next_attempt_at: int | None
    created_at: int
    updated_at: int
    expires_at: int | None
    targets: tuple[Target, ...]

    @property
    def live(self) -> bool:
        """Whether the task can still change."""
        return self.status in LIVE


class Tasks:
    """The tasks of one database, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._database = database

    def create(self, new: NewTask) -> None:
        """Insert the task and its targets, which become the current verdict on their stores (§1.3).

        The caller sends the first message right after the commit, so it counts as sent.
        """
        now, target = self._database.now(), t.targets.c
        self._connection.execute(
            insert(t.tasks).values(
                id=new.id,
                image_id=new.image_id,
                type=new.type,
                flow=new.flow,
                step=0,
                status="pending",
                owner=new.owner,
                user_id=new.user_id,
                request_id=new.request_id,
                input=json.dumps(new.input),
                source=json.dumps(new.source),
                host=new.host,
                facts="{}",
                message="",
                all_stores_must_succeed=new.all_stores_must_succeed,
                cancel_requested=False,
                phase=WAITING,
                bytes_done=0,
                attempt=0,
                sent_at=now,
                created_at=now,
                updated_at=now,
            )
        )
        current = and_(target.image_id == new.image_id, target.store.in_(new.stores), t.current_target)
        self._drop_verdicts(current)
        self._connection.execute(update(t.targets).where(current).values(current=False))
        for position, store in enumerate(new.stores):
            self._connection.execute(
                insert(t.targets).values(
                    task_id=new.id,
                    image_id=new.image_id,
                    store=store,
                    position=position,
                    state="pending",
                    current=True,
                    bytes_done=0,
                    reason="",
                    updated_at=now,
                )
            )

    def create_finished(self, new: NewTask, message: str, *, keep_for: float) -> None:
        """Insert a task that ended well as it began, since its targets are all done; no other verdict stays current.

        It is never live, so nobody is told of it. `keep_for` is in seconds.
        """
        self.create(new)
        target = t.targets.c
        self._connection.execute(
            update(t.tasks)
            .where(t.tasks.c.id == new.id)
            .values(
                status="success",
                message=message,
                result=json.dumps({"image_id": new.image_id}),
                source="{}",
                phase="",
                expires_at=self._database.after(keep_for),
            )
        )
        self._connection.execute(update(t.targets).where(target.task_id == new.id).values(state="done"))
        older = and_(target.image_id == new.image_id, target.task_id != new.id, t.current_target)
        self._drop_verdicts(older)
        self._connection.execute(update(t.targets).where(older).values(current=False))

    def _drop_verdicts(self, which: ColumnElement[bool]) -> None:
        """Delete verdicts that are about to be superseded and whose tasks are forgotten: nobody would look for them."""
        remembered = select(t.tasks.c.id).where(t.tasks.c.id == t.targets.c.task_id).exists()
        self._connection.execute(delete(t.targets).where(which, ~remembered))

    def forget(self, *, limit: int) -> int:
        """Delete ended tasks that are past their time to live, at most `limit`; how many went.

        With them go their attempts, and their verdicts on stores but for the current ones, which the image shows.
        """
        task, held = t.tasks.c, t.image_locks.c.os_glance_import_task
        old = self._connection.execute(
            select(task.id)
            # One that has not let go of its image is still to be superseded by another.
            .where(task.expires_at <= self._database.now(), ~select(held).where(held == task.id).exists())
            .order_by(task.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).scalars()
        found = list(old)
        if found:
            self._connection.execute(delete(t.attempts).where(t.attempts.c.task_id.in_(found)))
            self._connection.execute(delete(t.targets).where(t.targets.c.task_id.in_(found), ~t.current_target))
            self._connection.execute(delete(t.tasks).where(task.id.in_(found)))
        return len(found)

    def get(self, task_id: str) -> TaskRecord:
        """One task. Raises `NotFound`."""
        row = self._connection.execute(select(t.tasks).where(t.tasks.c.id == task_id)).first()
        if row is None:
            raise NotFound(f"No task found with ID {task_id}")
        return self._whole([row])[0]

    def of_image(self, image_id: str) -> list[TaskRecord]:
        """The image's tasks that are not forgotten yet, oldest first (http-api §6.3)."""
        task = t.tasks.c
        rows = self._connection.execute(self._remembered(image_id).order_by(task.created_at, task.id)).all()
        return self._whole(rows)

    def page(self, query: TaskQuery) -> list[TaskRecord]:
        """A page of all tasks that are not forgotten yet. Raises `BadMarker`."""
        return self._whole(self._connection.execute(task_page_of(self._connection, self._database, query)).all())

    def newest(self, image_id: str) -> TaskRecord:
        """The image's task that was asked for last. Raises `NotFound` when it has none, or none is remembered."""
        task = t.tasks.c
        rows = self._connection.execute(
            self._remembered(image_id).order_by(task.created_at.desc(), task.id.desc()).limit(1)
        ).all()
        if not rows:
            raise NotFound(f"No import of image {image_id} is on record.")
        return self._whole(rows)[0]

    def _remembered(self, image_id: str) -> Select[Any]:
        task = t.tasks.c
        return select(t.tasks).where(task.image_id == image_id, remembered(self._database))

    def attempts(self, task_id: str) -> list[Attempt]:
        """Every attempt at the task, in the order of their fences."""
        a = t.attempts.c
        rows = self._connection.execute(
            select(a.fence, a.step, a.number, a.worker, a.outcome, a.error_code, a.message, a.started_at, a.ended_at)
            .where(a.task_id == task_id)
            .order_by(a.fence)
        )
        return [Attempt(*row) for row in rows]

    def not_sent(self, task_id: str) -> None:
        """Note that nobody was told of the task, so that the next sweep does."""
        self._connection.execute(update(t.tasks).where(t.tasks.c.id == task_id).values(sent_at=None))

    def cancel(self, task_id: str) -> bool:
        """Ask a live task to stop at the next chunk; False when it has ended."""
        return bool(call_off(self._connection, t.tasks.c.id == task_id))

    def stop_requested(self, task_id: str) -> str | None:
        """Why work on the task should end, if somebody asked for it: its image is deleted, or it is cancelled.

        Raises `NotFound`.
        """
        asked = self._connection.execute(
            select(t.tasks.c.cancel_requested, t.images.c.status)
            .join(t.images, t.images.c.id == t.tasks.c.image_id)
            .where(t.tasks.c.id == task_id)
        ).first()
        if asked is None:
            raise NotFound(f"No task found with ID {task_id}")
        if asked.status == "deleted":
            return "the image was deleted"
        return "the import was cancelled" if asked.cancel_requested else None

    def due(self, *, resend_after: float, limit: int) -> list[TaskRecord]:
        """Live tasks that nobody seems to work on, whose last doorbell is `resend_after` seconds old (celery-notes §8).

        A doorbell that was not heard in time may still be: who waits longer is rung for less often, at an eighth of its
        waiting time, and every `RARELY` seconds in the end. Without `resend_after` the old ones are known to be lost.
        Marked as sent before they are returned: a crash in between costs one period, never a double effect.
        """
        task, lock, now = t.tasks.c, t.image_locks.c, self._database.now()
        unattended = or_(lock.owner.is_(None), lock.expires_at <= now)
        unheard = task.sent_at <= self._database.after(-resend_after)
        if resend_after:
            patience_over = (now - task.sent_at) * 8 >= now - task.updated_at
            unheard = and_(unheard, or_(patience_over, task.sent_at <= self._database.after(-RARELY)))
        rows = self._connection.execute(
            select(task.id)
            .join(t.image_locks, lock.os_glance_import_task == task.id)
            .where(
                task.status.in_(LIVE),
                unattended,
                or_(task.next_attempt_at.is_(None), task.next_attempt_at <= now),
                or_(task.sent_at.is_(None), unheard),
            )
            .order_by(task.created_at)
            .limit(limit)
            .with_for_update(skip_locked=True, of=t.tasks)
        ).scalars()
        found = list(rows)
        if not found:
            return []
        marked = self._connection.execute(
            update(t.tasks).where(task.id.in_(found)).values(sent_at=now).returning(t.tasks)
        ).all()
        return self._whole(marked)

    def _whole(self, rows: Sequence[Row[Any]]) -> list[TaskRecord]:
        if not rows:
            return []
        target = t.targets.c
        targets: dict[str, list[Target]] = {row.id: [] for row in rows}
        for row in self._connection.execute(
            select(
                target.task_id,
                target.store,
                target.state,
                target.bytes_done,
                target.error_code,
                target.reason,
            )
            .where(target.task_id.in_(targets))
            .order_by(target.position)
        ):
            targets[row.task_id].append(Target(*row[1:]))
        return [_record(row, tuple(targets[row.id])) for row in rows]


def call_off(connection: Connection, which: ColumnElement[bool]) -> int:
    """Ask live tasks to stop: their workers see it at the next chunk, the others are due at once. Returns how many."""
    asked = connection.execute(
        update(t.tasks)
        .where(which, t.tasks.c.status.in_(LIVE))
        .values(cancel_requested=True, next_attempt_at=None, sent_at=None)
    )
    return asked.rowcount


def _record(row: Row[Any], targets: tuple[Target, ...]) -> TaskRecord:
    columns = dict(row._mapping)
    for name in ("input", "source", "facts", "result"):
        columns[name] = json.loads(columns[name]) if columns[name] is not None else None
    return TaskRecord(**columns, targets=targets)
