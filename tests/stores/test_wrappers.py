"""`FaultyStore` must fail exactly where it is told to, or the tests that lean on it prove nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, get_args

import pytest

from stores.base import ObjectInfo
from stores.errors import StoreFull, StoreUnavailable
from stores.memory import MemoryStore
from stores.wrappers import Call, FaultyStore, Operation, fails, loses_answer, waits
from tests.conformance.store_contract import TEXT, assert_nothing_at, content, write

LOST = StoreUnavailable("m", "the answer was lost")


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore("m"))


def test_every_call_passes_its_hook(store: FaultyStore) -> None:
    def note(call: Call, go: Callable[[], Any]) -> Any:
        seen.append(call)
        return go()

    seen: list[Call] = []
    operations: tuple[Operation, ...] = get_args(Operation)
    store.hooks.update(dict.fromkeys(operations, note))
    write(store, "a", TEXT, TEXT, size=32)
    store.create("b").abort()
    store.stat("a")
    with store.open("a", 4) as reader:
        reader.read(10)
    store.delete("a")
    store.probe()
    assert seen == [
        Call("create", "a", count=32),
        Call("write", "a", 0, 16),
        Call("write", "a", 16, 16),
        Call("commit", "a", 32),
        Call("create", "b"),
        Call("abort", "b"),
        Call("stat", "a"),
        Call("open", "a", 4),
        Call("read", "a", 4, 10),
        Call("delete", "a"),
        Call("probe", ""),
    ]
    assert {call.operation for call in seen} == set(operations)


def test_a_commit_whose_answer_is_lost_has_happened(store: FaultyStore) -> None:
    store.hooks["commit"] = loses_answer(LOST)
    writer = store.create("a")
    writer.write(TEXT)
    with pytest.raises(StoreUnavailable, match="answer was lost"):
        writer.commit()
    writer.abort()
    assert content(store, "a") == TEXT


def test_a_session_fails_after_so_many_bytes(store: FaultyStore) -> None:
    store.hooks["write"] = fails(StoreFull("m", "full"), after=20)
    writer = store.create("a")
    writer.write(TEXT)
    writer.write(b"1234")
    with pytest.raises(StoreFull):
        writer.write(b"5")
    writer.abort()
    assert_nothing_at(store, "a")


def test_a_call_fails_always(store: FaultyStore) -> None:
    store.hooks["create"] = fails(LOST)
    with pytest.raises(StoreUnavailable):
        store.create("a")


def test_an_answer_may_be_a_lie(store: FaultyStore) -> None:
    write(store, "a", TEXT)
    store.hooks["stat"] = lambda call, go: ObjectInfo(call.key, go().size + 1)
    store.hooks["read"] = lambda _, go: go().upper()
    assert store.stat("a").size == 17
    assert content(store, "a") == TEXT.upper()


def test_a_call_is_held_until_it_may_go_on(store: FaultyStore) -> None:
    entered, proceed = Event(), Event()
    store.hooks["commit"] = waits(entered, proceed)
    with ThreadPoolExecutor(1) as pool:
        commit = pool.submit(write, store, "a", TEXT)
        assert entered.wait(10)
        assert_nothing_at(store, "a")
        proceed.set()
        assert commit.result(10).size == 16


def test_a_call_is_not_held_for_ever(store: FaultyStore) -> None:
    store.hooks["delete"] = waits(Event(), Event(), seconds=0.01)
    with pytest.raises(TimeoutError, match="delete was held back"):
        store.delete("a")
