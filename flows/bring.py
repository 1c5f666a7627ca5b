"""Bringing an image's data into its target stores in one pass, and taking it back when that fails.

Shared by the methods that make an image active (architecture §5.5, §5.8; import-behaviour §1.6 [R]).
"""

from collections.abc import Mapping
from functools import partial

from catalog.fenced import DataFacts, Fenced
from catalog.images import ImageRecord
from flows.checksums import SOURCE, Promise, promised
from flows.flow import Facts, Record, StepContext
from pipeline.errors import NothingStored
from pipeline.formats import FormatTap
from pipeline.sources import Source
from pipeline.taps import HashTap, ProgressTap, SizeTap, StopTap, Tap, Threaded
from pipeline.tee import QueuedWriter, Tee
from pipeline.transfer import TransferResult, transfer
from stores.base import Writer
from stores.errors import StoreError

COMPRESSED = "compressed"
"""The `container_format` whose bytes are kept as they come (import-behaviour §4.3)."""


def bring(ctx: StepContext, source: Source, image: ImageRecord, *, noun: str = "download") -> Record:
    """Move the bytes of `source` into every target store of the task; the returned record notes what is where.

    Each attempt writes under a key of its own (`<image id>.<fence>`), on record before the first byte. Raises what
    `promised` and `transfer` raise; what was written then is garbage on record, or was never visible. `noun` is what
    users call the bytes of the source.
    """
    promise = promised(ctx, noun)
    keys = {target.store: f"{image.id}.{ctx.claim.fence}" for target in ctx.task.targets}
    with ctx.catalog.fenced(ctx.claim) as tx:
        tx.begin_objects(keys)
    ctx.monitor.show("connecting")
    writers, refused = _open(ctx, keys)
    tee = Tee(writers, ctx.task.all_stores_must_succeed, refused)
    received, moved = _progress(ctx, source, list(writers))
    expand = None if image.container_format == COMPRESSED else ctx.runtime.expansion
    of_source, of_image = _hashes(ctx, image, promise, as_it_comes=expand is None)
    with ctx.monitor.interrupting(source.interrupt):
        result = transfer(
            source,
            [*_taps(ctx, image), *of_image, moved],
            tee,
            expand=expand,
            source_taps=[StopTap(ctx.monitor.stopping), *of_source, received],
        )
    ctx.monitor.show("recording")
    verified = promise.kept if promise else None
    return lambda tx: {**_record(ctx, tx, keys, result), "verified": verified}


def _open(ctx: StepContext, keys: Mapping[str, str]) -> tuple[dict[str, Writer], dict[str, StoreError]]:
    """A write session in every target store that grants one; the others by their errors.

    A store behind a network gets a thread and a queue, so that it waits, and if need be fails, alone (§5.7).
    """
    writers: dict[str, Writer] = {}
    refused: dict[str, StoreError] = {}
    for store, key in keys.items():
        try:
            target = ctx.runtime.stores.writable(store)
            begin = partial(target.create, key)
            patience = ctx.runtime.options.store_idle_timeout
            writers[store] = QueuedWriter(begin, store, idle_timeout=patience) if target.remote else begin()
        except StoreError as error:
            refused[store] = error
    return writers, refused


def _taps(ctx: StepContext, image: ImageRecord) -> list[Tap]:
    """What every image goes through, beside its hashes."""
    return [
        SizeTap(cap=ctx.runtime.options.image_size_cap),
        FormatTap(str(image.disk_format), str(image.container_format), ctx.runtime.formats),
    ]


def _hashes(
    ctx: StepContext, image: ImageRecord, promise: Promise | None, *, as_it_comes: bool
) -> tuple[list[Tap], list[Tap]]:
    """Taps that hash the source, and the image; each in a thread of its own (measured-choices §4).

    What was promised of the image is a veto of the hash that is made anyway, if it is one of these; so it is also for a
    source that is kept `as_it_comes`.
    """
    options = ctx.runtime.options
    wanted: dict[str, Promise | None] = dict.fromkeys([options.hashing_algorithm, *(["md5"] if options.md5 else [])])
    of_source = []
    if promise and promise.of == SOURCE and not as_it_comes:
        of_source.append(_hash(promise.checksum.algorithm, f"source-{image.id[:8]}", promise))
    elif promise:
        wanted[promise.checksum.algorithm] = promise
    return of_source, [_hash(algorithm, f"{algorithm}-{image.id[:8]}", kept) for algorithm, kept in wanted.items()]


def _hash(algorithm: str, thread: str, promise: Promise | None) -> Tap:
    if promise is None:
        return Threaded(HashTap(algorithm), thread)
    return Threaded(HashTap(algorithm, promise.checksum.value, of=f"the {promise.noun}"), thread)


def _progress(ctx: StepContext, source: Source, stores: list[str]) -> tuple[Tap, Tap]:
    """Two taps: one counts what comes from the source, one what goes to the stores."""
    counts = {"read": 0}

    def received(count: int) -> None:
        if not counts["read"]:
            ctx.monitor.show("downloading", total=source.length)
        counts["read"] = count

    def moved(count: int) -> None:
        ctx.monitor.moved(counts["read"], dict.fromkeys(stores, count))

    return ProgressTap(received), ProgressTap(moved)


def _record(ctx: StepContext, tx: Fenced, keys: Mapping[str, str], result: TransferResult) -> Facts:
    for store, receipt in result.stored.items():
        tx.object_stored(store, receipt.key, receipt.size)
    for store, error in result.failed.items():
        tx.discard_objects(store)
        tx.set_target(store, "failed", code=error.code, reason=str(error))
    tx.progress("stored", result.bytes_read, result.bytes_read, dict.fromkeys(result.stored, result.bytes_written))
    algorithm = ctx.runtime.options.hashing_algorithm
    return {
        "stored": {store: keys[store] for store in result.stored},
        "failed": {store: str(error) for store, error in result.failed.items()},
        "warnings": list(result.facts.warnings),
        "expanded": result.expanded,
        "data": {
            "size": result.bytes_written,
            "virtual_size": result.facts.virtual_size,
            "checksum": result.facts.hashes.get("md5"),
            "os_hash_algo": algorithm,
            "os_hash_value": result.facts.hashes[algorithm],
        },
    }


def publish(ctx: StepContext) -> Record:
    """Let what was brought be the image's data: locations and facts appear together, and the image is active."""
    stored: Mapping[str, str] = ctx.task.facts["stored"]
    urls = {store: ctx.runtime.stores.get(store).url(key) for store, key in stored.items()}

    def record(tx: Fenced) -> Facts:
        for store, key in stored.items():
            tx.add_location(store, key, urls[store])
        tx.activate(DataFacts(**ctx.task.facts["data"]))
        return {}

    return record


def finish(ctx: StepContext) -> Record:
    """Say how it went: the last word of the task, naming what failed or deserves a look."""
    facts = ctx.task.facts
    size = facts["data"]["size"]
    said = [f"Copied {size >> 20} MiB to {', '.join(sorted(facts['stored']))}."]
    if facts["expanded"]:
        said.append(f"Decompressed from {facts['expanded']}.")
    if facts.get("verified"):
        said.append(facts["verified"])
    said += [f"Failed: {reason}." for _, reason in sorted(facts["failed"].items())]
    said += facts["warnings"]
    return lambda _tx: {"message": " ".join(said)}


def take_back(tx: Fenced, error: Exception, code: str, message: str) -> None:
    """Undo a failed import of a queued image (§1.6 [R]): no byte stays, the image is queued, each store has its
    verdict.

    A store that failed is named with its own reason. What failed before any store was to blame counts against all.
    """
    tx.discard_objects()
    if isinstance(error, NothingStored):
        tx.settle_targets({s: (getattr(e, "code", code), str(e)) for s, e in error.failures.items()})
    elif isinstance(error, StoreError):
        tx.settle_targets({error.store: (error.code, str(error))})
    else:
        tx.settle_targets(None, (code, message))
    tx.requeue()
