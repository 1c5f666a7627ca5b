"""Every format, fed everything that a source can send: the same hostile inputs for all in `FORMATS`."""

import gzip
import random
import struct
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest
import zstandard

from pipeline.decompress import FORMATS, MIB, Decompressor, ExpansionLimit, Gzip, Zstd, sniff
from pipeline.errors import Corrupt, SourceBroken, TooBig

TEXT = random.Random(7).randbytes(40) * 30 + random.Random(8).randbytes(500)
BIG = random.Random(9).randbytes(300_000) * 5 + bytes(3_000_000) + random.Random(10).randbytes(700_000)
WIDE = ExpansionLimit(max_bytes=1 << 40)


@dataclass(frozen=True)
class Kind:
    format: Decompressor
    compress: Callable[[bytes], bytes]


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def _zstd_stream(data: bytes) -> bytes:
    """As a pipe would write it: no content size in the header."""
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return stream.compress(data) + stream.flush()


KINDS = {
    "gzip": Kind(Gzip(), gzip.compress),
    "zstd": Kind(Zstd(), _zstd),
    "zstd-stream": Kind(Zstd(), _zstd_stream),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def expanded(kind: Kind, chunks: Iterable[bytes], limit: ExpansionLimit = WIDE) -> bytes:
    return b"".join(kind.format.expand(chunks, limit))


def sliced(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def test_every_format_is_in_this_suite() -> None:
    assert {kind.format.name for kind in KINDS.values()} == {known.name for known in FORMATS}


@every_kind
@pytest.mark.parametrize("size", [1000, 65536, 1 << 20, 1 << 30])
def test_content_comes_back_whatever_the_chunks(kind: Kind, size: int) -> None:
    assert expanded(kind, sliced(kind.compress(BIG), size)) == BIG


@every_kind
def test_pieces_are_worth_a_hand_off_and_bounded(kind: Kind) -> None:
    pieces = list(kind.format.expand([kind.compress(BIG)], WIDE))
    assert all(MIB // 4 <= len(piece) <= 2 * MIB for piece in pieces[:-1])
    assert 0 < len(pieces[-1]) <= 2 * MIB


@every_kind
def test_one_byte_at_a_time(kind: Kind) -> None:
    assert expanded(kind, sliced(kind.compress(TEXT), 1)) == TEXT


@every_kind
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_concatenated_streams_are_one(kind: Kind, size: int) -> None:
    three = kind.compress(TEXT) + kind.compress(b"") + kind.compress(TEXT[::-1])
    assert expanded(kind, sliced(three, size)) == TEXT + TEXT[::-1]


@every_kind
def test_truncated_anywhere_is_corrupt(kind: Kind) -> None:
    whole = kind.compress(TEXT)
    for end in range(len(whole)):
        with pytest.raises(Corrupt):
            expanded(kind, [whole[:end]])


@every_kind
def test_truncated_in_a_later_stream_is_corrupt(kind: Kind) -> None:
    first = kind.compress(TEXT)
    both = first + kind.compress(TEXT)
    for end in range(len(first) + 1, len(both)):
        with pytest.raises(Corrupt):
            expanded(kind, sliced(both[:end], 50))


@every_kind
def test_truncation_says_so(kind: Kind) -> None:
    with pytest.raises(Corrupt, match=f"{kind.format.name} stream ends too early: it is truncated"):
        expanded(kind, [kind.compress(BIG)[:-1]])


@every_kind
def test_a_flipped_bit_never_yields_other_content_in_silence(kind: Kind) -> None:
    whole = kind.compress(TEXT)
    noticed = 0
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        try:
            # Some bits of a header (time, name of the system) mean nothing; the content must be right all the same.
            assert expanded(kind, [damaged]) == TEXT
        except Corrupt:
            noticed += 1
    assert noticed > len(whole) * 0.95


@every_kind
@pytest.mark.parametrize("tail", [b"x", b"garbage", b"\x1f\x8b\x07", b"\x28\xb5\x2f\xfe", b"\0\0\0x"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_garbage_after_the_end_is_corrupt(kind: Kind, tail: bytes, size: int) -> None:
    with pytest.raises(Corrupt):
        expanded(kind, sliced(kind.compress(TEXT) + tail, size))


@every_kind
def test_nothing_at_all_is_corrupt(kind: Kind) -> None:
    with pytest.raises(Corrupt):
        expanded(kind, [])


@every_kind
def test_an_empty_content_is_a_content(kind: Kind) -> None:
    assert expanded(kind, [kind.compress(b"")]) == b""


@every_kind
def test_the_absolute_limit_is_exact(kind: Kind) -> None:
    whole = kind.compress(BIG)
    assert expanded(kind, [whole], ExpansionLimit(max_bytes=len(BIG))) == BIG
    with pytest.raises(TooBig, match=f"more than the {len(BIG) - 1} bytes"):
        expanded(kind, [whole], ExpansionLimit(max_bytes=len(BIG) - 1))


@every_kind
def test_the_ratio_is_judged_above_its_floor(kind: Kind) -> None:
    whole = kind.compress(bytes(8 * MIB))
    assert expanded(kind, [whole], ExpansionLimit(1 << 40, max_ratio=5, ratio_floor=8 * MIB)) == bytes(8 * MIB)
    with pytest.raises(TooBig, match="5 times as many are allowed"):
        expanded(kind, [whole], ExpansionLimit(1 << 40, max_ratio=5, ratio_floor=2 * MIB))


@every_kind
def test_streams_of_nothing_do_not_go_on_for_ever(kind: Kind) -> None:
    def endless() -> Iterator[bytes]:
        many = kind.compress(b"") * 5000
        while True:
            yield many

    with pytest.raises(TooBig, match="compressed stream alone"):
        expanded(kind, endless(), ExpansionLimit(max_bytes=MIB))


@every_kind
def test_an_error_of_the_source_passes_through(kind: Kind) -> None:
    def breaking() -> Iterator[bytes]:
        yield kind.compress(BIG)[:200_000]
        raise SourceBroken("broke off")

    with pytest.raises(SourceBroken, match="broke off"):
        expanded(kind, breaking())


# Bombs


def _rle_frame(blocks: int) -> bytes:
    """A zstd frame of RLE blocks: 4 bytes that make 128 KiB each."""
    size = 128 * 1024
    block = ((size << 3) | (1 << 1)).to_bytes(3, "little") + b"\0"
    last = ((size << 3) | (1 << 1) | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x50" + block * (blocks - 1) + last


def test_the_bomb_of_rle_blocks_is_a_true_one() -> None:
    assert expanded(Kind(Zstd(), _zstd), [_rle_frame(100)]) == bytes(100 * 128 * 1024)


@pytest.mark.parametrize(
    ("known", "bomb"),
    [
        pytest.param(Gzip(), gzip.compress(bytes(200 * MIB), 9), id="gzip"),
        pytest.param(Zstd(), _rle_frame(20_000), id="zstd-rle"),
        pytest.param(Zstd(), _zstd(bytes(200 * MIB)), id="zstd"),
    ],
)
@pytest.mark.parametrize(
    "limit", [ExpansionLimit(150 * MIB, max_ratio=1 << 40), ExpansionLimit(1 << 40, ratio_floor=150 * MIB)]
)
def test_a_bomb_is_stopped_and_memory_stays_small(known: Decompressor, bomb: bytes, limit: ExpansionLimit) -> None:
    sizes: list[int] = []
    tracemalloc.start()
    try:
        with pytest.raises(TooBig):
            sizes.extend(map(len, known.expand([bomb], limit)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 140 * MIB < sum(sizes) <= 152 * MIB
    assert peak < 8 * MIB


# gzip's own


@pytest.mark.parametrize("padding", [1, 511, 200_000])
@pytest.mark.parametrize("size", [3, 65536])
def test_gzip_padding_after_the_end_is_ignored(padding: int, size: int) -> None:
    kind = Kind(Gzip(), gzip.compress)
    assert expanded(kind, sliced(gzip.compress(TEXT) + bytes(padding), size)) == TEXT


def test_gzip_reads_names_and_comments_in_headers() -> None:
    plain = gzip.compress(TEXT)
    named = plain[:3] + bytes([plain[3] | 0x08]) + plain[4:10] + b"disk.img\0" + plain[10:]
    assert expanded(Kind(Gzip(), gzip.compress), sliced(named, 1)) == TEXT


# zstd's own


def test_zstd_skippable_frames_are_skipped() -> None:
    def skippable(n: int, size: int) -> bytes:
        return struct.pack("<II", 0x184D2A50 + n, size) + bytes(size)

    stream = skippable(0, 5) + _zstd(TEXT) + skippable(15, 3_000_000) + _zstd(TEXT) + skippable(3, 0)
    found, chunks = sniff(sliced(stream, 100_000))
    assert found is not None
    assert found.name == "zstd"
    assert b"".join(found.expand(chunks, WIDE)) == TEXT * 2


def test_zstd_padding_is_not_a_thing() -> None:
    with pytest.raises(Corrupt, match="does not belong to it"):
        expanded(Kind(Zstd(), _zstd), [_zstd(TEXT) + bytes(10)])


def test_zstd_windows_are_capped() -> None:
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    )
    stream = wide.compressobj()
    whole = stream.compress(TEXT) + stream.flush()
    with pytest.raises(Corrupt, match=f"window of {1 << 28} bytes; at most {1 << 27}"):
        expanded(Kind(Zstd(), _zstd), [whole])


def test_zstd_windows_up_to_the_cap_are_taken() -> None:
    params = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=params).compressobj()
    assert expanded(Kind(Zstd(), _zstd), [stream.compress(TEXT) + stream.flush()]) == TEXT


def test_zstd_that_needs_a_dictionary_says_so() -> None:
    samples: list[bytes | bytearray | memoryview] = [random.Random(i).randbytes(200) + TEXT for i in range(50)]
    dictionary = zstandard.train_dictionary(2000, samples)
    whole = zstandard.ZstdCompressor(dict_data=dictionary).compress(TEXT)
    with pytest.raises(Corrupt, match="needs a dictionary"):
        expanded(Kind(Zstd(), _zstd), [whole])


def test_zstd_reserved_blocks_are_corrupt() -> None:
    reserved = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x50" + ((10 << 3) | (3 << 1) | 1).to_bytes(3, "little") + bytes(10)
    with pytest.raises(Corrupt, match="block header"):
        expanded(Kind(Zstd(), _zstd), [reserved])


# Sniffing


@every_kind
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_formats_are_recognised_by_content(kind: Kind, size: int) -> None:
    whole = kind.compress(TEXT)
    found, chunks = sniff(sliced(whole, size))
    assert found is not None
    assert found.name == kind.format.name
    assert b"".join(chunks) == whole


@pytest.mark.parametrize(
    "data", [b"", b"\x1f", b"\x1f\x8b", b"\x28\xb5\x2f", b"\x1f\x8b\x07xyz", b"QFI\xfb", bytes(1000)]
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_not_compressed_comes_through_unchanged(data: bytes, size: int) -> None:
    found, chunks = sniff(sliced(data, size))
    assert found is None
    assert b"".join(chunks) == data


def test_sniffing_reads_no_more_than_it_needs() -> None:
    taken: list[int] = []

    def counting() -> Iterator[bytes]:
        for i in range(10):
            taken.append(i)
            yield b"abcd"

    sniff(counting())
    assert taken == [0]
