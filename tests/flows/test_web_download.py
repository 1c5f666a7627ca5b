"""web-download from the request to the last row, in the caller's own thread: every outcome of import-behaviour
§1.6 [R].
"""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
    with eager_service(tmp_path / "data", max_attempts=1, http_resume_attempts=0, http_idle_timeout=0.5) as made:
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


def test_compressed_container_keeps_its_bytes(service: Service) -> None:
    """Given container_format compressed, when a gzip file is imported, then it stays as it is (§4.3)."""
    service.origin.objects["/image"] = PACKED["gzip"]
    image = service.image(container_format="compressed")
    service.ask(image)
    assert service.look(image).size == len(PACKED["gzip"])
    service.assert_clean(image)


@dataclass(frozen=True)
class Row:
    """What goes wrong, and what must be left: image status, `os_glance_failed_import`, stores with data, words
    of the reason.
    """

    name: str
    must_all: bool
    status: str
    failed: tuple[str, ...]
    stored: tuple[str, ...]
    code: str | None
    says: tuple[str, ...]
    origin: dict[str, Any] = field(default_factory=dict)
    broken: tuple[tuple[str, str], ...] = ()
    disk_format: str = "raw"


MATRIX = [
    Row("404", True, "queued", ALL, (), "source_http_status", ("404",), {"status": 404}),
    Row("404, allowed to fail", False, "queued", ALL, (), "source_http_status", ("404",), {"status": 404}),
    Row("500", True, "queued", ALL, (), "source_http_status", ("500",), {"status": 500}),
    Row("short body", True, "queued", ALL, (), "source_broken", ("70000", "1048576"), {"break_after": 70000}),
    Row("silence", True, "queued", ALL, (), "source_stalled", ("0.5",), {"stall_after": 1000}),
    Row("redirect", True, "queued", ALL, (), "source_refused", ("Redirect", "does not pass filtering"),
        {"redirects": {"/image": "http://169.254.169.254/latest"}}),
    Row("no end", True, "queued", ALL, (), "source_end_unknown", ("where its content ends",),
        {"headers": {"Content-Length": None}}),
    Row("wrong format", True, "queued", ALL, (), "format_mismatch", ("qcow2",), {}, (), "qcow2"),
    Row("b is full", True, "queued", ("b",), (), "store_full", ("store b",), {}, (("b", "write"),)),
    Row("b is full at the end", True, "queued", ("b",), (), "store_full", ("store b",), {}, (("b", "commit"),)),
    Row("b refuses", True, "queued", ("b",), (), "store_full", ("store b",), {}, (("b", "create"),)),
    Row("two refuse", True, "queued", ("b", "c"), (), "nothing_stored", ("store b", "; "), {},
        (("b", "create"), ("c", "create"))),
    Row("b is full, allowed", False, "active", ("b",), ("a", "c"), None, ("store b",), {}, (("b", "write"),)),
    Row("b late, allowed", False, "active", ("b",), ("a", "c"), None, ("store b",), {}, (("b", "commit"),)),
    Row("b refuses, allowed", False, "active", ("b",), ("a", "c"), None, ("store b",), {}, (("b", "create"),)),
    Row("all are full, allowed", False, "queued", ALL, (), "nothing_stored", ("store b",), {},
        (("a", "write"), ("b", "create"), ("c", "commit"))),
]  # fmt: skip


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_final_states(service: Service, row: Row) -> None:
    """Given a fault, when the import ends, then image, properties, stores, lock and task are as [R] says."""
    for name, value in row.origin.items():
        setattr(service.origin, name, value)
    for store, operation in row.broken:
        service.fail(store, operation, full)  # type: ignore[arg-type]
    image = service.image(disk_format=row.disk_format)
    task = service.task(service.ask(image, stores=ALL, all_stores_must_succeed=row.must_all))
    now = service.look(image)
    assert (now.status, now.failed) == (row.status, row.failed)
    assert tuple(sorted(place.store for place in now.locations)) == row.stored
    assert (task.status, task.error_code) == ("success" if row.stored else "failure", row.code)
    for words in row.says:
        assert words in task.message
    for target in task.targets:
        assert bool(target.reason) == (target.store in row.failed)
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
