"""Bringing an image's data into its target stores in one pass, and taking it back when that fails.

The parts that the import methods share; each puts together what it needs (architecture §5.5, §5.8; import-behaviour
§1.6 [R]).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from catalog.errors import NotFound
from catalog.facts import DataFacts
from catalog.fenced import Fenced
from catalog.images import ImageRecord
from flows.checksums import SOURCE, promised
from flows.data import COMPRESSED, Expected, checks, hash_of, hashes, known_of
from flows.flow import Facts, Record, StepContext
from flows.limits import room_of
from pipeline.decompress import ExpansionLimit
from pipeline.errors import Interrupted, NothingStored
from pipeline.sources import Source
from pipeline.taps import ProgressTap, StopTap, Tap
from pipeline.tee import Tee, begin_session
from pipeline.transfer import TransferResult, transfer
from stores.base import Writer
from stores.errors import StoreError


def image_of(ctx: StepContext) -> ImageRecord:
    """The image of the task. Raises `Interrupted` when it is deleted."""
    with ctx.catalog.read() as tx:
        try:
            return tx.images.get(ctx.task.image_id)
        except NotFound as error:
            raise Interrupted("the image was deleted") from error


def bring(
    ctx: StepContext, source: Source, image: ImageRecord, *, noun: str = "download", phase: str = "downloading"
) -> Record:
    """Make the bytes of `source` the data of an image that has none yet, in every target store of the task.

    The returned record notes what is where, and what is known of the data. `noun` is what users call the bytes of the
    source, `phase` what they see us do with it. Raises as `promised` and `move` do.
    """
    promise = promised(ctx, noun)
    keys = new_keys(ctx)
    expand = None if image.container_format == COMPRESSED else ctx.runtime.expansion
    # What was promised of bytes that are kept as they come is as good as promised of the image.
    apart = promise is not None and promise.of == SOURCE and expand is not None
    expected = Expected(promise.checksum.algorithm, promise.checksum.value, promise.noun) if promise else None
    of_source = [hash_of(image, expected.algorithm, expected, of="source")] if expected and apart else []
    cap = room_of(ctx.runtime, ctx.task, image, copies=len(keys))
    taps = [*checks(ctx.runtime, image, cap=cap), *hashes(ctx.runtime, image, None if apart else expected)]
    result = move(ctx, source, keys, taps, source_taps=of_source, expand=expand, phase=phase)
    data = asdict(known_of(ctx.runtime, image, result.facts))
    verified = promise.kept if promise else None
    return lambda tx: {**record(tx, keys, result), "data": data, "verified": verified}


def new_keys(ctx: StepContext) -> dict[str, str]:
    """Put the keys that this attempt writes to on record before the first byte, store → key.

    They are its own (`<image id>.<fence>`); what earlier attempts left becomes garbage.
    """
    keys = {target.store: f"{ctx.task.image_id}.{ctx.claim.fence}" for target in ctx.task.targets}
    with ctx.catalog.fenced(ctx.claim) as tx:
        tx.begin_objects(keys)
    return keys


def move(
    ctx: StepContext,
    source: Source,
    keys: Mapping[str, str],
    taps: Sequence[Tap],
    *,
    source_taps: Sequence[Tap] = (),
    expand: ExpansionLimit | None,
    phase: str = "downloading",
) -> TransferResult:
    """Move the bytes of `source` (which `source_taps` see) through `taps` into new write sessions, shown as `phase`.

    Raises what `transfer` raises; what was written then is garbage on record, or was never visible.
    """
    ctx.monitor.show("connecting")
    writers, refused = _open(ctx, keys, size=None if expand else source.length)
    tee = Tee(
        writers,
        ctx.task.all_stores_must_succeed,
        refused,
        # Each may take minutes in which no byte moves; a phase of its own is progress to the heartbeat.
        committing=lambda store: ctx.monitor.show(f"completing in {store}", total=source.length),
    )
    received, moved = _progress(ctx, source, list(writers), phase)
    with ctx.monitor.interrupting(source.interrupt), ctx.monitor.interrupting(tee.interrupt):
        result = transfer(
            source,
            [*taps, moved],
            tee,
            expand=expand,
            source_taps=[StopTap(ctx.monitor.stopping), *source_taps, received],
        )
    ctx.monitor.show("recording")
    return result


def _open(
    ctx: StepContext, keys: Mapping[str, str], *, size: int | None
) -> tuple[dict[str, Writer], dict[str, StoreError]]:
    """A write session in every target store that grants one, told the `size` if known; the others by their errors."""
    writers: dict[str, Writer] = {}
    refused: dict[str, StoreError] = {}
    options = ctx.runtime.options
    for store, key in keys.items():
        try:
            target = ctx.runtime.stores.writable(store)
            writers[store] = begin_session(
                target,
                key,
                size,
                idle_timeout=options.store_idle_timeout,
                commit_timeout=options.store_commit_timeout,
            )
        except StoreError as error:
            refused[store] = error
    return writers, refused


def _progress(ctx: StepContext, source: Source, stores: list[str], phase: str) -> tuple[Tap, Tap]:
    """Two taps: one counts what comes from the source, one what goes to the stores."""
    counts = {"read": 0}

    def received(count: int) -> None:
        if not counts["read"]:
            ctx.monitor.show(phase, total=source.length)
        counts["read"] = count

    def moved(count: int) -> None:
        ctx.monitor.moved(counts["read"], dict.fromkeys(stores, count))

    return ProgressTap(received), ProgressTap(moved)


def record(tx: Fenced, keys: Mapping[str, str], result: TransferResult) -> Facts:
    """Note what became of each target store; the facts are what `locate` and `finish` need to know."""
    for store, receipt in result.stored.items():
        tx.object_stored(store, receipt.key, receipt.size)
    for store, error in result.failed.items():
        tx.discard_objects(store)
        tx.set_target(store, "failed", code=error.code, reason=str(error))
    tx.progress("stored", result.bytes_read, result.bytes_read, dict.fromkeys(result.stored, result.bytes_written))
    return {
        "stored": {store: keys[store] for store in result.stored},
        "failed": {store: str(error) for store, error in result.failed.items()},
        "warnings": list(result.facts.warnings),
        "expanded": result.expanded,
        "size": result.bytes_written,
    }


def publish(ctx: StepContext) -> Record:
    """Let what was brought be the image's data: locations and facts appear together, and the image is active."""
    located = locate(ctx)

    def published(tx: Fenced) -> Facts:
        facts = located(tx)
        tx.activate(DataFacts(**ctx.task.facts["data"]))
        return facts

    return published


def locate(ctx: StepContext) -> Record:
    """Let what was stored be locations of the image, which otherwise stays as it is."""
    stored: Mapping[str, str] = ctx.task.facts["stored"]
    urls = {store: ctx.runtime.stores.get(store).url(key) for store, key in stored.items()}

    def located(tx: Fenced) -> Facts:
        for store, key in stored.items():
            tx.add_location(store, key, urls[store])
        return {}

    return located


def finish(ctx: StepContext) -> Record:
    """Say how it went: the last word of the task, naming what failed or deserves a look."""
    facts = ctx.task.facts
    said = [f"Copied {_amount(facts['size'])} to {', '.join(sorted(facts['stored']))}."]
    if facts["expanded"]:
        said.append(f"Decompressed from {facts['expanded']}.")
    if facts.get("verified"):
        said.append(facts["verified"])
    said += [f"Failed: {reason}." for _, reason in sorted(facts["failed"].items())]
    said += facts["warnings"]
    return lambda _tx: {"message": " ".join(said)}


def _amount(count: int) -> str:
    """`28.6 MiB`, `3 MiB`; less than one are `300 bytes`."""
    return f"{count / (1 << 20):.1f}".removesuffix(".0") + " MiB" if count >= 1 << 20 else f"{count} bytes"


def take_back(tx: Fenced, error: Exception, code: str, message: str) -> None:
    """Undo what a failed task did to the stores (§1.6 [R]): no byte of it stays, and each store has its verdict.

    A store that failed is named with its own reason. What failed before any store was to blame counts against all.
    """
    tx.discard_objects()
    if isinstance(error, NothingStored):
        tx.settle_targets({s: (getattr(e, "code", code), str(e)) for s, e in error.failures.items()})
    elif isinstance(error, StoreError):
        tx.settle_targets({error.store: (error.code, str(error))})
    else:
        tx.settle_targets(None, (code, message))


def take_back_and_requeue(tx: Fenced, error: Exception, code: str, message: str) -> None:
    """Undo a failed import into an image that had no data: as `take_back`, and the image is queued again."""
    take_back(tx, error, code, message)
    tx.requeue()
