"""The import method `glance-direct`: what was staged, into every store at once (import-behaviour §1).

After a failure the staged bytes are still there and the image is `uploading` again, so that the import can simply be
asked for again (§1.6 [R]).
"""

from catalog.fenced import Fenced
from catalog.images import ImageRecord
from catalog.uploads import Staged
from flows.bring import bring, finish, image_of, publish, take_back
from flows.checksums import admit_checksum
from flows.errors import ImageNotReady, StagedDataGone, StagingUnavailable
from flows.flow import Admission, Facts, Flow, ImportRequest, Record, Step, StepContext
from flows.runtime import Runtime
from pipeline.errors import SourceUnreadable
from pipeline.stored import Copy, StoreSource
from stores.base import Store
from stores.errors import ObjectNotFound, StoreError


def _admit(runtime: Runtime, request: ImportRequest, image: ImageRecord) -> Admission:
    """Row 15 of import-behaviour §1.2: the worker must be one that can read what was staged."""
    with runtime.catalog.read() as tx:
        staged = tx.uploads.staged(image.id)
    if staged is None:
        raise ImageNotReady(f"No data is staged for image {image.id}, or not all of it yet.")
    return Admission(admit_checksum(runtime.uris, request), host=staged.host, upload=staged.key)


def _transfer(ctx: StepContext) -> Record:
    image = image_of(ctx)
    with ctx.catalog.read() as tx:
        staged = tx.uploads.staged(image.id)
    if staged is None:
        raise _gone(image)
    if staged.host not in (None, ctx.runtime.host):
        raise StagingUnavailable("The staged data can be read only on the host that took it.")
    store = ctx.runtime.keeper(staged.store)
    source = StoreSource([Copy(store, staged.key)], staged.size, idle_timeout=ctx.runtime.options.store_idle_timeout)
    try:
        return bring(ctx, source, image, noun="upload", phase="reading what was staged")
    except SourceUnreadable as error:
        image_of(ctx)  # who deletes an image deletes what was staged for it
        if not _may_be_whole(store, staged):
            raise _gone(image) from error
        raise


def _may_be_whole(store: Store, staged: Staged) -> bool:
    """Whether the staged object is, or may be, as it was. A store that does not answer says nothing against it."""
    try:
        return store.stat(staged.key).size == staged.size
    except ObjectNotFound:
        return False
    except StoreError:
        return True


def _gone(image: ImageRecord) -> StagedDataGone:
    return StagedDataGone(f"The data that was staged for image {image.id} is lost; stage it again.")


def _finish(ctx: StepContext) -> Record:
    finished = finish(ctx)

    def recorded(tx: Fenced) -> Facts:
        # Not before: until here another attempt may need it. That it is gone already is nothing to fail for (1889640).
        tx.discard_upload()
        return finished(tx)

    return recorded


def _undo(tx: Fenced, error: Exception, code: str, message: str) -> None:
    take_back(tx, error, code, message)
    if isinstance(error, StagedDataGone) or not tx.restage():
        tx.discard_upload()
        tx.requeue()


GLANCE_DIRECT = Flow(
    name="glance-direct",
    steps=(
        Step("transfer", _transfer, reads_source=True),
        Step("publish", publish),
        Step("finish", _finish, can_be_called_off=False),
    ),
    begins_from="uploading",
    admit=_admit,
    undo=_undo,
)
