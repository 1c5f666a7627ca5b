"""Reading from copies that stores hold: which copy goes on where, what is said of the others, and no endless wait."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from pipeline.ahead import ReadAhead
from pipeline.errors import Interrupted, SourceUnreadable
from pipeline.stored import Copy, StoreSource
from stores.base import CHUNK
from stores.errors import ObjectNotFound, StoreDenied, StoreError, StoreUnavailable, UnknownStore
from stores.memory import MemoryStore
from stores.wrappers import Call, FaultyStore, fails, waits

DATA = random.Random(7).randbytes(3 * CHUNK + 17)
SIZE = len(DATA)
BOUNDARIES = [0, CHUNK, 2 * CHUNK, 3 * CHUNK]
KEY = "image.1"


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(params=[False, True], ids=["local", "remote"])
def remote(request: pytest.FixtureRequest) -> bool:
    """Whether the stores count as waiting on a network, and so are read by threads."""
    return bool(request.param)


def keeping(name: str, data: bytes | None = DATA, *, remote: bool = False) -> FaultyStore:
    """A store that has `data`, or nothing, under KEY."""
    memory = MemoryStore(name)
    if data is not None:
        session = memory.create(KEY)
        session.write(data)
        session.commit()
    store = FaultyStore(memory)
    store.remote = remote
    return store


def of(stores: Sequence[FaultyStore], **options: Any) -> StoreSource:
    return StoreSource([Copy(store, KEY) for store in stores], SIZE, **options)


def read(source: StoreSource) -> bytes:
    with source.open() as chunks:
        return b"".join(chunks)


def used(source: StoreSource) -> list[tuple[str, int]]:
    return [(stretch.copy.store.id, stretch.start) for stretch in source.used]


def away(name: str) -> StoreError:
    return StoreUnavailable(name, "it does not answer")


def test_the_first_copy_gives_everything(remote: bool) -> None:
    a, b = keeping("a", remote=remote), keeping("b", remote=remote)
    b.hooks["open"] = fails(AssertionError("there was no need to ask b"))
    source = of([a, b])
    assert (source.length, source.end_vouched, source.label) == (SIZE, True, "the data in a, b")
    assert read(source) == DATA
    assert (used(source), source.skipped) == ([("a", 0)], [])


@pytest.mark.parametrize("at", BOUNDARIES)
@pytest.mark.parametrize("error", [away("a"), StoreDenied("a", "no")], ids=["transient", "for good"])
def test_the_next_copy_goes_on_at_the_byte_where_the_first_stopped(at: int, error: StoreError, remote: bool) -> None:
    a, b = keeping("a", remote=remote), keeping("b", remote=remote)
    a.hooks["read"] = fails(error, after=at)
    opened: list[int] = []

    def noting(call: Call, go: Callable[[], Any]) -> Any:
        opened.append(call.position)
        return go()

    b.hooks["open"] = noting
    source = of([a, b])
    assert read(source) == DATA
    assert opened == [at]
    assert used(source) == ([("a", 0)] if at else []) + [("b", at)]
    assert source.skipped == [error]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (keeping("a", None), "store a: there is no object image.1"),
        (keeping("a", DATA[:-1]), f"store a: the object has {SIZE - 1} instead of {SIZE} bytes"),
        (keeping("a", DATA + b"x"), f"store a: the object has {SIZE + 1} instead of {SIZE} bytes"),
    ],
    ids=["gone", "short", "long"],
)
def test_a_copy_that_cannot_be_the_image_is_passed_by(first: FaultyStore, reason: str) -> None:
    source = of([first, keeping("b")])
    assert read(source) == DATA
    assert [str(error) for error in source.skipped] == [reason]
    assert used(source) == [("b", 0)]


def test_a_copy_that_ends_early_against_its_word_is_left() -> None:
    a = keeping("a")
    a.hooks["read"] = lambda call, go: go() if call.position < CHUNK else b""
    source = of([a, keeping("b")])
    assert read(source) == DATA
    assert [str(error) for error in source.skipped] == [f"store a: the object ended after {CHUNK} of {SIZE} bytes"]


def test_a_copy_that_is_too_short_to_go_on_is_passed_by() -> None:
    a = keeping("a")
    a.hooks["read"] = fails(away("a"), after=2 * CHUNK)
    source = of([a, keeping("b", DATA[:CHUNK]), keeping("c")])
    assert read(source) == DATA
    assert str(source.skipped[1]) == f"store b: there is nothing at byte {2 * CHUNK} of {SIZE}"


def test_a_copy_that_broke_off_gets_another_turn_as_long_as_it_gets_on(remote: bool) -> None:
    """Given one copy whose connection breaks at every chunk, when it is read, then it comes whole all the same."""
    a = keeping("a", remote=remote)
    reads: list[int] = []

    def breaks(call: Call, go: Callable[[], Any]) -> Any:
        reads.append(call.position)
        if len(reads) % 2 == 0:
            raise away("a")
        return go()

    a.hooks["read"] = breaks
    source = of([a])
    assert read(source) == DATA
    assert used(source) == [("a", at) for at in BOUNDARIES]
    assert len(source.skipped) == 3


@pytest.mark.parametrize("at", BOUNDARIES)
def test_transient_trouble_of_the_only_copy_is_worth_another_attempt(at: int, remote: bool) -> None:
    a = keeping("a", remote=remote)
    a.hooks["read"] = fails(away("a"), after=at)
    with pytest.raises(SourceUnreadable) as caught:
        read(of([a]))
    assert caught.value.transient
    assert str(caught.value) == (
        f"No copy could be read any further than {at} of {SIZE} bytes: store a: it does not answer"
    )


def test_what_no_store_has_is_not_asked_for_again() -> None:
    """Given copies that are gone, or whose store is, when they are read, then the failure is for good and names all."""
    unknown = UnknownStore("z", "it is not configured")
    source = of([keeping("a", None), keeping("b", None)], skipped=[unknown])
    with pytest.raises(SourceUnreadable) as caught:
        read(source)
    assert not caught.value.transient
    for reason in ("store z: it is not configured", "store a: there is no object", "store b: there is no object"):
        assert reason in str(caught.value)
    assert [type(error) for error in source.skipped] == [UnknownStore, ObjectNotFound, ObjectNotFound]


def test_one_copy_that_may_come_back_is_worth_another_attempt() -> None:
    b = keeping("b")
    b.hooks["open"] = fails(away("b"))
    with pytest.raises(SourceUnreadable) as caught:
        read(of([keeping("a", None), b]))
    assert caught.value.transient


def test_without_any_copy_it_says_so() -> None:
    with pytest.raises(SourceUnreadable, match="any further than 0 of"):
        read(of([]))


def test_an_image_without_a_byte_is_read_too(remote: bool) -> None:
    source = StoreSource([Copy(keeping("a", b"", remote=remote), KEY)], 0)
    assert read(source) == b""
    assert (used(source), source.skipped) == ([], [])


def test_what_is_no_fault_of_a_store_is_not_hidden(remote: bool) -> None:
    a = keeping("a", remote=remote)
    a.hooks["read"] = fails(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        read(of([a, keeping("b")]))


# Stores that do not answer


@pytest.mark.parametrize("operation", ["open", "read"])
def test_a_silent_store_is_left_after_the_idle_timeout(operation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadAhead, "_FAREWELL", 0.01)
    entered, proceed = threading.Event(), threading.Event()
    a = keeping("a", remote=True)
    a.hooks[operation] = waits(entered, proceed)
    source = of([a, keeping("b")], idle_timeout=0.1)
    assert read(source) == DATA
    assert [str(error) for error in source.skipped] == ["store a: sent no bytes for 0.1 seconds"]
    assert used(source) == [("b", 0)]
    [stuck] = [thread for thread in threading.enumerate() if thread.name == "read a"]
    proceed.set()
    stuck.join(10)
    assert not stuck.is_alive()


def test_a_reader_that_is_slow_to_take_is_not_the_stores_fault() -> None:
    """Given a taker who pauses longer than the idle timeout, when it goes on, then what was read ahead is there."""
    source = of([keeping("a", remote=True)], idle_timeout=0.05)
    got = []
    with source.open() as chunks:
        for chunk in chunks:
            got.append(chunk)
            threading.Event().wait(0.1)  # the pause is what is tested
    assert b"".join(got) == DATA
    assert source.skipped == []


def test_no_more_is_read_ahead_than_there_is_room_for() -> None:
    taken: list[int] = []
    made = threading.Condition()

    def numbers() -> Any:
        for number in range(100):
            with made:
                taken.append(number)
                made.notify_all()
            yield bytes([number])

    ahead = ReadAhead(numbers, "a", depth=3)
    with made:
        assert made.wait_for(lambda: len(taken) == 4, 10)
    assert next(iter(ahead)) == b"\x00"
    with made:
        assert made.wait_for(lambda: len(taken) == 5, 10)
    ahead.close()
    assert taken == [0, 1, 2, 3, 4]


# Being asked to stop


def test_a_stop_wakes_a_reader_that_waits_for_a_remote_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a store that hangs, when a stop is asked for, then the reader ends without waiting for the store."""
    monkeypatch.setattr(ReadAhead, "_FAREWELL", 0.01)
    entered, proceed = threading.Event(), threading.Event()
    a = keeping("a", remote=True)
    a.hooks["read"] = waits(entered, proceed)
    source = of([a, keeping("b")], idle_timeout=60)

    def ask() -> None:
        assert entered.wait(10)
        source.interrupt("enough")

    asker = threading.Thread(target=ask)
    asker.start()
    with pytest.raises(Interrupted, match="enough"):
        read(source)
    asker.join()
    [stuck] = [thread for thread in threading.enumerate() if thread.name == "read a"]
    proceed.set()
    stuck.join(10)


def test_a_stop_is_seen_at_the_next_chunk(remote: bool) -> None:
    source = of([keeping("a", remote=remote)])
    with source.open() as chunks:
        next(chunks)
        source.interrupt("enough")
        with pytest.raises(Interrupted, match="enough"):
            next(chunks)


def test_a_stop_that_came_before_is_seen_at_once(remote: bool) -> None:
    a = keeping("a", remote=remote)
    a.hooks["open"] = fails(AssertionError("it was asked to stop before"))
    source = of([a])
    source.interrupt()
    with pytest.raises(Interrupted):
        read(source)


@pytest.mark.parametrize("taken", [0, 1])
def test_readers_are_closed_when_the_reading_is_given_up(taken: int, remote: bool) -> None:
    closed = threading.Event()
    a = keeping("a", remote=remote)

    def noting(_: Call, go: Callable[[], Any]) -> Any:
        reader = go()
        inner = reader.close

        def close() -> None:
            closed.set()
            inner()

        reader.close = close
        return reader

    a.hooks["open"] = noting
    with of([a]).open() as chunks:
        for _ in range(taken):
            next(chunks)
    assert closed.is_set() == bool(taken)
