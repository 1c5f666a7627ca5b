"""Images, tasks and stores as tables: with lines on a terminal, plain columns without one."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import words
from cli.client import Json

WIDE = 200
"""Columns for an output that is no terminal: whoever reads it can cut by himself."""

_FIRST = (
    "id name status disk_format container_format size virtual_size stores os_hash_algo os_hash_value checksum"
    " os_glance_import_task os_glance_importing_to_stores os_glance_failed_import"
).split()
_LINKS = ("self", "file", "schema")
_SIZES = ("size", "virtual_size")

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
    table = _table(to, "id", "name", "status", "format", "size", "stores")
    for found in shown:
        table.add_row(
            found["id"],
            found.get("name") or "",
            _coloured(found["status"]),
            found.get("disk_format") or "",
            _bytes(found.get("size")),
            found.get("stores", ""),
        )
    _print(to, table)


def tasks(to: Console, shown: Sequence[Json]) -> None:
    """One line for each task."""
    table = _table(to, "id", "status", "created", "updated", "message")
    for found in shown:
        times = (found["created_at"], found["updated_at"])
        table.add_row(found["id"], _coloured(found["status"]), *map(_time, times), found["message"])
    _print(to, table)


def attempts(to: Console, shown: Json) -> None:
    """The stores and the attempts of one import, from `GET /v2/images/{id}/import`."""
    table = _table(to, "store", "state", "given", "reason")
    for store in shown["stores"]:
        table.add_row(store["store"], _coloured(store["state"]), words.size(store["bytes_done"]), store["reason"])
    _print(to, table)
    table = _table(to, "step", "attempt", "outcome", "began", "ended", "message")
    for found in shown["attempts"]:
        times = (found["started_at"], found["ended_at"])
        outcome = found["outcome"].replace("_", " ")
        table.add_row(found["step"], str(found["number"]), outcome, *map(_time, times), found["message"])
    _print(to, table)


def stores(to: Console, shown: Sequence[Json]) -> None:
    """One line for each store."""
    table = _table(to, "id", "default", "read-only", "description")
    for found in shown:
        marks = ["yes" if found.get(name) == "true" else "" for name in ("default", "read-only")]
        table.add_row(found["id"], *marks, found.get("description", ""))
    _print(to, table)


def _facts(to: Console, rows: Iterable[tuple[str, str | Text]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold" if to.is_terminal else "")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    _print(to, table)


def _table(to: Console, *headings: str) -> Table:
    box = SIMPLE_HEAD if to.is_terminal else None
    table = Table(box=box, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold" if to.is_terminal else "")
    for heading in headings:
        table.add_column(heading, no_wrap=heading == "id", overflow="fold")
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


def _time(text: str | None) -> str:
    """`2026-11-22T10:00:00.000000` and `…Z` without what nobody reads."""
    return "" if text is None else text.partition(".")[0].rstrip("Z").replace("T", " ")
