"""PUT …/stage: every code of http-api §5.3, what it leaves behind, and the import that follows."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import falcon
import pytest
from falcon import testing

from api.context import Context
from flows.options import STAGING_STORE
from flows.staging import Staging
from stores.errors import StoreDenied, StoreFull, StoreUnavailable
from stores.memory import MemoryStore
from stores.wrappers import FaultyStore, fails
from tests.api.sending import DATA, OCTETS, Body, put, put_chunked, raising, show
from tests.api.service import Service, a_member, runtime

CAP = 4096


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that offers glance-direct, with a staging store that can be made to fail."""
    wired = runtime(tmp_path)
    options = replace(wired.options, methods=("glance-direct", "web-download"), image_size_cap=CAP)
    wired = replace(wired, options=options, staging=Staging(FaultyStore(MemoryStore(STAGING_STORE)), None))
    yield Service(wired)
    wired.close()


def staging(service: Service) -> FaultyStore:
    store = service.runtime.staging.store
    assert isinstance(store, FaultyStore)
    return store


def kept(service: Service) -> list[str]:
    """The keys in the staging store."""
    inner = staging(service).inner
    assert isinstance(inner, MemoryStore)
    return inner.keys()


def assert_refused(service: Service, image: str, answer: testing.Result, status: int, says: str) -> None:
    """The answer tells the reason, and nothing stays."""
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert (show(service, image)["status"], show(service, image)["size"]) == ("queued", None)
    assert kept(service) == []


@pytest.mark.parametrize("kind", ["application/octet-stream", "Application/Octet-Stream; charset=binary"])
@pytest.mark.parametrize("declared", [{}, {"x-openstack-image-size": str(len(DATA))}], ids=["", "size declared"])
@pytest.mark.parametrize("chunked", [False, True], ids=["fixed", "chunked"])
def test_staged(service: Service, kind: str, declared: dict[str, str], chunked: bool) -> None:
    """Given a queued image, when data is staged, then the answer is empty, and the image shows its size."""
    image = service.image(disk_format=None, container_format=None)
    headers = declared | {"Content-Type": kind}
    answer = (
        put_chunked(service, image, io.BytesIO(DATA), headers=headers)
        if chunked
        else put(service, image, headers=headers)
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert (show(service, image)["status"], show(service, image)["size"]) == ("uploading", len(DATA))
    (key,) = kept(service)
    with staging(service).open(key) as reader:
        assert b"".join(reader) == DATA
    assert service.client.simulate_get(f"/v2/images/{image}/file").status_code == 204, "there is no data yet"


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "0"}, {"x-openstack-image-size": "0"}])
def test_nothing_is_a_number_of_bytes_too(service: Service, headers: dict[str, str]) -> None:
    """Given an empty body, however that is said, then it is staged: as in Glance, an image may be empty."""
    image = service.image()
    assert put(service, image, b"", headers).status_code == 204
    assert (show(service, image)["status"], show(service, image)["size"]) == ("uploading", 0)


def test_then_imported(service: Service) -> None:
    """Given staged data, when its import is asked for, then it is accepted and the image is importing, of that size."""
    image = service.image()
    put(service, image)
    body = {"method": {"name": "glance-direct", "uri": ""}, "stores": ["fast"]}
    answer = service.client.simulate_post(f"/v2/images/{image}/import", json=body)
    assert (answer.status_code, answer.content) == (202, b"")
    shown = show(service, image)
    assert (shown["status"], shown["size"], shown["os_glance_importing_to_stores"]) == ("importing", len(DATA), "fast")


def test_before_anything_is_staged(service: Service) -> None:
    answer = service.client.simulate_post(
        f"/v2/images/{service.image()}/import", json={"method": {"name": "glance-direct"}}
    )
    assert (answer.status_code, "takes only an uploading image" in answer.text) == (409, True)


class TestRefusedAtOnce:
    """What the headers tell: nothing is read, nothing is recorded."""

    def test_not_offered(self, service: Service) -> None:
        """Given a service without glance-direct, then there is nothing here, whatever else is wrong."""
        options = replace(service.runtime.options, methods=("web-download", "copy-image"))
        other = Service(replace(service.runtime, options=options))
        image = other.image()
        for name in (image, "nobody"):
            answer = put(other, name, headers={"Content-Type": "text/plain", "x-openstack-image-size": "x"})
            assert answer.status_code == 404
            assert "no import method that begins with staged data" in answer.text
        assert show(other, image)["status"] == "queued"

    @pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream2", "", None])
    def test_another_media_type(self, service: Service, kind: str | None) -> None:
        """Given another Content-Type, or none, then the answer names the one to send; also for no image at all."""
        image = service.image()
        headers = {} if kind is None else {"Content-Type": kind}
        for name in ("nobody", image):
            answer = service.client.simulate_put(f"/v2/images/{name}/stage", body=DATA, headers=headers)
            assert (answer.status_code, "must be sent as application/octet-stream" in answer.text) == (415, True)
        assert_refused(service, image, answer, 415, f"not as {kind}" if kind else "the request has no Content-Type")

    @pytest.mark.parametrize("text", ["", "x", "-1", "1.0", "0x10", "٣", "1" * 20])
    def test_a_size_that_is_none(self, service: Service, text: str) -> None:
        image = service.image()
        stream = io.BytesIO(DATA)
        answer = put_chunked(
            service, image, stream, headers={"x-openstack-image-size": text.encode().decode("latin-1")}
        )
        assert_refused(service, image, answer, 400, "is no number of bytes")

    def test_two_sizes(self, service: Service) -> None:
        """Given a declared size that is not that of the body, then that is known before the body is read."""
        image = service.image()
        answer = put(service, image, headers={"x-openstack-image-size": "5"})
        assert_refused(service, image, answer, 400, f"says 5 bytes, but the body has {len(DATA)}")

    def test_too_much(self, service: Service) -> None:
        image = service.image()
        answer = put(service, image, b"x" * (CAP + 1))
        assert_refused(service, image, answer, 413, f"has {CAP + 1} bytes, more than the {CAP} bytes allowed")
        answer = put_chunked(service, image, io.BytesIO(DATA), headers={"x-openstack-image-size": str(CAP + 1)})
        assert_refused(service, image, answer, 413, "more than")

    def test_no_image(self, service: Service) -> None:
        deleted = service.image()
        service.catalog.delete_image(deleted)
        for name in ("nobody", deleted):
            answer = put(service, name)
            assert (answer.status_code, f"No image found with ID {name}" in answer.text) == (404, True)

    @pytest.mark.parametrize(
        ("columns", "status"),
        [({"visibility": "public"}, 403), ({"visibility": "private"}, 404), ({"owner": "mine"}, 204)],
    )
    def test_of_another_project(self, service: Service, columns: dict[str, object], status: int) -> None:
        """Given members of a project, then they stage for its images; what they may not change, or see, stays."""

        def member(_req: falcon.Request, request_id: str) -> Context:
            return a_member("mine", request_id)

        image = service.image(**columns)
        assert put(Service(service.runtime, service.options, member), image).status_code == status
        assert show(service, image)["status"] == ("uploading" if status == 204 else "queued")

    def test_an_image_that_takes_no_data(self, service: Service) -> None:
        """Given an image that is staged, importing or active, then it stays as it is, and the answer says why."""
        image = service.image()
        put(service, image)
        answer = put(service, image, b"other")
        assert (answer.status_code, "is staged already" in answer.text) == (409, True)
        assert show(service, image)["size"] == len(DATA)
        importing = service.image()
        service.importing(importing)
        for name, status in ((importing, "importing"), (service.active({"cheap": b"x"}), "active")):
            answer = put(service, name)
            assert (answer.status_code, f"in status {status}, not queued" in answer.text) == (409, True)
        assert len(kept(service)) == 1

    def test_another_verb(self, service: Service) -> None:
        assert service.client.simulate_get(f"/v2/images/{service.image()}/stage").status_code == 405


class TestFailedOnTheWay:
    """What turns out while bytes flow: the image is queued again, and no byte stays."""

    def test_more_than_allowed(self, service: Service) -> None:
        image = service.image()
        answer = put_chunked(service, image, io.BytesIO(b"x" * (CAP + 1)))
        assert_refused(service, image, answer, 413, f"more than the {CAP} bytes allowed")

    @pytest.mark.parametrize("off", [-1, 1], ids=["longer", "shorter"])
    def test_not_the_declared_size(self, service: Service, off: int) -> None:
        image = service.image()
        declared = {"x-openstack-image-size": str(len(DATA) + off)}
        answer = put_chunked(service, image, io.BytesIO(DATA), headers=declared)
        says = f"more than the {len(DATA) - 1}" if off < 0 else f"ends after {len(DATA)} of {len(DATA) + 1} bytes"
        assert_refused(service, image, answer, 400, says)

    def test_a_body_that_ends_early(self, service: Service) -> None:
        """Given a sender that goes away in the middle, then its part is not taken for the whole."""
        image = service.image()
        answer = service.client.simulate_put(
            f"/v2/images/{image}/stage",
            headers=OCTETS,
            extras={"CONTENT_LENGTH": str(len(DATA) + 10), "wsgi.input": io.BytesIO(DATA)},
        )
        assert_refused(service, image, answer, 400, f"ends after {len(DATA)} of {len(DATA) + 10} bytes")

    @pytest.mark.parametrize(
        ("error", "status", "says"),
        [
            (OSError("the server's own words"), 400, f"broke off after at least {len(DATA)} bytes"),
            (RuntimeError("of the server"), 400, f"broke off after at least {len(DATA)} bytes"),
            (TimeoutError("timed out"), 408, f"Nothing came for 900 seconds after at least {len(DATA)} bytes"),
        ],
    )
    def test_a_server_that_cannot_read_on(self, service: Service, error: Exception, status: int, says: str) -> None:
        image = service.image()
        answer = put_chunked(service, image, Body(raising(error)))
        assert_refused(service, image, answer, status, says)
        assert str(error) not in answer.text

    @pytest.mark.parametrize("operation", ["create", "write", "commit"])
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (StoreFull(STAGING_STORE, "no space left after 0 bytes"), 413),
            (StoreUnavailable(STAGING_STORE, "it does not answer"), 503),
            (StoreDenied(STAGING_STORE, "permission denied"), 503),
        ],
    )
    def test_a_staging_store_that_fails(self, service: Service, operation: Any, error: Any, status: int) -> None:
        image = service.image()
        staging(service).hooks[operation] = fails(error)
        answer = put(service, image)
        staging(service).hooks.clear()
        assert_refused(service, image, answer, status, "The staging area")
        assert error.reason in answer.text
        assert put(service, image).status_code == 204

    def test_the_image_is_deleted(self, service: Service) -> None:
        """Given an upload under way, when the image is deleted, then the sender is told that it is gone."""
        image = service.image()

        def delete() -> bytes:
            assert service.client.simulate_delete(f"/v2/images/{image}").status_code == 204
            return b""

        answer = put_chunked(service, image, Body(delete))
        assert (answer.status_code, f"Image {image} was deleted" in answer.text) == (410, True)
        assert kept(service) == []


def test_what_is_left_of_a_refused_body_is_received(service: Service) -> None:
    """Given a refusal before the body was read, then the rest of it is thrown away after the answer, not before."""
    read: list[str] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append("read")
            return super().read(size)

    env = testing.create_environ(f"/v2/images/{service.image()}/stage", method="PUT", headers={"Content-Type": "x/y"})
    env |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Watched(b"x" * 100_000)}

    def start(status: str, _headers: object, _error: object = None, /) -> Callable[[bytes], object]:
        read.append(status)
        return lambda _: None

    answer = service.app(env, start)
    body = b"".join(answer)
    assert read == [falcon.HTTP_415]
    assert b"must be sent as" in body
    answer.close()  # type: ignore[attr-defined]
    assert env["wsgi.input"].tell() == 100_000
