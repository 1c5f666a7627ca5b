"""Where uploaded bytes wait until they are imported: a store that users cannot name (import-behaviour §3), and how they
get there (http-api §5.3).
"""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.errors import CatalogError
from flows.collect import collect
from flows.errors import StagingFull, StagingUnavailable
from flows.reception import Reception, require_fitting
from pipeline.errors import ChecksumMismatch, Corrupt, FormatMismatch, TooBig, UnsafeImage
from pipeline.sources import Source
from pipeline.taps import SizeTap
from stores.base import Store
from stores.errors import StoreError, StoreFull

if TYPE_CHECKING:
    from flows.runtime import Runtime


BLAMED = tuple(kind.code for kind in (ChecksumMismatch, Corrupt, FormatMismatch, TooBig, UnsafeImage))
"""Why an import of what was staged can fail for what was staged: other bytes may be staged in its place then."""


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging store, as it is wired.

    `host` is the one host whose workers can read it, through the queue of its name; None when all can.
    """

    store: Store
    host: str | None


def stage(runtime: "Runtime", image_id: str, source: Source, size: int | None, *, cap: int | None = None) -> int:
    """Keep the bytes of `source` for an import into the queued image; how many there were. They may also take the place
    of what an import has found to be wrong, which is deleted first.

    They go into the staging store as they come, and nowhere else: whoever imports them expands, hashes and inspects
    them, and would not believe another's word. `size` is how many were announced; `cap` is how many may come, if that
    is less than every image may have. Whatever is raised, nothing of it stays and the image is queued again: `TooBig`,
    `StagingFull`, `StagingUnavailable`, what the source raises, `NotFound`, `Conflict` when the image takes no data,
    and `UploadOver`. If this process dies, or the database is away in the end, it becomes so when nothing was heard of
    the upload for `stall_timeout` seconds.
    """
    require_fitting(size, runtime.options.image_size_cap)
    reception = Reception(runtime, image_id, runtime.staging.store)
    with runtime.catalog.begin() as tx:
        replaced = tx.uploads.begin(reception.upload, host=runtime.staging.host, lease=reception.lease, blamed=BLAMED)
    try:
        with reception:
            if replaced:
                _make_room(runtime, image_id)
            tap = SizeTap(runtime.options.image_size_cap if cap is None else cap)
            received = reception.receive(source, size, [tap]).bytes_written
            reception.record(lambda tx: tx.uploads.stored(reception.upload, received))
    except StoreError as error:
        raise _blamed(error) from error
    return received


def _make_room(runtime: "Runtime", image_id: str) -> None:
    """Delete at once what was replaced: there may be room for one of them only. Else the sweeper does it."""
    with contextlib.suppress(CatalogError):
        collect(runtime, image_id=image_id)


def _blamed(error: StoreError) -> Exception:
    if isinstance(error, StoreFull):
        return StagingFull(f"The staging area has no room for the data: {error.reason}.")
    return StagingUnavailable(f"The staging area does not take the data: {error.reason}.")
