"""Filters by time: an operator and a moment in ISO 8601, as a range of microseconds (http-api §4.2)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.paging import bad
from catalog.engine import SECOND

TIMES = frozenset({"created_at", "updated_at"})
"""Attributes that a list can be filtered by in this way."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_OPERATORS = frozenset("gt gte lt lte eq neq".split())


@dataclass(frozen=True, slots=True)
class Span:
    """Microseconds from `least` to `most`, both inclusive, None for no end; or, if `outside`, all but these."""

    least: int | None
    most: int | None
    outside: bool = False


def span(name: str, text: str) -> Span:
    """Return when the value of `name` may be by `text`: `gte:2026-11-22T10:00:00Z`. No operator is `eq`.

    A second is what clients see of times, so it counts as a whole; a moment without zone is UTC. Raises a 400.
    """
    operator, _, rest = text.partition(":")
    if operator not in _OPERATORS:
        # What stands before the first colon of a bare moment is its date and hour.
        operator, rest = "eq", text
    begin = _second(name, rest)
    end = begin + SECOND - 1
    return {
        "gt": Span(end + 1, None),
        "gte": Span(begin, None),
        "lt": Span(None, begin - 1),
        "lte": Span(None, end),
        "eq": Span(begin, end),
        "neq": Span(begin, end, outside=True),
    }[operator]


def _second(name: str, text: str) -> int:
    """The microsecond at which the second of a moment begins."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad(name, "must be a time such as gte:2026-11-22T10:00:00Z") from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(seconds=1) * SECOND
