"""The tee gives each chunk to every writer. A store that fails is left behind, or takes all others with it."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pipeline.errors import Interrupted, NothingStored
from stores.base import Bytes, Moving, Store, StoredObject, Writer
from stores.errors import SessionEnded, StoreError, StoreUnavailable


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
    `committing` is told of each store whose turn to commit it is: that may take minutes each.
    """

    def __init__(
        self,
        writers: Mapping[str, Writer],
        must_all: bool,
        failed: Mapping[str, StoreError] | None = None,
        *,
        committing: Callable[[str], None] = lambda store: None,
    ) -> None:
        self._writers = dict(writers)
        self._must_all = must_all
        self._committing = committing
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
            self._committing(store)
            self.stored[store] = writer.commit()

        self._each(keep)
        return TeeResult(dict(self.stored), dict(self.failed))

    def interrupt(self) -> None:
        """Make whoever waits for a store behind a queue fail with `Interrupted` at once. Any thread, any time."""
        for writer in list(self._writers.values()):
            if isinstance(writer, QueuedWriter):
                writer.interrupt()

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
    """A write session in a thread of its own behind a bounded queue, for stores that wait on a network.

    So such a store does not hold up the others before its queue is full, and fails alone (`StoreUnavailable`) when one
    call to it (opening, a write) takes longer than `idle_timeout` seconds, during which no bytes move if the session
    can tell (`Moving`). Its commit may take `commit_timeout`: there the store works while nothing moves, and S3 may
    need minutes to make an object of its parts. Same contract as any `Writer`; an error surfaces at the next call.
    `bytes` are kept as they are, other buffers are copied, since the caller gets them back. At most `depth` + 1 of them
    are held.
    """

    _FAREWELL = 2.0  # seconds that `abort` waits for a thread that may be stuck in the network
    _LOOK = 0.1  # seconds between looks at a thread that may have failed meanwhile

    def __init__(
        self,
        begin: Callable[[], Writer],
        store: str,
        depth: int = 8,
        idle_timeout: float = 60,
        commit_timeout: float = 600,
    ) -> None:
        self._begin, self._store = begin, store
        self._idle_timeout, self._commit_timeout = idle_timeout, commit_timeout
        self._queue: queue.Queue[bytes | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._receipt: StoredObject | None = None
        self._aborted = threading.Event()
        self._interrupted = threading.Event()
        self._committing = False
        self._last = time.monotonic()
        self._session: Writer | None = None
        self._thread = threading.Thread(target=self._run, name=f"write {store}", daemon=True)
        self._thread.start()

    def write(self, chunk: Bytes) -> None:
        """Hand `chunk` to the thread; waits while the queue is full."""
        self._queue_up(bytes(chunk))

    def commit(self) -> StoredObject:
        """Wait for the thread to have written and committed everything."""
        self._queue_up(None)
        while self._thread.is_alive():
            self._thread.join(self._LOOK)
            self._lose_patience()
        self._raise()
        if self._receipt is None:
            raise SessionEnded(self._store, "the write session is over")
        return self._receipt

    def interrupt(self) -> None:
        """Make whoever waits here for the store fail with `Interrupted`. Any thread, any time."""
        self._interrupted.set()

    def abort(self) -> None:
        """Drop the session. A thread stuck in the store is left to abort it by itself when it gets free.

        If what it is stuck in is the commit, the object may yet appear: its key is on record, and deleted again later.
        """
        if self._aborted.is_set():
            return
        self._aborted.set()
        with contextlib.suppress(queue.Full):  # a full queue is being emptied, and the flag seen after that
            self._queue.put_nowait(None)
        self._thread.join(self._FAREWELL)

    def _queue_up(self, chunk: bytes | None) -> None:
        if self._queue.empty():
            self._last = time.monotonic()  # it may have waited for us; its idle clock starts with this chunk
        while True:
            self._raise()
            with contextlib.suppress(queue.Full):
                return self._queue.put(chunk, timeout=self._LOOK)
            self._lose_patience()

    def _lose_patience(self) -> None:
        if self._interrupted.is_set():
            raise Interrupted(f"store {self._store} is not waited for")
        patience = self._commit_timeout if self._committing else self._idle_timeout
        moved = self._session.moved_at if isinstance(self._session, Moving) else 0.0
        if self._thread.is_alive() and time.monotonic() > max(self._last, moved) + patience:
            done = "did not complete the object in" if self._committing else "took no bytes for"
            raise StoreUnavailable(self._store, f"{done} {patience:g} seconds")

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        session: Writer | None = None
        try:
            session = self._session = self._begin()
            while (chunk := self._next()) is not None:
                session.write(chunk)
            if not self._aborted.is_set():
                self._committing = True
                self._receipt = session.commit()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the feeding thread
            self._error = error
        if session is not None:
            session.abort()  # no effect on what is committed

    def _next(self) -> bytes | None:
        self._last = time.monotonic()
        chunk = self._queue.get()
        self._last = time.monotonic()
        return None if self._aborted.is_set() else chunk


def begin_session(
    store: Store, key: str, size: int | None, *, idle_timeout: float, commit_timeout: float = 600
) -> Writer:
    """Open a write session of `size` bytes if known. A store behind a network gets a thread and a queue, so that it
    waits, and if need be fails, alone (architecture §5.7). Raises `StoreError`.
    """
    begin = partial(store.create, key, size)
    if not store.remote:
        return begin()
    return QueuedWriter(begin, store.id, idle_timeout=idle_timeout, commit_timeout=commit_timeout)
