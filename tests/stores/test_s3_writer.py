"""The write session of S3 against a server made of events: how much is in memory, and what ends it."""

import threading
import time
from collections.abc import Callable
from threading import Event

import pytest

from stores.base import Moving
from stores.errors import SessionEnded, StoreFull, StoreUnavailable
from stores.s3_parts import MOST_PARTS, PartSizes
from stores.s3_writer import Line, Part, PartBody, S3Writer, Upload
from tests.servers import wait_until


class Uploads:
    """Takes parts when `proceed` allows, and counts."""

    store = "s3"

    def __init__(self, put: Callable[[int, Event], None] = lambda number, stop: None) -> None:
        self.put = put
        self.lock = threading.Lock()
        self.busy = 0
        self.most_busy = 0
        self.sizes: dict[int, int] = {}
        self.published: list[Part] = []
        self.dropped = 0
        self.unpublished = 0

    def put_part(self, upload: Upload, number: int, content: bytearray, stop: Event) -> Part:
        with self.lock:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            self.sizes[number] = len(content)
        try:
            self.put(number, stop)
        finally:
            with self.lock:
                self.busy -= 1
        return Part(number, f"etag {number}")

    def publish(self, upload: Upload, parts: list[Part]) -> None:
        self.published = parts

    def drop(self, upload: Upload, *, attempts: int | None = None) -> None:
        self.dropped += 1

    def unpublish(self, upload: Upload) -> None:
        self.unpublished += 1


def writer_on(uploads: Uploads, *, in_flight: int = 3, sizes: PartSizes | None = None) -> S3Writer:
    return S3Writer(uploads, Upload("key", "id"), None, sizes or PartSizes(10), in_flight)


class TestMemory:
    @pytest.mark.parametrize("in_flight", [1, 2, 5])
    def test_no_more_parts_are_in_flight_than_allowed(self, in_flight: int) -> None:
        # Given a server that lets parts wait until a test says go on
        proceed = Event()
        uploads = Uploads(lambda number, stop: None if proceed.wait(10) else pytest.fail("held back too long"))
        writer = writer_on(uploads, in_flight=in_flight)

        # When much more is written than may be held
        def write() -> None:
            writer.write(bytes(1000))
            writer.commit()

        thread = threading.Thread(target=write)
        thread.start()
        # Then writing stands still with just so many parts on their way
        assert wait_until(lambda: uploads.busy == in_flight, 10)
        assert len(uploads.sizes) == in_flight
        proceed.set()
        thread.join()
        assert uploads.most_busy == in_flight
        assert [part.number for part in uploads.published] == list(range(1, 101))
        assert set(uploads.sizes.values()) == {10}

    @pytest.mark.parametrize(
        ("written", "parts"), [(0, [0]), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (25, [10, 10, 5])]
    )
    @pytest.mark.parametrize("step", [1, 7, 100])
    def test_only_the_last_part_is_short(self, written: int, parts: list[int], step: int) -> None:
        uploads = Uploads()
        writer = writer_on(uploads)
        data = bytes(written)
        for start in range(0, written, step):
            writer.write(data[start : start + step])
        assert writer.commit().size == written
        assert [uploads.sizes[number] for number in sorted(uploads.sizes)] == parts

    def test_more_than_ten_thousand_parts_are_refused(self) -> None:
        writer = writer_on(Uploads(), sizes=PartSizes(1))
        writer.write(bytes(MOST_PARTS))
        with pytest.raises(StoreFull, match="10000 parts, which hold 10000 bytes"):
            writer.write(b"1")
        writer.abort()


class TestErrors:
    def test_what_a_part_came_to_is_told_by_a_later_write(self) -> None:
        failed = Event()

        def put(number: int, stop: Event) -> None:
            if number == 1:
                failed.set()
                raise StoreFull("s3", "there is no room")

        uploads = Uploads(put)
        writer = writer_on(uploads)
        writer.write(bytes(11))
        assert failed.wait(10)
        with pytest.raises(StoreFull):
            self._write_on(writer)
        with pytest.raises(SessionEnded):
            writer.write(b"1")
        writer.abort()
        assert (uploads.dropped, uploads.unpublished) == (1, 0)

    def _write_on(self, writer: S3Writer) -> None:
        for _ in range(1000):
            writer.write(b"1")

    def test_what_a_part_came_to_is_told_by_the_commit(self) -> None:
        def put(number: int, stop: Event) -> None:
            if number == 1:
                raise StoreUnavailable("s3", "it is gone")

        uploads = Uploads(put)
        writer = writer_on(uploads)
        with pytest.raises(StoreUnavailable):
            self._write_and_commit(writer)
        assert uploads.published == []
        assert uploads.dropped == 1

    def _write_and_commit(self, writer: S3Writer) -> None:
        writer.write(bytes(11))
        writer.commit()

    def test_abort_stops_the_parts_on_their_way(self) -> None:
        # Given a server that takes for ever
        stopped = []

        def put(number: int, stop: Event) -> None:
            stopped.append(stop.wait(30))
            raise StoreUnavailable("s3", "stopped")

        uploads = Uploads(put)
        writer = writer_on(uploads, in_flight=2)
        writer.write(bytes(21))
        assert wait_until(lambda: uploads.busy == 2, 10)
        # When the session is aborted, the parts end first and the upload is dropped then
        writer.abort()
        assert stopped == [True, True]
        assert (uploads.busy, uploads.dropped) == (0, 1)

    def test_abort_never_raises(self) -> None:
        class Broken(Uploads):
            def drop(self, upload: Upload, *, attempts: int | None = None) -> None:
                raise StoreUnavailable("s3", "it is gone")

        writer = writer_on(Broken())
        writer.write(bytes(5))
        writer.abort()
        writer.abort()


class TestPartBody:
    def test_it_is_a_file_of_its_bytes(self) -> None:
        content = bytearray(range(256)) * 4096
        body = PartBody(content, Line())
        assert len(body) == len(content)
        pieces = []
        while piece := bytes(body.read(16_384)):
            pieces.append(piece)
        assert b"".join(pieces) == content
        assert body.seek(0) == body.tell() == 0
        assert bytes(body.read()) == content
        assert body.seek(-1, 2) == len(content) - 1
        assert bytes(body.read(5)) == b"\xff"

    def test_it_ends_with_its_session(self) -> None:
        stop = Line()
        body = PartBody(bytearray(10), stop)
        stop.set()
        with pytest.raises(InterruptedError):
            body.read(1)

    def test_it_tells_when_it_is_read(self) -> None:
        line = Line()
        line.moved_at = 0.0
        assert PartBody(bytearray(10), line).read(1)
        assert time.monotonic() - line.moved_at < 60

    def test_its_session_tells_who_waits(self) -> None:
        def put(number: int, stop: Event) -> None:
            assert isinstance(stop, Line)
            stop.moved_at = 7.0

        writer = writer_on(Uploads(put))
        writer.write(bytes(25))
        writer.commit()
        assert isinstance(writer, Moving)
        assert writer.moved_at == 7.0
