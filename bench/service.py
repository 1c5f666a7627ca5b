"""The service that is measured: a process of its own with the embedded worker, SQLite and the in-process broker.

It does what `tranship serve` does with an import, from the request to the last row; only HTTP's API is not there.
"""

import multiprocessing
import re
import resource
import threading
import time
import uuid
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import psutil

import settings
from bench.data import Original
from bench.place import Place
from catalog.images import NewImage
from catalog.tasks import TaskRecord
from flows.dispatch import Dispatcher, celery_app
from flows.flow import ImportRequest
from flows.runtime import Runtime
from flows.submit import Requester, submit
from workers.app import EmbeddedWorker

_LOOK = 0.05
_PATIENCE = 600.0


class ImportFailed(Exception):
    """An import did not lead to what it had to lead to; nothing measured counts then."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One import from the request to success. Times are seconds; `cpu` is that of the whole process, user and system.

    `peak` is the most memory the process ever held (bytes, VmHWM); `threads` has user and system time by role.
    """

    seconds: float
    cpu: float
    peak: int
    sha512: str
    md5: str
    files: tuple[Path, ...]
    threads: dict[str, tuple[float, float]]
    error: str


class Service:
    """The process, seen from outside. A `with` block starts and ends it."""

    def __init__(self, place: Place) -> None:
        self._ours, self._theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(self._theirs, place), daemon=True)

    def run(self, url: str, stores: tuple[str, ...], original: Original) -> Outcome:
        """Import `url` and check every byte of what is in the stores; then they are emptied.

        Raises `ImportFailed`.
        """
        self._ours.send((url, stores))
        try:
            outcome: Outcome = self._ours.recv()
        except EOFError:
            raise ImportFailed("the service died") from None
        try:
            if outcome.error:
                raise ImportFailed(outcome.error)
            if (outcome.sha512, outcome.md5) != (original.sha512, original.md5):
                raise ImportFailed("the image has other hashes than the original")
            if len(outcome.files) != len(stores) or not all(map(original.is_copied_to, outcome.files)):
                raise ImportFailed("a store has other bytes than the original")
        finally:
            for path in outcome.files:
                path.unlink()
        return outcome

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()  # so that the death of the process is an end of what it says
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _serve(theirs: Connection, place: Place) -> None:
    """The process: imports what it is asked to, until nobody asks any more."""
    port = int(place.url.rpartition(":")[2])
    chosen = settings.load(
        data=str(place.state),
        overrides=[
            ("import_filtering_opts", "allowed_ports", [port]),
            ("tranship", "allowed_networks", ["127.0.0.0/8"]),
            ("tranship", "max_attempts", 1),
        ],
    )
    runtime = Runtime.build(chosen)
    runtime.catalog.database.create()
    app = celery_app(chosen.broker)
    worker = EmbeddedWorker(runtime, app, concurrency=1)
    worker.start()
    try:
        while True:
            url, stores = theirs.recv()
            theirs.send(_import(runtime, Dispatcher(app), url, stores))
    except EOFError:
        worker.stop()


def _import(runtime: Runtime, dispatcher: Dispatcher, url: str, stores: tuple[str, ...]) -> Outcome:
    new = NewImage(str(uuid.uuid4()), "bench", disk_format="raw", container_format="bare")
    with runtime.catalog.begin() as tx:
        image = tx.images.create(new)
    request = ImportRequest("web-download", uri=url, stores=stores)
    before, began = _cpu(), time.monotonic()
    with _Account() as account:
        task_id = submit(runtime, dispatcher, image, request, Requester("bench"))
        while (task := _task(runtime, task_id)).live and time.monotonic() - began < _PATIENCE:
            time.sleep(_LOOK)
    seconds, cpu = time.monotonic() - began, _cpu() - before
    with runtime.catalog.read() as tx:
        image = tx.images.get(image.id)
    return Outcome(
        seconds=seconds,
        cpu=cpu,
        peak=_peak(),
        sha512=image.os_hash_value or "",
        md5=image.checksum or "",
        files=tuple(Path(unquote(urlsplit(place.url).path)) for place in image.locations),
        threads=account.threads,
        error="" if task.status == "success" else task.message or f"not done within {_PATIENCE:g} seconds",
    )


def _task(runtime: Runtime, task_id: str) -> TaskRecord:
    with runtime.catalog.read() as tx:
        return tx.tasks.get(task_id)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


class _Account:
    """Adds up the CPU time of every thread while the block runs, as the kernel counts it (in 10 ms)."""

    def __init__(self) -> None:
        self.threads: dict[str, tuple[float, float]] = {}
        self._seen: dict[int, tuple[str, float, float]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="account")

    def __enter__(self) -> Self:
        self._look()
        self._first = dict(self._seen)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()
        for id, (role, user, system) in self._seen.items():
            _, user_before, system_before = self._first.get(id, (role, 0.0, 0.0))
            had = self.threads.get(role, (0.0, 0.0))
            self.threads[role] = had[0] + user - user_before, had[1] + system - system_before

    def _run(self) -> None:
        while not self._done.wait(_LOOK):
            self._look()

    def _look(self) -> None:
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        for found in psutil.Process().threads():
            if found.id in names:
                self._seen[found.id] = _role(names[found.id]), found.user_time, found.system_time


def _role(name: str) -> str:
    """What a thread does, by its name."""
    if name.startswith("import_"):
        return "transfer: read, expand, inspect, write"
    if name in ("MainThread", "account"):
        return "watching (the benchmark's own)"
    return name.partition("-")[0]
