"""Where uploaded bytes wait until they are imported: a store that users cannot name (import-behaviour §3), and how they
get there (http-api §5.3).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flows.errors import StagingFull, StagingUnavailable
from flows.reception import Reception, require_fitting
from pipeline.sources import Source
from pipeline.taps import SizeTap
from stores.base import Store
from stores.errors import StoreError, StoreFull

if TYPE_CHECKING:
    from flows.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging store, as it is wired.

    `host` is the one host whose workers can read it, through the queue of its name; None when all can.
    """

    store: Store
    host: str | None


def stage(runtime: "Runtime", image_id: str, source: Source, size: int | None, *, cap: int | None = None) -> int:
    """Keep the bytes of `source` for an import into the queued image; how many there were.

    They go into the staging store as they come, and nowhere else: whoever imports them expands, hashes and inspects
    them, and would not believe another's word. `size` is how many were announced; `cap` is how many may come, if that
    is less than every image may have. Whatever is raised, nothing stays and
    the image is queued again: `TooBig`, `StagingFull`, `StagingUnavailable`, what the source raises, `NotFound`,
    `Conflict` when the image is not queued, and `UploadOver`. If this process dies, or the database is away in the end,
    it becomes so when nothing was heard of the upload for `stall_timeout` seconds.
    """
    require_fitting(size, runtime.options.image_size_cap)
    reception = Reception(runtime, image_id, runtime.staging.store)
    with runtime.catalog.begin() as tx:
        tx.uploads.begin(reception.upload, host=runtime.staging.host, lease=reception.lease)
    try:
        with reception:
            tap = SizeTap(runtime.options.image_size_cap if cap is None else cap)
            received = reception.receive(source, size, [tap]).bytes_written
            reception.record(lambda tx: tx.uploads.stored(reception.upload, received))
    except StoreError as error:
        raise _blamed(error) from error
    return received


def _blamed(error: StoreError) -> Exception:
    if isinstance(error, StoreFull):
        return StagingFull(f"The staging area has no room for the data: {error.reason}.")
    return StagingUnavailable(f"The staging area does not take the data: {error.reason}.")
