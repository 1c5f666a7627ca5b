"""Watching an import until it ends: what is asked of the service, and how an answer is understood."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cli.client import Client
from cli.errors import NoAnswer

PATIENCE = 30.0
"""Seconds for which a service that does not answer is asked again: an import survives its restart."""


@dataclass(frozen=True, slots=True)
class StoreProgress:
    """One target store: its state as in schema.sql, bytes given to it, why it failed."""

    id: str
    state: str
    done: int
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An import at one moment. `done` and `total` are bytes of the source, `total` is None while nobody knows it."""

    task_id: str
    status: str
    phase: str
    attempt: int
    message: str
    done: int
    total: int | None
    stores: tuple[StoreProgress, ...]
    error_code: str | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Snapshot":
        """Read the answer of `GET /v2/images/{id}/import`."""
        return cls(
            task_id=found["task_id"],
            status=found["status"],
            phase=found["phase"],
            attempt=found["attempt"],
            message=found["message"],
            done=found["bytes_done"],
            total=found["bytes_total"],
            stores=tuple(StoreProgress(s["store"], s["state"], s["bytes_done"], s["reason"]) for s in found["stores"]),
            error_code=found.get("error_code"),
        )

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ("success", "failure")

    @property
    def expanding(self) -> bool:
        """Whether the source is compressed: only then do stores hold more than was read."""
        return any(store.done > self.done for store in self.stores)

    def store_total(self, store: StoreProgress) -> int | None:
        """How many bytes the store will hold: what the source promised, or an estimate while it is being expanded."""
        if self.total is None or not self.done:
            return None
        if not self.expanding:
            return self.total
        return round(self.total * store.done / self.done)


class View(Protocol):
    """Where the progress is shown."""

    def show(self, now: Snapshot) -> None:
        """Show `now`; called whether something changed or not."""

    def silence(self, reason: str) -> None:
        """Say that the service does not answer at the moment."""


class Pace:
    """Bytes a second over the last `window` seconds, of counts seen now and then."""

    def __init__(self, window: float = 8.0) -> None:
        self._window = window
        self._seen: list[tuple[float, int]] = []

    def saw(self, done: int, at: float) -> None:
        """Take in that `done` bytes were there at the time `at`. Fewer than before begin anew: another attempt."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        if not done:
            # Waiting for the first byte is no measure of how fast the others come.
            return
        if not self._seen or done != self._seen[-1][1]:
            self._seen.append((at, done))
        while len(self._seen) > 2 and at - self._seen[0][0] > self._window:
            del self._seen[0]

    def rate(self, at: float) -> float | None:
        """Bytes a second at the time `at`; None with fewer than two counts, and when nothing has come for long."""
        if len(self._seen) < 2 or at - self._seen[-1][0] > self._window:
            return None
        (first, before), (last, now) = self._seen[0], self._seen[-1]
        return (now - before) / (last - first) if last > first else None

    def left(self, total: int | None, at: float) -> float | None:
        """Seconds until `total` bytes are there, if that can be told."""
        rate = self.rate(at)
        if total is None or not rate:
            return None
        return max(0, total - self._seen[-1][1]) / rate


def watch(
    client: Client,
    image_id: str,
    view: View,
    *,
    interval: float = 0.5,
    patience: float = PATIENCE,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Snapshot:
    """Show the image's newest import until it ends, and return its last snapshot.

    Raises `Answered` when there is none (any more), `NoAnswer` after `patience` seconds without an answer.
    """
    heard = clock()
    while True:
        try:
            now = Snapshot.of(client.progress(image_id))
        except NoAnswer as error:
            if clock() - heard >= patience:
                raise
            view.silence(error.message)
        else:
            heard = clock()
            view.show(now)
            if now.ended:
                return now
        sleep(interval)
