"""The application as gunicorn serves it: real sockets, and files that the kernel sends."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.gunicorn_server import Served, serve

pytestmark = pytest.mark.e2e

DATA = bytes(range(256)) * 20_000


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
    for asked, start, end in [("", 0, len(DATA)), ("bytes=1000-", 1000, len(DATA)), ("bytes=7-7", 7, 8)]:
        answer, body = get(connection, path, **({"Range": asked} if asked else {}))

        # Then each answer has its own bytes and no more, or the next one would be garbled
        assert answer.status == (206 if asked else 200)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Length"] == str(end - start)
        assert body == DATA[start:end]
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
