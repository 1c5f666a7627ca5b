"""The data of an image: whole, in parts, from the store that can be read."""

import hashlib
from io import BytesIO
from typing import Any

import pytest
from falcon import testing

from stores.errors import StoreUnavailable
from tests.api.service import Service

DATA = b"0123456789"
MD5 = hashlib.md5(DATA).hexdigest()


def download(service: Service, image: str, **headers: str) -> testing.Result:
    return service.client.simulate_get(f"/v2/images/{image}/file", headers=headers)


def test_the_whole_data(service: Service) -> None:
    answer = download(service, service.active({"cheap": DATA}), **{"Content-Type": "application/octet-stream"})

    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["content-md5"] == MD5
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("header", ["Range", "Content-Range"])
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        *(("0-0", 0, 0), ("0-9", 0, 9), ("3-5", 3, 5), ("9-9", 9, 9), ("3-", 3, 9), ("8-100", 8, 9), ("0-", 0, 9)),
        *(("-1", 9, 9), ("-10", 0, 9), ("-100", 0, 9)),
    ],
)
def test_a_range(service: Service, header: str, asked: str, start: int, end: int) -> None:
    text = f"bytes={asked}"
    if header == "Content-Range":
        # Glance's old form knows only both ends.
        text = f"bytes {start}-{end}/10"

    answer = download(service, service.active({"cheap": DATA}), **{header: text})

    assert (answer.status_code, answer.content) == (206, DATA[start : end + 1])
    assert answer.headers["content-range"] == f"bytes {start}-{end}/10"
    assert answer.headers["content-length"] == str(end - start + 1)
    assert answer.headers["content-md5"] == MD5


@pytest.mark.parametrize(
    ("header", "asked", "status"),
    [
        *(("Range", text, 416) for text in ("bytes=10-", "bytes=10-11", "bytes=5-4", "bytes=-0", "bytes=99999-")),
        *(("Range", text, 416) for text in ("bytes=", "bytes=-", "bytes=a-b", "bytes=1", "items=0-1", "bytes 0-1")),
        *(("Range", text, 416) for text in ("bytes=--1", "bytes=0x1-2", "bytes=٣-٤", "bytes=+1-2", "")),
        *(("Content-Range", text, 416) for text in ("bytes 10-11/10", "bytes=0-1", "bytes */10", "bytes 5-4/10")),
        ("Range", "bytes=0-1,3-4", 400),
        ("Range", "bytes=0-1, -1", 400),
    ],
)
def test_a_range_that_cannot_be_served(service: Service, header: str, asked: str, status: int) -> None:
    image = service.active({"cheap": DATA})
    environ = testing.create_environ(f"/v2/images/{image}/file")
    environ["HTTP_" + header.upper().replace("-", "_")] = asked.encode().decode("latin-1")
    seen = testing.StartResponseMock()

    service.app(environ, seen)

    assert str(seen.status).startswith(str(status))
    assert seen.headers_dict["content-type"] == "text/html; charset=UTF-8"
    assert seen.headers_dict.get("content-range") == ("bytes */10" if status == 416 else None)


def test_an_empty_image_is_whole_and_has_no_range(service: Service) -> None:
    image = service.active({"cheap": b""})

    assert (download(service, image).status_code, download(service, image).content) == (200, b"")
    assert download(service, image).headers["content-length"] == "0"
    assert download(service, image, Range="bytes=0-").status_code == 416


def test_there_is_no_data_before_the_image_is_active(service: Service) -> None:
    # Given an import that has put its data into its first store
    image = service.image()
    queued = download(service, image)
    claim = service.entered(service.importing(image))
    with service.catalog.fenced(claim) as tx:
        tx.begin_objects({"cheap": "k"})
    service.put("cheap", "k", DATA)
    with service.catalog.fenced(claim) as tx:
        tx.object_stored("cheap", "k", len(DATA))
        tx.add_location("cheap", "k", "memory://cheap/k")

    # Then nothing of it can be downloaded
    importing = download(service, image)
    for answer in (queued, importing):
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-length" not in answer.headers


@pytest.mark.parametrize(("admin", "status"), [(True, 200), (False, 403)])
def test_deactivated_data_is_for_administrators(service: Service, tenant: Service, admin: bool, status: int) -> None:
    image = service.active({"cheap": DATA}, owner="mine")
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql("UPDATE images SET status = 'deactivated' WHERE id = ?", (image,))

    assert download(service if admin else tenant, image).status_code == status


# -- which store


class Watched:
    """Notes which stores of a service are opened, in order."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[str] = []
        self.broken: set[str] = set()
        for id in ("fast", "cheap", "bulk"):
            monkeypatch.setattr(service.writable(id), "open", self._opener(service, id))

    def _opener(self, service: Service, id: str) -> Any:
        inner = service.writable(id).open

        def open(key: str, offset: int = 0) -> Any:
            self.opened.append(id)
            if id in self.broken:
                raise StoreUnavailable(id, "it does not answer")
            return inner(key, offset)

        return open


EVERYWHERE = dict.fromkeys(["cheap", "bulk", "fast"], DATA)


@pytest.mark.parametrize(
    ("prefer", "broken", "opened"),
    [
        ("", [], ["fast"]),
        ("", ["fast"], ["fast", "bulk"]),
        ("", ["fast", "bulk"], ["fast", "bulk", "cheap"]),
        ("cheap", [], ["cheap"]),
        ("cheap,bulk", ["bulk"], ["bulk", "cheap"]),
        ("bulk", ["bulk"], ["bulk", "fast"]),
        ("bulk,cheap", ["fast", "bulk"], ["bulk", "cheap"]),
        ("cheap", ["cheap", "fast"], ["cheap", "fast", "bulk"]),
        ("mirror", [], ["fast"]),
    ],
)
def test_the_preferred_stores_are_tried_first_each_part_by_weight_then_id(
    service: Service, monkeypatch: pytest.MonkeyPatch, prefer: str, broken: list[str], opened: list[str]
) -> None:
    image = service.active(EVERYWHERE)
    watched = Watched(service, monkeypatch)
    watched.broken |= set(broken)

    answer = service.client.simulate_get(f"/v2/images/{image}/file", params={"prefer": prefer})

    assert (answer.status_code, answer.content) == (200, DATA)
    assert watched.opened == opened


def test_an_unknown_store_cannot_be_preferred(service: Service) -> None:
    image = service.active(EVERYWHERE)

    assert service.client.simulate_get(f"/v2/images/{image}/file", params={"prefer": "moon"}).status_code == 400


def test_a_store_that_lost_the_object_is_passed_over(service: Service) -> None:
    image = service.active({"fast": DATA, "cheap": DATA})
    service.writable("fast").delete(service.key(image, "fast"))

    assert download(service, image).content == DATA
    assert download(service, image, Range="bytes=4-").content == DATA[4:]


def test_a_store_with_other_bytes_is_passed_over(service: Service) -> None:
    # Given a first store whose object was replaced by a shorter one
    image = service.active({"fast": DATA, "cheap": DATA})
    key = service.key(image, "fast")
    service.writable("fast").delete(key)
    service.put("fast", key, b"012")

    assert download(service, image).content == DATA
    assert download(service, image, Range="bytes=2-").content == DATA[2:]
    assert download(service, image, Range="bytes=5-").content == DATA[5:]


def test_data_that_every_store_lost_is_204(service: Service) -> None:
    image = service.active({"fast": DATA})
    service.writable("fast").delete(service.key(image, "fast"))

    assert download(service, image).status_code == 204


def test_a_store_that_does_not_answer_is_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    image = service.active({"fast": DATA, "cheap": DATA})
    service.writable("cheap").delete(service.key(image, "cheap"))
    Watched(service, monkeypatch).broken.add("fast")

    assert download(service, image).status_code == 503


def test_readers_are_closed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    image = service.active({"cheap": DATA})
    closed: list[str] = []
    reader_type = type(service.writable("cheap").open(service.key(image, "cheap")))
    monkeypatch.setattr(reader_type, "close", lambda _: closed.append("x"))
    environ = testing.create_environ(f"/v2/images/{image}/file")

    body = service.app(environ, testing.StartResponseMock())
    body.close()  # type: ignore[attr-defined]

    assert closed == ["x"]


def test_what_is_no_file_does_not_go_through_the_servers_wrapper(service: Service) -> None:
    image = service.active({"cheap": DATA})
    wrapped = BytesIO()
    environ = testing.create_environ(f"/v2/images/{image}/file") | {"wsgi.file_wrapper": lambda *_: wrapped}

    body = service.app(environ, testing.StartResponseMock())

    assert body is not wrapped
    assert b"".join(body) == DATA
