"""Taking an image over from a task that shows no progress (import-behaviour §2.3, §2.6; architecture §5.11)."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, update

from catalog import tables as t
from catalog.engine import isoformat
from catalog.errors import LockHeld, Preempted
from catalog.fenced import Fenced
from catalog.leases import Claim
from catalog.lock import ImportLock
from catalog.tasks import TaskRecord, Tasks

Pen = Callable[[Connection, Claim], Fenced]
"""What gives a claim its pen."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """What a new import does to the stale task that holds its image.

    `undo(tx, task, why)` takes back what that task did, under a fence above that of its worker. The task's record is
    kept for `keep_for` seconds.
    """

    undo: Callable[[Fenced, TaskRecord, Preempted], None]
    keep_for: float


def preempt(
    connection: Connection, tasks: Tasks, lock: ImportLock, held: LockHeld, by: str, how: Preemption, pen: Pen
) -> Claim:
    """Take the image from the stale task of `held` for the task `by`, in the transaction that `held` was found in.

    The task is undone and fails, and its stores leave both lists that users see: what becomes of them, the new task
    decides. Returns the claim under which that was done.
    """
    task = tasks.get(held.task_id)
    why = Preempted(by, isoformat(task.updated_at))
    claim = lock.preempt(connection, task.image_id, f"import {by}", why)
    tx = pen(connection, claim)
    how.undo(tx, task, why)
    if task.live:
        tx.fail(code=why.code, message=str(why), keep_for=how.keep_for)
    else:
        lock.free(connection, claim)  # it ended without letting go: its record stays as it is
    connection.execute(update(t.targets).where(t.targets.c.task_id == task.id).values(current=False))
    return claim
