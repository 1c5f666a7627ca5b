"""How long to wait, and how slow is too slow."""

import random
from dataclasses import dataclass

from pipeline.errors import SourceStalled


@dataclass
class RateFloor:
    """Adds up bytes and the seconds spent waiting for them, and judges each full window of waiting.

    Time spent elsewhere (in stores, say) does not count: a slow store is not the source's fault.
    """

    min_rate: int
    window: float
    _bytes: int = 0
    _waited: float = 0.0

    def count(self, label: str, size: int, waited: float) -> None:
        """Note `size` bytes that took `waited` seconds. Raises `SourceStalled` below `min_rate` bytes a second."""
        self._bytes += size
        self._waited += waited
        if self._waited < self.window:
            return
        if self._bytes < self.min_rate * self._waited:
            raise SourceStalled(f"{label} sent only {self._bytes} bytes in {self._waited:.0f} seconds")
        self._bytes, self._waited = 0, 0.0


def backoff(tries: int, base: float, cap: float) -> float:
    """Seconds before the next try: doubling, half of it random, as many readers must not come back in step."""
    return min(cap, base * 2.0**tries) * random.uniform(0.5, 1)
