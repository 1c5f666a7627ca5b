"""A source that is pushed to us: the body of a request."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.chunks import joined
from pipeline.errors import Interrupted, SourceBroken, SourceError
from stores.base import CHUNK

_PIECE: Final = CHUNK // 4  # as much as a slow sender is waited for before anybody learns that it still sends
_PATIENCE: Final = 0.5


class ReceivedSource:
    """A `pipeline.sources.Source` over a body that a server hands out.

    `read(n)` returns at most `n` bytes, none at the end, and raises a `SourceError` when the body breaks off: that is
    what vouches for the end of a chunked one. `size` is how many bytes were announced; if it is given, more and fewer
    are both `SourceBroken`. `wake` makes a `read` that waits return, or raise, at once; any thread may call it.
    """

    def __init__(self, read: Callable[[int], bytes], size: int | None, wake: Callable[[], None] = lambda: None) -> None:
        self.label = "the body of the request"
        self.length = size
        self.end_vouched = True
        self._read, self._wake = read, wake
        self._why: str | None = None

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """Nothing is read before a chunk is asked for. Chunks are of about 1 MiB, or what came in half a second."""
        yield joined(self._pieces(), CHUNK, _PATIENCE)

    def interrupt(self, why: str = "asked to stop") -> None:
        """See `pipeline.sources.Source`; without `wake`, seen at the next piece."""
        self._why = why
        self._wake()

    def _pieces(self) -> Generator[bytes]:
        at, size = 0, self.length
        while piece := self._next():
            at += len(piece)
            if size is not None and at > size:
                raise SourceBroken(f"The body has more than the {size} bytes that were announced.")
            yield piece
        if size is not None and at < size:
            raise SourceBroken(f"The body ends after {at} of {size} bytes.")

    def _next(self) -> bytes:
        try:
            piece = self._read(_PIECE)
        except SourceError:
            self._check()
            raise
        self._check()
        return piece

    def _check(self) -> None:
        if self._why is not None:
            raise Interrupted(self._why)
