"""The capacity of a `MemoryStore`, which stands for any full store in the tests of others."""

import pytest

from stores.base import StoreSpec
from stores.errors import StoreFull
from stores.memory import MemoryStore
from tests.conformance.store_contract import assert_nothing_at, content, write


def test_what_is_announced_and_does_not_fit_is_refused_at_once() -> None:
    store = MemoryStore("small", capacity=10)
    write(store, "one", b"12345")
    with pytest.raises(StoreFull, match="5 of 10 bytes are used, no room for 6 more"):
        store.create("two", 6)


def test_objects_and_sessions_share_the_room() -> None:
    store = MemoryStore("small", capacity=10)
    write(store, "one", b"12345")
    other = store.create("two")
    other.write(b"1234")
    writer = store.create("three")
    with pytest.raises(StoreFull):
        writer.write(b"12")
    writer.abort()
    assert_nothing_at(store, "three")
    # And what is aborted or deleted gives its room back
    other.abort()
    store.delete("one")
    write(store, "three", b"1234567890")
    assert content(store, "three") == b"1234567890"


def test_the_capacity_is_an_option() -> None:
    assert MemoryStore.from_spec(StoreSpec("m", "memory")).capacity is None
    spec = StoreSpec("m", "memory", options={"memory_store_capacity": "10"})
    assert MemoryStore.from_spec(spec).capacity == 10
