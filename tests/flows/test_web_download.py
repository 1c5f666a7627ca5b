"""web-download from the request to the last row, in the caller's own thread: every outcome of import-behaviour
§1.6 [R].
"""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from catalog.changes import ImageChange
from flows.errors import ImageNotReady
from flows.flow import ImportRequest
from flows.policy import Denied
from flows.submit import Requester, submit
from stores.errors import StoreFull
from stores.wrappers import Call
from tests.flows.service import DATA, Service, eager_service

SHA512 = hashlib.sha512(DATA).hexdigest()
ALL = ("a", "b", "c")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that gives up at the first failure of a source."""
    with eager_service(tmp_path / "data", max_attempts=1, http_resume_attempts=0) as made:
        yield made


def full(_: Call, __: Callable[[], Any]) -> Any:
    """The store has no room."""
    raise StoreFull("b", "no space left after 0 bytes")


PACKED = {
    "plain": DATA,
    "gzip": gzip.compress(DATA, 1),
    "gzip, two members": gzip.compress(DATA[:1000], 1) + gzip.compress(DATA[1000:], 1),
    "zstd": zstandard.compress(DATA),
}


@pytest.mark.parametrize("packed", PACKED)
def test_one_pass_into_every_store(service: Service, packed: str) -> None:
    """Given a source, compressed or not, when it is imported, then every store has the same bytes and all is told."""
    service.origin.objects["/image"] = PACKED[packed]
    image = service.image()
    task = service.task(service.ask(image, stores=ALL))
    now = service.look(image)
    assert (task.status, task.result, task.error_code) == ("success", {"image_id": image.id}, None)
    assert (now.status, now.size, now.os_hash_algo, now.os_hash_value) == ("active", len(DATA), "sha512", SHA512)
    assert now.checksum == hashlib.md5(DATA).hexdigest()
    assert now.virtual_size == len(DATA)
    assert (now.importing_to, now.failed) == ((), ())
    for place in now.locations:
        with service.runtime.stores.get(place.store).open(place.object_key) as reader:
            assert b"".join(reader) == DATA
    assert sorted(place.store for place in now.locations) == list(ALL)
    assert [a for a in service.origin.asked if a[0] == "GET"] == service.origin.asked[:1]
    service.assert_clean(image)


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (300, "300 bytes"), (1 << 20, "1 MiB"), ((5 << 19) + 5, "2.5 MiB"), (3 << 20, "3 MiB")],
)
def test_the_last_word_tells_the_size(service: Service, size: int, said: str) -> None:
    """Given data of any size, when it is imported, then the last word tells it as people read it, never as nothing."""
    service.origin.objects["/image"] = bytes(size)
    task = service.task(service.ask(service.image()))
    assert task.message.startswith(f"Copied {said} to a."), task.message


def test_compressed_container_keeps_its_bytes(service: Service) -> None:
    """Given container_format compressed, when a gzip file is imported, then it stays as it is (§4.3)."""
    service.origin.objects["/image"] = PACKED["gzip"]
    image = service.image(container_format="compressed")
    service.ask(image)
    assert service.look(image).size == len(PACKED["gzip"])
    service.assert_clean(image)


def test_a_failed_image_can_be_imported_again(service: Service) -> None:
    """Given a failed import, when the source is mended and asked for again, then it succeeds and FAIL is emptied."""
    image = service.image()
    service.origin.status = 503
    service.ask(image, stores=("a", "b"))
    assert service.look(image).failed == ("a", "b")
    service.origin.status = None
    service.ask(image, stores=("a",))
    now = service.look(image)
    assert (now.status, now.failed) == ("active", ("b",))
    service.assert_clean(image)


def test_a_format_changed_in_mid_transfer(service: Service) -> None:
    """Given data inspected as raw, when the image declares something else before it is published, then the import
    fails and says so, nothing of it stays, and it can be asked for again.
    """

    def change(_: Call, go: Callable[[], Any]) -> Any:
        with service.runtime.catalog.begin() as tx:
            tx.images.update(image.id, ImageChange(columns={"container_format": "ovf", "name": "kept"}))
        return go()

    image = service.image()
    service.fail("b", "commit", change)
    task = service.task(service.ask(image, stores=ALL, all_stores_must_succeed=False))
    now = service.look(image)
    assert (task.status, task.error_code, now.status, now.failed) == ("failure", "format_changed", "queued", ALL)
    assert "raw in container_format ovf while its data was inspected as raw in bare" in task.message
    service.assert_clean(image)
    service.faulty["b"].hooks.clear()
    service.ask(image, stores=ALL)
    now = service.look(image)
    assert (now.status, now.container_format, now.name) == ("active", "ovf", "kept")
    service.assert_clean(image)


@pytest.mark.parametrize("missing", ["container_format", "disk_format"])
def test_not_admitted(service: Service, missing: str) -> None:
    """Given an image without a format, when an import is asked for, then it is refused and nothing is recorded."""
    image = service.image(**{missing: None})
    with pytest.raises(ImageNotReady, match=missing):
        service.ask(image)
    with service.runtime.catalog.read() as tx:
        assert tx.tasks.of_image(image.id) == []


def test_a_denied_uri_is_refused_at_once(tmp_path: Path) -> None:
    """Given a loopback source that nobody allowed, when an import is asked for, then it is refused before any row."""
    with eager_service(tmp_path / "data", allowed_networks=[]) as service:
        image = service.image()
        with pytest.raises(Denied, match="does not pass filtering"):
            service.ask(image)
        assert service.look(image).status == "queued"


def test_credentials_are_shown_to_nobody(service: Service) -> None:
    """Given a URI with a password, when it is refused, then nothing that users see holds the password (§1.9 [R])."""
    service.origin.status = 401
    uri = service.origin.url("/image").replace("http://", "http://user:secret@")
    body = {"method": {"name": "web-download", "uri": uri}}
    request = ImportRequest("web-download", uri=uri, body=body)
    task = service.task(submit(service.runtime, service.dispatcher, service.image(), request, Requester()))
    assert "secret" not in str((task.input, task.message, task.targets, task.facts))
    assert "401" in task.message
