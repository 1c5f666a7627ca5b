"""What watching draws: plain lines when there is news, bars on a terminal."""

import io

from rich.console import Console

from cli.progress import SOURCE, PlainView, TerminalView, _bars, shown_on
from cli.watch import Snapshot
from tests.cli.fakes import running, store, succeeded


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[PlainView, Clock, io.StringIO]:
    out, clock = io.StringIO(), Clock()
    return PlainView(Console(file=out, width=20), clock), clock, out


def test_a_line_for_news_and_now_and_then() -> None:
    """Given ten looks a second, then a line is printed for each new phase and every few seconds, never folded."""
    view, clock, out = plain()
    for tenth in range(120):
        clock.now = tenth / 10
        view.show(Snapshot.of(running(tenth << 20, 200 << 20)))
    view.show(Snapshot.of(running(1, 2, phase="recording")))
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert (
        lines[1] == "downloading: 50.0 MiB of 200.0 MiB, 10.0 MiB/s, 15 s left; a copying 50.0 MiB, b copying 50.0 MiB"
    )
    assert lines[3].startswith("recording: ")


def test_the_same_line_is_not_said_again() -> None:
    """Given an import that waits, then its line is printed once, however long it does."""
    view, clock, out = plain()
    for second in range(60):
        clock.now = float(second)
        view.show(Snapshot.of(running(0, phase="waiting for a worker")))
    assert out.getvalue().count("waiting for a worker") == 1


def test_a_failed_attempt_is_told() -> None:
    """Given that the next attempt is waited for, then the line says what went wrong."""
    view, _, out = plain()
    view.show(Snapshot.of(running(0, phase="waiting to try again", message="The source answered 503.")))
    assert out.getvalue() == "waiting to try again; a copying 0 B, b copying 0 B; The source answered 503.\n"


def test_silence_is_told_once() -> None:
    """Given a service that stays away, then one line says so, and another one when it is away again."""
    view, _, out = plain()
    for _ in range(3):
        view.silence("nobody there")
    view.show(Snapshot.of(running(1)))
    view.silence("nobody there")
    assert out.getvalue().splitlines()[0::2] == ["nobody there; waiting", "nobody there; waiting"]


def drawn(snapshots: list[tuple[float, Snapshot]], source: str = SOURCE) -> str:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=120, force_terminal=True, color_system=None)
    with _bars(console) as progress:
        view = TerminalView(progress, clock, source)
        for at, now in snapshots:
            clock.now = at
            view.show(now)
        progress.refresh()
    return out.getvalue()


def test_bars() -> None:
    """Given a compressed import half-way, then there is a bar for the source and one for each store, estimated."""
    half = [(float(s), Snapshot.of(running(s << 20, 20 << 20, given=2 * s << 20))) for s in range(1, 11)]
    text = drawn(half)
    last = text[text.rindex("source") :].splitlines()
    assert "10.0 MiB of 20.0 MiB" in last[0]
    assert "1.0 MiB/s" in last[0]
    assert "downloading, 10 s left" in last[0]
    assert "20.0 MiB of ~40.0 MiB" in last[1]
    assert "2.0 MiB/s" in last[1]


def test_bars_at_the_end() -> None:
    """Given an end with one store failed, then no rate is left, and each store says what became of it."""
    stores = [store("a", "done", 100), store("b", "failed", 10, "no room")]
    text = drawn([(0.0, Snapshot.of(running(50))), (1.0, Snapshot.of(succeeded(stores=stores)))])
    last = text[text.rindex("source") :].splitlines()
    assert "stored" in last[1]
    assert "failed" in last[2]
    assert "/s" not in "".join(last)


def test_an_upload() -> None:
    """Given an upload, then it has one bar or line of its own name, and says how long it takes; then nothing more."""
    sending = [Snapshot("", "processing", "uploading", 1, "", n << 20, 40 << 20, ()) for n in range(1, 11)]
    sent = Snapshot("", "success", "uploading", 1, "", 40 << 20, 40 << 20, ())
    shown = [(float(at), now) for at, now in enumerate(sending)]
    half, whole = drawn(shown, source="upload"), drawn([*shown, (10.0, sent)], source="upload")
    assert "uploading, 30 s left" in half[half.rindex("upload ") :]
    assert "uploading" not in whole[whole.rindex("upload ") :]
    view, clock, out = plain()
    for clock.now, now in shown:
        view.show(now)
    assert out.getvalue().splitlines()[1] == "uploading: 6.0 MiB of 40.0 MiB, 1.0 MiB/s, 34 s left"


def test_the_time_left_is_told_only_while_bytes_move() -> None:
    """Given all bytes, or an import that waits for its next try, then nothing is left to tell."""
    half = [(float(at), Snapshot.of(running(at << 20, 20 << 20))) for at in range(11)]
    for more in (running(20 << 20, 20 << 20, phase="recording"), running(10 << 20, 20 << 20, phase="waiting for it")):
        assert "left" not in drawn([*half, (11.0, Snapshot.of(more))]).rpartition("source")[2]


def test_the_console_decides() -> None:
    """Given a terminal, then bars; given none, then lines."""
    with shown_on(Console(file=io.StringIO(), force_terminal=True)) as view:
        assert isinstance(view, TerminalView)
    with shown_on(Console(file=io.StringIO())) as view:
        assert isinstance(view, PlainView)
