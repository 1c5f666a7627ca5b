"""Images, tasks and stores as tables: plain columns, with colours on a terminal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import words
from cli.client import Json

if TYPE_CHECKING:
    from api.policy import RuleInEffect

WIDE = 200
"""Columns for an output that is no terminal: whoever reads it can cut by himself."""

_FIRST = (
    "id name status disk_format container_format size virtual_size stores os_hash_algo os_hash_value checksum"
    " os_glance_import_task os_glance_importing_to_stores os_glance_failed_import"
).split()
_LINKS = ("self", "file", "schema")
_SIZES = ("size", "virtual_size")
_FOLDED = ("name", "stores", "message", "reason", "description", "check")
_ENDS = ("success", "failure")

_COLOURS = {
    "active": "green",
    "success": "green",
    "done": "green",
    "importing": "cyan",
    "processing": "cyan",
    "copying": "cyan",
    "failure": "red",
    "failed": "red",
    "killed": "red",
    "undone": "yellow",
}


def console(*, stderr: bool = False) -> Console:
    """The console of this process; an output that is no terminal is as wide as it needs."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)


def image(to: Console, shown: Json) -> None:
    """All attributes of one image, what matters first."""
    names = [name for name in _FIRST if name in shown]
    names += sorted(name for name in shown if name not in names and name not in _LINKS)
    _facts(to, ((name, _value(name, shown[name])) for name in names))


def images(to: Console, shown: Iterable[Json]) -> None:
    """One line for each image."""
    table = _table(to, "id", "name", "status", "size", "stores")
    for found in shown:
        size = found.get("size")
        table.add_row(
            found["id"],
            found.get("name") or "",
            _coloured(found["status"]),
            "" if size is None else words.size(size),
            found.get("stores", ""),
        )
    _print(to, table)


def tasks(to: Console, shown: Sequence[Json]) -> None:
    """One line for each task."""
    table = _table(to, "asked for (UTC)", "took", "status", "message")
    for found in shown:
        ended = found["updated_at"] if found["status"] in _ENDS else None
        table.add_row(*_times(found["created_at"], ended), _coloured(found["status"]), found["message"])
    _print(to, table)


def attempts(to: Console, shown: Json) -> None:
    """The stores and the attempts of one import, from `GET /v2/images/{id}/import`."""
    table = _table(to, "store", "state", "given", "reason")
    for store in shown["stores"]:
        table.add_row(store["store"], _coloured(store["state"]), words.size(store["bytes_done"]), store["reason"])
    _print(to, table)
    to.print()
    table = _table(to, "began (UTC)", "took", "step", "attempt", "outcome", "message")
    for found in shown["attempts"]:
        times = _times(found["started_at"], found["ended_at"])
        outcome = found["outcome"].replace("_", " ")
        table.add_row(*times, found["step"], str(found["number"]), outcome, found["message"])
    _print(to, table)


def stores(to: Console, shown: Sequence[Json]) -> None:
    """One line for each store."""
    table = _table(to, "id", "default", "read-only", "description")
    for found in shown:
        marks = ["yes" if found.get(name) == "true" else "" for name in ("default", "read-only")]
        table.add_row(found["id"], *marks, found.get("description", ""))
    _print(to, table)


def rules(to: Console, shown: Iterable["RuleInEffect"]) -> None:
    """One line for each rule of the policy."""
    table = _table(to, "rule", "from", "check")
    for found in shown:
        table.add_row(found.name, "file" if found.overridden else "default", Text(found.check))
    _print(to, table)


def _facts(to: Console, rows: Iterable[tuple[str, str | Text]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold" if to.is_terminal else "")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    _print(to, table)


def _table(to: Console, *headings: str) -> Table:
    """On a narrow terminal only what people have written, and lists, is folded."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold" if to.is_terminal else "")
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in _FOLDED, overflow="fold")
    return table


def _print(to: Console, table: Table) -> None:
    if to.is_terminal:
        to.print(table)
        return
    with to.capture() as plain:
        to.print(table)
    for line in plain.get().splitlines():
        to.print(line.rstrip(), markup=False, soft_wrap=True)


def _value(name: str, value: Any) -> str | Text:
    if name in _SIZES:
        return _bytes(value)
    if name == "status":
        return _coloured(str(value))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    return words.size(count) if count < 1024 else f"{words.size(count)} ({count})"


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, ""))


def _times(began: str, ended: str | None) -> tuple[str, str]:
    """When it began, and how long it took if it has ended: `2026-11-22T10:00:00Z` is more than people read."""
    first = datetime.fromisoformat(began)
    took = ""
    if ended is not None:
        seconds = (datetime.fromisoformat(ended) - first).total_seconds()
        took = words.duration(round(seconds)).replace(".0 s", " s") if seconds >= 0.5 else "< 1 s"
    return f"{first:%Y-%m-%d %H:%M:%S}", took
