"""The write session of an S3 store: a multipart upload, whose parts a few threads of the session send.

The upload is opened with the session, however small the object turns out: it is what makes the session known to
the server, so that `delete(key)` from any process can end it (docs/decisions/0007-s3-store.md).
"""

import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from stores.base import Bytes
from stores.errors import StoreError, StoreFull
from stores.s3_parts import MOST_PARTS, PartSizes
from stores.session import WriteSession


@dataclass(frozen=True, slots=True)
class Upload:
    """An open multipart upload. `token` is written on the object that comes of it, to know it again by."""

    key: str
    id: str
    token: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A part that the server has: what it is called when the upload is completed."""

    number: int
    etag: str
    crc32: str = ""


class Line(Event):
    """What the requests of one session share: set once it is over; and when bytes last moved, see `Moving`."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_at = time.monotonic()

    def moved(self) -> None:
        """Bytes are on their way."""
        self.moved_at = time.monotonic()


class PartBody:
    """The bytes of a part as a file to send from, in blocks, so that silence is measured and a stop is heeded.

    Sent as one buffer, a part would have to be through within one time-out, however large it is and however slow
    the line. `read` gives up to 256 KiB where less is asked for: what sends a body asks for 16.
    """

    _BLOCK = 1 << 18

    def __init__(self, content: bytearray, stop: Line) -> None:
        self._content = memoryview(content)
        self._stop = stop
        self._offset = 0

    def read(self, size: int = -1) -> memoryview:
        """Return the next bytes. Raises `InterruptedError` once the session is over."""
        if self._stop.is_set():
            raise InterruptedError("the write session is over")
        self._stop.moved()
        end = len(self._content) if size < 0 else self._offset + max(size, self._BLOCK)
        piece = self._content[self._offset : end]
        self._offset += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to `offset`, as files do."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: len(self._content)}[whence]
        self._offset = base + offset
        return self._offset

    def tell(self) -> int:
        """Return the offset."""
        return self._offset

    def __len__(self) -> int:
        return len(self._content)


class Uploads(Protocol):
    """What a session asks of the server. Every call raises `StoreError` and repeats what is worth repeating."""

    store: str

    def put_part(self, upload: Upload, number: int, content: bytearray, stop: Line) -> Part:
        """Send one part. Raises `SessionEnded` when there is no such upload, and soon once `stop` is set."""

    def publish(self, upload: Upload, parts: list[Part]) -> None:
        """Make the object of `parts`, unless its key is taken. Raises `ObjectExists`, `SessionEnded`."""

    def drop(self, upload: Upload, *, attempts: int | None = None) -> None:
        """Remove the upload and its parts, trying `attempts` times; it is no error if there is none."""

    def unpublish(self, upload: Upload) -> None:
        """Remove the object if it came of `upload`."""


class S3Writer(WriteSession):
    """A session on `upload`: fills one part in memory while at most `in_flight` others are being sent."""

    def __init__(self, uploads: Uploads, upload: Upload, size: int | None, sizes: PartSizes, in_flight: int) -> None:
        super().__init__(uploads.store, upload.key, size)
        self._uploads = uploads
        self._upload = upload
        self._sizes = sizes
        self._in_flight = in_flight
        self._stop = Line()
        self._senders: ThreadPoolExecutor | None = None
        self._number = 1
        self._content = bytearray()
        self._sending: set[Future[Part]] = set()
        self._sent: list[Part] = []
        self._publishing = False

    @property
    def moved_at(self) -> float:
        """See `stores.base.Moving`: a part may well be larger than what goes through the line in a minute."""
        return self._stop.moved_at

    def _append(self, chunk: Bytes) -> None:
        self._collect(timeout=0)
        view = memoryview(chunk)
        while view:
            room = self._sizes.of(self._number) - len(self._content)
            if not room:
                # Only now is it known not to be the last one.
                self._send()
                continue
            self._content += view[:room]
            view = view[room:]

    def _send(self) -> None:
        """Hand the part over to a thread, once one is free for it."""
        if self._number == MOST_PARTS:
            raise StoreFull(self.store, f"an object can have {MOST_PARTS} parts, which hold {self._sizes.total} bytes")
        self._wait_until_sending(self._in_flight - 1)
        if self._senders is None:
            self._senders = ThreadPoolExecutor(self._in_flight, thread_name_prefix=f"{self.store}-part")
        put = self._uploads.put_part
        self._sending.add(self._senders.submit(put, self._upload, self._number, self._content, self._stop))
        self._content = bytearray()
        self._number += 1

    def _wait_until_sending(self, most: int) -> None:
        while len(self._sending) > most:
            self._collect(timeout=None)

    def _collect(self, timeout: float | None) -> None:
        """Take in the parts that are sent. Raises what one of them came to."""
        if self._sending:
            done, self._sending = wait(self._sending, timeout, return_when=FIRST_COMPLETED)
            self._sent += [future.result() for future in done]

    def _publish(self) -> None:
        self._wait_until_sending(self._in_flight - 1)
        # The last part, even an empty one: an upload without parts cannot be completed.
        self._sent.append(self._uploads.put_part(self._upload, self._number, self._content, self._stop))
        self._wait_until_sending(0)
        self._publishing = True
        self._uploads.publish(self._upload, sorted(self._sent))
        self._dismiss()

    def _discard(self) -> None:
        self._stop.set()
        self._dismiss()
        # What cannot be removed now stays a leftover for `Store.delete`.
        with suppress(StoreError):
            self._uploads.drop(self._upload, attempts=2)
        if self._publishing:
            # The answer may have been lost on the way, and the object be there.
            with suppress(StoreError):
                self._uploads.unpublish(self._upload)

    def _dismiss(self) -> None:
        """Wait for the threads, which end soon, and let go of the memory."""
        if self._senders is not None:
            self._senders.shutdown(wait=True, cancel_futures=True)
        self._sending = set()
        self._content = bytearray()
