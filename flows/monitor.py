"""What a running step and its heartbeat tell each other: how far it is, and whether it must stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum


class Stop(Enum):
    """Why a step must end before it is done, and so what becomes of its task."""

    CANCEL = "cancel"
    """Somebody asked for it: the task is undone."""
    HAND_BACK = "hand back"
    """This worker has to go: another takes over, the attempt does not count."""
    LOST = "lost"
    """The lease is gone: another may be at work, nothing may be written."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is: bytes read of those promised by the source, bytes given to each store."""

    phase: str
    bytes_done: int
    bytes_total: int | None
    stores: dict[str, int]


class Monitor:
    """Shared by the thread that moves bytes and the heartbeat thread; every method may be called from either."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._interrupts: list[Callable[[], None]] = []
        self._phase = "starting"
        self._done = 0
        self._total: int | None = None
        self._stores: dict[str, int] = {}
        self.stop: Stop | None = None
        self.why = ""

    def show(self, phase: str, *, total: int | None = None) -> None:
        """Begin a phase, in words for people."""
        with self._guard:
            self._phase, self._total = phase, total

    def moved(self, done: int, stores: dict[str, int]) -> None:
        """Tell how many bytes were read so far, and how many each store was given."""
        with self._guard:
            self._done, self._stores = done, stores

    def progress(self) -> Progress:
        """What to show now."""
        with self._guard:
            return Progress(self._phase, self._done, self._total, dict(self._stores))

    def request_stop(self, stop: Stop, why: str) -> None:
        """Ask the step to end: seen at the next chunk, and a wait for the source is cut short. The first reason
        stays.
        """
        with self._guard:
            if self.stop is not None:
                return
            self.stop, self.why = stop, why
            interrupts = list(self._interrupts)
        for interrupt in interrupts:
            interrupt()

    def stopping(self) -> str | None:
        """The reason to stop, or None: what a tap asks at every chunk."""
        return self.why if self.stop is not None else None

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Within the block, a request to stop also calls `interrupt`, at once if it came before."""
        with self._guard:
            self._interrupts.append(interrupt)
            late = self.stop is not None
        if late:
            interrupt()
        try:
            yield
        finally:
            with self._guard:
                self._interrupts.remove(interrupt)
