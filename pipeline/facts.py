"""What a tap is, and what it finds out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Facts:
    """What a transfer learned of the bytes it stored. None and empty mean: no tap looked.

    `hashes` maps an algorithm (`sha512`, `md5`) to a lower-case hex digest; sizes are bytes; `warnings` are sentences.
    """

    size: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    virtual_size: int | None = None
    detected_format: str | None = None
    warnings: tuple[str, ...] = ()

    def __or__(self, other: "Facts") -> "Facts":
        """Merge; where both know a thing, `other` wins."""
        return Facts(
            size=self.size if other.size is None else other.size,
            hashes={**self.hashes, **other.hashes},
            virtual_size=self.virtual_size if other.virtual_size is None else other.virtual_size,
            detected_format=other.detected_format or self.detected_format,
            warnings=self.warnings + other.warnings,
        )

    @staticmethod
    def of(taps: "Iterable[Tap]") -> "Facts":
        """Finish every tap, in order, and merge what they found. Raises the first veto."""
        return reduce(Facts.__or__, (tap.finish() for tap in taps), Facts())


class Tap(Protocol):
    """One observer of a stream, used by one thread. Inherit from it to get what most taps do not care about."""

    vouches_for_end: bool = False
    """Whether `finish` would notice that the stream was cut short."""

    def feed(self, chunk: bytes) -> None:
        """See the next chunk. Raises a `TransferError` to stop the transfer."""

    def finish(self) -> Facts:
        """The stream is complete: say what was found, or raise the veto. Called at most once."""
        return Facts()

    def close(self) -> None:
        """Let go of everything, whether finished or not. Never raises; safe twice."""
        return  # a body, or type checkers would take it for abstract
