"""Watching an import: every way it can end, and what is said on the way."""

import io
from typing import Any

import pytest
from rich.console import Console

from cli.errors import Answered, NoAnswer
from cli.importing import FAILURE, INTERRUPTED, SUCCESS, follow
from cli.watch import Pace, Snapshot, watch
from tests.cli.fakes import Scripted, failed, running, store, succeeded


class Screen:
    """Two consoles without a terminal, and what was written on them."""

    def __init__(self) -> None:
        self.out = Console(file=io.StringIO(), width=200)
        self.err = Console(file=io.StringIO(), width=200)

    def texts(self) -> tuple[str, str]:
        out, err = self.out.file, self.err.file
        assert isinstance(out, io.StringIO)
        assert isinstance(err, io.StringIO)
        return out.getvalue(), err.getvalue()


class Silent:
    """A view that only remembers."""

    def __init__(self) -> None:
        self.shown: list[Snapshot] = []
        self.silences: list[str] = []

    def show(self, now: Snapshot) -> None:
        self.shown.append(now)

    def silence(self, reason: str) -> None:
        self.silences.append(reason)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The half seconds between two looks are nobody's business here."""
    monkeypatch.setattr(watch, "__kwdefaults__", {**(watch.__kwdefaults__ or {}), "interval": 0.0})


def test_success() -> None:
    """Given an import that succeeds, then its progress and its last word are on stdout, and the status is 0."""
    screen = Screen()
    status = follow(Scripted([running(0), running(50), succeeded()]), "i", screen.out, screen.err)
    out, err = screen.texts()
    assert (status, err) == (SUCCESS, "")
    assert out.splitlines()[0] == "downloading; a copying 0 B, b copying 0 B"
    assert out.splitlines()[-1].startswith("Copied 100 B to a, b. Watched for ")


def test_success_of_some_stores() -> None:
    """Given that failing stores were allowed, then the status is 0 and the reason of each is on stderr."""
    last = succeeded(stores=[store("a", "done", 100), store("b", "failed", 10, "store b: no room")])
    screen = Screen()
    assert follow(Scripted([last]), "i", screen.out, screen.err) == SUCCESS
    assert screen.texts()[1] == "  b: store b: no room\n"


def test_failure() -> None:
    """Given an import that fails, then the reason and every store's are on stderr, each once, and the status is 1."""
    last = failed("The source answered 404.", [store("a", "undone"), store("b", "failed", 0, "store b: read-only")])
    screen = Screen()
    assert follow(Scripted([running(40), last]), "i", screen.out, screen.err) == FAILURE
    assert screen.texts()[1] == "The import failed: The source answered 404.\n  b: store b: read-only\n"


def test_a_reason_is_said_once() -> None:
    """Given a failure whose message is the store's reason, then it is not repeated."""
    last = failed("store b: no room", [store("b", "failed", 0, "store b: no room")])
    screen = Screen()
    follow(Scripted([last]), "i", screen.out, screen.err)
    assert screen.texts()[1].count("no room") == 1


def test_markup_in_a_message_is_text() -> None:
    """Given a message with brackets, then it is printed as it is."""
    screen = Screen()
    follow(Scripted([failed("bad name [red]x[/]", [])]), "i", screen.out, screen.err)
    assert "[red]x[/]" in screen.texts()[1]


def test_interrupted() -> None:
    """Given Ctrl-C, then the status is 3, and it is said how to look again."""
    screen = Screen()
    assert follow(Scripted([running(1), KeyboardInterrupt()]), "i", screen.out, screen.err) == INTERRUPTED
    assert screen.texts()[1] == "The import goes on. To look again: tranship watch i --url http://127.0.0.1:1\n"


def test_a_restart_of_the_service_is_survived() -> None:
    """Given a service that is away for a while, then it is asked again."""
    view = Silent()
    last = watch(Scripted([running(1), NoAnswer("away"), NoAnswer("away"), succeeded()]), "i", view)
    assert last.status == "success"
    assert view.silences == ["away", "away"]


def test_contact_lost() -> None:
    """Given a service that stays away, then watching ends like an interruption: nobody knows more."""
    now = iter(range(100))
    view = Silent()
    script: list[dict[str, Any] | BaseException] = [running(1), *[NoAnswer("away") for _ in range(20)]]
    with pytest.raises(NoAnswer):
        watch(Scripted(script), "i", view, patience=5, sleep=lambda _: None, clock=lambda: float(next(now)))
    assert 1 <= len(view.silences) <= 5


def test_contact_lost_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that, then the status is 3 and the sentence says where nobody answers."""
    monkeypatch.setattr(watch, "__kwdefaults__", {**(watch.__kwdefaults__ or {}), "interval": 0.0, "patience": 0.0})
    screen = Screen()
    assert follow(Scripted([NoAnswer("http://x does not answer")]), "i", screen.out, screen.err) == INTERRUPTED
    assert screen.texts()[1].startswith("http://x does not answer. The import may go on.")


def test_an_image_that_is_deleted_meanwhile() -> None:
    """Given that the image goes, then that is an error like any other."""
    screen = Screen()
    with pytest.raises(Answered) as caught:
        follow(Scripted([running(1), Answered("gone", 404)]), "i", screen.out, screen.err)
    assert caught.value.exit_code == 1


def test_pace() -> None:
    """Given counts over time, then the rate is that of the last seconds, and a new attempt begins anew."""
    pace = Pace(window=4)
    assert pace.rate(0) is None
    for at in range(10):
        pace.saw(at * 100, at)
    assert pace.rate(9) == 100
    assert pace.left(1900, 9) == 10
    assert pace.left(None, 9) is None
    pace.saw(50, 10)
    assert pace.rate(10) is None
    pace.saw(50 + 300, 11)
    assert pace.rate(11) == 300
    assert pace.rate(20) is None


def test_waiting_is_not_slowness() -> None:
    """Given a long wait for the first byte, then the rate does not count it."""
    pace = Pace(window=100)
    pace.saw(0, 0)
    pace.saw(10, 50)
    pace.saw(20, 51)
    assert pace.rate(51) == 10


def test_what_a_store_will_hold() -> None:
    """Given a plain source, then a store will hold as much as it promised; a compressed one is estimated."""
    plain = Snapshot.of(running(50, 100, given=40))
    assert [plain.store_total(s) for s in plain.stores] == [100, 100]
    packed = Snapshot.of(running(50, 100, given=200))
    assert packed.expanding
    assert packed.store_total(packed.stores[0]) == 400
    unknown = Snapshot.of(running(50, None, given=200))
    assert unknown.store_total(unknown.stores[0]) is None
