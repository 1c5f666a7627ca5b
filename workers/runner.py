"""Runs one step of one task: enter the lock, beat, work, record; and decides what becomes of a failure.

The runner has no policy of its own: whether to try again is `workers.retry`, what a failure leaves behind is the flow's
undo. Clean-up never lives in a Celery callback, since those are not called when a worker is lost (celery-notes §4).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from catalog.errors import CatalogError, CatalogUnavailable, LockLost
from catalog.fenced import Fenced
from catalog.leases import Claim
from catalog.tasks import TaskRecord
from flows import traces
from flows.collect import collect
from flows.flow import Facts, Flow, Step, StepContext
from flows.methods import ALL_FLOWS
from flows.monitor import Monitor, Stop
from flows.runtime import Runtime
from pipeline.errors import Interrupted
from workers.heartbeat import Heartbeat
from workers.retry import Fail, Retry, decide

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The import ends because somebody wished so: the image was deleted, or the task cancelled."""

    code = "cancelled"
    transient = False


class WorkerLost(Exception):
    """Every attempt at a step ended with the worker falling silent: the step itself may be what kills them."""

    code = "worker_lost"
    transient = False


class Runner:
    """Runs steps for one worker process, whose `name` stands in the lock and in the attempts."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self._guard = threading.Condition()
        self._running: set[Monitor] = set()
        self._leaving = ""

    def run(self, task_id: str, step_name: str) -> bool:
        """Run the step if the task stands at it and nobody else is at work; True when the chain may go on.

        Doubled, late and foreign messages end here, quietly: the row decides.
        """
        task = self._load(task_id)
        flow = ALL_FLOWS.get(task.flow) if task is not None and task.live else None
        position = flow.position(step_name) if flow is not None else None
        if task is None or flow is None or position is None or task.step != position:
            return False
        with traces.serving(task.request_id), self._on_duty() as monitor:
            claim = self._enter(task_id, position) if monitor else None
            if monitor is None or claim is None:
                return False
            where = f"{flow.name}.{step_name}"
            log.info("task %s: attempt %d at %s, fence %d", task_id, claim.attempt, where, claim.fence)
            try:
                return self._attempt(flow, flow.steps[position], claim, monitor)
            finally:
                self.runtime.catalog.lock.keeper.drop(claim)

    def hand_back_all(self, why: str) -> None:
        """Ask every running step to stop and hand its task back, seen at the next chunk; no other begins from now on.

        Safe from any thread.
        """
        with self._guard:
            self._leaving = why
            running = list(self._running)
        for monitor in running:
            monitor.request_stop(Stop.HAND_BACK, why)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no step is running; False when one still is after `timeout` seconds."""
        with self._guard:
            return self._guard.wait_for(lambda: not self._running, timeout)

    @contextlib.contextmanager
    def _on_duty(self) -> Iterator[Monitor | None]:
        """Count as running; None for a runner that is leaving."""
        with self._guard:
            monitor = None if self._leaving else Monitor()
            if monitor:
                self._running.add(monitor)
        try:
            yield monitor
        finally:
            with self._guard:
                if monitor:
                    self._running.discard(monitor)
                self._guard.notify_all()

    def _load(self, task_id: str) -> TaskRecord | None:
        with contextlib.suppress(CatalogError), self.runtime.catalog.read() as tx:
            return tx.tasks.get(task_id)
        return None

    def _enter(self, task_id: str, position: int) -> Claim | None:
        try:
            return self.runtime.catalog.lock.enter(task_id, position, self.name)
        except CatalogUnavailable as error:
            log.warning("task %s: not begun: %s", task_id, error)
            return None

    def _attempt(self, flow: Flow, step: Step, claim: Claim, monitor: Monitor) -> bool:
        last = step is flow.steps[-1]
        try:
            task = self._allowed(step, claim)
            lease = self.runtime.lease
            beat = Heartbeat(
                self.runtime.catalog, claim, monitor, interval=lease.progress_interval, stall=lease.stall_timeout
            )
            with beat:
                record = step.run(StepContext(self.runtime, task, claim, monitor))
            self._write(claim, lambda tx: self._done(tx, record(tx), last), patiently=True)
        except LockLost as error:
            log.warning("task %s: %s; whatever this attempt did does not count", claim.task_id, error)
            return False
        except SystemExit:
            # Celery asks a prefork child to go (cold or soft shutdown): the work is handed back, then the child leaves.
            monitor.request_stop(Stop.HAND_BACK, "the worker is shutting down")
            self._hand_back(claim, monitor.why)
            raise
        except Exception as error:  # noqa: BLE001 - the decision about every error is `workers.retry`'s
            self._after(flow, claim, monitor, error)
            return False
        self._collect(claim.image_id)
        return True

    def _done(self, tx: Fenced, facts: Facts, last: bool) -> None:
        if last:
            tx.succeed(str(facts["message"]), keep_for=self.runtime.options.task_time_to_live)
        else:
            tx.advance(facts)

    def _allowed(self, step: Step, claim: Claim) -> TaskRecord:
        """The task as it stands now, unless it should not be worked on any more."""
        with self.runtime.catalog.read() as tx:
            task = tx.tasks.get(claim.task_id)
            why = tx.tasks.stop_requested(claim.task_id)
        if why is not None and step.can_be_called_off:
            raise Cancelled(why)
        if claim.attempt > self.runtime.options.max_attempts:
            raise WorkerLost(f"{claim.attempt - 1} workers fell silent while they ran this step; it was given up")
        return task

    def _after(self, flow: Flow, claim: Claim, monitor: Monitor, error: Exception) -> None:
        """An attempt ended with an error: hand back, let go, try later or undo."""
        if isinstance(error, Interrupted):
            if monitor.stop is Stop.HAND_BACK:
                return self._hand_back(claim, monitor.why)
            if monitor.stop is Stop.LOST:
                log.warning("task %s: stopped: %s", claim.task_id, monitor.why)
                return None
            error = Cancelled(monitor.why or error.why)
        verdict = decide(error, claim.attempt, self.runtime.options)
        if isinstance(verdict, Retry):
            log.warning("task %s: %s; next attempt in %.0f s", claim.task_id, error, verdict.delay)
            code = getattr(error, "code", "")
            self._settle(claim, lambda tx: tx.retry_later(verdict.delay, code=code, message=str(error)))
        else:
            self._fail(flow, claim, error, verdict)
        return self._collect(claim.image_id)

    def _fail(self, flow: Flow, claim: Claim, error: Exception, verdict: Fail) -> None:
        # A trace helps only where the failure is ours; what the world did wrong, the sentence tells.
        log.error("task %s failed: %s", claim.task_id, verdict.message, exc_info=error if verdict.ours else None)

        def failed(tx: Fenced) -> None:
            flow.undo(tx, error, verdict.code, verdict.message)
            tx.fail(code=verdict.code, message=verdict.message, keep_for=self.runtime.options.task_time_to_live)

        self._settle(claim, failed)

    def _hand_back(self, claim: Claim, why: str) -> None:
        log.info("task %s: handed back: %s", claim.task_id, why)
        self._settle(claim, lambda tx: tx.hand_back(why))
        self._collect(claim.image_id)

    def _settle(self, claim: Claim, change: Callable[[Fenced], None]) -> None:
        """Write how an attempt ended. If that cannot be done, the lease runs out, and the next attempt finds out."""
        try:
            self._write(claim, change, patiently=False)
        except CatalogError as error:
            log.warning("task %s: how this attempt ended is not on record: %s", claim.task_id, error)

    def _write(self, claim: Claim, change: Callable[[Fenced], None], *, patiently: bool) -> None:
        """Apply `change` under the fence. With `patiently`, a database that is away is waited for while the lease may
        last, or until this worker has to go: what took hours is worth it. Raises `LockLost`, `CatalogUnavailable`.
        """
        lease = self.runtime.lease
        deadline = time.monotonic() + (lease.ttl if patiently else 0.0)
        while True:
            try:
                with self.runtime.catalog.fenced(claim) as tx:
                    return change(tx)
            except CatalogUnavailable as error:
                if self._leaving or time.monotonic() >= deadline:
                    raise
                log.warning("task %s: not recorded yet: %s", claim.task_id, error)
            time.sleep(lease.progress_interval)

    def _collect(self, image_id: str) -> None:
        """Delete at once what became garbage; what cannot be deleted now, the sweeper tries again."""
        with contextlib.suppress(CatalogError):
            collect(self.runtime, image_id=image_id)
