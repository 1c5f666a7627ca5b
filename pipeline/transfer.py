"""The whole data path: source → source taps → expansion → taps → tee, each byte once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pipeline.decompress import ExpansionLimit, sniff
from pipeline.errors import EndUnknown
from pipeline.facts import Facts, Tap
from pipeline.sources import Source
from pipeline.tee import Tee
from stores.base import StoredObject
from stores.errors import StoreError


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What a transfer did: facts on what was stored, each store's outcome by id, bytes from the source and to stores.

    `expanded` names the compression format that was undone, if one was.
    """

    facts: Facts
    stored: Mapping[str, StoredObject]
    failed: Mapping[str, StoreError]
    bytes_read: int
    bytes_written: int
    expanded: str | None


def transfer(
    source: Source,
    taps: Sequence[Tap],
    tee: Tee,
    *,
    expand: ExpansionLimit | None,
    source_taps: Sequence[Tap] = (),
) -> TransferResult:
    """Move `source` through `taps` into `tee`; after an exception nothing is visible but what `tee.stored` names.

    `expand` limits what a compressed stream may become; None keeps it as it is (`container_format` compressed).
    `source_taps` see the bytes as they come from the source; their vetoes count, their facts do not. Everything is
    read before any tap finishes, every tap finishes before any writer commits. Owns the taps and the tee: closes them.

    Raises `TransferError`, `StoreError` of the store that ended it, and what the taps raise.
    """
    read, written = _Counter(), _Counter()
    with ExitStack() as cleanup:
        cleanup.callback(tee.abort)  # no effect on what is committed
        for tap in (*source_taps, *taps):
            cleanup.callback(tap.close)
        chunks = _through((read, *source_taps), cleanup.enter_context(source.open()))
        found, chunks = sniff(chunks) if expand else (None, chunks)
        if not (source.end_vouched or found or any(tap.vouches_for_end for tap in (*source_taps, *taps))):
            raise EndUnknown(
                f"{source.label} does not say where its content ends, so a part of it would look like the whole;"
                " use a source that tells its length, a compressed file, or a known checksum."
            )
        if found and expand:
            chunks = found.expand(chunks, expand)
        for chunk in _through((written, *taps), chunks):
            tee.write(chunk)
        Facts.of(source_taps)
        facts = Facts.of(taps)
        result = tee.commit()
    return TransferResult(facts, result.stored, result.failed, read.count, written.count, found.name if found else None)


def read_through(source: Source, taps: Sequence[Tap]) -> Facts:
    """Show all of `source` to `taps`, and keep nothing of it; what they found out. Owns the taps: closes them.

    Raises `TransferError` and what the taps raise.
    """
    with ExitStack() as cleanup:
        for tap in taps:
            cleanup.callback(tap.close)
        for _ in _through(taps, cleanup.enter_context(source.open())):
            pass
        return Facts.of(taps)


def _through(taps: Iterable[Tap], chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for tap in taps:
            tap.feed(chunk)
        yield chunk


class _Counter(Tap):
    def __init__(self) -> None:
        self.count = 0

    def feed(self, chunk: bytes) -> None:
        self.count += len(chunk)
