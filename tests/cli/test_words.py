"""Numbers as people read them."""

import pytest

from cli import words


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (1048570, "1.0 MiB"), (5 << 40, "5.0 TiB")],
)
def test_size(count: int, text: str) -> None:
    """Given a number of bytes, then it is rounded to the unit that suits it, and never reads 1024."""
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_duration(seconds: float, text: str) -> None:
    """Given seconds, then nobody has to divide."""
    assert words.duration(seconds) == text


def test_left() -> None:
    """Given an estimate, then it pretends no precision, and never says zero."""
    assert [words.left(s) for s in (None, 0.2, 4.4, 61)] == ["", "1 s left", "4 s left", "1 min 01 s left"]
