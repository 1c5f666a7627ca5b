"""The promises of `stores.base`, tried with ill will. A driver's test is a class with the fixture `store`.

Keys are made as the importer makes them; contents are small where size does not matter.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeAlias

import pytest

from stores.base import (
    CHUNK,
    Bytes,
    FileBacked,
    ObjectInfo,
    ReadableStore,
    Reader,
    Store,
    StoredObject,
    Writer,
)
from stores.errors import ObjectExists, ObjectNotFound, SessionEnded, SizeMismatch

Keep: TypeAlias = Callable[[bytes], str]

KEY = "5a4c2b36-6b0e-4a4c-9d0e-3d1c2f0a9b1e.7"
OTHER = "5a4c2b36-6b0e-4a4c-9d0e-3d1c2f0a9b1e.70"
TEXT = b"0123456789abcdef"
BIG = os.urandom(64 * 1024) * 50 + b"the odd end"


def content(store: ReadableStore, key: str, offset: int = 0) -> bytes:
    """Read an object by iterating."""
    with store.open(key, offset) as reader:
        return b"".join(reader)


def drain(reader: Reader, size: int) -> Iterator[bytes]:
    """Read the rest of an object in calls of `size`."""
    while chunk := reader.read(size):
        yield chunk


def write(store: Store, key: str, *chunks: Bytes, size: int | None = None) -> StoredObject:
    """Put an object in one session."""
    writer = store.create(key, size)
    for chunk in chunks:
        writer.write(chunk)
    return writer.commit()


def assert_nothing_at(store: ReadableStore, key: str) -> None:
    """Nobody can see an object of this key."""
    with pytest.raises(ObjectNotFound):
        store.stat(key)
    with pytest.raises(ObjectNotFound):
        store.open(key)


class ReadableContract:
    """What every store must do. `keep` puts bytes where the store finds them and returns their key."""

    absent_key = OTHER
    bad_keys: tuple[str, ...] = (
        *("", ".", "..", ".hidden", "../x", "a/b", "/etc/passwd"),
        *("a b", "a\n", "a~b", "ä", "a\0", "k" * 201),
    )

    def test_it_is_a_readable_store(self, store: ReadableStore) -> None:
        assert isinstance(store, ReadableStore)
        assert store.probe() is None  # type: ignore[func-returns-value]

    def test_a_kept_object_is_read_whole(self, store: ReadableStore, keep: Keep) -> None:
        key = keep(TEXT)
        assert store.stat(key) == ObjectInfo(key, len(TEXT))
        assert content(store, key) == TEXT

    @pytest.mark.parametrize("offset", [0, 1, 7, 15, 16])
    def test_an_object_is_read_from_any_offset(self, store: ReadableStore, keep: Keep, offset: int) -> None:
        key = keep(TEXT)
        with store.open(key, offset) as reader:
            assert reader.size == len(TEXT)
            assert b"".join(reader) == TEXT[offset:]
            assert reader.read() == b""

    @pytest.mark.parametrize("offset", [-1, 17, 1 << 40])
    def test_an_offset_outside_the_object_is_refused(self, store: ReadableStore, keep: Keep, offset: int) -> None:
        key = keep(TEXT)
        with pytest.raises(ValueError, match="offset"):
            store.open(key, offset)

    @pytest.mark.parametrize("size", [1, 3, 16, 1000])
    def test_a_read_gives_no_more_than_was_asked(self, store: ReadableStore, keep: Keep, size: int) -> None:
        with store.open(keep(TEXT), 2) as reader:
            pieces = list(drain(reader, size))
        assert b"".join(pieces) == TEXT[2:]
        assert max(map(len, pieces)) <= size

    @pytest.mark.parametrize("size", [0, -1])
    def test_a_read_of_nothing_is_refused(self, store: ReadableStore, keep: Keep, size: int) -> None:
        with store.open(keep(TEXT)) as reader, pytest.raises(ValueError, match="read"):
            reader.read(size)

    def test_iterating_yields_no_empty_chunk(self, store: ReadableStore, keep: Keep) -> None:
        with store.open(keep(BIG)) as reader:
            chunks = list(reader)
        assert all(chunks)
        assert b"".join(chunks) == BIG

    def test_an_empty_object_is_an_object(self, store: ReadableStore, keep: Keep) -> None:
        key = keep(b"")
        assert store.stat(key).size == 0
        assert content(store, key) == b""
        with pytest.raises(ValueError, match="offset"):
            store.open(key, 1)

    def test_zeros_are_bytes_like_others(self, store: ReadableStore, keep: Keep) -> None:
        zeros = bytes(3 * CHUNK + 5)
        key = keep(zeros)
        assert store.stat(key).size == len(zeros)
        assert content(store, key) == zeros

    def test_two_readers_do_not_disturb_each_other(self, store: ReadableStore, keep: Keep) -> None:
        key = keep(TEXT)
        with store.open(key) as one, store.open(key, 8) as two:
            assert [one.read(2), two.read(2), one.read(2), two.read(2)] == [b"01", b"89", b"23", b"ab"]

    def test_closing_twice_is_safe(self, store: ReadableStore, keep: Keep) -> None:
        reader = store.open(keep(BIG))
        reader.read(1)
        reader.close()
        reader.close()

    def test_a_file_backed_reader_stands_at_its_offset(self, store: ReadableStore, keep: Keep) -> None:
        with store.open(keep(TEXT), 4) as reader:
            rest = TEXT[4:]
            if isinstance(reader, FileBacked):
                assert os.read(reader.fileno(), 3) == rest[:3]
            else:
                assert reader.read(3) == rest[:3]

    def test_what_is_not_there_is_not_found(self, store: ReadableStore) -> None:
        assert_nothing_at(store, self.absent_key)

    def test_a_location_never_changes(self, store: ReadableStore, keep: Keep) -> None:
        before = store.url(self.absent_key)
        key = keep(TEXT)
        assert store.url(self.absent_key) == before
        assert store.url(key) == store.url(key) != before

    def test_what_is_no_key_is_refused_everywhere(self, store: ReadableStore) -> None:
        for bad in self.bad_keys:
            for call in (store.open, store.stat, store.url):
                with pytest.raises(ValueError):  # noqa: PT011 — the texts are the drivers' own
                    call(bad)


class StoreContract(ReadableContract):
    """What every store that can be written must do, besides."""

    @pytest.fixture
    def keep(self, store: Store) -> Keep:
        def keep(data: bytes) -> str:
            write(store, KEY, data)
            return KEY

        return keep

    def test_it_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)

    def test_the_receipt_says_what_was_kept(self, store: Store) -> None:
        assert write(store, KEY, b"abc", b"", b"de", size=5) == StoredObject(KEY, 5)

    def test_odd_names_are_names(self, store: Store) -> None:
        names = ["a", "A", "0", "-", "_", "a..b", "a.", "--help", "k" * 200, "CON", "a.part"]
        for name in names:
            write(store, name, name.encode())
        assert [content(store, name) for name in names] == [name.encode() for name in names]

    def test_what_is_no_key_cannot_be_written_or_deleted(self, store: Store) -> None:
        for bad in self.bad_keys:
            for call in (store.create, store.delete):
                with pytest.raises(ValueError, match="not an object key"):
                    call(bad)

    def test_a_negative_size_is_refused(self, store: Store) -> None:
        with pytest.raises(ValueError, match="size"):
            store.create(KEY, -1)

    # — sizes —

    def test_one_byte_at_a_time(self, store: Store) -> None:
        data = os.urandom(700) + bytes(300)
        write(store, KEY, *(data[i : i + 1] for i in range(len(data))), size=1000)
        assert content(store, KEY) == data

    def test_several_mebibytes_in_chunks_that_fit_nothing(self, store: Store) -> None:
        step = 77_777
        write(store, KEY, *(BIG[i : i + step] for i in range(0, len(BIG), step)), size=len(BIG))
        assert content(store, KEY, 1_000_001) == BIG[1_000_001:]

    @pytest.mark.parametrize("step", [4096, 65_536, 100_003, CHUNK, 3 * CHUNK])
    def test_zeros_between_bytes_stay_where_they_are(self, store: Store, step: int) -> None:
        data = b"x" + bytes(200_000) + b"y" * 70_000 + bytes(CHUNK) + b"z" * 5 + bytes(131_072)
        write(store, KEY, *(data[i : i + step] for i in range(0, len(data), step)))
        assert content(store, KEY) == data

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_the_buffer_is_the_callers_again(
        self, store: Store, kind: Callable[[bytearray], bytearray | memoryview]
    ) -> None:
        buffer = bytearray(b"first")
        writer = store.create(KEY)
        writer.write(kind(buffer))
        buffer[:] = b"other"
        writer.write(kind(buffer))
        buffer.extend(b"and it can grow: nobody holds a view of it")
        writer.commit()
        assert content(store, KEY) == b"firstother"

    def test_fewer_bytes_than_declared_are_refused(self, store: Store) -> None:
        writer = store.create(KEY, len(TEXT) + 42)
        writer.write(TEXT)
        with pytest.raises(SizeMismatch, match="16 of the declared 58 bytes"):
            writer.commit()
        assert_nothing_at(store, KEY)

    @pytest.mark.parametrize("declared", [0, 15])
    def test_more_bytes_than_declared_are_refused_at_once(self, store: Store, declared: int) -> None:
        writer = store.create(KEY, declared)
        with pytest.raises(SizeMismatch, match=f"declared {declared} bytes: 16 so far"):
            writer.write(TEXT)
        with pytest.raises(SessionEnded):
            writer.commit()
        writer.abort()
        assert_nothing_at(store, KEY)

    # — sessions —

    def test_nothing_is_visible_before_the_commit(self, store: Store) -> None:
        writer = store.create(KEY, len(TEXT))
        assert_nothing_at(store, KEY)
        writer.write(TEXT)
        assert_nothing_at(store, KEY)
        writer.commit()
        assert content(store, KEY) == TEXT

    @pytest.mark.parametrize("chunks", range(6))
    def test_a_break_after_any_chunk_leaves_nothing(self, store: Store, chunks: int) -> None:
        writer = store.create(KEY, 5 * len(TEXT))
        for _ in range(chunks):
            writer.write(TEXT)
        writer.abort()
        assert_nothing_at(store, KEY)
        # And the key is free for another try.
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT

    def test_abort_is_safe_twice_and_ends_the_session(self, store: Store) -> None:
        writer = store.create(KEY)
        writer.write(TEXT)
        writer.abort()
        writer.abort()
        assert_over(writer)
        assert_nothing_at(store, KEY)

    def test_abort_after_a_commit_does_nothing(self, store: Store) -> None:
        writer = store.create(KEY)
        writer.write(TEXT)
        writer.commit()
        writer.abort()
        assert_over(writer)
        assert content(store, KEY) == TEXT

    def test_a_session_that_failed_only_aborts(self, store: Store) -> None:
        writer = store.create(KEY, 1)
        with pytest.raises(SizeMismatch):
            writer.commit()
        assert_over(writer)
        writer.abort()
        assert_nothing_at(store, KEY)

    def test_an_object_is_never_overwritten(self, store: Store) -> None:
        write(store, KEY, TEXT)
        with pytest.raises(ObjectExists):
            store.create(KEY)
        assert content(store, KEY) == TEXT

    def test_of_two_sessions_on_one_key_the_first_to_commit_wins(self, store: Store) -> None:
        early, late = store.create(KEY), store.create(KEY)
        early.write(b"early")
        late.write(b"later")
        late.commit()
        with pytest.raises(ObjectExists):
            early.commit()
        early.abort()
        assert content(store, KEY) == b"later"

    def test_of_many_commits_at_once_exactly_one_wins(self, store: Store) -> None:
        count, barrier = 8, Barrier(8)

        def contend(number: int) -> int | None:
            writer = store.create(KEY)
            try:
                writer.write(bytes([number]) * 1000)
                barrier.wait()
                writer.commit()
            except ObjectExists:
                return None
            finally:
                writer.abort()
            return number

        with ThreadPoolExecutor(count) as pool:
            winners = [number for number in pool.map(contend, range(count)) if number is not None]
        assert len(winners) == 1
        assert content(store, KEY) == bytes(winners) * 1000

    def test_sessions_on_many_keys_at_once(self, store: Store) -> None:
        def keep(number: int) -> None:
            writer = store.create(f"image.{number}", 50_000)
            for _ in range(50):
                writer.write(bytes([number]) * 1000)
            writer.commit()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(keep, range(24)))
        assert all(content(store, f"image.{n}") == bytes([n]) * 50_000 for n in range(24))

    # — deletion —

    def test_a_deleted_object_is_gone_and_its_key_free(self, store: Store) -> None:
        write(store, KEY, TEXT)
        store.delete(KEY)
        assert_nothing_at(store, KEY)
        write(store, KEY, b"new")
        assert content(store, KEY) == b"new"

    def test_deleting_what_is_not_there_is_success(self, store: Store) -> None:
        store.delete(KEY)
        write(store, KEY, TEXT)
        store.delete(KEY)
        store.delete(KEY)
        assert_nothing_at(store, KEY)

    def test_deleting_one_key_spares_its_neighbours(self, store: Store) -> None:
        # Given a key that begins with the deleted one, committed, and one in a session
        write(store, OTHER, TEXT)
        open_neighbour = store.create(f"{KEY}1")
        open_neighbour.write(TEXT)
        store.delete(KEY)
        open_neighbour.commit()
        assert content(store, OTHER) == content(store, f"{KEY}1") == TEXT

    def test_an_open_reader_outlives_the_deletion(self, store: Store) -> None:
        write(store, KEY, BIG)
        with store.open(KEY) as reader:
            first = reader.read(10)
            store.delete(KEY)
            assert first + b"".join(reader) == BIG

    def test_a_key_deleted_under_a_late_writer_does_not_come_back(self, store: Store) -> None:
        # Given a session whose process is thought dead
        writer = store.create(KEY, len(TEXT))
        writer.write(TEXT[:3])
        # When its key is deleted, and it was not dead after all
        store.delete(KEY)
        writer.write(TEXT[3:])
        with pytest.raises(SessionEnded):
            writer.commit()
        # Then nothing came of it
        writer.abort()
        assert_nothing_at(store, KEY)

    def test_aborting_the_late_writer_spares_its_successor(self, store: Store) -> None:
        late = store.create(KEY)
        late.write(b"late")
        store.delete(KEY)
        write(store, KEY, TEXT)
        late.abort()
        assert content(store, KEY) == TEXT


def assert_over(writer: Writer) -> None:
    """The session takes nothing more."""
    with pytest.raises(SessionEnded):
        writer.write(b"more")
    with pytest.raises(SessionEnded):
        writer.commit()
