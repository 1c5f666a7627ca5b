"""A source over the copies that stores hold already: the staging area, or the locations of an image."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from pipeline.ahead import ReadAhead
from pipeline.errors import Interrupted, SourceUnreadable
from stores.base import CHUNK, ReadableStore, Reader
from stores.errors import StoreError

_PROGRESS: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Copy:
    """One object that holds the data."""

    store: ReadableStore
    key: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one copy gave: the bytes from offset `start` on, until another went on or the end was reached."""

    copy: Copy
    start: int


class StoreSource:
    """A `pipeline.sources.Source` that reads `size` bytes from the first of `copies` that can be read.

    When a copy cannot be opened, is of another size, breaks off, or (`remote`) is silent for `idle_timeout` seconds,
    the next one goes on at the byte where it stopped: an object never changes, so equal offsets are equal bytes, and
    who knows a hash has a tap compare it. A copy whose trouble may pass, and that brought 64 KiB since it was opened,
    gets another turn after the others. When nobody is left: `SourceUnreadable`. `skipped` may be begun with copies
    that have no store. One source is one reading, used by one thread.
    """

    def __init__(
        self,
        copies: Sequence[Copy],
        size: int,
        *,
        idle_timeout: float = 60,
        skipped: Iterable[StoreError] = (),
    ) -> None:
        self.label = f"the data in {', '.join(copy.store.id for copy in copies) or 'no store'}"
        self.length: int | None = size
        self.end_vouched = True
        self.used: list[Stretch] = []
        """Which copies gave bytes, in order. Complete when the reading is over."""
        self.skipped: list[StoreError] = list(skipped)
        """Why copies were given up, in order; a copy that got another turn may be there twice."""
        self._copies, self._size, self._idle_timeout = copies, size, idle_timeout
        self._ahead: ReadAhead | None = None
        self._why: str | None = None

    def interrupt(self, why: str = "asked to stop") -> None:
        """Wakes a reader that waits for a remote store at once; a local one sees it at the next chunk."""
        self._why = why
        if (ahead := self._ahead) is not None:
            ahead.interrupt(why)

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """Nothing is opened before the first chunk is asked for."""
        with closing(self._chunks()) as chunks:
            yield chunks

    def _chunks(self) -> Generator[bytes]:
        at, turns = 0, deque(self._copies)
        while turns:
            copy, began = turns.popleft(), at
            try:
                with self._reading(copy, at) as chunks:
                    for chunk in chunks:
                        self._check()
                        if at == began:
                            self.used.append(Stretch(copy, at))
                        at += len(chunk)
                        yield chunk
                return
            except StoreError as error:
                self.skipped.append(error)
                if error.transient and at - began >= _PROGRESS:
                    turns.append(copy)
        last = {error.store: error for error in self.skipped}
        raise SourceUnreadable(
            f"No copy could be read any further than {at} of {self._size} bytes: {'; '.join(map(str, last.values()))}",
            transient=any(error.transient for error in last.values()),
        )

    @contextmanager
    def _reading(self, copy: Copy, at: int) -> Iterator[Iterable[bytes]]:
        """The chunks of a copy from `at` on; a store that may wait on a network is read by a thread (§5.7)."""
        self._check()
        begin = partial(self._rest, copy, at)
        if not copy.store.remote:
            with closing(begin()) as chunks:
                yield chunks
            return
        self._ahead = ahead = ReadAhead(begin, copy.store.id, idle_timeout=self._idle_timeout)
        try:
            if self._why is not None:  # asked between the check and the thread
                ahead.interrupt(self._why)
            yield ahead
        finally:
            self._ahead = None
            ahead.close()

    def _rest(self, copy: Copy, at: int) -> Generator[bytes]:
        with self._open(copy, at) as reader:
            while at < self._size:
                chunk = reader.read(min(CHUNK, self._size - at))
                if not chunk:
                    raise StoreError(copy.store.id, f"the object ended after {at} of {self._size} bytes")
                at += len(chunk)
                yield chunk

    def _open(self, copy: Copy, at: int) -> Reader:
        try:
            reader = copy.store.open(copy.key, at)
        except ValueError as error:
            raise StoreError(copy.store.id, f"there is nothing at byte {at} of {self._size}") from error
        if reader.size != self._size:
            reader.close()
            raise StoreError(copy.store.id, f"the object has {reader.size} instead of {self._size} bytes")
        return reader

    def _check(self) -> None:
        if self._why is not None:
            raise Interrupted(self._why)
