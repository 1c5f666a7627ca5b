"""Bringing an image's data into its target stores in one pass, and taking it back: shared by the methods that make an image
active (architecture §5.5, §5.8; import-behaviour §1.6 [R])."""

from collections.abc import Mapping

from pipeline.sources import Source
from pipeline.tee import Tee
from pipeline.transfer import transfer

from catalog.fenced import DataFacts, Fenced
from catalog.images import ImageRecord
from flows.flow import Facts, Record, StepContext


def bring(ctx: StepContext, source: Source, image: ImageRecord) -> Record:
    """Move the bytes of `source` into every target store of the task; the returned record notes what is where.

    Each attempt writes under a key of its own (`<image id>.<fence>`), on record before the first byte. Raises what
    `transfer` raises; nothing that was written is visible then.
    """
    keys = {target.store: f"{image.id}.{ctx.claim.fence}" for target in ctx.task.targets}
    with ctx.catalog.fenced(ctx.claim) as tx:
        tx.begin_objects(keys)
    ctx.monitor.show("downloading")
    writers, refused = _open(ctx, keys)
    tee = Tee(writers, must_all=ctx.task.all_stores_must_succeed, failed=refused)
    with ctx.monitor.interrupting(source.interrupt):
        result = transfer(source, _taps(ctx, image), tee, expand=_expansion(ctx, image))
    return lambda tx: _record(tx, keys, result)


def publish(ctx: StepContext, image_id: str) -> Record:
    """Let what was brought be the image's data: locations and facts appear together, and the image is active."""
    facts = ctx.task.facts
    stored: Mapping[str, str] = facts["stored"]
    urls = {store: ctx.runtime.stores.get(store).url(key) for store, key in stored.items()}

    def record(tx: Fenced) -> Facts:
        for store, key in stored.items():
            tx.add_location(store, key, urls[store])
        tx.activate(DataFacts(**facts["data"]))
        return {}

    return record
