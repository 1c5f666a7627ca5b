"""PUT …/file: every code of http-api §5.1, and what it leaves behind."""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from catalog import tables as t
from catalog.errors import CatalogUnavailable
from stores.errors import StoreDenied, StoreFull, StoreUnavailable
from stores.wrappers import fails
from tests.api.house import House, faulty_stores
from tests.api.sending import DATA, OCTETS, Body, put, put_chunked, raising, show
from tests.api.service import runtime

CAP = 4096
QCOW2 = b"QFI\xfb\x00\x00\x00\x03" + (512).to_bytes(8, "big") + bytes(1000)
"""It refers to a backing file."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    wired = runtime(tmp_path, faulty_stores())
    options = replace(wired.options, methods=("glance-direct", "web-download"), image_size_cap=CAP)
    yield House(replace(wired, options=options))
    wired.close()


def upload(house: House, image: str, body: bytes = DATA, **headers: str) -> testing.Result:
    """Send a body whose length is known."""
    return put(house, image, body, {name.replace("_", "-"): text for name, text in headers.items()}, to="file")


def assert_refused(house: House, image: str, answer: testing.Result, status: int, says: str) -> None:
    """The answer tells the reason; the image is queued, and nothing stays but what is forgotten later."""
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    shown = show(house, image)
    assert (shown["status"], shown["size"], shown["checksum"], shown.get("stores")) == ("queued", None, None, None)
    assert house.kept() == set()
    assert {row.state for row in house.rows(t.objects)} <= {"garbage"}


class TestUploaded:
    """The image is active when the answer is there."""

    @pytest.mark.parametrize("kind", ["application/octet-stream", "Application/Octet-Stream; charset=binary"])
    @pytest.mark.parametrize("declared", [{}, {"x-openstack-image-size": str(len(DATA))}], ids=["", "size declared"])
    @pytest.mark.parametrize("chunked", [False, True], ids=["fixed", "chunked"])
    def test_in_one_store(self, house: House, kind: str, declared: dict[str, str], chunked: bool) -> None:
        """Given a queued image, when its data is uploaded, then it is active with all that is known of the data."""
        image = house.image()
        headers = declared | {"Content-Type": kind}
        answer = (
            put_chunked(house, image, io.BytesIO(DATA), headers, to="file")
            if chunked
            else put(house, image, headers=headers, to="file")
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        shown = show(house, image)
        assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(DATA), len(DATA))
        assert shown["checksum"] == hashlib.md5(DATA).hexdigest()
        assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(DATA).hexdigest())
        assert shown["stores"] == "cheap"
        assert "os_glance_failed_import" not in shown, "it was no import"
        assert house.kept() == house.located() == {("cheap", house.key(image, "cheap"))}
        assert [(row.state, row.size, row.kept_until) for row in house.rows(t.objects)] == [
            ("located", len(DATA), None)
        ]
        assert house.client.simulate_get(f"/v2/images/{image}/file").content == DATA

    def test_in_the_store_that_is_named(self, house: House) -> None:
        image = house.image()
        assert upload(house, image, X_Image_Meta_Store="fast").status_code == 204
        assert show(house, image)["stores"] == "fast"

    @pytest.mark.parametrize("headers", [{}, {"x-openstack-image-size": "0"}])
    def test_nothing(self, house: House, headers: dict[str, str]) -> None:
        """Given an empty body, as nova sends it, then the image is active and empty."""
        image = house.image()
        assert put(house, image, b"", headers, to="file").status_code == 204
        shown = show(house, image)
        assert (shown["status"], shown["size"]) == ("active", 0)
        assert shown["os_hash_value"] == hashlib.sha512(b"").hexdigest()

    def test_as_it_is(self, house: House) -> None:
        """Given compressed data, then nobody decompresses it: no plugin runs for an upload (§4.1)."""
        image, packed = house.image(), gzip.compress(DATA)
        assert upload(house, image, packed).status_code == 204
        assert house.client.simulate_get(f"/v2/images/{image}/file").content == packed

    def test_again_after_a_failure(self, house: House) -> None:
        image = house.image()
        assert upload(house, image, b"x" * (CAP + 1)).status_code == 413
        assert upload(house, image).status_code == 204
        assert show(house, image)["status"] == "active"

    def test_then_deleted(self, house: House) -> None:
        """Given an uploaded image, when it is deleted, then its bytes go."""
        image = house.image()
        upload(house, image)
        house.client.simulate_delete(f"/v2/images/{image}")
        house.collect_after(0.0)
        assert house.kept() == set()

    def test_where_a_network_is_between(self, house: House) -> None:
        """Given a store that may keep one waiting, then it is written by a thread of its own, to the same end."""
        house.faulty("cheap").remote = True
        image = house.image()
        assert upload(house, image).status_code == 204
        assert house.client.simulate_get(f"/v2/images/{image}/file").content == DATA
        other = house.image()
        house.faulty("cheap").hooks["write"] = fails(StoreFull("cheap", "no space left"))
        assert (upload(house, other).status_code, show(house, other)["status"]) == (413, "queued")


class TestRefusedAtOnce:
    """What headers and rows tell: nothing is read, nothing is recorded."""

    @pytest.mark.parametrize("kind", ["text/plain", "application/json", "", None])
    def test_another_media_type(self, house: House, kind: str | None) -> None:
        image = house.image()
        headers = {} if kind is None else {"Content-Type": kind}
        answer = house.client.simulate_put(f"/v2/images/{image}/file", body=DATA, headers=headers)
        assert_refused(house, image, answer, 415, "must be sent as application/octet-stream")

    @pytest.mark.parametrize(
        ("size", "says"), [("x", "is no number of bytes"), ("5", "says 5 bytes, but the body has")]
    )
    def test_a_bad_size(self, house: House, size: str, says: str) -> None:
        image = house.image()
        assert_refused(house, image, put(house, image, headers={"x-openstack-image-size": size}, to="file"), 400, says)

    def test_a_store_that_is_none(self, house: House) -> None:
        image = house.image()
        answer = upload(house, image, X_Image_Meta_Store="os_glance_staging_store")
        assert_refused(house, image, answer, 400, "names os_glance_staging_store: no store")

    def test_a_store_that_can_only_be_read(self, house: House) -> None:
        image = house.image()
        assert_refused(house, image, upload(house, image, X_Image_Meta_Store="mirror"), 410, "it can only be read")

    @pytest.mark.parametrize("missing", ["disk_format", "container_format"])
    def test_a_format_is_missing(self, house: House, missing: str) -> None:
        image = house.image(**{missing: None})
        assert_refused(house, image, upload(house, image), 400, f"'{missing}' of image {image} needs to be set")

    def test_too_much(self, house: House) -> None:
        image = house.image()
        assert_refused(house, image, upload(house, image, b"x" * (CAP + 1)), 413, f"more than the {CAP} bytes allowed")

    def test_no_image(self, house: House) -> None:
        deleted = house.image()
        house.catalog.delete_image(deleted)
        for name in ("nobody", deleted):
            answer = upload(house, name)
            assert (answer.status_code, f"No image found with ID {name}" in answer.text) == (404, True)

    def test_an_image_that_takes_no_data(self, house: House) -> None:
        """Given an image that has data, or whose data is on its way, then it stays as it is."""
        active = house.image()
        upload(house, active)
        importing = house.image()
        house.importing(importing)
        staged = house.image(disk_format=None)
        put(house, staged, to="stage")
        kept = house.kept()
        for image, says in ((active, "in status active"), (importing, "in status importing"), (staged, "is staged")):
            before = show(house, image)
            answer = upload(house, image, b"other")
            assert (answer.status_code, says in answer.text) == (409, True), answer.text
            assert show(house, image) == before
        assert house.kept() == kept


class TestFailedOnTheWay:
    """What turns out while bytes flow: the image is queued again, and no byte stays."""

    def test_more_than_allowed(self, house: House) -> None:
        image = house.image()
        answer = put_chunked(house, image, io.BytesIO(b"x" * (CAP + 1)), to="file")
        assert_refused(house, image, answer, 413, f"more than the {CAP} bytes allowed")

    @pytest.mark.parametrize("off", [-1, 1], ids=["longer", "shorter"])
    def test_not_the_declared_size(self, house: House, off: int) -> None:
        image = house.image()
        declared = {"x-openstack-image-size": str(len(DATA) + off)}
        answer = put_chunked(house, image, io.BytesIO(DATA), declared, to="file")
        assert_refused(house, image, answer, 400, "The body")

    @pytest.mark.parametrize(
        ("error", "status"), [(OSError("the server's own words"), 400), (TimeoutError("timed out"), 408)]
    )
    def test_a_sender_that_goes_away(self, house: House, error: Exception, status: int) -> None:
        """Given a body that breaks off, then its part is not taken for the whole."""
        image = house.image()
        answer = put_chunked(house, image, Body(raising(error)), to="file")
        assert_refused(house, image, answer, status, f"after at least {len(DATA)} bytes")

    @pytest.mark.parametrize(
        ("declared", "body", "says"),
        [
            ("qcow2", DATA, "The content is no known disk format, but qcow2 was declared"),
            ("vmdk", QCOW2, "but vmdk was declared"),
            ("qcow2", QCOW2, "The qcow2 image"),
        ],
        ids=["raw for qcow2", "qcow2 for vmdk", "unsafe"],
    )
    def test_not_what_was_declared(self, house: House, declared: str, body: bytes, says: str) -> None:
        image = house.image(disk_format=declared)
        assert_refused(house, image, upload(house, image, body), 415, says)

    @pytest.mark.parametrize("operation", ["create", "write", "commit"])
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (StoreFull("cheap", "no space left after 0 bytes"), 413),
            (StoreUnavailable("cheap", "it does not answer"), 503),
            (StoreDenied("cheap", "permission denied"), 503),
        ],
    )
    def test_a_store_that_fails(self, house: House, operation: Any, error: Any, status: int) -> None:
        image = house.image()
        house.faulty("cheap").hooks[operation] = fails(error)
        answer = upload(house, image)
        house.faulty("cheap").hooks.clear()
        assert_refused(house, image, answer, status, str(error))
        assert upload(house, image).status_code == 204

    def test_the_image_is_deleted(self, house: House) -> None:
        """Given an upload under way, when the image is deleted, then the sender is told that it is gone."""
        image = house.image()

        def delete() -> bytes:
            assert house.client.simulate_delete(f"/v2/images/{image}").status_code == 204
            return b""

        answer = put_chunked(house, image, Body(delete), to="file")
        assert (answer.status_code, f"Image {image} was deleted" in answer.text) == (410, True)
        assert house.kept() == set()

    def test_what_others_see_meanwhile(self, house: House) -> None:
        """Given an upload under way, then the image is saving, has no data, takes no other, and keeps its formats."""
        image = house.image()
        seen: list[object] = []

        def look() -> bytes:
            seen.append(show(house, image)["status"])
            seen.append(house.client.simulate_get(f"/v2/images/{image}/file").status_code)
            seen.append(upload(house, image).status_code)
            change = json.dumps([{"op": "replace", "path": "/disk_format", "value": "qcow2"}])
            kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
            seen.append(house.client.simulate_patch(f"/v2/images/{image}", body=change, headers=kind).status_code)
            return b""

        assert put_chunked(house, image, Body(look), to="file").status_code == 204
        assert seen == ["saving", 204, 409, 403]

    def test_the_database_is_away_in_the_end(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given bytes that are stored and cannot be recorded, then the sender is told to come again, and when the time
        of the upload is over, nothing is left of it.
        """
        image = house.image()
        begin = house.catalog.database.begin

        def away() -> bytes:
            def refuse() -> Any:
                raise CatalogUnavailable("The database does not answer.")

            monkeypatch.setattr(house.catalog.database, "begin", refuse)
            return b""

        answer = put_chunked(house, image, Body(away), to="file")
        monkeypatch.setattr(house.catalog.database, "begin", begin)
        assert (answer.status_code, show(house, image)["status"]) == (503, "saving")
        house.catalog.database.skew += house.runtime.lease.stall_timeout + 1
        assert house.catalog.expire_uploads(limit=9) == [image]
        house.collect_after(0.0)
        assert_refused(house, image, answer, 503, "The database does not answer")


def test_the_media_type_is_judged_before_the_image(house: House) -> None:
    answer = house.client.simulate_put("/v2/images/nobody/file", body=DATA, headers={**OCTETS, "Content-Type": "x/y"})
    assert answer.status_code == 415
