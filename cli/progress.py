"""Progress on a terminal, drawn in place; and as plain lines where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cli import words
from cli.watch import Pace, Snapshot, View

SOURCE = "source"
BREAK = 5.0
"""Seconds between two plain lines that say nothing but other numbers."""

_MARKS = {"done": "[green]stored[/]", "failed": "[red]failed[/]", "undone": "[yellow]taken back[/]"}


@dataclass(frozen=True, slots=True)
class Line:
    """One bar: bytes done, of how many, and whether that is an estimate."""

    name: str
    done: int
    total: int | None
    estimated: bool = False
    state: str = ""


def lines(now: Snapshot, source: str = SOURCE) -> list[Line]:
    """The bars of a snapshot: the source, under that name, then every store in the order of the request."""
    first = Line(source, now.done, now.total)
    stores = [Line(s.id, s.done, now.store_total(s), now.expanding and not now.ended, s.state) for s in now.stores]
    return [first, *stores]


@contextmanager
def shown_on(console: Console, source: str = SOURCE) -> Iterator[View]:
    """The view that fits the console; `source` is what its first bar is called."""
    if not console.is_terminal:
        yield PlainView(console)
        return
    with _bars(console) as progress:
        yield TerminalView(progress, source=source)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=28 if console.width >= 96 else 14),
        TextColumn("{task.fields[amount]}", style="progress.download"),
        TextColumn("{task.fields[rate]}", style="progress.data.speed"),
        TextColumn("{task.fields[note]}"),
        console=console,
        refresh_per_second=8,
    )


@dataclass
class TerminalView:
    """A bar for the source, with the phase beside it, and one for each store. `clock` is monotonic, in seconds."""

    progress: Progress
    clock: Callable[[], float] = time.monotonic
    source: str = SOURCE
    _bars: dict[str, TaskID] = field(default_factory=dict)
    _paces: dict[str, Pace] = field(default_factory=dict)
    _said: str = ""

    def show(self, now: Snapshot) -> None:
        """Draw the snapshot; a message about a failed attempt stays above the bars."""
        at = self.clock()
        for line in lines(now, self.source):
            pace = self._paces.setdefault(line.name, Pace())
            pace.saw(line.done, at)
            self._draw(line, pace, at, now)
        said = retried(now)
        if said != self._said and said:
            self.progress.console.print(f"  [yellow]{said}[/]", highlight=False)
        self._said = said

    def silence(self, reason: str) -> None:
        """Say so beside the source."""
        for bar in list(self._bars.values())[:1]:
            self.progress.update(bar, note="[yellow]no answer from the service, waiting[/]")
        if not self._bars and reason != self._said:
            self.progress.console.print(f"  [yellow]{reason}; waiting[/]", highlight=False)
            self._said = reason

    def _draw(self, line: Line, pace: Pace, at: float, now: Snapshot) -> None:
        ended = now.ended or line.state in _MARKS
        note = _MARKS.get(line.state, line.state) or ("" if now.ended else now.phase)
        if not ended and (left := _left(now, pace, line.total, at)):
            note = f"{note}, {left}"
        if line.name not in self._bars:
            self._bars[line.name] = self.progress.add_task(line.name, total=None, amount="", rate="", note="")
        self.progress.update(
            self._bars[line.name],
            # rich pulses while there is no total; an end without one (an empty or failed import) shall stand still.
            total=line.total if line.total is not None or not ended else max(line.done, 1),
            completed=line.done,
            amount=words.amount(line.done, line.total, estimated=line.estimated),
            rate="" if ended else words.rate(pace.rate(at)),
            note=note,
        )


@dataclass
class PlainView:
    """One line whenever the phase or a store's state changes, and every few seconds in between."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    _pace: Pace = field(default_factory=Pace)
    _last: tuple[object, ...] = ()
    _at: float = float("-inf")
    _said: str = ""

    def show(self, now: Snapshot) -> None:
        """Print the snapshot if it deserves a line that was not the last one already."""
        at = self.clock()
        self._pace.saw(now.done, at)
        news = (now.phase, retried(now), *((store.id, store.state) for store in now.stores))
        if now.ended or (news == self._last and at - self._at < BREAK):
            return
        line = self._line(now, at)
        if news == self._last and line == self._said:
            return
        self._last, self._at, self._said = news, at, line
        self._print(line)

    def silence(self, reason: str) -> None:
        """Say so once."""
        if self._last != (reason,):
            self._last = (reason,)
            self._print(f"{reason}; waiting")

    def _line(self, now: Snapshot, at: float) -> str:
        parts = [f"{now.phase}:", words.amount(now.done, now.total)] if now.done else [now.phase]
        told = [text for text in (words.rate(self._pace.rate(at)), _left(now, self._pace, now.total, at)) if text]
        stores = [f"{store.id} {store.state} {words.size(store.done)}" for store in now.stores]
        said = (", ".join([" ".join(parts), *told]), ", ".join(stores), retried(now))
        return "; ".join(part for part in said if part)

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _left(now: Snapshot, pace: Pace, total: int | None, at: float) -> str:
    """How long it takes until `total` bytes have moved; nothing once they have, or while none move."""
    left = pace.left(total, at)
    return words.left(left) if left and not now.phase.startswith("waiting") else ""


def retried(now: Snapshot) -> str:
    """What went wrong with the attempt before, while the next one is waited for."""
    return now.message if now.phase == "waiting to try again" else ""
