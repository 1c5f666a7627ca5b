"""The heartbeat of one attempt: renews the lease, shows progress, and hears requests to stop, in a thread of its
own.
"""

import contextvars
import logging
import threading
import time
from types import TracebackType
from typing import Self

from catalog.catalog import Catalog
from catalog.errors import CatalogUnavailable, LockLost
from catalog.leases import Claim
from flows.monitor import Monitor, Progress, Stop

log = logging.getLogger(__name__)


class Heartbeat:
    """Beats from `__enter__` to `__exit__`, every `interval` seconds; the lease is renewed every third of its length.

    An attempt in which nothing moves for `stall` seconds is given up, whatever it waits for: its lease is let go, and
    the next attempt may do better, or end the task once there were enough. A database that is away is waited for
    until the lease must be taken for lost, by this process's own clock and a margin before the end (celery-notes §7);
    then the step is stopped, and so can nobody else's work be disturbed.
    """

    def __init__(self, catalog: Catalog, claim: Claim, monitor: Monitor, *, interval: float, stall: float) -> None:
        self._catalog = catalog
        self._claim = claim
        self._monitor = monitor
        self._ttl = catalog.lock.ttl
        self._interval = min(interval, self._ttl / 3)
        self._stall = stall
        self._done = threading.Event()
        # It logs for the request that the thread of the step works for.
        run, name = contextvars.copy_context().run, f"heartbeat-{claim.image_id[:8]}"
        self._thread = threading.Thread(target=run, args=(self._run,), name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        renewed = moved = time.monotonic()
        shown: Progress | None = None
        while not self._done.wait(self._interval):
            began = time.monotonic()
            try:
                if began - renewed >= self._ttl / 3:
                    self._catalog.lock.renew(self._claim)
                    renewed = began
                progress = self._beat(shown)
                if progress != shown:
                    shown, moved = progress, began
                if began - moved >= self._stall:
                    log.error("task %s: %s and nothing moved for %.0f s", self._claim.task_id, shown.phase, self._stall)
                    self._monitor.request_stop(Stop.LOST, f"nothing moved for {self._stall:g} s")
                    return
            except LockLost as error:
                self._monitor.request_stop(Stop.LOST, str(error))
                return
            except CatalogUnavailable as error:
                log.warning("task %s: no heartbeat: %s", self._claim.task_id, error)
                if time.monotonic() - renewed >= self._ttl * 0.8:
                    self._monitor.request_stop(Stop.LOST, "the database did not answer for the length of a lease")
                    return

    def _beat(self, shown: Progress | None) -> Progress:
        """Write progress if it changed, and look whether somebody wants this to stop, or has taken the image over."""
        now = self._monitor.progress()
        if now != shown:
            with self._catalog.fenced(self._claim) as fenced:
                fenced.progress(now.phase, now.bytes_done, now.bytes_total, now.stores)
        with self._catalog.read() as tx:
            self._catalog.lock.require(tx.connection, self._claim)
            why = tx.tasks.stop_requested(self._claim.task_id)
        if why is not None:
            self._monitor.request_stop(Stop.CANCEL, why)
        return now
