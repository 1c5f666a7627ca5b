"""The data of an image: sent by a client, or sent to one, whole or a range of it (http-api §5.1, §5.2)."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import falcon

from api import rights
from api.bodies import no_body
from api.context import caller
from api.imports import STORE_HEADER
from api.options import ApiOptions
from api.received import data_of, require_data, set_patience
from catalog.images import ImageRecord, Location
from flows.limits import require_within
from flows.locations import settled
from flows.runtime import Runtime
from flows.upload import upload
from stores.base import CHUNK, FileBacked, Reader
from stores.errors import ObjectNotFound, ReadOnlyStore, StoreError, StoreUnavailable, UnknownStore

log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(?:\d{1,19}|\*)", re.ASCII)
_SERVED = ("active", "deactivated")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, without, `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class Data:
    """`/v2/images/{image_id}/file`."""

    def __init__(self, runtime: Runtime, options: ApiOptions) -> None:
        self._runtime = runtime
        self._stores = runtime.stores
        self._patience = options.client_socket_timeout

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Make the body the data of the image: 204, and it is active."""
        size = require_data(req)
        store = self._target(req)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, "upload_image")
        require_within(self._runtime, image.owner, stored=size or 0, uploading=1)
        upload(self._runtime, image_id, store, data_of(req, size, patience=self._runtime.lease.stall_timeout), size)
        resp.status = falcon.HTTP_204

    def _target(self, req: falcon.Request) -> str:
        """The store that the header names, or the default. 400 for one that is not there, 410 for one that can only be
        read: both other than where an import names them.
        """
        store = req.get_header(STORE_HEADER) or self._stores.default
        try:
            self._stores.writable(store)
        except UnknownStore:
            raise falcon.HTTPBadRequest(description=f"The header {STORE_HEADER} names {store}: no store.") from None
        except ReadOnlyStore as error:
            raise falcon.HTTPGone(description=f"No data can be added: {error}.") from error
        return store

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The bytes; 204 while there are none. An image has data from its activation on, not before ([R] §1.5)."""
        no_body(req)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, "download_image")
        if req.get_param("prefer"):
            rights.require(who, "download_from_store", image)
        image = settled(self._runtime, image)
        if image.status == "deactivated" and not who.is_admin:
            raise falcon.HTTPForbidden(description=f"Image {image.id} is deactivated.")
        locations = self._preferred(image, req.get_param("prefer") or "")
        if image.status not in _SERVED or image.size is None:
            resp.status = falcon.HTTP_204
            return
        span = requested(req, image.size)
        reader = self._open(image, locations, span.start if span else 0)
        if reader is None:
            resp.status = falcon.HTTP_204
            return
        if span is not None:
            resp.status = falcon.HTTP_206
            resp.set_header("Content-Range", f"bytes {span.start}-{span.end - 1}/{image.size}")
        set_patience(req, self._patience)
        _send(req, resp, reader, len(span) if span else image.size)
        # Of the whole image, and hex: that is what clients of Glance compare with.
        if image.checksum is not None:
            resp.set_header("Content-MD5", image.checksum)

    def _preferred(self, image: ImageRecord, prefer: str) -> list[Location]:
        """The locations in the order to try: those in the stores of `prefer` (a,b) first. 400 for an unknown store."""
        names = [name.strip() for name in prefer.split(",") if name.strip()]
        for name in names:
            if name not in self._stores.ids():
                raise falcon.HTTPBadRequest(
                    description=f"Query parameter 'prefer' names {name}, which is no store here."
                )
        return sorted(self._stores.by_weight(image.locations), key=lambda at: at.store not in names)

    def _open(self, image: ImageRecord, locations: list[Location], start: int) -> Reader | None:
        """Open the first location that can be read, or return None: no store has the object any more.

        Raises `StoreUnavailable` when a store may have it but does not answer.
        """
        lost = True
        for location in locations:
            try:
                reader = self._stores.get(location.store).open(location.object_key, start)
            except ObjectNotFound as error:
                log.error("image %s: %s", image.id, error)
            except StoreError as error:
                lost = False
                log.error("image %s: %s", image.id, error)
            except ValueError:
                log.error("image %s: store %s has less than %d bytes of it", image.id, location.store, start)
            else:
                if reader.size == image.size:
                    return reader
                reader.close()
                log.error("image %s: store %s has %d bytes of it", image.id, location.store, reader.size)
        if lost:
            return None
        raise StoreUnavailable(locations[-1].store, "the data cannot be read at the moment")


def requested(req: falcon.Request, size: int) -> Span | None:
    """Return the range that is asked for of `size` bytes, None for all of them.

    Raises 400 for several ranges, 416 for one that is malformed or begins behind the end.
    """
    text, form = req.get_header("Range"), _RANGE
    if text is None:
        # Glance's old form of the same question.
        text, form = req.get_header("Content-Range"), _CONTENT_RANGE
    if text is None:
        return None
    if "," in text:
        raise falcon.HTTPBadRequest(description="Only one range of bytes can be asked for.")
    match = form.fullmatch(text.strip())
    if match is None:
        raise _unsatisfiable(text, size)
    first, last, *suffix = match.groups()
    if first is None:
        start, end = max(size - int(suffix[0]), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise _unsatisfiable(text, size)
    return Span(start, end)


def _unsatisfiable(text: str, size: int) -> falcon.HTTPError:
    return falcon.HTTPError(
        falcon.HTTP_416,
        description=f"The range {text!r} is not one of the {size} bytes.",
        headers={"Content-Range": f"bytes */{size}"},
    )


def _send(req: falcon.Request, resp: falcon.Response, reader: Reader, length: int) -> None:
    """Answer with the next `length` bytes of `reader`: by the server's own means if they are in a file."""
    wrapper = req.env.get("wsgi.file_wrapper")
    if wrapper is not None and isinstance(reader, FileBacked):
        resp.stream = wrapper(FilePart(reader, reader.fileno(), length), CHUNK)
    else:
        resp.stream = Part(reader, length)
    resp.content_length = length
    resp.content_type = "application/octet-stream"


class Part:
    """The next `length` bytes of a reader in chunks, as a WSGI server takes them. Closing it closes the reader."""

    def __init__(self, reader: Reader, length: int) -> None:
        self._reader = reader
        self._left = length

    def next_chunk(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end of the part."""
        if not self._left:
            return b""
        chunk = self._reader.read(min(size, self._left))
        self._left -= len(chunk)
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.next_chunk(CHUNK):
            yield chunk

    def close(self) -> None:
        """Let go of the object."""
        self._reader.close()


class FilePart(Part):
    """A part whose reader is a file: a server that knows `sendfile` takes its descriptor, any other one reads it."""

    def __init__(self, reader: Reader, descriptor: int, length: int) -> None:
        super().__init__(reader, length)
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor, positioned at the start of the part."""
        return self._descriptor

    def read(self, size: int = CHUNK) -> bytes:
        """See `next_chunk`."""
        return self.next_chunk(size)
