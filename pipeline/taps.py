"""The taps: they see every chunk on its way and may veto by raising; what they found out are `Facts`.

A tap is fed `bytes`, which nobody changes afterwards, so a chunk may be kept or handed to another thread as it is.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from typing import Final

from pipeline.errors import ChecksumMismatch, Interrupted, SourceBroken, TooBig
from pipeline.facts import Facts, Tap
from pipeline.formats import FormatRules, FormatTap

__all__ = [
    "Facts",
    "FormatRules",
    "FormatTap",
    "HashTap",
    "ProgressTap",
    "SizeTap",
    "StopTap",
    "Tap",
    "Threaded",
]


class SizeTap(Tap):
    """Counts, and stops at the first byte over `cap`; `declared` must be met exactly."""

    def __init__(self, cap: int | None = None, declared: int | None = None) -> None:
        self._cap, self._declared = cap, declared
        self._size = 0
        self.vouches_for_end = declared is not None

    def feed(self, chunk: bytes) -> None:
        """Raises `TooBig` over the cap or the declared size."""
        self._size += len(chunk)
        if self._declared is not None and self._size > self._declared:
            raise TooBig(f"The image has more than the {self._declared} bytes that were declared.")
        if self._cap is not None and self._size > self._cap:
            raise TooBig(f"The image has more than the {self._cap} bytes allowed.")

    def finish(self) -> Facts:
        """Facts: `size`. Raises `SourceBroken` below the declared size."""
        if self._declared is not None and self._size != self._declared:
            raise SourceBroken(f"The image has {self._size} bytes instead of the {self._declared} declared.")
        return Facts(size=self._size)


class HashTap(Tap):
    """Hashes with an algorithm of `hashlib`; with `expected` (hex, any case) it is a veto too.

    `of` says in the veto whose hash it is.
    """

    def __init__(self, algorithm: str, expected: str | None = None, of: str = "the bytes") -> None:
        self.algorithm = algorithm
        self._of = of
        # Identifies bytes, protects nothing; said so, md5 is also there where a policy forbids it for security.
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._expected = None if expected is None else expected.strip().lower()
        self.vouches_for_end = expected is not None

    def feed(self, chunk: bytes) -> None:
        """Never vetoes."""
        self._hash.update(chunk)

    def finish(self) -> Facts:
        """Facts: `hashes[algorithm]`. Raises `ChecksumMismatch` with both values."""
        found = self._hash.hexdigest()
        if self._expected is not None and found != self._expected:
            raise ChecksumMismatch(f"The {self.algorithm} of {self._of} is {found} instead of {self._expected[:128]}.")
        return Facts(hashes={self.algorithm: found})


class ProgressTap(Tap):
    """Tells `callback` the number of bytes so far, after each chunk."""

    def __init__(self, callback: Callable[[int], None]) -> None:
        self._callback = callback
        self._done = 0

    def feed(self, chunk: bytes) -> None:
        """Raises what the callback raises."""
        self._done += len(chunk)
        self._callback(self._done)


class StopTap(Tap):
    """Asks `check` at every chunk, and once more before the commit: a text stops the transfer and says why."""

    def __init__(self, check: Callable[[], str | None]) -> None:
        self._check = check

    def feed(self, chunk: bytes) -> None:
        """Raises `Interrupted`."""
        if (why := self._check()) is not None:
            raise Interrupted(why)

    def finish(self) -> Facts:
        """Raises `Interrupted`."""
        self.feed(b"")
        return Facts()


class Threaded(Tap):
    """Runs a tap in its own thread behind a bounded queue; for hashes, which let other threads run meanwhile.

    A veto of the tap surfaces at the next `feed` or at `finish`. Small chunks are joined first, since a hand-off of
    little costs more than its hash. At most `depth` + 2 hand-offs of about 1 MiB are held.
    """

    _HAND_OFF: Final = 256 * 1024

    def __init__(self, tap: Tap, name: str, depth: int = 8) -> None:
        self._tap = tap
        self.vouches_for_end = tap.vouches_for_end
        self._queue: queue.Queue[bytes | None] = queue.Queue(depth)
        self._held: list[bytes] = []
        self._have = 0
        self._error: BaseException | None = None
        self._closed = False
        # Started by the first hand-off: a transfer that never begins leaves no thread behind.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def feed(self, chunk: bytes) -> None:
        """Hand the chunk over; waits while the queue is full. Raises what the tap raised earlier."""
        self._held.append(chunk)
        self._have += len(chunk)
        if self._have >= self._HAND_OFF:
            self._hand_off()
        if self._error is not None:
            raise self._error

    def finish(self) -> Facts:
        """Wait for the tap to have seen everything; its facts or its veto."""
        if self._held:
            self._hand_off()
        self._end()
        if self._error is not None:
            raise self._error
        return self._tap.finish()

    def close(self) -> None:
        """End the thread; what is still queued is thrown away."""
        self._closed = True
        self._end()
        self._tap.close()

    def _hand_off(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._queue.put(self._held[0] if len(self._held) == 1 else b"".join(self._held))
        self._held.clear()
        self._have = 0

    def _end(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            if self._error is not None or self._closed:
                continue  # keep emptying the queue, or the feeding thread would wait for ever
            try:
                self._tap.feed(chunk)
            except BaseException as error:  # noqa: BLE001 - it is raised again, in the feeding thread
                self._error = error
