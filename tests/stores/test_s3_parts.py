"""How objects are cut into parts: tables."""

import pytest

from stores.s3_parts import LARGEST_PART, LEAST_PART, MOST_PARTS, PartSizes, part_sizes

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("part", "size", "single", "first"),
    [
        # Known sizes: even parts, as small as configured while 10,000 suffice, whole mebibytes beyond.
        (10 * MIB, 0, 0, 1),
        (10 * MIB, 1, 0, 10 * MIB),
        (10 * MIB, 100_000 * MIB, 0, 10 * MIB),
        (10 * MIB, 100_000 * MIB + 1, 0, 11 * MIB),
        (10 * MIB, TIB, 0, 105 * MIB),
        (5 * MIB, 5 * TIB, 0, 525 * MIB),
        # One part up to the configured size.
        (10 * MIB, 7, 10 * MIB, 7),
        (10 * MIB, 100 * MIB, 100 * MIB, 100 * MIB),
        (10 * MIB, 100 * MIB + 1, 100 * MIB, 10 * MIB),
    ],
)
def test_a_known_size(part: int, size: int, single: int, first: int) -> None:
    sizes = part_sizes(part, size, single=single)
    assert sizes == PartSizes(first)
    assert sizes.total >= size


@pytest.mark.parametrize(
    ("part", "largest", "last"),
    [
        (10 * MIB, 90 * GIB, 10 * MIB),
        (10 * MIB, TIB, 208 * MIB),
        (5 * MIB, TIB, 212 * MIB),
        (16 * MIB, TIB, 196 * MIB),
        (10 * MIB, 5 * TIB, 1045 * MIB),
        (10 * MIB, 50 * TIB, 1045 * MIB),
    ],
)
def test_an_unknown_length(part: int, largest: int, last: int) -> None:
    sizes = part_sizes(part, None, largest=largest)
    every = [sizes.of(number) for number in range(1, MOST_PARTS + 1)]
    # Small images need small parts only, and the largest needs no more than there can be
    assert set(every[:1000]) == {part}
    assert every == sorted(every)
    assert every[-1] == last
    assert sum(every) == sizes.total >= min(largest, 5 * TIB)
    # And S3 takes each of them
    assert every[0] >= LEAST_PART
    assert every[-1] <= LARGEST_PART


def test_parts_grow_every_thousand() -> None:
    sizes = PartSizes(10, 3)
    assert [sizes.of(n) for n in (1, 1000, 1001, 2000, 2001, 9001, 10_000)] == [10, 10, 13, 13, 16, 37, 37]
