"""The worker program, in the three ways it runs: prefork processes, threads beside the API, or the caller's own thread.

All three run the same tasks through the same runner. What differs is how a stop reaches a running step: a prefork
child gets `SystemExit` from Celery; threads cannot be interrupted, so the runner asks every step to hand back.
"""

import logging
import os
import signal
import threading
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery, signals
from celery.concurrency.thread import TaskPool
from celery.platforms import SecurityWarning
from celery.worker import state
from celery.worker import worker as celery_worker
from kombu.exceptions import OperationalError

from flows.dispatch import Dispatcher, celery_app, queues_of
from flows.runtime import Runtime
from settings import Settings
from workers.runner import Runner
from workers.sweeper import Sweeper
from workers.tasks import register

log = logging.getLogger(__name__)


def worker_name(host: str) -> str:
    """A name that no other process has, now or later: it stands in locks and attempts."""
    return f"{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class _RunnerOfProcess:
    """Gives each process its own runner: connections and locks must not cross a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pid = 0
        self._runner: Runner | None = None

    def __call__(self) -> Runner:
        if self._runner is None or self._pid != os.getpid():
            runtime = Runtime.build(self._settings)
            self._runner, self._pid = Runner(runtime, worker_name(runtime.host)), os.getpid()
        return self._runner


def run_prefork(settings: Settings, *, loglevel: str = "INFO") -> None:
    """Run a worker with child processes until it is told to go. The sweeper is a thread of the parent.

    The caller sets `REMAP_SIGTERM=SIGQUIT` before Celery is imported, so that SIGTERM means "hand back now".
    """
    app = celery_app(settings.broker)
    register(app, _RunnerOfProcess(settings))
    runtime = Runtime.build(settings)
    runtime.catalog.database.check()
    queues = queues_of(app, runtime.host)
    sweeper = Sweeper(runtime, Dispatcher(celery_app(settings.broker)))

    def logging_is_set_up(**_: Any) -> None:
        """Its mere presence keeps Celery from a set-up of its own."""

    def started(**_: Any) -> None:
        # Ctrl-C means to Celery "finish first", which may take hours.
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
        sweeper.start()
        log.info("worker ready, %d imports at a time from %s", settings.worker_concurrency, " and ".join(queues))

    def leaving(**_: Any) -> None:
        sweeper.stop()

    logging.getLogger("celery.app.trace").addFilter(_chain_goes_on)
    # Celery's advice against root is about pickled messages and about an option that this command has not.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.setup_logging.connect(logging_is_set_up, weak=False)
    signals.worker_ready.connect(started, weak=False)
    signals.worker_shutdown.connect(leaving, weak=False)
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--loglevel={loglevel}",
            "--pool=prefork",
            f"--concurrency={settings.worker_concurrency}",
            f"--queues={','.join(queues)}",
            f"--hostname=tranship-{os.getpid()}@%h",
            "--without-gossip",
            "--without-mingle",
        ]
    )


def _chain_goes_on(record: logging.LogRecord) -> bool:
    """Let Celery not tell at length of a broker that is away when the next step is to be sent: nothing is lost."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, OperationalError):
        return True
    log.warning("a step is done, and the next could not be sent; the sweeper will: %s", error)
    return False


class _Threads(TaskPool):  # type: ignore[misc]
    """Threads that know whose tasks they run: otherwise Celery asks a global default app, which knows none."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.executor = ThreadPoolExecutor(self.limit, "import", initializer=self.app.set_current)


class EmbeddedWorker:
    """A worker of threads and a sweeper within this process, for `tranship serve` and tests."""

    def __init__(self, runtime: Runtime, app: Celery, *, concurrency: int = 2) -> None:
        self.runner = Runner(runtime, worker_name(runtime.host))
        register(app, lambda: self.runner)
        self._sweeper = Sweeper(runtime, Dispatcher(app), messages_lost=True)
        self._worker = celery_worker.WorkController(
            app=app,
            pool=_Threads,
            concurrency=concurrency,
            queues=queues_of(app, runtime.host),
            hostname=f"embedded-{os.getpid()}@{runtime.host}",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        self._thread = threading.Thread(target=self._worker.start, name="celery-worker", daemon=True)

    def start(self) -> None:
        """Consume from now on; the first sweep resends what a restart has lost."""
        self._thread.start()
        self._sweeper.start()

    def hand_back(self, timeout: float) -> bool:
        """Begin nothing more and hand running steps back; False when one is still busy after `timeout` seconds."""
        self.runner.hand_back_all("the service is stopping")
        return self.runner.wait_idle(timeout)

    def stop(self, timeout: float = 4.0) -> bool:
        """Hand back, and end every thread; False when one is still busy after `timeout` seconds.

        Celery looks up from an idle broker only every two seconds: a process that ends anyway need not wait for that.
        """
        deadline = time.monotonic() + timeout
        self.hand_back(timeout)
        self._sweeper.stop()
        state.should_stop = 0
        try:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        finally:
            state.should_stop = None
        return not self._thread.is_alive()


def eager(runtime: Runtime, settings: Settings) -> Dispatcher:
    """A dispatcher whose sends run the whole chain in the caller's own thread, for writing and testing flows."""
    app = celery_app(settings.broker)
    runner = Runner(runtime, worker_name(runtime.host))
    register(app, lambda: runner)
    return Dispatcher(app)
