"""The whole data path over fakes: what arrives, what is vetoed, and that nothing is visible before its time."""

import gzip
import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import zstandard

from pipeline.decompress import ExpansionLimit
from pipeline.errors import (
    ChecksumMismatch,
    Corrupt,
    EndUnknown,
    FormatMismatch,
    Interrupted,
    SourceBroken,
    TooBig,
    TransferError,
)
from pipeline.facts import Facts, Tap
from pipeline.sources import ChunkSource
from pipeline.taps import FormatTap, HashTap, ProgressTap, SizeTap, StopTap, Threaded
from pipeline.tee import Tee
from pipeline.transfer import TransferResult, transfer
from stores.errors import ObjectNotFound, StoreFull
from stores.memory import MemoryStore
from stores.wrappers import Call, FaultyStore, fails

IMAGE = random.Random(5).randbytes(2_500_000)
WIDE = ExpansionLimit(1 << 40)
KEY = "image.1"


class Rig:
    """Two memory stores behind a tee."""

    def __init__(self, must_all: bool = True) -> None:
        self.stores = {name: FaultyStore(MemoryStore(name)) for name in "ab"}
        self.must_all = must_all

    def run(
        self,
        source: ChunkSource,
        taps: list[Tap] | None = None,
        expand: ExpansionLimit | None = WIDE,
        source_taps: list[Tap] | None = None,
    ) -> TransferResult:
        self.tee = Tee({name: store.create(KEY) for name, store in self.stores.items()}, self.must_all)
        return transfer(source, taps or [], self.tee, expand=expand, source_taps=source_taps or [])

    @property
    def kept(self) -> dict[str, bytes]:
        found = {}
        for name, store in self.stores.items():
            try:
                with store.open(KEY) as reader:
                    found[name] = b"".join(reader)
            except ObjectNotFound:
                continue
        return found


def chunks(data: bytes, size: int = 300_000) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def source(data: bytes, end_vouched: bool = True) -> ChunkSource:
    return ChunkSource(chunks(data), len(data), end_vouched)


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def hashes() -> list[Tap]:
    return [Threaded(HashTap(name), f"hash {name}") for name in ("sha512", "md5")]


def test_a_raw_image_arrives_whole_with_its_facts() -> None:
    rig = Rig()
    seen: list[int] = []
    taps = [SizeTap(1 << 30), *hashes(), FormatTap("raw", "bare"), ProgressTap(seen.append)]
    result = rig.run(source(IMAGE), taps)
    assert rig.kept == {"a": IMAGE, "b": IMAGE}
    assert result.facts == Facts(
        size=len(IMAGE),
        hashes={"sha512": hashlib.sha512(IMAGE).hexdigest(), "md5": hashlib.md5(IMAGE).hexdigest()},
        virtual_size=len(IMAGE),
        detected_format="raw",
    )
    assert (result.bytes_read, result.bytes_written, result.expanded) == (len(IMAGE), len(IMAGE), None)
    assert set(result.stored) == {"a", "b"}
    assert seen[-1] == len(IMAGE)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("gzip", gzip.compress(IMAGE) + gzip.compress(IMAGE)),
        ("zstd", zstandard.compress(IMAGE) + zstandard.compress(IMAGE)),
    ],
)
@pytest.mark.parametrize("end_vouched", [True, False])
def test_a_compressed_image_is_expanded_and_vouches_for_its_own_end(
    name: str, packed: bytes, end_vouched: bool
) -> None:
    rig = Rig()
    received: list[int] = []
    source_taps: list[Tap] = [HashTap("sha256", hashlib.sha256(packed).hexdigest()), ProgressTap(received.append)]
    result = rig.run(source(packed, end_vouched), hashes(), source_taps=source_taps)
    assert rig.kept["a"] == IMAGE * 2
    assert result.facts.hashes["md5"] == hashlib.md5(IMAGE * 2).hexdigest()
    assert "sha256" not in result.facts.hashes
    assert (result.expanded, result.bytes_read, result.bytes_written) == (name, len(packed), 2 * len(IMAGE))
    assert received[-1] == len(packed)


def test_a_compressed_container_is_kept_as_it_is() -> None:
    rig, packed = Rig(), gzip.compress(IMAGE)
    result = rig.run(source(packed), [FormatTap("qcow2", "compressed")], expand=None)
    assert rig.kept["a"] == packed
    assert result.expanded is None
    assert result.facts == Facts()


@pytest.mark.parametrize(
    ("data", "expand"), [(IMAGE, WIDE), (b"", WIDE), (gzip.compress(IMAGE), None)], ids=["raw", "empty", "not expanded"]
)
def test_a_body_whose_end_nobody_vouches_for_is_refused_unread(data: bytes, expand: ExpansionLimit | None) -> None:
    rig = Rig()
    with pytest.raises(EndUnknown, match="does not say where its content ends"):
        rig.run(source(data, end_vouched=False), hashes(), expand)
    assert rig.kept == {}


@pytest.mark.parametrize("threaded", [False, True])
def test_an_expected_checksum_vouches_for_the_end(threaded: bool) -> None:
    def expecting(data: bytes) -> list[Tap]:
        tap = HashTap("sha512", hashlib.sha512(data).hexdigest())
        return [Threaded(tap, "hash") if threaded else tap]

    rig = Rig()
    rig.run(source(IMAGE, end_vouched=False), expecting(IMAGE))
    assert rig.kept["a"] == IMAGE
    cut = Rig()
    with pytest.raises(ChecksumMismatch):
        cut.run(source(IMAGE[:-1], end_vouched=False), expecting(IMAGE))
    assert cut.kept == {}


def _stopping() -> StopTap:
    calls = iter([None, None, "cancelled"])
    return StopTap(lambda: next(calls))


class _Late(Tap):
    """Vetoes when everything has been written already."""

    def feed(self, chunk: bytes) -> None:
        return

    def finish(self) -> Facts:
        raise Corrupt("late")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: SizeTap(cap=1_000_000), TooBig),
        (lambda: SizeTap(declared=len(IMAGE) + 1), SourceBroken),
        (lambda: FormatTap("qcow2", "bare"), FormatMismatch),
        (lambda: HashTap("md5", "0" * 32), ChecksumMismatch),
        (_stopping, Interrupted),
        (_Late, Corrupt),
    ],
)
@pytest.mark.parametrize("on_source", [False, True])
def test_a_veto_leaves_nothing(make: type[Tap], error: type[TransferError], on_source: bool) -> None:
    rig = Rig()
    with pytest.raises(error):
        rig.run(source(IMAGE), hashes() + ([] if on_source else [make()]), source_taps=[make()] if on_source else [])
    assert rig.kept == {}
    assert rig.tee.stored == {}


def test_a_source_that_breaks_leaves_nothing() -> None:
    def breaking() -> Iterator[bytes]:
        yield IMAGE
        raise SourceBroken("broke off")

    rig = Rig()
    with pytest.raises(SourceBroken):
        rig.run(ChunkSource(breaking(), len(IMAGE)), hashes())
    assert rig.kept == {}


def test_a_source_that_is_interrupted_leaves_nothing() -> None:
    interrupted = source(IMAGE)
    rig = Rig()
    with pytest.raises(Interrupted, match="worker stops"):
        rig.run(interrupted, [*hashes(), ProgressTap(lambda _: interrupted.interrupt("worker stops"))])
    assert rig.kept == {}


def test_a_damaged_compressed_image_leaves_nothing() -> None:
    rig = Rig()
    with pytest.raises(Corrupt):
        rig.run(source(gzip.compress(IMAGE)[:-4]), hashes())
    assert rig.kept == {}


def test_a_bomb_leaves_nothing() -> None:
    rig = Rig()
    with pytest.raises(TooBig):
        rig.run(source(gzip.compress(bytes(5_000_000))), hashes(), ExpansionLimit(1_000_000))
    assert rig.kept == {}


def test_an_exception_nobody_thought_of_leaves_nothing_too() -> None:
    def bug(_: int) -> None:
        raise ZeroDivisionError

    rig = Rig()
    with pytest.raises(ZeroDivisionError):
        rig.run(source(IMAGE), [*hashes(), ProgressTap(bug)])
    assert rig.kept == {}


@pytest.mark.parametrize("operation", ["write", "commit"])
@pytest.mark.parametrize("must_all", [True, False])
def test_a_store_that_fails(operation: str, must_all: bool) -> None:
    full = StoreFull("b", "no room")
    rig = Rig(must_all)
    rig.stores["b"].hooks["write" if operation == "write" else "commit"] = fails(full)
    if must_all:
        with pytest.raises(StoreFull):
            rig.run(source(IMAGE), hashes())
        # With the first of two committed already, it is the caller who knows how to delete.
        assert set(rig.kept) == set(rig.tee.stored) == ({"a"} if operation == "commit" else set())
    else:
        result = rig.run(source(IMAGE), hashes())
        assert rig.kept == {"a": IMAGE}
        assert result.failed == {"b": full}
        assert set(result.stored) == {"a"}


def test_the_order_is_read_all_then_finish_all_then_commit() -> None:
    log: list[str] = []

    class Logging(Tap):
        def feed(self, chunk: bytes) -> None:
            log.append("feed")

        def finish(self) -> Facts:
            log.append("finish")
            return Facts()

        def close(self) -> None:
            log.append("close")

    class Closing(ChunkSource):
        @contextmanager
        def open(self) -> Iterator[Iterator[bytes]]:
            with super().open() as inner:
                yield inner
            log.append("source closed")

    def commit(call: Call, go: Callable[[], object]) -> object:
        log.append("commit")
        return go()

    rig = Rig()
    for store in rig.stores.values():
        store.hooks["commit"] = commit
    rig.run(Closing([b"x", b"y"], 2), [Logging()], source_taps=[Logging()])
    assert log == [*["feed"] * 4, "finish", "finish", "commit", "commit", "source closed", "close", "close"]
