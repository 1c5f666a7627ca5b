"""The sweeper: the only redelivery there is (celery-notes §8). Any number may run at once, so none has to lead."""

import contextlib
import logging
import random
import threading
from collections.abc import Callable

from catalog.errors import CatalogError, LockLost
from catalog.tasks import TaskRecord
from flows.collect import collect
from flows.dispatch import Dispatcher
from flows.methods import ALL_FLOWS, undo
from flows.runtime import Runtime
from workers.runner import Cancelled

log = logging.getLogger(__name__)

BATCH = 100

FAREWELL = 1.0
"""Seconds that a stop waits for a deletion."""


def sweep(runtime: Runtime, dispatcher: Dispatcher) -> int:
    """One whole round: ring, give up stale uploads, forget old tasks, then delete garbage that is due. Returns tasks
    rung for.
    """
    rung = ring(runtime, dispatcher)
    expire(runtime)
    forget(runtime)
    collect(runtime, limit=BATCH)
    return rung


def ring(runtime: Runtime, dispatcher: Dispatcher, *, messages_lost: bool = False) -> int:
    """Ring again for every task that should be worked on and is not; how many. With `messages_lost`, a message that
    was sent is not waited for.

    Covers lost messages, attempts that are due, workers that died (their lease ran out) and chains that broke off: the
    chain is rebuilt from the step in the row.
    """
    with runtime.catalog.begin() as tx:
        due = tx.tasks.due(resend_after=0.0 if messages_lost else runtime.lease.resend_after, limit=BATCH)
    rung = 0
    for task in due:
        flow = ALL_FLOWS.get(task.flow)
        if flow is None:
            end_unknown(runtime, task)
        elif not runtime.catalog.lock.busy(task.id):
            rung += dispatcher.send_again(flow, task)
    return rung


def end_unknown(runtime: Runtime, task: TaskRecord) -> None:
    """End a task that no worker of this version can work on, if somebody wants it to end; else it waits for one that
    can, or for another import that takes its image over.
    """
    with runtime.catalog.read() as tx:
        why = tx.tasks.stop_requested(task.id)
    if why is None:
        log.warning("task %s: this version does not know the import method %s", task.id, task.flow)
        return
    claim = runtime.catalog.lock.enter(task.id, task.step, "sweeper")
    if claim is None:
        return
    error = Cancelled(why)
    try:
        with contextlib.suppress(LockLost), runtime.catalog.fenced(claim) as fenced:
            undo(fenced, task.flow, error, error.code, why)
            fenced.fail(code=error.code, message=why, keep_for=runtime.options.task_time_to_live)
    finally:
        runtime.catalog.lock.keeper.drop(claim)
    log.info("task %s of the unknown method %s is ended: %s", task.id, task.flow, why)


def forget(runtime: Runtime) -> None:
    """Delete what is known of tasks that are past their time to live."""
    gone = runtime.catalog.forget_tasks(limit=BATCH)
    if gone:
        log.info("%d tasks are forgotten: they ended more than task_time_to_live ago", gone)


def expire(runtime: Runtime) -> None:
    """Give up uploads that fell silent and staged bytes whose time is over: their images take data again."""
    for image_id in runtime.catalog.expire_uploads(limit=BATCH):
        log.warning("image %s is queued again: its data was not uploaded, or not imported, in time", image_id)


class Sweeper:
    """Sweeps in the background until stopped; the period is jittered so that many sweepers spread out.

    Rings and deletes in a thread each: a store on a dead mount may hold a deletion for ever, and nothing lost would be
    found meanwhile. `messages_lost` says that no message has survived from before the start, as with an in-process
    broker.
    """

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher, *, messages_lost: bool = False) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher
        self._messages_lost = messages_lost
        self._done = threading.Event()
        self._bell = threading.Thread(target=self._rounds, args=(self._ring,), name="sweeper", daemon=True)
        self._broom = threading.Thread(target=self._rounds, args=(self._collect,), name="collector", daemon=True)

    def start(self) -> None:
        """Begin with a sweep at once."""
        self._bell.start()
        self._broom.start()

    def stop(self) -> None:
        """End after the sweep in hand; a deletion that a store does not answer is not waited for."""
        self._done.set()
        self._bell.join()
        self._broom.join(FAREWELL)

    def _ring(self) -> None:
        ring(self._runtime, self._dispatcher, messages_lost=self._messages_lost)
        self._messages_lost = False
        expire(self._runtime)
        forget(self._runtime)

    def _collect(self) -> None:
        collect(self._runtime, limit=BATCH)

    def _rounds(self, work: Callable[[], None]) -> None:
        while True:
            try:
                work()
            except CatalogError as error:
                log.warning("no sweep this time: %s", error)
            except Exception:  # without a sweeper nothing lost is ever found: whatever it was, the next round comes
                log.exception("a sweep failed")
            if self._done.wait(self._runtime.lease.sweep_interval * random.uniform(0.8, 1.2)):
                return
