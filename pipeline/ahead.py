"""Reading ahead: chunks of a store that waits on a network, fetched by a thread of their own (architecture §5.7)."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from pipeline.errors import Interrupted
from stores.errors import StoreUnavailable


class ReadAhead:
    """The chunks of `begin()`, made by a thread; at most `depth` of them wait to be taken, and one more is in its hand.

    So a store that falls silent for `idle_timeout` seconds fails (`StoreUnavailable`) instead of holding up its reader,
    and one that answers is asked for the next chunk while the last is being used. What was read before an error comes
    before it. Taken by one thread; `interrupt` may come from any.
    """

    _FAREWELL = 2.0  # seconds that `close` waits for a thread that may be stuck in the network

    def __init__(
        self, begin: Callable[[], Generator[bytes]], store: str, *, depth: int = 8, idle_timeout: float = 60
    ) -> None:
        self._begin, self._store, self._depth, self._idle_timeout = begin, store, depth, idle_timeout
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._why: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"read {store}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._next()) is not None:
            yield chunk

    def interrupt(self, why: str) -> None:
        """Make whoever takes chunks fail with `Interrupted` at once."""
        with self._changed:
            self._why = why
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread. One that is stuck in the store is left to end by itself when it gets free."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify_all()
        self._thread.join(self._FAREWELL)

    def _next(self) -> bytes | None:
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._chunks or self._ended or self._why is not None, self._idle_timeout
            )
            if self._why is not None:
                raise Interrupted(self._why)
            if not came:
                raise StoreUnavailable(self._store, f"sent no bytes for {self._idle_timeout:g} seconds")
            if self._chunks:
                self._changed.notify_all()
                return self._chunks.popleft()
        if self._error is not None:
            raise self._error
        return None

    def _run(self) -> None:
        try:
            with closing(self._begin()) as chunks:
                for chunk in chunks:
                    if not self._keep(chunk):
                        break
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that takes the chunks
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _keep(self, chunk: bytes) -> bool:
        """Wait for room and put the chunk there; False when nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._chunks) < self._depth or self._closed)
            if not self._closed:
                self._chunks.append(chunk)
                self._changed.notify_all()
            return not self._closed
