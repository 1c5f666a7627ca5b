"""Clients that keep the service waiting, over real sockets: each costs a thread for a while, and nobody's time."""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from cli.threads import GOODBYE
from tests.api.gunicorn_server import THREADS, Served, read_all, serve
from tests.servers import wait_until

pytestmark = pytest.mark.e2e

DATA = bytes(64 << 20)
"""More than all buffers between the server and a client take."""

OCTETS = "Content-Type: application/octet-stream"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that waits for clients no longer than `tests.api.served.PATIENCE`."""
    yield from serve(tmp_path_factory.mktemp("slow"), "app_in_a_hurry")


@pytest.fixture(scope="module")
def image(served: Served) -> str:
    """An active image; returns its id."""
    return served.behind.active({"files": DATA})


@contextmanager
def talking(served: Served, count: int) -> Iterator[list[socket.socket]]:
    """So many connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(served.talk()) for _ in range(count)]


def answers(served: Served) -> float:
    """Ask for something small; seconds until the answer is there."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/healthcheck")
    assert connection.getresponse().read() == b"OK"
    connection.close()
    return time.monotonic() - began


def descriptors(process: psutil.Process, name: str) -> int:
    """How many descriptors of files of that name a process has open."""
    return sum(name in found.path for found in process.open_files())


def test_clients_that_do_not_hang_up_keep_nobody_waiting(served: Served) -> None:
    """Given an answer after which the server closes, when clients are slow to close too, then others do not wait."""
    answers(served)
    with talking(served, THREADS - 1) as (line,):
        line.sendall(b"GET /healthcheck HTTP/1.0\r\n\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.0 200")
        assert max(answers(served) for _ in range(3)) < GOODBYE / 2


SILENT = {
    "in the head": (b"GET /healthcheck HTTP/1.1\r\nHost:", b""),
    "in a body": (b"POST /v2/images HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 408 "),
}


@pytest.mark.parametrize(("said", "hears"), SILENT.values(), ids=SILENT)
def test_clients_that_fall_silent_are_cut_off(served: Served, said: bytes, hears: bytes) -> None:
    """Given as many clients as threads, all silent within a request, then the next one is answered all the same."""
    with talking(served, THREADS) as lines:
        for line in lines:
            line.sendall(said)
        answers(served)
        for line in lines:
            heard = read_all(line)
            assert heard.startswith(hears)
            assert bool(heard) == bool(hears)


@pytest.mark.parametrize("end", ["stage", "file"])
@pytest.mark.parametrize(
    "lines", [("Content-Length: 1000",), ("Transfer-Encoding: chunked",)], ids=["fixed", "chunked"]
)
def test_an_upload_that_falls_silent(served: Served, end: str, lines: tuple[str, ...]) -> None:
    """Given a sender that stays connected and sends no more, then it hears so, and the image takes data again."""
    image = served.behind.image()
    head = [f"PUT /v2/images/{image}/{end} HTTP/1.1", "Host: x", OCTETS, *lines, "", "64\r\n" + "x" * 100 + "\r\n"]
    with served.talk() as line:
        line.sendall("\r\n".join(head).encode())
        said = read_all(line)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"Nothing came for 1 seconds after at least" in said
    with served.behind.catalog.read() as tx:
        assert tx.images.get(image).status == "queued"


@pytest.mark.parametrize("asked", ["files", "breaking"], ids=["sent by the kernel", "sent by us"])
def test_clients_that_do_not_read_are_cut_off(served: Served, asked: str) -> None:
    """Given as many clients as threads, of which none reads what it has asked for, then the next one is answered, and
    the files are closed.
    """
    image = served.behind.active({asked: DATA})
    with talking(served, THREADS) as lines:
        for line in lines:
            line.sendall(f"GET /v2/images/{image}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert line.recv(16).startswith(b"HTTP/1.1 200")
        assert descriptors(served.worker, image) == THREADS
        answers(served)
        assert wait_until(lambda: descriptors(served.worker, image) == 0, 20)


def test_a_client_that_goes_away_in_mid_download(served: Served, image: str) -> None:
    """Given a download, when the client is gone, then nothing of it stays: neither thread nor descriptor."""
    before = served.worker.num_fds()
    for _ in range(2 * THREADS):
        with served.talk() as line:
            line.sendall(f"GET /v2/images/{image}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert line.recv(65536).startswith(b"HTTP/1.1 200")
    answers(served)
    assert wait_until(lambda: descriptors(served.worker, image) == 0, 20)
    assert wait_until(lambda: served.worker.num_fds() <= before + 1, 20), "its connections are gone as well"
