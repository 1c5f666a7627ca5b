"""How an object is cut into parts: S3 takes 10,000 of them at most, and all but the last need 5 MiB."""

from dataclasses import dataclass

MOST_PARTS = 10_000
LEAST_PART = 5 << 20
LARGEST_PART = 5 << 30
LARGEST_OBJECT = 5 << 40
"""What an object of unknown length is planned for at most; with LARGEST_PART the limit of every S3."""

_STAIR = 1000
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class PartSizes:
    """A stair: the first 1,000 parts have `first` bytes, and each further 1,000 have `step` bytes more."""

    first: int
    step: int = 0

    def of(self, number: int) -> int:
        """Bytes of part `number`, counted from 1."""
        return self.first + (number - 1) // _STAIR * self.step

    @property
    def total(self) -> int:
        """Bytes of all parts that there can be."""
        stairs = MOST_PARTS // _STAIR
        return MOST_PARTS * self.first + _STAIR * self.step * (stairs * (stairs - 1) // 2)


def part_sizes(part: int, size: int | None, *, single: int = 0, largest: int = LARGEST_OBJECT) -> PartSizes:
    """Return the sizes for an object of `size` bytes, or of an unknown length up to `largest`.

    All parts have `part` bytes where 10,000 of them suffice. A known size needs even ones besides; an unknown
    length climbs the stair, so that small images need little memory and `largest` can still be reached. A known
    size that is not above `single` is one part.
    """
    if size is not None:
        if size <= single:
            return PartSizes(max(size, 1))
        return PartSizes(max(part, _mebibytes(size, MOST_PARTS)))
    stairs = MOST_PARTS // _STAIR
    beyond = max(0, min(largest, LARGEST_OBJECT) - MOST_PARTS * part)
    return PartSizes(part, _mebibytes(beyond, _STAIR * (stairs * (stairs - 1) // 2)))


def _mebibytes(size: int, parts: int) -> int:
    """`size` divided by `parts`, rounded up to whole mebibytes."""
    return -(-size // (parts * _MIB)) * _MIB
