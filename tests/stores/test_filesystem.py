"""What is particular to files: holes, modes, durability, and a directory that goes away or refuses."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stores import files
from stores.base import CHUNK, FileBacked, StoreSpec
from stores.errors import ObjectInUse, ObjectNotFound, StoreDenied, StoreError, StoreFull, StoreUnavailable
from stores.filesystem import FilesystemStore
from tests.conformance.store_contract import KEY, TEXT, assert_nothing_at, content, write


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore("fast", tmp_path)


def refusal(call: Callable[[], object], kind: type[StoreError], directory: Path) -> str:
    """Return the text of the error that `call` must raise; it names the store, and no path."""
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith("store fast: ")
    assert str(directory) not in str(caught.value)
    return str(caught.value)


def busy(path: Path, **_: object) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


class TestObjects:
    def test_an_object_is_a_file_of_that_name(self, store: FilesystemStore, tmp_path: Path) -> None:
        write(store, KEY, TEXT)
        assert (tmp_path / KEY).read_bytes() == TEXT
        assert store.url(KEY) == f"file://{tmp_path}/{KEY}"

    def test_its_reader_can_be_sent_by_the_kernel(self, store: FilesystemStore) -> None:
        write(store, KEY, TEXT)
        with store.open(KEY, 5) as reader:
            assert isinstance(reader, FileBacked)
            assert os.lseek(reader.fileno(), 0, os.SEEK_CUR) == 5

    def test_iterating_yields_the_configured_chunks(self, tmp_path: Path) -> None:
        spec = StoreSpec(
            "fast",
            "file",
            options={"filesystem_store_datadir": str(tmp_path), "filesystem_store_chunk_size": 6},
        )
        store = FilesystemStore.from_spec(spec)
        write(store, KEY, TEXT)
        with store.open(KEY) as reader:
            assert list(reader) == [b"012345", b"6789ab", b"cdef"]

    def test_what_is_no_regular_file_is_no_object(self, store: FilesystemStore, tmp_path: Path) -> None:
        (tmp_path / KEY).mkdir()
        assert_nothing_at(store, KEY)

    def test_a_file_cut_short_behind_our_back_is_an_error(self, store: FilesystemStore, tmp_path: Path) -> None:
        write(store, KEY, TEXT)
        with store.open(KEY) as reader:
            assert reader.read(4) == TEXT[:4]
            os.truncate(tmp_path / KEY, 4)
            assert "ends after 4 of 16 bytes" in refusal(reader.read, StoreUnavailable, tmp_path)

    @pytest.mark.parametrize(("configured", "mode"), [(640, 0o640), ("0604", 0o604), (0, 0o666), (None, 0o666)])
    def test_the_mode_is_the_configured_octal_number_or_what_the_umask_says(
        self, tmp_path: Path, configured: object, mode: int
    ) -> None:
        options = {"filesystem_store_datadir": tmp_path, "filesystem_store_file_perm": configured}
        store = FilesystemStore.from_spec(StoreSpec("fast", "file", options=options))
        umask = os.umask(0)
        try:
            write(store, KEY, TEXT)
        finally:
            os.umask(umask)
        assert (tmp_path / KEY).stat().st_mode & 0o777 == mode

    def test_a_file_that_the_kernel_holds_is_in_use(
        self, store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(store, KEY, TEXT)
        # Given what unlinking a mount point comes to
        monkeypatch.setattr(Path, "unlink", busy)
        assert "store fast: the object is in use" in refusal(lambda: store.delete(KEY), ObjectInUse, tmp_path)
        assert content(store, KEY) == TEXT

    def test_a_probe_leaves_nothing(self, store: FilesystemStore, tmp_path: Path) -> None:
        store.probe()
        assert not list(tmp_path.iterdir())


class TestThinProvisioning:
    def test_zeros_take_no_room(self, tmp_path: Path) -> None:
        # Given an object of 4 MiB with zeros in all but two short places
        data = bytearray(4 * CHUNK)
        data[100:200] = b"x" * 100
        data[3 * CHUNK : 3 * CHUNK + 10] = b"y" * 10
        thin = FilesystemStore("thin", tmp_path / "thin", thin=True)
        thick = FilesystemStore("thick", tmp_path / "thick")
        for store in (thin, thick):
            store.prepare()
            write(store, KEY, *(memoryview(data)[i : i + CHUNK] for i in range(0, len(data), CHUNK)))
        # Then the thin file has two blocks of 64 KiB, and the same bytes
        used = {s.id: (s.directory / KEY).stat().st_blocks * 512 for s in (thin, thick)}
        assert used["thin"] <= 2 * 65_536 + 8192
        assert used["thick"] >= 4 * CHUNK
        assert content(thin, KEY) == content(thick, KEY) == bytes(data)

    def test_holes_do_not_depend_on_how_the_chunks_fall(self, tmp_path: Path) -> None:
        # Given one block of 64 KiB of bytes among zeros, in chunks that cut across all blocks
        data = bytes(4 * 65_536) + b"x" * 65_536 + bytes(11 * 65_536)
        store = FilesystemStore("thin", tmp_path, thin=True)
        write(store, KEY, *(data[i : i + 100_003] for i in range(0, len(data), 100_003)))
        assert (tmp_path / KEY).stat().st_blocks * 512 <= 65_536 + 4096
        assert content(store, KEY) == data

    def test_an_announced_size_above_the_free_space_is_not_refused(self, tmp_path: Path) -> None:
        store = FilesystemStore("thin", tmp_path, thin=True)
        store.create(KEY, 1 << 60).abort()


class TestFailures:
    def test_an_announced_size_above_the_free_space_is_refused_at_once(
        self, store: FilesystemStore, tmp_path: Path
    ) -> None:
        text = refusal(lambda: store.create(KEY, 1 << 60), StoreFull, tmp_path)
        assert f"{1 << 60} bytes are announced" in text

    def test_short_writes_are_carried_on(self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:1000], at))
        data = os.urandom(10_500)
        write(store, KEY, data, size=len(data))
        assert content(store, KEY) == data

    @pytest.mark.parametrize(
        ("number", "kind"),
        [
            (errno.ENOSPC, StoreFull),
            (errno.EDQUOT, StoreFull),
            (errno.EFBIG, StoreFull),
            (errno.EACCES, StoreDenied),
            (errno.EPERM, StoreDenied),
            (errno.EROFS, StoreDenied),
            (errno.EIO, StoreUnavailable),
            (errno.ESTALE, StoreUnavailable),
            (errno.EMFILE, StoreUnavailable),
        ],
    )
    @pytest.mark.parametrize("broken", ["fsync", "ftruncate"])
    def test_a_commit_that_fails_says_whose_fault_and_leaves_nothing(
        self,
        store: FilesystemStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        kind: type[StoreError],
        broken: str,
    ) -> None:
        def fail(*args: object) -> None:
            raise OSError(number, os.strerror(number), str(tmp_path))

        writer = store.create(KEY, len(TEXT))
        writer.write(TEXT)
        monkeypatch.setattr(os, broken, fail)
        text = refusal(writer.commit, kind, tmp_path)
        assert text == f"store fast: committing failed after 16 of 16 bytes: {os.strerror(number)}"
        assert_nothing_at(store, KEY)
        assert not list((tmp_path / ".writing").iterdir())

    def test_a_name_that_cannot_be_made_durable_is_taken_back(
        self, store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a directory whose sync fails after the object got its name
        real = os.fsync

        def fail_on_directories(descriptor: int) -> None:
            if Path(f"/proc/self/fd/{descriptor}").is_dir():
                assert (tmp_path / KEY).exists()
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fail_on_directories)
        writer = store.create(KEY)
        writer.write(TEXT)
        refusal(writer.commit, StoreUnavailable, tmp_path)
        assert_nothing_at(store, KEY)

    def test_a_link_whose_answer_was_lost_is_recognised(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given NFS, where the client asks again and is told that the name is taken: by itself
        real = os.link

        def link_twice(source: Path, target: Path) -> None:
            real(source, target)
            real(source, target)

        monkeypatch.setattr(os, "link", link_twice)
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT

    def test_where_there_are_no_links_a_dead_publisher_blocks_its_key_until_it_is_deleted(
        self, store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        writer = store.create(KEY)
        (tmp_path / ".writing" / f"{KEY}~publishing").touch()
        with pytest.raises(StoreError, match="another session"):
            writer.commit()
        store.delete(KEY)
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT


class TestDurability:
    def test_power_may_fail_at_any_time_after_the_commit(
        self, store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model of a disk that keeps only what was synced: first it has the bytes, then the name."""
        synced: dict[int, int] = {}
        named_with: list[int] = []
        names_on_disk: set[str] = set()
        real_sync, real_link = os.fsync, os.link

        def sync(descriptor: int) -> None:
            real_sync(descriptor)
            found = os.fstat(descriptor)
            synced[found.st_ino] = found.st_size
            if found.st_ino == tmp_path.stat().st_ino:
                names_on_disk.update(path.name for path in tmp_path.iterdir())

        def link(source: Path, target: Path) -> None:
            named_with.append(synced.get(Path(source).stat().st_ino, -1))
            real_link(source, target)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "link", link)
        write(store, KEY, TEXT, TEXT)
        assert named_with == [32]
        assert KEY in names_on_disk

    def test_a_deletion_lasts(self, store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(store, KEY, TEXT)
        names_at_sync: list[set[str]] = []
        monkeypatch.setattr(os, "fsync", lambda fd: names_at_sync.append({path.name for path in tmp_path.iterdir()}))
        store.delete(KEY)
        assert names_at_sync == [{".writing"}]


class TestLostDirectory:
    @pytest.fixture
    def lost(self, tmp_path: Path) -> FilesystemStore:
        return FilesystemStore("fast", tmp_path / "unmounted")

    def test_a_missing_directory_is_no_missing_object(self, lost: FilesystemStore, tmp_path: Path) -> None:
        for call in (
            lambda: lost.stat(KEY),
            lambda: lost.open(KEY),
            lambda: lost.create(KEY),
            lambda: lost.delete(KEY),
            lost.probe,
        ):
            refusal(call, StoreUnavailable, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_it_works_again_when_the_directory_is_back(self, lost: FilesystemStore) -> None:
        lost.directory.mkdir()
        with pytest.raises(ObjectNotFound):
            lost.stat(KEY)
        write(lost, KEY, TEXT)
        assert content(lost, KEY) == TEXT

    def test_a_file_in_its_place_is_no_store(self, lost: FilesystemStore, tmp_path: Path) -> None:
        lost.directory.touch()
        for call in (
            lambda: lost.stat(KEY),
            lambda: lost.create(KEY),
            lambda: lost.delete(KEY),
            lost.probe,
            lost.prepare,
        ):
            refusal(call, StoreUnavailable, tmp_path)

    @pytest.mark.parametrize("destroyed", [False, True])
    def test_a_directory_that_goes_in_mid_session(self, lost: FilesystemStore, tmp_path: Path, destroyed: bool) -> None:
        lost.prepare()
        writer = lost.create(KEY)
        writer.write(TEXT)
        lost.directory.rename(tmp_path / "elsewhere")
        if destroyed:
            shutil.rmtree(tmp_path / "elsewhere")
        assert "committing failed after 16 bytes" in refusal(writer.commit, StoreUnavailable, tmp_path)
        writer.abort()


@contextmanager
def as_a_stranger() -> Iterator[None]:
    """Run the block without root's power over modes; without it already, run it as it is."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestLostPermission:
    @pytest.fixture
    def store(self) -> Iterator[FilesystemStore]:
        # Not tmp_path: its parents are closed to strangers.
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o777)
            with as_a_stranger():
                (Path(directory) / "data").mkdir()
            yield FilesystemStore("fast", Path(directory) / "data")
            with as_a_stranger():
                (Path(directory) / "data").chmod(0o700)

    def test_nothing_can_be_begun(self, store: FilesystemStore) -> None:
        with as_a_stranger():
            store.directory.chmod(0o500)
            refusal(lambda: store.create(KEY), StoreDenied, store.directory)
            refusal(store.probe, StoreDenied, store.directory)
            assert not list(store.directory.iterdir())

    def test_what_was_begun_cannot_be_committed(self, store: FilesystemStore) -> None:
        with as_a_stranger():
            writer = store.create(KEY)
            writer.write(TEXT)
            store.directory.chmod(0o500)
            text = refusal(writer.commit, StoreDenied, store.directory)
            writer.abort()
            assert "committing failed after 16 bytes" in text
            assert_nothing_at(store, KEY)

    def test_what_is_there_can_be_neither_read_nor_deleted(self, store: FilesystemStore) -> None:
        with as_a_stranger():
            write(store, KEY, TEXT)
            store.directory.chmod(0)
            for call in (lambda: store.open(KEY), lambda: store.stat(KEY), lambda: store.delete(KEY)):
                refusal(call, StoreDenied, store.directory)
            store.directory.chmod(0o700)
            assert content(store, KEY) == TEXT


def test_a_read_error_is_translated(store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, KEY, TEXT)

    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with store.open(KEY, 3) as reader:
        monkeypatch.setattr(os, "read", fail)
        text = refusal(reader.read, StoreUnavailable, tmp_path)
    assert text == f"store fast: reading failed after 3 of 16 bytes: {os.strerror(errno.EIO)}"


class TestWritingBack:
    """The kernel is told to begin writing to disk long before the commit."""

    def test_every_byte_but_the_last_few_is_announced_once(
        self, store: FilesystemStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a store that announces every 8 bytes
        announced: list[tuple[int, int]] = []
        monkeypatch.setattr(files, "_WRITE_BACK", 8)
        monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: announced.append((start, length)))
        # When 23 bytes come in pieces of 5 and 3
        writer = store.create(KEY)
        for piece in (b"01234", b"56789", b"abcde", b"fgh", b"ijklm"):
            writer.write(piece)
        writer.commit()
        # Then the ranges follow each other without a gap
        assert announced == [(0, 10), (10, 8)]
        assert content(store, KEY) == b"0123456789abcdefghijklm"

    def test_a_file_system_that_takes_no_advice_is_as_good(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: int) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(files, "_WRITE_BACK", 1)
        monkeypatch.setattr(os, "posix_fadvise", refuse)
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT
