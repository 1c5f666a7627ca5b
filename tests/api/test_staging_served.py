"""Staging as gunicorn serves it: real sockets, bodies larger than memory should be, and clients that go away."""

import contextlib
import hashlib
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.api.gunicorn_server import Served, serve
from tests.servers import wait_until

pytestmark = pytest.mark.e2e

MIB = 1 << 20
BLOCK = bytes(range(256)) * 4096
LARGE = 300
"""MiB of a body."""

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """gunicorn with one worker process of two threads."""
    yield from serve(tmp_path_factory.mktemp("staged"), "app")


def url(served: Served, image: str) -> str:
    return f"http://127.0.0.1:{served.port}/v2/images/{image}/stage"


def blocks(count: int) -> Iterator[bytes]:
    """So many MiB, which `requests` sends chunked."""
    for _ in range(count):
        yield BLOCK


def staged(served: Served) -> list[Path]:
    """Every file in the staging directory, finished or not."""
    directory = served.behind.runtime.staging.store.directory  # type: ignore[attr-defined]
    return [path for path in directory.rglob("*") if path.is_file()]


def status(served: Served, image: str) -> tuple[str, int | None]:
    with served.behind.catalog.read() as tx:
        now = tx.images.get(image)
    return now.status, now.size


def resident(served: Served) -> int:
    """Bytes of memory of the process that answers."""
    (worker,) = psutil.Process(served.pid).children()
    return int(worker.memory_info().rss)


def head(served: Served, image: str, *lines: str) -> bytes:
    """The head of a request to stage, with more lines."""
    fixed = (f"PUT /v2/images/{image}/stage HTTP/1.1", "Host: x", "Content-Type: application/octet-stream")
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def talk(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=30)


def read_all(line: socket.socket) -> bytes:
    """What the server says until it hangs up."""
    said = b""
    while more := line.recv(65536):
        said += more
    return said


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "fixed"])
def test_a_body_that_no_memory_should_hold(served: Served, chunked: bool) -> None:
    """Given a large body, when it is staged, then it lies in the staging directory, and has passed through little
    memory.
    """
    image = served.behind.image()
    assert requests.get(url(served, image), timeout=30).status_code == 405, "it is up"
    before = resident(served)
    peak = 0

    def body() -> Iterator[bytes]:
        nonlocal peak
        for n, block in enumerate(blocks(LARGE)):
            if n % 20 == 0:
                peak = max(peak, resident(served))
            yield block

    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(LARGE * MIB)}
    connection = served.connect()
    connection.request("PUT", f"/v2/images/{image}/stage", body(), OCTETS | framing, encode_chunked=chunked)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (204, b"")
    connection.close()
    assert status(served, image) == ("uploading", LARGE * MIB)
    (path,) = staged(served)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5")
    expected = hashlib.md5()
    for block in blocks(LARGE):
        expected.update(block)
    assert digest.digest() == expected.digest()
    assert peak - before < 40 * MIB
    path.unlink()


def test_a_client_that_waits_to_be_asked(served: Served) -> None:
    """Given `Expect: 100-continue`, then the client is told to go on, and its body is staged."""
    image = served.behind.image()
    with talk(served) as line:
        line.sendall(head(served, image, "Content-Length: 5", "Expect: 100-continue", "Connection: close"))
        assert line.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        line.sendall(b"12345")
        assert read_all(line).startswith(b"HTTP/1.1 204 ")
    assert status(served, image) == ("uploading", 5)


@pytest.mark.parametrize(
    "lines", [("Content-Length: 1000",), ("Transfer-Encoding: chunked",)], ids=["fixed", "chunked"]
)
@pytest.mark.parametrize("how", ["half closed", "gone"])
def test_a_client_that_goes_away(served: Served, lines: tuple[str, ...], how: str) -> None:
    """Given a body that breaks off, then it is not taken for whole: the image is queued again, and no byte stays."""
    image = served.behind.image()
    with talk(served) as line:
        line.sendall(head(served, image, *lines) + b"64\r\n" + b"x" * 100 + b"\r\n")
        if how == "half closed":
            line.shutdown(socket.SHUT_WR)
            said = read_all(line)
            assert said.startswith(b"HTTP/1.1 400 ")
            assert (b"ends after 106 of 1000" if "1000" in lines[0] else b"broke off after at least") in said
    assert wait_until(lambda: status(served, image) == ("queued", None), 20)
    assert not [path for path in staged(served) if image in path.name]


def test_a_body_that_is_not_framed_as_http_wants_it(served: Served) -> None:
    """Given chunks without a size, then the answer is 400, and the connection ends there."""
    image = served.behind.image()
    with talk(served) as line:
        line.sendall(head(served, image, "Transfer-Encoding: chunked") + b"5\r\nabcde\r\nzz\r\n")
        said = read_all(line)
    assert (said.startswith(b"HTTP/1.1 400 "), b"The body broke off after at least" in said) == (True, True)
    assert status(served, image) == ("queued", None)


class TestRefusedWhileItIsSent:
    """A client hears why, although it looks for the answer only when it has sent everything."""

    def test_the_reason_arrives(self, served: Served) -> None:
        """Given clients that send chunked, as glanceclient does, then they get the answer and no broken pipe."""
        image = served.behind.image()
        cases = [
            ({"Content-Type": "text/plain"}, image, 415),
            (OCTETS, "nobody", 404),
            (OCTETS | {"x-openstack-image-size": "x"}, image, 400),
        ]
        with requests.Session() as session:
            for headers, name, code in cases:
                answer = session.put(url(served, name), data=blocks(16), headers=headers, timeout=60)
                assert answer.status_code == code
                assert session.get(f"http://127.0.0.1:{served.port}/v2/images/{image}", timeout=60).status_code == 200
        assert status(served, image) == ("queued", None)

    def test_the_connection_goes_on_behind_the_body(self, served: Served) -> None:
        """Given one connection, when a body was refused, then the next request on it is not taken from its rest."""
        image = served.behind.image()
        connection = served.connect()
        for _ in range(3):
            connection.request("PUT", f"/v2/images/{image}/stage", body=BLOCK, headers={"Content-Type": "x/y"})
            refused = connection.getresponse()
            assert (refused.status, b"must be sent as" in refused.read()) == (415, True)
        connection.request("PUT", f"/v2/images/{image}/stage", body=BLOCK, headers=OCTETS)
        assert connection.getresponse().status == 204
        connection.close()
        assert status(served, image) == ("uploading", MIB)

    def test_who_never_ends_is_cut_off(self, served: Served) -> None:
        """Given a sender without end, then it is answered at once, and not listened to for long."""
        with talk(served) as line:
            line.sendall(b"PUT /v2/images/x/stage HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n"
            line.sendall(chunk)
            readable, _, _ = select.select([line], [], [], 30)
            assert readable
            assert line.recv(65536).startswith(b"HTTP/1.1 415 ")
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() < began + 60:
                    line.sendall(chunk)
            assert time.monotonic() - began < 30
