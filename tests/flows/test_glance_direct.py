"""glance-direct from the upload to the last row, in the caller's own thread: every outcome of import-behaviour
§1.6 [R].
"""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from catalog.errors import Conflict, NotFound
from flows.errors import ImageNotReady
from flows.flow import Admission, ImportRequest
from flows.methods import FLOWS
from flows.options import STAGING_STORE
from flows.staging import Staging, stage
from flows.submit import Requester, submit
from pipeline.sources import ChunkSource
from stores.errors import ObjectNotFound, StoreUnavailable
from stores.memory import MemoryStore
from stores.wrappers import Call, Operation, fails
from tests.flows.service import DATA, Service, eager_service
from tests.workers.desk import NoBroker
from workers.runner import Runner
from workers.sweeper import sweep

SHA512 = hashlib.sha512(DATA).hexdigest()
ALL = ("a", "b", "c")
STAGING_TTL = 48 * 3600.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that gives up at the first failure."""
    with eager_service(tmp_path / "data", max_attempts=1) as made:
        yield made


PACKED = {
    "plain": DATA,
    "empty": b"",
    "gzip": gzip.compress(DATA, 1),
    "zstd": zstandard.compress(DATA),
}


@pytest.mark.parametrize("packed", PACKED)
def test_what_was_staged_into_every_store(service: Service, packed: str) -> None:
    """Given staged bytes, compressed or not, when they are imported, then every store has the image, and staging
    nothing.
    """
    data = DATA if PACKED[packed] else b""
    image = service.image()
    service.stage(image, PACKED[packed])
    task = service.task(service.ask_staged(image, ALL))
    now = service.look(image)
    assert (task.status, task.result, task.error_code) == ("success", {"image_id": image.id}, None)
    assert (now.status, now.size, now.os_hash_value) == ("active", len(data), hashlib.sha512(data).hexdigest())
    assert now.checksum == hashlib.md5(data).hexdigest()
    assert (now.importing_to, now.failed) == ((), ())
    assert sorted(place.store for place in now.locations) == list(ALL)
    assert [service.read(image, store) for store in ALL] == [data] * 3
    assert task.bytes_done == len(PACKED[packed])
    service.assert_clean(image)


def test_as_users_see_it_go(service: Service) -> None:
    """Given an import of what was staged, when somebody looks meanwhile, then it is importing, of the staged size."""
    image = service.image()
    service.stage(image)
    seen: list[object] = []

    def look(_: Call, go: Callable[[], Any]) -> Any:
        now = service.look(image)
        seen.append((now.status, now.size, now.importing_to))
        return go()

    service.fail("a", "commit", look)
    service.ask_staged(image, ("a", "b"))
    assert seen == [("importing", len(DATA), ("a", "b"))]


def test_bug_1889640_staged_bytes_that_vanish_at_the_end(service: Service) -> None:
    """Given staged bytes that are gone, or cannot be deleted, when all is done, then the import has succeeded.

    Their deletion is tried again, as long as it takes.
    """
    image = service.image()
    service.stage(image)
    service.fail(STAGING_STORE, "delete", fails(StoreUnavailable(STAGING_STORE, "it does not answer")))
    assert service.task(service.ask_staged(image)).status == "success"
    assert service.look(image).status == "active"
    assert len(service.staged.keys()) == 1
    service.faulty[STAGING_STORE].hooks.clear()
    service.runtime.catalog.database.skew += 61.0
    sweep(service.runtime, service.dispatcher)
    service.assert_clean(image)

    other = service.image()
    service.stage(other)

    def vanish(_: Call, go: Callable[[], Any]) -> Any:
        done = go()
        for key in service.staged.keys():  # noqa: SIM118 - it is a store
            service.staged.delete(key)
        return done

    service.fail("a", "commit", vanish)
    assert service.task(service.ask_staged(other)).status == "success"
    service.assert_clean(other)


def _vanished(service: Service, key: str) -> None:
    service.staged.delete(key)


def _cut(service: Service, key: str) -> None:
    service.staged.delete(key)
    session = service.staged.create(key)
    session.write(DATA[:-1])
    session.commit()


@pytest.mark.parametrize("loss", [_vanished, _cut])
def test_lost_bytes_are_not_waited_for(service: Service, loss: Callable[[Service, str], None]) -> None:
    """Given staged bytes that are gone or cut short, then the task says so at once, and the image takes new ones."""
    image = service.image()
    service.stage(image)
    loss(service, service.staged.keys()[0])
    task = service.task(service.ask_staged(image, ("a", "b")))
    now = service.look(image)
    assert (task.status, task.error_code) == ("failure", "staged_data_gone")
    assert task.message == f"The data that was staged for image {image.id} is lost; stage it again."
    assert (now.status, now.size, now.failed) == ("queued", None, ("a", "b"))
    service.assert_clean(image)
    service.stage(image)
    assert service.task(service.ask_staged(image)).status == "success"


def test_what_passes_is_waited_for(tmp_path: Path) -> None:
    """Given a staging store that is away for a moment, then another attempt reads it."""
    with eager_service(tmp_path / "data", max_attempts=2) as service:
        image = service.image()
        service.stage(image)
        opened: list[Call] = []

        def once(call: Call, go: Callable[[], Any]) -> Any:
            opened.append(call)
            if len(opened) == 1:
                raise StoreUnavailable(STAGING_STORE, "it does not answer")
            return go()

        service.fail(STAGING_STORE, "open", once)
        task_id = service.ask_staged(image)
        assert service.task(task_id).live
        service.runtime.catalog.database.skew += 61.0
        sweep(service.runtime, service.dispatcher)
        assert service.task(task_id).status == "success"
        service.assert_clean(image)


class TestAdmission:
    """Requests that cannot be taken leave everything as it is."""

    def test_nothing_is_staged(self, service: Service) -> None:
        image = service.image()
        with pytest.raises(ImageNotReady, match="in status queued; glance-direct takes only an uploading image"):
            service.ask_staged(image)

    @pytest.mark.parametrize("missing", ["container_format", "disk_format"])
    def test_without_a_format(self, service: Service, missing: str) -> None:
        """Given staged data of an image without a format, then it is kept, and only the import is refused."""
        image = service.image(**{missing: None})
        service.stage(image)
        with pytest.raises(ImageNotReady, match=missing):
            service.ask_staged(image)
        assert service.look(image).status == "uploading"
        service.assert_clean(image)

    def test_before_it_is_whole(self, service: Service) -> None:
        """Given an upload under way, when its import is asked for, then it is refused with the reason."""
        image = service.image()

        def chunks() -> Iterator[bytes]:
            yield DATA
            with pytest.raises(ImageNotReady, match=f"No data is staged for image {image.id}, or not all of it yet"):
                service.ask_staged(image)

        stage(service.runtime, image.id, ChunkSource(chunks()), None)
        assert service.task(service.ask_staged(image)).status == "success"

    def test_expired_since(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given staged bytes that are given up after somebody has looked, then the request is a conflict."""
        image = service.image()
        service.stage(image)
        image, flow = service.look(image), FLOWS["glance-direct"]

        def admit(*given: Any) -> Admission:
            admission = flow.admit(*given)
            service.runtime.catalog.database.skew += STAGING_TTL + 1
            sweep(service.runtime, service.dispatcher)
            return admission

        monkeypatch.setitem(FLOWS, flow.name, replace(flow, admit=admit))
        with pytest.raises(Conflict, match="in status queued, not uploading"):
            service.ask_staged(image)
        with service.runtime.catalog.read() as tx:
            assert tx.tasks.of_image(image.id) == []

    def test_to_the_host_that_has_the_bytes(self, service: Service) -> None:
        """Given staged bytes on the disk of one host, then its workers are told, and another one keeps its hands off.

        A worker elsewhere finds nothing under that key, which must not pass for a loss.
        """
        here = replace(service.runtime, host="h1", staging=Staging(service.runtime.staging.store, "h1"))
        service.runtime = here
        image = service.image()
        service.stage(image)
        broker = NoBroker(service)
        request = ImportRequest("glance-direct", stores=("a",))
        task_id = submit(here, broker, service.look(image), request, Requester())
        assert broker.hosts == ["h1"]
        elsewhere = replace(here, host="h2", staging=Staging(MemoryStore(STAGING_STORE), "h2"))
        assert not Runner(elsewhere, "w2").run(task_id, "transfer")
        assert service.task(task_id).message.startswith("The staged data can be read only on the host that took it.")
        assert service.look(image).status == "uploading"
        assert len(service.staged.keys()) == 1


class TestDeleting:
    """An image that is deleted with staged bytes."""

    def test_while_it_waits(self, service: Service) -> None:
        image = service.image()
        service.stage(image)
        service.runtime.catalog.delete_image(image.id)
        sweep(service.runtime, service.dispatcher)
        assert service.staged.keys() == []

    @pytest.mark.parametrize("operation", ["open", "read"])
    def test_while_it_is_imported(self, service: Service, operation: Operation) -> None:
        """Given an import under way, when the image is deleted and its staged bytes with it, then that is the reason,
        and no byte stays anywhere.
        """
        image = service.image()
        service.stage(image)

        def delete(_: Call, __: Callable[[], Any]) -> Any:
            service.faulty[STAGING_STORE].hooks.clear()
            service.runtime.catalog.delete_image(image.id)
            sweep(service.runtime, service.dispatcher)
            raise ObjectNotFound(STAGING_STORE, "there is no such object")

        service.fail(STAGING_STORE, operation, delete)
        task = service.task(service.ask_staged(image, ("a", "b")))
        assert (task.status, task.error_code, task.message) == ("failure", "cancelled", "the image was deleted")
        with pytest.raises(NotFound):
            service.look(image)
        assert service.kept() == {"a": [], "b": [], "c": []}
        assert service.staged.keys() == []


def test_staged_bytes_live_as_long_as_their_task(service: Service) -> None:
    """Given an import that waits for longer than staged bytes are kept, then they are there when its turn comes."""
    image = service.image()
    service.stage(image)
    request = ImportRequest("glance-direct", stores=("a",))
    task_id = submit(service.runtime, NoBroker(service), service.look(image), request, Requester())
    service.runtime.catalog.database.skew += 2 * STAGING_TTL
    sweep(service.runtime, service.dispatcher)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


def test_a_checksum_of_what_was_staged(service: Service) -> None:
    """Given a promised checksum, when the staged bytes are others, then nothing becomes visible, and they are kept."""
    image = service.image()
    service.stage(image)
    task = service.task(service.ask_staged(image, checksum="sha256:" + "0" * 64))
    assert (task.status, task.error_code, service.look(image).status) == ("failure", "checksum_mismatch", "uploading")
    service.assert_clean(image)
    task = service.task(service.ask_staged(image, checksum=f"sha512:{SHA512}"))
    assert (task.status, "sha512 of the upload verified." in task.message) == ("success", True)
