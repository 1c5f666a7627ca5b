"""The application as gunicorn serves it: real sockets, and files that the kernel sends."""

import hashlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.base import CHUNK
from stores.filesystem import FilesystemStore
from tests.api.gunicorn_server import Served, serve
from tests.api.served import BREAKS

pytestmark = pytest.mark.e2e

DATA = bytes(range(256)) * 20_000
SIZE = len(DATA)

RANGES = [("", 0, SIZE), ("bytes=1000-", 1000, SIZE), ("bytes=7-7", 7, 8), ("bytes=-9", SIZE - 9, SIZE)]
"""Ways to ask for the data, and what they mean: from where to where."""


def get(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """GET `path`; the answer and its body."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """gunicorn with one worker process of two threads."""
    yield from serve(tmp_path_factory.mktemp("served"), "app")


@pytest.fixture
def kernel_only(tmp_path: Path) -> Iterator[Served]:
    """The same, in which the process cannot read the data of an image."""
    yield from serve(tmp_path, "app_that_reads_no_file")


def test_files_are_sent_whole_and_in_ranges_over_one_connection(served: Served) -> None:
    # Given a file that is larger than any buffer between us
    image = served.behind.active({"files": DATA})
    path = f"/v2/images/{image}/file"
    connection = served.connect()

    # When it is read in several ways, one after the other
    for asked, start, end in RANGES:
        answer, body = get(connection, path, **({"Range": asked} if asked else {}))

        # Then each answer has its own bytes and no more, or the next one would be garbled
        assert answer.status == (206 if asked else 200)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Length"] == str(end - start)
        assert answer.headers["Content-MD5"] == hashlib.md5(DATA).hexdigest(), "of the whole, whatever is asked for"
        assert answer.headers["Content-Range"] == (f"bytes {start}-{end - 1}/{SIZE}" if asked else None)
        assert body == DATA[start:end]
    connection.close()


def test_what_cannot_be_sent_keeps_the_connection(served: Served) -> None:
    """Given ranges that are none, and HEAD, then each is refused as it should be, and the next one is answered."""
    path = f"/v2/images/{served.behind.active({'files': DATA})}/file"
    connection = served.connect()
    for asked, status in [(f"bytes={SIZE}-", 416), ("bytes=5-4", 416), ("lines=1-2", 416), ("bytes=0-1,4-5", 400)]:
        answer, _ = get(connection, path, Range=asked)
        assert (answer.status, answer.headers["Content-Range"]) == (
            status,
            f"bytes */{SIZE}" if status == 416 else None,
        )
    connection.request("HEAD", path)
    refused = connection.getresponse()
    assert (refused.status, refused.headers["Allow"], refused.read()) == (405, "GET, PUT, OPTIONS", b"")
    assert get(connection, path, Range="bytes=-5")[1] == DATA[-5:]
    connection.close()


def test_the_heaviest_store_is_read_unless_another_is_preferred(served: Served) -> None:
    """Given a store that breaks off, when an image is read from it, then the connection breaks and is not silently
    short; the other store is read first, and whole.
    """
    data = bytes(BREAKS + CHUNK)
    image = served.behind.active({"breaking": data, "files": data})
    connection = served.connect()
    assert get(connection, f"/v2/images/{image}/file")[1] == data
    connection.request("GET", f"/v2/images/{image}/file?prefer=breaking")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(data)))
    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    assert len(broken.value.partial) == BREAKS
    connection.close()


def test_a_file_that_is_cut_while_the_kernel_sends_it(served: Served) -> None:
    """Given a file that loses its end on the disk in the middle of a download, then the connection breaks as well."""
    data = bytes(64 * CHUNK)
    image = served.behind.active({"files": data})
    connection = served.connect()
    connection.request("GET", f"/v2/images/{image}/file")
    answer = connection.getresponse()
    store = served.behind.runtime.stores.get("files")
    assert isinstance(store, FilesystemStore)
    os.truncate(store.directory / served.behind.key(image, "files"), 48 * CHUNK)
    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    assert len(broken.value.partial) == 48 * CHUNK
    connection.close()


def test_answers_without_a_body_keep_the_connection(served: Served) -> None:
    image = served.behind.image()
    connection = served.connect()

    connection.request("POST", f"/v2/images/{image}/import", body=b'{"method": {"name": "x"}}')
    refused = connection.getresponse()
    assert (refused.status, b"offers: glance-direct, web-download" in refused.read()) == (400, True)
    answer, body = get(connection, f"/v2/images/{image}/file")
    assert (answer.status, body, answer.headers["Content-Type"]) == (204, b"", None)
    connection.request("DELETE", f"/v2/images/{image}")
    deleted = connection.getresponse()
    assert (deleted.status, deleted.read()) == (204, b"")
    connection.close()


def test_a_chunked_body_is_read_and_one_where_none_belongs_refused(served: Served) -> None:
    connection = served.connect()

    connection.request("POST", "/v2/images", body=iter([b'{"name":', b' "n"}']), encode_chunked=True)
    made = connection.getresponse()
    assert (made.status, b'"name":"n"' in made.read()) == (201, True)
    connection.request("GET", "/v2/info/import", body=iter([b"x"]), encode_chunked=True)
    refused = connection.getresponse()
    assert refused.status == 400
    refused.read()
    connection.close()


def test_the_kernel_sends_the_file(kernel_only: Served) -> None:
    image = kernel_only.behind.active({"files": DATA})
    connection = kernel_only.connect()

    assert get(connection, f"/v2/images/{image}/file", Range="bytes=5-")[1] == DATA[5:]
    assert get(connection, f"/v2/images/{image}/file", Range="bytes=5-9")[1] == DATA[5:10]
    connection.close()
