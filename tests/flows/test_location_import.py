"""Registering a location: what is there already becomes an image's data, once it was looked at (http-api §12)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog import tables as t
from catalog.images import ImageRecord
from catalog.tasks import TaskRecord
from flows.collect import collect
from flows.errors import BadImportRequest, ImageNotReady
from flows.flow import ImportRequest
from flows.location_import import LOCATION_IMPORT
from flows.policy import Denied
from flows.submit import Requester, submit
from pipeline.taps import HashTap
from stores.errors import StoreUnavailable
from stores.wrappers import fails
from tests.flows.service import DATA, Service, eager_service

SHA256 = hashlib.sha256(DATA).hexdigest()
SHA512 = hashlib.sha512(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with eager_service(tmp_path / "data", web=True, max_attempts=2) as made:
        yield made


def register(
    service: Service, url: str, checksum: str | None = None, image: ImageRecord | None = None
) -> tuple[ImageRecord, TaskRecord]:
    """Register `url` for a queued image; both as they are when that has ended."""
    image = image or service.image()
    body = {"url": url}
    request = ImportRequest(LOCATION_IMPORT.name, uri=url, checksum=checksum, body=body)
    task_id = submit(service.runtime, service.dispatcher, image, request, Requester("p", "u", "req-1"))
    return service.look(image), service.task(task_id)


def placed(service: Service, key: str = "somebodys-object", data: bytes = DATA, store: str = "b") -> str:
    """An object that somebody else has put into a store; returns its URL."""
    session = service.memory[store].create(key)
    session.write(data)
    session.commit()
    return service.memory[store].url(key)


def objects(service: Service, image: ImageRecord) -> list[str]:
    """The states of all objects on record for the image."""
    with service.runtime.catalog.database.read() as connection:
        rows = connection.execute(t.objects.select().where(t.objects.c.image_id == image.id))
        return [row.state for row in rows]


def test_the_promised_hash_is_made_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a promised hash, when the bytes are read, then its algorithm goes over them once, as the others do."""
    made: list[str] = []
    make = HashTap.__init__

    def counted(self: HashTap, algorithm: str, *more: Any, **named: Any) -> None:
        made.append(algorithm)
        make(self, algorithm, *more, **named)

    monkeypatch.setattr(HashTap, "__init__", counted)
    image, task = register(service, placed(service), f"sha256:{SHA256}")
    assert (task.status, image.os_hash_value) == ("success", SHA256)
    assert sorted(made) == ["md5", "sha256"]


class TestOnTheWeb:
    """A URL of an http store: its bytes stay where they are, and are never ours."""

    def test_becomes_the_data(self, service: Service) -> None:
        """Given a URL, when it is registered, then the image is active with all that is known of an upload."""
        url = service.origin.url("/image")
        image, task = register(service, url)
        assert (image.status, image.size, image.virtual_size) == ("active", len(DATA), len(DATA))
        assert (image.checksum, image.os_hash_algo, image.os_hash_value) == (MD5, "sha512", SHA512)
        assert [(at.store, at.object_key, at.url) for at in image.locations] == [("web", url, url)]
        assert (task.type, task.status, task.result) == ("location_import", "success", {"image_id": image.id})
        assert f"Registered {len(DATA)} bytes in web." in task.message
        assert (image.import_task, image.importing_to, image.failed) == (None, (), ())
        assert service.read(image, "web") == DATA

    @pytest.mark.parametrize("algorithm", ["sha512", "sha256", "sha1", "md5"])
    def test_a_promise_that_is_kept(self, service: Service, algorithm: str) -> None:
        """Given the hash in the request, then it is verified, and is the image's."""
        value = hashlib.new(algorithm, DATA).hexdigest()
        image, _ = register(service, service.origin.url("/image"), f"{algorithm}:{value}")
        assert (image.status, image.os_hash_algo, image.os_hash_value) == ("active", algorithm, value)
        assert image.checksum == MD5

    def test_a_promise_that_is_not_kept(self, service: Service) -> None:
        """Given another hash, then the image is queued again, knows nothing, and says where it failed."""
        image, task = register(service, service.origin.url("/image"), f"sha256:{'0' * 64}")
        assert (image.status, image.size, image.checksum, image.os_hash_value) == ("queued", None, None, None)
        assert (image.locations, image.failed, image.import_task) == ((), ("web",), None)
        assert (task.status, task.error_code) == ("failure", "checksum_mismatch")
        assert SHA256 in task.message
        again, _ = register(service, service.origin.url("/image"), f"sha256:{SHA256}", service.look(image))
        assert again.status == "active"

    def test_many_images_of_one(self, service: Service) -> None:
        """Given a URL that is an image already, then it may be another's too: nobody's deletion touches it."""
        url = service.origin.url("/image")
        first, _ = register(service, url)
        second, _ = register(service, url)
        assert first.status == second.status == "active"
        service.runtime.catalog.delete_image(first.id)
        assert collect(service.runtime) == 0
        assert service.read(service.look(second), "web") == DATA

    def test_is_never_deleted(self, service: Service) -> None:
        """Given such an image, when it or its location goes, then no record of an object is left to be collected."""
        url = service.origin.url("/image")
        image, _ = register(service, url)
        assert objects(service, image) == []
        service.copy(image, "a")
        service.runtime.catalog.withdraw(image.id, "web", due_in=None)
        assert [at.store for at in service.look(image).locations] == ["a"]
        assert objects(service, image) == ["located"]

    def test_copied_into_a_store(self, service: Service) -> None:
        """Given such an image, then it can be copied into all stores, which are those that can be written."""
        image, _ = register(service, service.origin.url("/image"))
        task = service.copy(image, all_stores=True)
        assert (task.status, [target.store for target in task.targets]) == ("success", ["a", "b", "c"])
        assert service.read(service.look(image), "c") == DATA

    def test_read_from_the_middle(self, service: Service) -> None:
        image, _ = register(service, service.origin.url("/image"))
        with service.runtime.stores.get("web").open(service.key(image, "web"), 1000) as reader:
            assert b"".join(reader) == DATA[1000:]

    def test_inspected_like_any_other(self, service: Service) -> None:
        """Given data that is not the declared format, then it does not become the image's."""
        image, task = register(service, service.origin.url("/image"), image=service.image("qcow2"))
        assert (image.status, task.error_code) == ("queued", "format_mismatch")

    @pytest.mark.parametrize("status", [404, 403, 500])
    def test_not_there(self, service: Service, status: int) -> None:
        service.origin.status = status
        image, task = register(service, service.origin.url("/image"))
        for _ in range(3):
            service.runtime.catalog.database.skew += 120
            service.dispatcher.send_again(LOCATION_IMPORT, service.task(task.id))
        image, task = service.look(image), service.task(task.id)
        assert (image.status, image.failed, task.status) == ("queued", ("web",), "failure")
        assert f"HTTP status {status}" in task.message

    def test_broken_off(self, service: Service) -> None:
        """Given a server that breaks off, then what came is not taken for the whole."""
        service.origin.break_after = 1000
        image, task = register(service, service.origin.url("/image"))
        assert (image.status, task.status) == ("importing", "pending" if task.attempt == 0 else "processing")
        service.origin.break_after = None
        service.runtime.catalog.database.skew += 120
        service.dispatcher.send_again(LOCATION_IMPORT, service.task(task.id))
        assert (service.look(image).status, service.look(image).os_hash_value) == ("active", SHA512)

    def test_without_secure_hash(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given that the operator does not want data to be read, then its hash is what was said, or unknown."""
        monkeypatch.setenv("OS_DEFAULT__DO_SECURE_HASH", "false")
        with eager_service(tmp_path / "unread", web=True) as service:
            url = service.origin.url("/image")
            image, _ = register(service, url, f"sha256:{'0' * 64}")
            assert (image.status, image.size, image.os_hash_value) == ("active", len(DATA), "0" * 64)
            image, _ = register(service, url)
            assert (image.status, image.size, image.os_hash_algo, image.checksum) == ("active", len(DATA), None, None)
            assert {headers.get("Range") for _, _, headers in service.origin.asked} == {"bytes=0-0"}


class TestInAStoreOfOurs:
    """What a service has put into a store by itself: from now on it is ours."""

    def test_becomes_the_data(self, service: Service) -> None:
        url = placed(service)
        image, _ = register(service, url)
        assert (image.status, image.os_hash_value) == ("active", SHA512)
        assert [(at.store, at.object_key, at.url) for at in image.locations] == [("b", "somebodys-object", url)]
        assert objects(service, image) == ["located"]

    def test_goes_with_the_image(self, service: Service) -> None:
        image, _ = register(service, placed(service))
        service.runtime.catalog.delete_image(image.id)
        assert collect(service.runtime) == 1
        assert service.kept()["b"] == []

    def test_stays_if_it_is_not_what_was_promised(self, service: Service) -> None:
        """Given another hash, then the object is not deleted: it never was ours."""
        image, task = register(service, placed(service), f"md5:{'0' * 32}")
        assert (image.status, task.error_code, objects(service, image)) == ("queued", "checksum_mismatch", [])
        collect(service.runtime)
        assert service.kept()["b"] == ["somebodys-object"]

    def test_only_one_image_of_one(self, service: Service) -> None:
        """Given an object that is an image's already, then it cannot be another's: one deletion would take both."""
        url = placed(service)
        first, _ = register(service, url)
        second, task = register(service, url)
        assert (second.status, task.error_code) == ("queued", "conflict")
        assert "belongs to an image already" in task.message
        assert (service.read(first, "b"), objects(service, second)) == (DATA, [])

    def test_a_store_that_does_not_answer_is_asked_again(self, service: Service) -> None:
        url = placed(service)
        service.fail("b", "read", fails(StoreUnavailable("b", "it does not answer")))
        image, task = register(service, url)
        assert image.status == "importing"
        service.faulty["b"].hooks.clear()
        service.runtime.catalog.database.skew += 120
        service.dispatcher.send_again(LOCATION_IMPORT, service.task(task.id))
        assert service.look(image).status == "active"

    def test_the_image_is_deleted_meanwhile(self, service: Service) -> None:
        """Given a location that is being looked at, when the image is deleted, then the object stays."""
        url, image = placed(service), service.image()

        def delete(_call: object, go: object) -> object:
            service.runtime.catalog.delete_image(image.id)
            return go()  # type: ignore[operator]

        service.fail("b", "stat", delete)
        request = ImportRequest(LOCATION_IMPORT.name, uri=url)
        task_id = submit(service.runtime, service.dispatcher, image, request, Requester())
        assert (service.task(task_id).status, service.kept()["b"]) == ("failure", ["somebodys-object"])
        assert objects(service, image) == []


class TestRefusedAtOnce:
    """What can be told from the URL and the image: no task is made."""

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "nonsense",
            "file:///etc/passwd",
            "memory://b/.hidden",
            "memory://d/x",
            "ftp://example.org/x",
            "gopher://example.org/x",
            "http://user:secret@example.org/x",
            "http://example.org/x#part",
        ],
    )
    def test_no_place_here(self, service: Service, url: str) -> None:
        with pytest.raises(BadImportRequest, match="is not the URL of an object in a store") as refused:
            register(service, url)
        assert "secret" not in str(refused.value)

    @pytest.mark.parametrize(
        "url", ["http://10.0.0.1/x", "http://[::1]/x", "http://2130706433/x", "http://example.org:22/x"]
    )
    def test_not_to_be_downloaded(self, service: Service, url: str) -> None:
        """Given a URL that web-download would refuse, then this does too."""
        with pytest.raises(Denied, match="does not pass filtering"):
            register(service, url)

    def test_an_image_that_has_data(self, service: Service) -> None:
        image, _ = register(service, service.origin.url("/image"))
        with pytest.raises(ImageNotReady, match="takes only a queued image"):
            register(service, service.origin.url("/image"), image=image)

    def test_an_image_without_formats(self, service: Service) -> None:
        with pytest.raises(ImageNotReady, match="'disk_format' needs to be set"):
            register(service, service.origin.url("/image"), image=service.image(None))
