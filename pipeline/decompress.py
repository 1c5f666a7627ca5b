"""Compressed streams, recognised by their first bytes and expanded within bounds.

A format is one class with `name`, `magic` and `expand`, and one entry in `FORMATS`. `expand` must refuse a stream
that is truncated, damaged or followed by something else, and never hold more than a few MiB at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol, cast

import zstandard
from zlib_ng import zlib_ng

from pipeline.chunks import joined
from pipeline.errors import Corrupt, TooBig

MIB: Final = 1 << 20
_GZIP_ERROR: Final = cast("type[Exception]", zlib_ng.error)  # its stub says it is an instance


@dataclass(frozen=True, slots=True)
class ExpansionLimit:
    """What a compressed stream may become: at most `max_bytes`, and not more than `max_ratio` times its own size.

    The ratio is judged only above `ratio_floor` bytes: small images full of zeros shrink a thousandfold in earnest.
    """

    max_bytes: int
    max_ratio: int = 500
    ratio_floor: int = 256 * MIB


class Decompressor(Protocol):
    """One compression format."""

    name: str
    magic: tuple[bytes, ...]
    """The ways a stream of this format can begin."""

    def expand(self, chunks: Iterable[bytes], limit: ExpansionLimit) -> Iterator[bytes]:
        """Yield the content in pieces of 256 KiB to about 1 MiB (the last may be smaller), one step at a time.

        Raises `Corrupt`, `TooBig`, and what `chunks` raises.
        """


@dataclass
class _Gauge:
    """Counts both sides of an expansion and compares them with the limit."""

    limit: ExpansionLimit
    read: int = 0
    made: int = 0

    def reading(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.read += len(chunk)
            # Frames and members that hold nothing would let a stream go on for ever without any output.
            if self.read > self.limit.max_bytes + self.limit.max_bytes // 64 + MIB:
                raise TooBig(f"The compressed stream alone is larger than the {self.limit.max_bytes} bytes allowed.")
            yield chunk

    def making(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        limit = self.limit
        for piece in pieces:
            self.made += len(piece)
            if self.made > limit.max_bytes:
                raise TooBig(f"The content expands to more than the {limit.max_bytes} bytes allowed.")
            if self.made > limit.ratio_floor and self.made > self.read * limit.max_ratio:
                raise TooBig(
                    f"{self.read} compressed bytes expand to {self.made} bytes and more;"
                    f" {limit.max_ratio} times as many are allowed."
                )
            if piece:
                yield piece


class Gzip:
    """RFC 1952, any number of members; NUL padding after the last one is ignored, as every gzip does."""

    name = "gzip"
    magic: tuple[bytes, ...] = (b"\x1f\x8b\x08",)

    # `unconsumed_tail` is a copy of the rest of the input after each bounded step: keep the input small.
    _INPUT: Final = 256 * 1024
    _OUTPUT: Final = MIB

    def expand(self, chunks: Iterable[bytes], limit: ExpansionLimit) -> Iterator[bytes]:
        """See `Decompressor.expand`. Memory: one step makes at most 1 MiB."""
        gauge = _Gauge(limit)
        return joined(gauge.making(self._members(gauge.reading(chunks))), MIB // 4)

    def _members(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        members, member = 0, None
        for chunk in chunks:
            for start in range(0, len(chunk), self._INPUT):
                data = chunk[start : start + self._INPUT]
                while data:
                    if member is None:
                        data = data.lstrip(b"\0") if members else data
                        if not data:
                            break
                        if data[0] != 0x1F:
                            raise Corrupt("The gzip stream is followed by data that does not belong to it.")
                        member, members = zlib_ng.decompressobj(31), members + 1
                    try:
                        yield member.decompress(data, self._OUTPUT)
                    except _GZIP_ERROR as error:
                        raise Corrupt(f"The gzip stream is damaged: {_said(error)}.") from error
                    data = member.unconsumed_tail
                    if member.eof:
                        data, member = member.unused_data, None
        if member is not None or not members:
            raise Corrupt("The gzip stream ends too early: it is truncated.")


class Zstd:
    """RFC 8878, any number of frames, skippable ones too.

    The library expands whatever it is given in one call, without a bound on the output. A block makes at most
    128 KiB, so this walks the headers and hands over eight blocks at a time: the bound is exact.
    """

    name = "zstd"
    magic: tuple[bytes, ...] = (
        b"\x28\xb5\x2f\xfd",
        *(bytes((0x50 + i, 0x2A, 0x4D, 0x18)) for i in range(16)),
    )

    _WINDOW: Final = 128 * MIB
    _BLOCK: Final = 128 * 1024
    _BLOCKS: Final = 8

    def expand(self, chunks: Iterable[bytes], limit: ExpansionLimit) -> Iterator[bytes]:
        """See `Decompressor.expand`. Memory: the frame's window (128 MiB at most, 8 MiB usually) and 2 MiB."""
        gauge = _Gauge(limit)
        return joined(gauge.making(self._frames(_Bytes(gauge.reading(chunks)))), MIB // 4)

    def _frames(self, stream: "_Bytes") -> Iterator[bytes]:
        # One context for all frames: a new one for each would allocate the window anew.
        context = zstandard.ZstdDecompressor(max_window_size=self._WINDOW)
        empty = True
        while (magic := stream.take(4)) or empty:
            if magic == self.magic[0]:
                yield from self._frame(stream, context)
            elif magic in self.magic:
                stream.skip(_number(stream.exactly(4)))
            elif any(known.startswith(magic) for known in self.magic):
                raise Corrupt("The zstd stream ends too early: it is truncated.")
            else:
                raise Corrupt("The zstd stream is followed by data that does not belong to it.")
            empty = False

    def _frame(self, stream: "_Bytes", context: zstandard.ZstdDecompressor) -> Iterator[bytes]:
        head, checksum = self._header(stream)
        frame = context.decompressobj()
        run, blocks, last = [self.magic[0], head], 0, False
        while not last:
            header = stream.exactly(3)
            value = _number(header)
            last, kind, size = bool(value & 1), value >> 1 & 3, value >> 3
            if kind == 3 or size > self._BLOCK:
                raise Corrupt("The zstd stream is damaged: a block header makes no sense.")
            run += [header, stream.exactly(1 if kind == 1 else size)]
            blocks += 1
            if last and checksum:
                run.append(stream.exactly(4))
            if last or blocks == self._BLOCKS:
                try:
                    yield frame.decompress(b"".join(run))
                except zstandard.ZstdError as error:
                    raise Corrupt(f"The zstd stream is damaged: {_said(error)}.") from error
                run, blocks = [], 0
        if not frame.eof:
            raise Corrupt("The zstd stream is damaged: a frame has no end.")

    def _header(self, stream: "_Bytes") -> tuple[bytes, bool]:
        """Read a frame header after its magic; return it, and whether a checksum follows the last block."""
        descriptor = stream.exactly(1)
        flags = descriptor[0]
        single = bool(flags & 0x20)
        window = b"" if single else stream.exactly(1)
        dictionary = stream.exactly((0, 1, 2, 4)[flags & 3])
        size = stream.exactly((1 if single else 0, 2, 4, 8)[flags >> 6])
        if _number(dictionary):
            raise Corrupt("The zstd stream cannot be expanded: it needs a dictionary.")
        if single:
            need = _number(size) + (256 if len(size) == 2 else 0)
        else:
            base = 1 << (10 + (window[0] >> 3))
            need = base + base // 8 * (window[0] & 7)
        if need > self._WINDOW:
            raise Corrupt(
                f"The zstd stream needs a window of {need} bytes; at most {self._WINDOW} are allowed"
                " (compress it without --long or --ultra)."
            )
        return descriptor + window + dictionary + size, bool(flags & 4)


class _Bytes:
    """A stream of chunks, read by count."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = bytearray()

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer only at the end of the stream."""
        while len(self._held) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._held += chunk
        taken = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return taken

    def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises `Corrupt` when the stream ends before."""
        taken = self.take(size)
        if len(taken) < size:
            raise Corrupt("The zstd stream ends too early: it is truncated.")
        return taken

    def skip(self, size: int) -> None:
        """Pass over `size` bytes, however many, without holding them."""
        while size:
            size -= len(self.exactly(min(size, MIB)))


FORMATS: Final[tuple[Decompressor, ...]] = (Gzip(), Zstd())


def sniff(chunks: Iterable[bytes]) -> tuple[Decompressor | None, Iterator[bytes]]:
    """Recognise the format by the first bytes; return it (None: not compressed) and all the chunks again.

    Reads as few chunks as that takes, whatever their sizes; a stream shorter than every magic is not compressed.
    """
    rest = iter(chunks)
    longest = max(len(magic) for known in FORMATS for magic in known.magic)
    held: list[bytes] = []
    head = b""
    while len(head) < longest and (chunk := next(rest, None)) is not None:
        held.append(chunk)
        head += chunk[: longest - len(head)]
    found = next((known for known in FORMATS if head.startswith(known.magic)), None)
    return found, chain(held, rest)


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _said(error: BaseException) -> str:
    """The last part of a library's message is the one for people: `Error -3 while …: incorrect data check`."""
    return str(error).rpartition(": ")[2] or "it cannot be read"
