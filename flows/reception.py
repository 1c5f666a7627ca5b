"""Receiving data from a request into one store: the part that staging and uploading share.

The catalogue's row of the upload is the fence (`catalog/uploads.py`). It is renewed as bytes flow, so that a process
that dies, or whose client falls silent, is told from one that is at work.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from catalog.catalog import Tx
from catalog.errors import CatalogUnavailable, UploadOver
from catalog.uploads import Upload
from pipeline.errors import TooBig
from pipeline.facts import Facts, Tap
from pipeline.sources import Source
from pipeline.tee import Tee, begin_session
from pipeline.transfer import TransferResult, transfer
from stores.base import Store
from stores.errors import StoreError

if TYPE_CHECKING:
    from flows.runtime import Runtime

log = logging.getLogger(__name__)


def require_fitting(size: int | None, cap: int) -> None:
    """Raise `TooBig` when more bytes are announced than there may be."""
    if size is not None and size > cap:
        raise TooBig(f"The image has {size} bytes, more than the {cap} bytes allowed.")


class Receiving:
    """The bodies that this process receives at the moment, so that none is left half received when it ends."""

    def __init__(self) -> None:
        self._sources: set[Source] = set()
        self._changed = threading.Condition()
        self._why: str | None = None

    def begin(self, source: Source) -> None:
        """Take note; after `end`, that is its end as well."""
        with self._changed:
            self._sources.add(source)
            why = self._why
        if why is not None:
            source.interrupt(why)

    def over(self, source: Source) -> None:
        """What came of it is on record."""
        with self._changed:
            self._sources.discard(source)
            self._changed.notify_all()

    def end(self, why: str, seconds: float) -> bool:
        """Interrupt all of them, also those yet to come; whether all were over within so many seconds."""
        with self._changed:
            self._why = why
            under_way = tuple(self._sources)
        for source in under_way:
            source.interrupt(why)
        with self._changed:
            return self._changed.wait_for(lambda: not self._sources, seconds)


class Reception:
    """One upload on its way into `store`, under a key of its own.

    The caller puts `upload` on record, enters the block, and records there that it is whole. Whatever leaves the block
    as an exception, nothing stays and the image is queued again; if this process dies, or the database is away in the
    end, it becomes so when nothing was heard of the upload for `lease` seconds. `UploadOver` is raised in place of
    whatever else went wrong when somebody else has ended the upload: that is why it failed.
    """

    def __init__(self, runtime: "Runtime", image_id: str, store: Store) -> None:
        self._runtime = runtime
        self._store = store
        self.upload = Upload(image_id, store.id, f"{image_id}.{secrets.token_hex(4)}")
        self.lease = runtime.lease.stall_timeout
        self._source: Source | None = None

    def receive(self, source: Source, size: int | None, taps: Sequence[Tap]) -> TransferResult:
        """Move the bytes of `source` through `taps` into the store, as they come. Raises as `transfer` does."""
        self._source = source
        self._runtime.receiving.begin(source)
        renewing = _Renewing(self._renew, self._runtime.lease.progress_interval, self.lease)
        options = self._runtime.options
        writer = begin_session(
            self._store,
            self.upload.key,
            size,
            idle_timeout=options.store_idle_timeout,
            commit_timeout=options.store_commit_timeout,
        )
        tee = Tee({self._store.id: writer}, must_all=True)
        return transfer(source, [*taps, renewing], tee, expand=None)

    def record(self, change: Callable[[Tx], None]) -> None:
        """Put on record that all is there, by a change that is safe twice: the answer to it may be lost.

        A database that is away is waited for, for what took hours is worth it. Raises `CatalogError`.
        """
        lease = self._runtime.lease
        deadline = time.monotonic() + lease.ttl
        while True:
            try:
                with self._runtime.catalog.begin() as tx:
                    return change(tx)
            except CatalogUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                log.warning("image %s: its upload is whole, and not recorded yet: %s", self.upload.image_id, error)
            time.sleep(lease.progress_interval)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._give_up()
        finally:
            if self._source is not None:
                self._runtime.receiving.over(self._source)

    def _renew(self) -> None:
        with self._runtime.catalog.begin() as tx:
            tx.uploads.renew(self.upload, lease=self.lease)

    def _give_up(self) -> None:
        try:
            with self._runtime.catalog.begin() as tx:
                ours = tx.uploads.failed(self.upload)
        except CatalogUnavailable as error:
            # Perhaps it is even recorded as whole: only the catalogue can tell whether the bytes may go.
            log.warning("image %s: its upload failed, and is given up later: %s", self.upload.image_id, error)
        except UploadOver:
            self._delete()
            raise
        else:
            if ours:
                self._delete()

    def _delete(self) -> None:
        """At once, for room is short where a store is full; the sweeper does it again."""
        try:
            self._store.delete(self.upload.key)
        except StoreError as error:
            log.warning("object %s stays for now: %s", self.upload.key, error)


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
