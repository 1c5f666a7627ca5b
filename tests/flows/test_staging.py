"""Staging: bytes that wait for their import, and what is left of those that never became whole."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CatalogUnavailable, Conflict, NotFound, UploadOver
from catalog.uploads import Uploads
from flows.errors import StagingFull, StagingUnavailable
from flows.options import STAGING_STORE
from flows.staging import stage
from pipeline.errors import SourceBroken, TooBig, TransferError
from pipeline.received import ReceivedSource
from pipeline.sources import ChunkSource
from stores.errors import StoreDenied, StoreFull, StoreUnavailable
from stores.wrappers import Call, Operation, fails, loses_answer
from tests.flows.service import DATA, Service, eager_service
from workers.sweeper import sweep

LEASE = 60.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service in which a silent upload is given up after a minute, and every chunk renews it."""
    with eager_service(tmp_path / "data", stall_timeout=LEASE) as made:
        made.runtime = replace(made.runtime, lease=replace(made.runtime.lease, progress_interval=0.0, ttl=0.1))
        yield made


def assert_nothing_stays(service: Service, image: Any) -> None:
    """The image takes data again, and no byte is left of what was sent."""
    now = service.look(image)
    assert (now.status, now.size) == ("queued", None)
    service.assert_clean(image)
    assert service.stage(image) == len(DATA), "it can be staged again"


@pytest.mark.parametrize("size", [None, len(DATA)], ids=["chunked", "announced"])
def test_kept_as_it_came(service: Service, size: int | None) -> None:
    """Given a body, when it is staged, then the image is uploading, and the staging store alone has its bytes."""
    image = service.image(disk_format=None, container_format=None)
    assert service.stage(image, size=size) == len(DATA)
    now = service.look(image)
    assert (now.status, now.size, now.checksum, now.os_hash_value) == ("uploading", len(DATA), None, None)
    (key,) = service.staged.keys()
    with service.staged.open(key) as reader:
        assert b"".join(reader) == DATA
    assert key.startswith(f"{image.id}.")
    assert not any(service.kept().values())
    service.assert_clean(image)


def test_an_empty_body_is_one(service: Service) -> None:
    """Given no byte at all, then that is staged: an empty image is what Nova makes for one that boots from a volume."""
    image = service.image()
    assert service.stage(image, b"", size=0) == 0
    assert (service.look(image).status, service.look(image).size) == ("uploading", 0)


def test_the_store_is_told_the_size(service: Service) -> None:
    """Given an announced size, then the store can plan with it."""
    told: list[int] = []

    def note(call: Call, go: Callable[[], Any]) -> Any:
        told.append(call.count)
        return go()

    service.fail(STAGING_STORE, "create", note)
    service.stage(service.image(), size=len(DATA))
    service.stage(service.image())
    assert told == [len(DATA), 0]


STORE_FAULTS = {
    "no room": (StoreFull("s", "no space left after 0 bytes"), StagingFull, "has no room for the data: no space left"),
    "away": (StoreUnavailable("s", "it does not answer"), StagingUnavailable, "does not take the data: it does not"),
    "denied": (StoreDenied("s", "permission denied"), StagingUnavailable, "does not take the data: permission denied"),
}


@pytest.mark.parametrize("operation", ["create", "write", "commit"])
@pytest.mark.parametrize("fault", STORE_FAULTS)
def test_a_store_that_fails(service: Service, fault: str, operation: Operation) -> None:
    """Given a staging store that fails at any moment, then the reason names staging, and nothing stays."""
    error, expected, says = STORE_FAULTS[fault]
    image = service.image()
    service.fail(STAGING_STORE, operation, fails(error))
    with pytest.raises(expected, match=f"The staging area {says}"):
        service.stage(image)
    service.faulty[STAGING_STORE].hooks.clear()
    assert_nothing_stays(service, image)


def test_a_commit_whose_answer_is_lost(service: Service) -> None:
    """Given a store that has committed and then says it failed, then the object goes at once."""
    image = service.image()
    service.fail(STAGING_STORE, "commit", loses_answer(StoreUnavailable("s", "it does not answer")))
    with pytest.raises(StagingUnavailable):
        service.stage(image)
    service.faulty[STAGING_STORE].hooks.clear()
    assert_nothing_stays(service, image)


def _breaks_off() -> Iterator[bytes]:
    yield DATA[:1000]
    raise SourceBroken("The body broke off after 1000 bytes.")


BODIES: dict[str, tuple[bytes | None, int | None, type[TransferError], str]] = {
    "too few": (DATA, len(DATA) + 5, SourceBroken, f"ends after {len(DATA)} of {len(DATA) + 5} bytes"),
    "too many": (DATA, len(DATA) - 5, SourceBroken, f"more than the {len(DATA) - 5} bytes that were announced"),
    "broken off": (None, None, SourceBroken, "broke off after 1000 bytes"),
    "over the cap": (b"x" * (len(DATA) + 6), None, TooBig, "more than the"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_not_what_was_announced(service: Service, body: str) -> None:
    """Given a body that ends too early or goes on for too long, then it is never taken for whole."""
    data, size, error, says = BODIES[body]
    service.runtime = replace(service.runtime, options=replace(service.runtime.options, image_size_cap=len(DATA) + 5))
    image = service.image()
    pieces = _breaks_off() if data is None else iter([data, b""])
    with pytest.raises(error, match=says):
        stage(service.runtime, image.id, ReceivedSource(lambda _: next(pieces), size), size)
    assert_nothing_stays(service, image)


def test_too_much_is_known_before_the_first_byte(service: Service) -> None:
    """Given an announced size over the cap, then nothing is read and nothing is written on record."""
    service.runtime = replace(service.runtime, options=replace(service.runtime.options, image_size_cap=10))
    image = service.image()
    before = service.look(image)
    with pytest.raises(TooBig, match="has 11 bytes, more than the 10 bytes allowed"):
        stage(service.runtime, image.id, ChunkSource(iter([])), 11)
    assert service.look(image) == before


def test_who_comes_second_changes_nothing(service: Service) -> None:
    """Given an image that has staged data, or is not there, then staging is refused with the reason."""
    image = service.image()
    service.stage(image)
    with pytest.raises(Conflict, match="is staged already"):
        service.stage(image, b"other")
    service.assert_clean(image)
    assert service.look(image).size == len(DATA)
    with pytest.raises(NotFound):
        stage(service.runtime, "nobody", ChunkSource([b"x"]), None)


class TestInFlight:
    """What happens while bytes flow."""

    def test_deleted(self, service: Service) -> None:
        """Given an upload under way, when the image is deleted, then the sender is told at the next chunk."""
        image = service.image()
        sent: list[int] = []

        def chunks() -> Iterator[bytes]:
            for n in range(50):
                if n == 3:
                    service.runtime.catalog.delete_image(image.id)
                sent.append(n)
                yield DATA

        with pytest.raises(UploadOver, match=f"Image {image.id} was deleted while its data was being received"):
            stage(service.runtime, image.id, ChunkSource(chunks()), None)
        assert sent[-1] == 3
        assert service.staged.keys() == []

    def test_deleted_and_swept_at_the_end(self, service: Service) -> None:
        """Given a deletion that the collector follows while the last bytes are made durable, then the sender is told
        of the deletion and not of a store.
        """
        image = service.image()

        def deleted(_: Call, go: Callable[[], Any]) -> Any:
            service.runtime.catalog.delete_image(image.id)
            sweep(service.runtime, service.dispatcher)
            return go()

        service.fail(STAGING_STORE, "commit", deleted)
        with pytest.raises(UploadOver, match="was deleted"):
            service.stage(image)
        assert service.staged.keys() == []

    def test_it_may_take_its_time(self, service: Service) -> None:
        """Given a sender who takes longer than a lease for the whole, but not for a chunk, then it is waited for."""
        image = service.image()

        def chunks() -> Iterator[bytes]:
            for _ in range(5):
                service.runtime.catalog.database.skew += LEASE - 1
                sweep(service.runtime, service.dispatcher)
                yield b"x" * 10

        assert stage(service.runtime, image.id, ChunkSource(chunks()), None) == 50
        assert service.look(image).size == 50
        service.assert_clean(image)

    def test_taken_for_dead(self, service: Service) -> None:
        """Given a sender silent for longer than that, when it goes on, then it is told, and harms nobody's upload."""
        image = service.image()

        def chunks() -> Iterator[bytes]:
            yield b"x" * 10
            service.runtime.catalog.database.skew += LEASE + 1
            sweep(service.runtime, service.dispatcher)
            service.stage(image)
            yield b"x" * 10

        with pytest.raises(UploadOver, match="was given up: nothing was received for too long"):
            stage(service.runtime, image.id, ChunkSource(chunks()), None)
        assert (service.look(image).status, service.look(image).size) == ("uploading", len(DATA))
        service.assert_clean(image)

    def test_a_database_that_is_away_for_a_moment(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a lease that cannot be renewed, while it lasts, then the upload goes on."""
        asked: list[Any] = []
        renew = Uploads.renew

        def away(self: Uploads, upload: Any, *, lease: float) -> None:
            asked.append(upload)
            if len(asked) < 3:
                raise CatalogUnavailable("the database does not answer")
            renew(self, upload, lease=lease)

        monkeypatch.setattr(Uploads, "renew", away)
        image = service.image()
        assert stage(service.runtime, image.id, ChunkSource([b"x"] * 4), None) == 4
        assert len(asked) == 5
        assert service.look(image).status == "uploading"

    def test_a_database_that_is_away_is_not_asked_at_every_chunk(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given a lease that cannot be renewed, then that is tried, and told to the log, as seldom as when it can."""
        asked: list[Any] = []

        def away(_self: Uploads, upload: Any, *, lease: float) -> None:
            asked.append(upload)
            raise CatalogUnavailable("the database does not answer")

        def chunks() -> Iterator[bytes]:
            yield b"x"
            pause = threading.Event()
            pause.wait(0.06)
            yield from [b"x"] * 200

        service.runtime = replace(service.runtime, lease=replace(service.runtime.lease, progress_interval=0.05))
        monkeypatch.setattr(Uploads, "renew", away)
        assert stage(service.runtime, service.image().id, ChunkSource(chunks()), None) == 201
        assert len(asked) < 100

    @pytest.mark.parametrize("done", [False, True], ids=["undone", "done"])
    def test_a_database_that_is_away_at_the_last_byte(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, done: bool
    ) -> None:
        """Given an upload that is whole, when the database does not answer for a moment, then it is recorded a moment
        later, also if only the answer was lost.
        """
        times: list[int] = []
        stored = Uploads.stored
        begin = service.runtime.catalog.begin

        @contextmanager
        def answer_lost() -> Iterator[Any]:
            before = len(times)
            with begin() as tx:
                yield tx
            if len(times) > before and len(times) == 1:
                raise CatalogUnavailable("the database does not answer")

        def away(self: Uploads, upload: Any, size: int) -> None:
            times.append(size)
            if len(times) == 1 and not done:
                raise CatalogUnavailable("the database does not answer")
            stored(self, upload, size)

        monkeypatch.setattr(Uploads, "stored", away)
        monkeypatch.setattr(service.runtime.catalog, "begin", answer_lost)
        image = service.image()
        assert service.stage(image) == len(DATA)
        assert times == [len(DATA)] * 2
        assert (service.look(image).status, service.look(image).size) == ("uploading", len(DATA))
        service.assert_clean(image)

    def test_a_database_that_is_away_for_good(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a database that is away in the end, then what became of the upload is found out later, by the row."""

        def away(*_: Any, **__: Any) -> None:
            raise CatalogUnavailable("the database does not answer")

        image = service.image()
        with monkeypatch.context() as patched:
            patched.setattr(Uploads, "stored", away)
            patched.setattr(Uploads, "failed", away)
            with pytest.raises(CatalogUnavailable):
                service.stage(image)
        assert len(service.staged.keys()) == 1, "it might have been recorded"
        service.runtime.catalog.database.skew += LEASE + 1
        sweep(service.runtime, service.dispatcher)
        assert_nothing_stays(service, image)

    def test_two_at_once(self, service: Service) -> None:
        """Given two senders for one image, then one is told of the other before it has sent anything."""
        image = service.image()
        gate = threading.Barrier(2)
        said: list[object] = []

        def send(data: bytes) -> None:
            gate.wait()
            try:
                said.append(service.stage(image, data))
            except Conflict as error:
                said.append(error.code)

        senders = [threading.Thread(target=send, args=(b"x" * n,)) for n in (1000, 2000)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(30)
        assert "conflict" in said
        assert service.look(image).size in said
        service.assert_clean(image)


def test_what_nobody_imports_goes(tmp_path: Path) -> None:
    """Given staged bytes, when their time is over, then the next sweep takes them, and the image is queued again."""
    with eager_service(tmp_path / "data", staging_ttl=600.0) as service:
        image = service.image()
        service.stage(image)
        service.runtime.catalog.database.skew += 599
        sweep(service.runtime, service.dispatcher)
        assert service.look(image).status == "uploading"
        service.runtime.catalog.database.skew += 2
        sweep(service.runtime, service.dispatcher)
        assert_nothing_stays(service, image)
