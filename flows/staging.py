"""Where uploaded bytes wait until they are imported: a store that users cannot name (import-behaviour §3), and how they
get there (http-api §5.3).
"""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from catalog.errors import CatalogUnavailable, UploadOver
from catalog.uploads import Upload
from flows.errors import StagingFull, StagingUnavailable
from pipeline.errors import TooBig
from pipeline.facts import Facts, Tap
from pipeline.sources import Source
from pipeline.taps import SizeTap
from pipeline.tee import QueuedWriter, Tee
from pipeline.transfer import transfer
from stores.base import Store
from stores.errors import StoreError, StoreFull

if TYPE_CHECKING:
    from flows.runtime import Runtime

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging store, as it is wired.

    `host` is the one host whose workers can read it, through the queue of its name; None when all can.
    """

    store: Store
    host: str | None


def stage(runtime: "Runtime", image_id: str, source: Source, size: int | None) -> int:
    """Keep the bytes of `source` for an import into the queued image; how many there were.

    They go into the staging store as they come, and nowhere else: whoever imports them expands, hashes and inspects
    them, and would not believe another's word. `size` is how many were announced. Whatever is raised, nothing stays and
    the image is queued again: `TooBig`, `StagingFull`, `StagingUnavailable`, what the source raises, `NotFound`,
    `Conflict` when the image is not queued, and `UploadOver`. If this process dies, or the database is away in the end,
    it becomes so when nothing was heard of the upload for `stall_timeout` seconds.
    """
    cap = runtime.options.image_size_cap
    if size is not None and size > cap:
        raise TooBig(f"The image has {size} bytes, more than the {cap} bytes allowed.")
    upload = Upload(image_id, runtime.staging.store.id, f"{image_id}.{secrets.token_hex(4)}")
    with runtime.catalog.begin() as tx:
        tx.uploads.begin(upload, host=runtime.staging.host, lease=runtime.lease.stall_timeout)
    try:
        received = _receive(runtime, upload, source, size)
        _record(runtime, upload, received)
    except StoreError as error:
        _give_up(runtime, upload)
        raise _blamed(error) from error
    except BaseException:
        _give_up(runtime, upload)
        raise
    return received


def _receive(runtime: "Runtime", upload: Upload, source: Source, size: int | None) -> int:
    store, lease = runtime.staging.store, runtime.lease

    def renew() -> None:
        with runtime.catalog.begin() as tx:
            tx.uploads.renew(upload, lease=lease.stall_timeout)

    begin = partial(store.create, upload.key, size)
    patience = runtime.options.store_idle_timeout
    writer = QueuedWriter(begin, store.id, idle_timeout=patience) if store.remote else begin()
    taps = [SizeTap(runtime.options.image_size_cap), _Renewing(renew, lease.progress_interval, lease.stall_timeout)]
    return transfer(source, taps, Tee({store.id: writer}, must_all=True), expand=None).bytes_written


def _record(runtime: "Runtime", upload: Upload, received: int) -> None:
    """Put on record that all is there. A database that is away is waited for: what took hours is worth it."""
    deadline = time.monotonic() + runtime.lease.ttl
    while True:
        try:
            with runtime.catalog.begin() as tx:
                return tx.uploads.stored(upload, received)
        except CatalogUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            log.warning("image %s: its upload is whole, and not recorded yet: %s", upload.image_id, error)
        time.sleep(runtime.lease.progress_interval)


class _Renewing(Tap):
    """Renews a lease as bytes flow, at most once in `every` seconds, and before the commit, which may take its time.

    A database that is away is waited for until the lease must be taken for lost.
    """

    def __init__(self, renew: Callable[[], None], every: float, lease: float) -> None:
        self._renew, self._every, self._lease = renew, every, lease
        self._renewed = self._tried = time.monotonic()

    def feed(self, chunk: bytes) -> None:
        """Raises what `renew` raises."""
        if time.monotonic() - self._tried >= self._every:
            self._try()

    def finish(self) -> Facts:
        """Raises what `renew` raises."""
        self._try()
        return Facts()

    def _try(self) -> None:
        now = time.monotonic()
        try:
            self._renew()
        except CatalogUnavailable as error:
            if now - self._renewed >= self._lease * 0.8:
                raise
            log.warning("an upload goes on, although its lease is not renewed: %s", error)
        else:
            self._renewed = now
        finally:
            self._tried = time.monotonic()  # one that took long is not made again at the next chunk


def _give_up(runtime: "Runtime", upload: Upload) -> None:
    """Take back an upload that failed. Raises `UploadOver` if it was ended by somebody else: that is why it failed."""
    try:
        with runtime.catalog.begin() as tx:
            ours = tx.uploads.failed(upload)
    except CatalogUnavailable as error:
        # Perhaps it is even recorded as stored: only the catalogue can tell whether the bytes may go.
        log.warning("image %s: its upload failed, and is given up later: %s", upload.image_id, error)
    except UploadOver:
        _delete(runtime, upload)
        raise
    else:
        if ours:
            _delete(runtime, upload)


def _delete(runtime: "Runtime", upload: Upload) -> None:
    """At once, for room is short where staging is full; the sweeper does it again."""
    try:
        runtime.staging.store.delete(upload.key)
    except StoreError as error:
        log.warning("object %s stays for now: %s", upload.key, error)


def _blamed(error: StoreError) -> Exception:
    if isinstance(error, StoreFull):
        return StagingFull(f"The staging area has no room for the data: {error.reason}.")
    return StagingUnavailable(f"The staging area does not take the data: {error.reason}.")
