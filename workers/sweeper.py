"""The sweeper: the only redelivery there is (celery-notes §8). Any number may run at once, so none has to lead."""

import logging
import random
import threading

from catalog.errors import CatalogError
from flows.collect import collect
from flows.dispatch import Dispatcher
from flows.methods import FLOWS
from flows.runtime import Runtime

log = logging.getLogger(__name__)

BATCH = 100


def sweep(runtime: Runtime, dispatcher: Dispatcher, *, messages_lost: bool = False) -> int:
    """Ring again for every task that should be worked on and is not; delete garbage that is due. Returns tasks rung
    for. With `messages_lost`, a message that was sent is not waited for.

    Covers lost messages, attempts that are due, workers that died (their lease ran out) and chains that broke off: the
    chain is rebuilt from the step in the row.
    """
    with runtime.catalog.begin() as tx:
        due = tx.tasks.due(resend_after=0.0 if messages_lost else runtime.lease.resend_after, limit=BATCH)
    rung = 0
    for task in due:
        flow = FLOWS.get(task.flow)
        if flow is None or runtime.catalog.lock.busy(task.id):
            continue
        rung += dispatcher.send(flow, task.id, task.step)
    collect(runtime.catalog, runtime.stores, limit=BATCH)
    return rung


class Sweeper:
    """Sweeps in a thread of its own until stopped; the period is jittered so that many sweepers spread out.

    `messages_lost` says that no message has survived from before the start, as with an in-process broker.
    """

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher, *, messages_lost: bool = False) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher
        self._messages_lost = messages_lost
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin with a sweep at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the sweep in hand."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                sweep(self._runtime, self._dispatcher, messages_lost=self._messages_lost)
                self._messages_lost = False
            except CatalogError as error:
                log.warning("no sweep this time: %s", error)
            except Exception:  # without a sweeper nothing lost is ever found: whatever it was, the next round comes
                log.exception("a sweep failed")
            if self._done.wait(self._runtime.lease.sweep_interval * random.uniform(0.8, 1.2)):
                return
