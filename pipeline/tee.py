"""The tee gives each chunk to every writer. A store that fails is left behind, or takes all others with it."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.errors import NothingStored
from stores.base import Bytes, StoredObject, Writer
from stores.errors import StoreError, StoreUnavailable


@dataclass(frozen=True, slots=True)
class TeeResult:
    """What became of each store, by id: a receipt or the error that put it out."""

    stored: Mapping[str, StoredObject] = field(default_factory=dict)
    failed: Mapping[str, StoreError] = field(default_factory=dict)


class Tee:
    """N write sessions as one. With `must_all` the first failing store ends everything, else it is left behind.

    `stored` and `failed` can be read at any time. After a `commit` that failed, `stored` names the objects that are
    visible nevertheless: two stores have no common commit, so the caller deletes what is in there.

    `failed` may be begun with stores that opened no session; they count as if they had failed at the first byte, at
    once: raises as `write` does, with every session aborted (`NothingStored` also for several of `must_all`).
    """

    def __init__(
        self, writers: Mapping[str, Writer], must_all: bool, failed: Mapping[str, StoreError] | None = None
    ) -> None:
        self._writers = dict(writers)
        self._must_all = must_all
        self.stored: dict[str, StoredObject] = {}
        self.failed: dict[str, StoreError] = dict(failed or {})
        if self.failed and must_all:
            self.abort()
            if len(self.failed) == 1:
                raise next(iter(self.failed.values()))
        if not self._writers or (self.failed and must_all):
            raise NothingStored(dict(self.failed))

    def write(self, chunk: bytes) -> None:
        """Append to every store that is left. Raises the store's `StoreError` (`must_all`), else `NothingStored`."""
        self._each(lambda _, writer: writer.write(chunk))

    def commit(self) -> TeeResult:
        """Commit every session that is left, in order. Raises as `write` does, after aborting what is not committed."""

        def keep(store: str, writer: Writer) -> None:
            self.stored[store] = writer.commit()

        self._each(keep)
        return TeeResult(dict(self.stored), dict(self.failed))

    def abort(self) -> None:
        """Drop every session that is not committed. Never raises; safe twice."""
        for store, writer in self._writers.items():
            if store not in self.stored:
                writer.abort()

    def _each(self, step: Callable[[str, Writer], None]) -> None:
        for store, writer in list(self._writers.items()):
            try:
                step(store, writer)
            except StoreError as error:
                self.failed[store] = error
                if self._must_all:
                    self.abort()
                    raise
                del self._writers[store]
                writer.abort()
                if not self._writers:
                    raise NothingStored(dict(self.failed)) from error


class QueuedWriter:
    """A writer in its own thread behind a bounded queue, for stores that wait on a network.

    So such a store does not hold up the others before its queue is full, and fails alone (`StoreUnavailable`) when it
    takes nothing for `idle_timeout` seconds. Same contract as any `Writer`; an error of `inner` surfaces at the next
    call. `bytes` are kept as they are, other buffers are copied, since the caller gets them back. At most `depth` + 1
    of them are held.
    """

    _FAREWELL = 2.0  # seconds that `abort` waits for a thread that may be stuck in the network

    def __init__(self, inner: Writer, store: str, depth: int = 8, idle_timeout: float = 60) -> None:
        self._inner, self._store, self._idle_timeout = inner, store, idle_timeout
        self._queue: queue.Queue[bytes | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._aborted = threading.Event()
        self._committed = False
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"write {store}", daemon=True)
        self._thread.start()

    def write(self, chunk: Bytes) -> None:
        """Hand `chunk` to the thread; waits while the queue is full."""
        self._raise()
        self._queue_up(bytes(chunk))

    def commit(self) -> StoredObject:
        """Wait for the thread to have written everything, then commit, in the caller's thread."""
        self._queue_up(None)
        while self._thread.is_alive():
            self._thread.join(self._patience())
            if self._thread.is_alive() and self._patience() <= 0:
                raise self._idle()
        self._raise()
        receipt = self._inner.commit()
        self._committed = True
        return receipt

    def abort(self) -> None:
        """Drop the session. A thread stuck in the store is left to abort it by itself when it gets free."""
        if self._committed:
            return
        self._aborted.set()
        with contextlib.suppress(queue.Full):  # a full queue is being emptied, and the flag seen after that
            self._queue.put_nowait(None)
        self._thread.join(self._FAREWELL)
        if not self._thread.is_alive():
            self._inner.abort()

    def _queue_up(self, chunk: bytes | None) -> None:
        if self._queue.empty():
            self._last = time.monotonic()  # it may have waited for us; its idle clock starts with this chunk
        while True:
            try:
                self._queue.put(chunk, timeout=max(self._patience(), 0.001))
            except queue.Full:
                if self._patience() <= 0:
                    raise self._idle() from None
            else:
                return

    def _patience(self) -> float:
        """Seconds until the store has been idle for too long, given that it has something to do."""
        return self._last + self._idle_timeout - time.monotonic()

    def _idle(self) -> StoreError:
        return StoreUnavailable(self._store, f"took no bytes for {self._idle_timeout:g} seconds")

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None and not self._aborted.is_set():
            if self._error is not None:
                continue  # keep emptying the queue, or the feeding thread would wait for ever
            self._last = time.monotonic()
            try:
                self._inner.write(chunk)
            except BaseException as error:  # noqa: BLE001 - it is raised again, in the feeding thread
                self._error = error
            self._last = time.monotonic()
        if self._aborted.is_set():
            self._inner.abort()
