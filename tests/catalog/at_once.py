"""Acts that meet: all at the same moment, or one while another is in mid-transaction."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Beside(Protocol):
    """Starts an act beside the caller's open transaction, and returns once it waits for one of its rows."""

    def __call__(self, act: Callable[[], T]) -> "Future[T]": ...


def at_once(*acts: Callable[[], T]) -> list[T]:
    """Do all at the same moment; the answers in that order."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], T]) -> T:
        gate.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))
