"""The tee over stores that fail at any call, and writers in threads of their own."""

import threading
import time
from collections.abc import Callable

import pytest

from pipeline.errors import Interrupted, NothingStored
from pipeline.tee import QueuedWriter, Tee
from stores.base import Bytes, StoredObject, Writer
from stores.errors import ObjectNotFound, StoreError, StoreFull, StoreUnavailable
from stores.memory import MemoryStore
from stores.wrappers import Call, FaultyStore, Hook, Operation, fails, waits

KEY = "image.1"
FULL = StoreFull("b", "no room")


def stores(hooks: dict[Operation, Hook] | None = None) -> dict[str, FaultyStore]:
    """Three stores, of which b has the hooks."""
    made = {name: FaultyStore(MemoryStore(name)) for name in "abc"}
    made["b"].hooks.update(hooks or {})
    return made


def sessions(made: dict[str, FaultyStore]) -> dict[str, Writer]:
    return {name: store.create(KEY) for name, store in made.items()}


def kept(made: dict[str, FaultyStore]) -> dict[str, bytes]:
    """What is visible in each store."""
    found = {}
    for name, store in made.items():
        try:
            with store.open(KEY) as reader:
                found[name] = b"".join(reader)
        except ObjectNotFound:
            continue
    return found


def noting(happened: threading.Event) -> Hook:
    def hook(call: Call, go: Callable[[], object]) -> object:
        answer = go()
        happened.set()
        return answer

    return hook


@pytest.mark.parametrize("must_all", [True, False])
def test_every_store_gets_every_chunk(must_all: bool) -> None:
    made = stores()
    tee = Tee(sessions(made), must_all)
    tee.write(b"one ")
    tee.write(b"two")
    assert kept(made) == {}
    result = tee.commit()
    assert kept(made) == dict.fromkeys("abc", b"one two")
    assert result.stored == {name: StoredObject(KEY, 7) for name in "abc"}
    assert result.failed == {}
    tee.abort()
    assert len(kept(made)) == 3


def test_a_failed_write_ends_all_when_all_must_succeed() -> None:
    made = stores({"write": fails(FULL, after=4)})
    tee = Tee(sessions(made), must_all=True)
    tee.write(b"one ")
    with pytest.raises(StoreFull) as caught:
        tee.write(b"two")
    assert caught.value is FULL
    assert tee.failed == {"b": FULL}
    assert tee.stored == {}
    assert kept(made) == {}


def test_a_failed_write_is_left_behind_otherwise() -> None:
    made = stores({"write": fails(FULL, after=4)})
    tee = Tee(sessions(made), must_all=False)
    tee.write(b"one ")
    tee.write(b"two ")
    tee.write(b"three")
    result = tee.commit()
    assert kept(made) == dict.fromkeys("ac", b"one two three")
    assert set(result.stored) == {"a", "c"}
    assert result.failed == {"b": FULL}


def test_a_failed_commit_is_left_behind_otherwise() -> None:
    made = stores({"commit": fails(FULL)})
    tee = Tee(sessions(made), must_all=False)
    tee.write(b"x")
    assert tee.commit().failed == {"b": FULL}
    assert set(kept(made)) == {"a", "c"}


def test_a_failed_commit_tells_what_is_visible_when_all_must_succeed() -> None:
    made = stores({"commit": fails(FULL)})
    tee = Tee(sessions(made), must_all=True)
    tee.write(b"x")
    with pytest.raises(StoreFull):
        tee.commit()
    assert tee.stored == {"a": StoredObject(KEY, 1)}
    assert tee.failed == {"b": FULL}
    assert set(kept(made)) == {"a"}


@pytest.mark.parametrize("operation", ["write", "commit"])
def test_when_the_last_store_fails_nothing_is_stored(operation: Operation) -> None:
    made = {name: FaultyStore(MemoryStore(name)) for name in "ab"}
    errors = {"a": StoreUnavailable("a", "gone"), "b": StoreFull("b", "no room")}
    for name, store in made.items():
        store.hooks[operation] = fails(errors[name])
    tee = Tee(sessions(made), must_all=False)

    def run() -> None:
        tee.write(b"x")
        tee.commit()

    with pytest.raises(NothingStored, match="store a: gone; store b: no room") as caught:
        run()
    assert caught.value.failures == errors
    assert not caught.value.transient
    assert kept(made) == {}


def test_an_abort_leaves_nothing_and_is_safe_twice() -> None:
    made = stores()
    tee = Tee(sessions(made), must_all=True)
    tee.write(b"x")
    tee.abort()
    tee.abort()
    assert kept(made) == {}


def test_stores_that_did_not_open_count_as_failed() -> None:
    made = stores()
    opened = sessions(made)
    del opened["b"]
    tee = Tee(opened, must_all=False, failed={"b": FULL})
    tee.write(b"x")
    assert tee.commit().failed == {"b": FULL}
    assert set(kept(made)) == {"a", "c"}


def test_stores_that_did_not_open_end_it_when_all_must_succeed_or_none_is_left() -> None:
    with pytest.raises(StoreFull):
        Tee(sessions(stores()), must_all=True, failed={"b": FULL})
    with pytest.raises(NothingStored):
        Tee({}, must_all=False, failed={"b": FULL})


# Writers in threads


def queued(store: FaultyStore, depth: int = 8, idle_timeout: float = 20, commit_timeout: float = 20) -> QueuedWriter:
    return QueuedWriter(lambda: store.create(KEY), store.id, depth, idle_timeout, commit_timeout)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "write b"]


def test_a_queued_writer_keeps_the_contract_of_a_writer() -> None:
    made = stores()
    writer = queued(made["b"])
    buffer = bytearray(b"one ")
    writer.write(buffer)
    buffer[:] = b"XXXX"
    writer.write(memoryview(b"two"))
    assert kept(made) == {}
    assert writer.commit() == StoredObject(KEY, 7)
    assert kept(made) == {"b": b"one two"}
    writer.abort()
    assert kept(made) == {"b": b"one two"}
    assert threads() == []


def test_an_aborted_queued_writer_leaves_nothing_and_is_safe_twice() -> None:
    made = stores()
    writer = queued(made["b"])
    writer.write(b"x")
    writer.abort()
    writer.abort()
    assert kept(made) == {}
    assert threads() == []
    made["b"].create(KEY).abort()


def test_an_error_in_the_thread_surfaces_at_a_later_call_and_never_blocks() -> None:
    made = stores({"write": fails(FULL)})
    writer = queued(made["b"], depth=1)

    def push() -> None:
        for _ in range(100):
            writer.write(b"x")

    with pytest.raises(StoreFull):
        push()
    writer.abort()
    assert threads() == []


def test_an_error_in_the_thread_surfaces_at_the_commit() -> None:
    made = stores({"write": fails(FULL)})
    writer = queued(made["b"])
    writer.write(b"x")
    with pytest.raises(StoreFull):
        writer.commit()
    writer.abort()
    assert kept(made) == {}


def test_a_failed_commit_can_be_aborted() -> None:
    made = stores({"commit": fails(FULL)})
    aborted = threading.Event()
    made["b"].hooks["abort"] = noting(aborted)
    writer = queued(made["b"])
    writer.write(b"x")
    with pytest.raises(StoreFull):
        writer.commit()
    writer.abort()
    assert aborted.is_set()


@pytest.mark.parametrize(
    ("stuck", "seen"), [("create", "write"), ("create", "commit"), ("write", "write"), ("write", "commit")]
)
def test_a_store_that_takes_nothing_fails_at_the_idle_timeout(stuck: Operation, seen: str) -> None:
    entered, proceed = threading.Event(), threading.Event()
    made = stores({stuck: waits(entered, proceed)})
    writer = queued(made["b"], depth=2, idle_timeout=0.2)

    def push() -> None:
        writer.write(b"x")
        while seen == "write":
            writer.write(b"x")
        writer.commit()

    with pytest.raises(StoreUnavailable, match=r"store b: took no bytes for 0\.2 seconds"):
        push()
    proceed.set()
    writer.abort()
    assert kept(made) == {}
    assert threads() == []


def test_a_store_that_does_not_complete_fails_at_the_commit_timeout() -> None:
    entered, proceed = threading.Event(), threading.Event()
    made = stores({"commit": waits(entered, proceed)})
    writer = queued(made["b"], commit_timeout=0.2)
    writer.write(b"x")
    with pytest.raises(StoreUnavailable, match=r"store b: did not complete the object in 0\.2 seconds"):
        writer.commit()
    proceed.set()
    writer.abort()
    assert kept(made) == {"b": b"x"}, "a commit under way cannot be taken back here"
    assert threads() == []


@pytest.mark.parametrize("stuck", ["create", "write", "commit"])
def test_who_waits_for_a_store_can_be_interrupted(stuck: Operation) -> None:
    """Given a store that keeps somebody waiting, when all writers are interrupted, then nobody waits any more."""
    entered, proceed = threading.Event(), threading.Event()
    made = stores({stuck: waits(entered, proceed)})
    tee = Tee({"b": queued(made["b"]), "a": made["a"].create(KEY)}, must_all=False)

    def interrupt() -> None:
        assert entered.wait(10)
        tee.interrupt()

    threading.Thread(target=interrupt).start()
    tee.write(b"x")
    with pytest.raises(Interrupted):
        tee.commit()
    proceed.set()
    tee.abort()
    assert "a" not in kept(made)
    assert threads() == []


def test_whose_turn_it_is_to_commit_is_told() -> None:
    told: list[str] = []
    tee = Tee(sessions(stores()), must_all=True, committing=told.append)
    tee.write(b"x")
    assert told == []
    tee.commit()
    assert told == ["a", "b", "c"]


class LongCommit(Writer):
    """A session whose commit takes four times 0.2 seconds, with bytes moving all the while, or not."""

    def __init__(self, moves: bool) -> None:
        self._moves = moves
        self.moved_at = time.monotonic()

    def write(self, chunk: Bytes) -> None:
        """Takes anything."""

    def commit(self) -> StoredObject:
        """What a large part on a slow line does."""
        pause = threading.Event()
        for _ in range(20):
            pause.wait(0.04)
            self.moved_at = time.monotonic() if self._moves else self.moved_at
        return StoredObject(KEY, 1)

    def abort(self) -> None:
        """Nothing to undo."""


def test_a_call_that_takes_long_is_waited_for_while_bytes_move() -> None:
    writer = QueuedWriter(lambda: LongCommit(moves=True), "b", idle_timeout=0.2, commit_timeout=0.2)
    writer.write(b"x")
    assert writer.commit().size == 1
    stuck = QueuedWriter(lambda: LongCommit(moves=False), "b", idle_timeout=0.2, commit_timeout=0.2)
    stuck.write(b"x")
    with pytest.raises(StoreUnavailable, match="did not complete"):
        stuck.commit()
    stuck.abort()


def test_a_commit_has_a_patience_of_its_own() -> None:
    """Given a store that works on a commit for longer than anything else may take, then it is waited for."""
    writer = QueuedWriter(lambda: LongCommit(moves=False), "b", idle_timeout=0.2, commit_timeout=60)
    writer.write(b"x")
    assert writer.commit().size == 1


def test_a_stuck_thread_is_left_behind_and_aborts_when_it_gets_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QueuedWriter, "_FAREWELL", 0.05)
    entered, proceed, aborted = threading.Event(), threading.Event(), threading.Event()
    made = stores({"write": waits(entered, proceed)})
    made["b"].hooks["abort"] = noting(aborted)
    writer = queued(made["b"])
    writer.write(b"x")
    assert entered.wait(10)
    writer.abort()
    assert not aborted.is_set()
    proceed.set()
    assert aborted.wait(10)
    assert kept(made) == {}


def test_a_source_that_pauses_longer_than_the_idle_timeout_is_not_the_stores_fault() -> None:
    made = stores()
    writer = queued(made["b"], depth=1, idle_timeout=0.05)
    for _ in range(3):
        for _ in range(5):
            writer.write(b"x")
        time.sleep(0.1)  # the pause is what is tested
    assert writer.commit().size == 15


def test_a_slow_store_does_not_hold_up_the_others_and_fails_alone() -> None:
    entered, proceed = threading.Event(), threading.Event()
    made = stores({"write": waits(entered, proceed)})
    writers: dict[str, Writer] = {**sessions({n: made[n] for n in "ac"}), "b": queued(made["b"], 2, 0.2)}
    tee = Tee(writers, must_all=False)
    threading.Timer(1, proceed.set).start()
    for _ in range(10):
        tee.write(b"x")
    result = tee.commit()
    assert set(result.stored) == {"a", "c"}
    assert isinstance(result.failed["b"], StoreUnavailable)
    assert result.failed["b"].transient
    assert kept(made) == dict.fromkeys("ac", b"x" * 10)


def test_store_errors_know_their_store() -> None:
    assert isinstance(FULL, StoreError)
    assert FULL.store == "b"
