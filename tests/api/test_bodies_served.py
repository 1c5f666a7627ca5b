"""Data as the service receives it over real sockets, at both ends that take it: bodies larger than memory should be,
clients that go away, refusals while they send, and a server that is told to go.
"""

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

from catalog.usage import usage_of
from flows.options import STAGING_STORE
from tests.api.gunicorn_server import Served, read_all, serve
from tests.servers import wait_until

pytestmark = pytest.mark.e2e

MIB = 1 << 20
BLOCK = bytes(range(256)) * 4096
LARGE = 256
"""MiB of a body."""

OCTETS = {"Content-Type": "application/octet-stream"}

ENDS = {"stage": ("uploading", STAGING_STORE), "file": ("active", "files")}
"""Where data is sent to: in which status the image is when it is there, and in which store the data is."""

FRAMINGS = {"fixed": "Content-Length: 1000", "chunked": "Transfer-Encoding: chunked"}

both_ends = pytest.mark.parametrize("end", ENDS)
both_framings = pytest.mark.parametrize("framing", FRAMINGS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of one process and two threads."""
    yield from serve(tmp_path_factory.mktemp("bodies"), "app")


def path_of(image: str, end: str) -> str:
    return f"/v2/images/{image}/{end}"


def blocks(count: int) -> Iterator[bytes]:
    """So many MiB, which `requests` sends chunked."""
    for _ in range(count):
        yield BLOCK


def kept(served: Served, image: str) -> list[Path]:
    """Every file of the image in any store, finished or not."""
    runtime = served.behind.runtime
    directories = [runtime.keeper(store).directory for _, store in ENDS.values()]  # type: ignore[attr-defined]
    return [path for place in directories for path in place.rglob("*") if path.is_file() and image in path.name]


def status(served: Served, image: str) -> tuple[str, int | None]:
    with served.behind.catalog.read() as tx:
        now = tx.images.get(image)
    return now.status, now.size


def under_way(served: Served, owner: str) -> int:
    """How many images of a project count as being uploaded, and what their bytes come to."""
    with served.behind.catalog.database.read() as connection:
        usage = usage_of(connection, owner)
    return usage.uploading + usage.staged


def resident(served: Served) -> int:
    """Bytes of memory of the process that answers."""
    return int(served.worker.memory_info().rss)


def head(image: str, end: str, *lines: str) -> bytes:
    """The head of a request that sends data, with more lines."""
    fixed = (f"PUT {path_of(image, end)} HTTP/1.1", "Host: x", "Content-Type: application/octet-stream")
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


@pytest.mark.parametrize(("end", "framing"), [("stage", "chunked"), ("file", "fixed")])
def test_a_body_that_no_memory_should_hold(served: Served, end: str, framing: str) -> None:
    """Given a large body, when it is sent, then it lies in the store, and has passed through little memory."""
    image = served.behind.image()
    assert requests.get(f"http://127.0.0.1:{served.port}/healthcheck", timeout=30).status_code == 200, "it is up"
    before = resident(served)
    peak = 0
    digest = hashlib.md5()

    def body() -> Iterator[bytes]:
        nonlocal peak
        for n, block in enumerate(blocks(LARGE)):
            if n % 20 == 0:
                peak = max(peak, resident(served))
            digest.update(block)
            yield block

    chunked = framing == "chunked"
    length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(LARGE * MIB)}
    connection = served.connect()
    connection.request("PUT", path_of(image, end), body(), OCTETS | length, encode_chunked=chunked)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (204, b"")
    connection.close()
    assert status(served, image) == (ENDS[end][0], LARGE * MIB)
    (path,) = kept(served, image)
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "md5").digest() == digest.digest()
    assert peak - before < 40 * MIB
    path.unlink()


@both_ends
def test_a_client_that_waits_to_be_asked(served: Served, end: str) -> None:
    """Given `Expect: 100-continue`, then the client is told to go on, and its body is taken."""
    image = served.behind.image()
    with served.talk() as line:
        line.sendall(head(image, end, "Content-Length: 5", "Expect: 100-continue", "Connection: close"))
        assert line.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        line.sendall(b"12345")
        assert read_all(line).startswith(b"HTTP/1.1 204 ")
    assert status(served, image) == (ENDS[end][0], 5)


@both_ends
@both_framings
@pytest.mark.parametrize("how", ["half closed", "gone"])
def test_a_client_that_goes_away(served: Served, end: str, framing: str, how: str) -> None:
    """Given a body that breaks off, then it is not taken for whole: the image is queued again, no byte stays, and it
    does not count as being uploaded.
    """
    image = served.behind.image(owner=f"{end} {framing} {how}")
    with served.talk() as line:
        line.sendall(head(image, end, FRAMINGS[framing]) + b"64\r\n" + b"x" * 100 + b"\r\n")
        if how == "half closed":
            line.shutdown(socket.SHUT_WR)
            said = read_all(line)
            assert said.startswith(b"HTTP/1.1 400 ")
            assert (b"ends after 106 of 1000" if framing == "fixed" else b"broke off after at least") in said
        else:
            assert wait_until(lambda: under_way(served, f"{end} {framing} {how}") > 0, 20)
    assert wait_until(lambda: status(served, image) == ("queued", None), 20)
    assert wait_until(lambda: kept(served, image) == [], 20)
    assert under_way(served, f"{end} {framing} {how}") == 0
    again = requests.put(f"http://127.0.0.1:{served.port}{path_of(image, end)}", b"x", headers=OCTETS, timeout=30)
    assert again.status_code == 204, "nothing holds the image"


@both_ends
def test_a_body_that_is_not_framed_as_http_wants_it(served: Served, end: str) -> None:
    """Given chunks without a size, then the answer is 400, and the connection ends there."""
    image = served.behind.image()
    with served.talk() as line:
        line.sendall(head(image, end, FRAMINGS["chunked"]) + b"5\r\nabcde\r\nzz\r\n")
        said = read_all(line)
    assert (said.startswith(b"HTTP/1.1 400 "), b"The body broke off after at least" in said) == (True, True)
    assert (status(served, image), kept(served, image)) == (("queued", None), [])


@both_ends
@pytest.mark.parametrize(("declared", "says"), [(4, b"more than the 4 bytes"), (6, b"ends after 5 of 6 bytes")])
def test_a_chunked_body_of_another_size(served: Served, end: str, declared: int, says: bytes) -> None:
    """Given a declared size that a chunked body has not, then the answer is 400, and the image is queued."""
    image = served.behind.image()
    lines = (FRAMINGS["chunked"], f"x-openstack-image-size: {declared}", "Connection: close")
    with served.talk() as line:
        line.sendall(head(image, end, *lines) + b"5\r\nabcde\r\n0\r\n\r\n")
        said = read_all(line)
    assert (said.startswith(b"HTTP/1.1 400 "), says in said) == (True, True)
    assert (status(served, image), kept(served, image)) == (("queued", None), [])


def test_a_body_of_json_that_breaks_off(served: Served) -> None:
    """Given JSON that is not framed as it should be, then that is the client's fault, not the service's."""
    with served.talk() as line:
        line.sendall(b"POST /v2/images HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n")
        said = read_all(line)
    assert (said.startswith(b"HTTP/1.1 400 "), b"is not framed as HTTP wants it" in said) == (True, True)


class TestRefusedWhileItIsSent:
    """A client hears why, although it looks for the answer only when it has sent everything."""

    @both_ends
    def test_the_reason_arrives(self, served: Served, end: str) -> None:
        """Given clients that send chunked, as glanceclient does, then they get the answer and no broken pipe."""
        image, taken = served.behind.image(), served.behind.active({"files": b"x"})
        cap = served.behind.runtime.options.image_size_cap
        cases = [
            ({"Content-Type": "text/plain"}, image, 415, "must be sent as"),
            (OCTETS, "nobody", 404, "No image found"),
            (OCTETS, taken, 409, "in status active, not queued"),
            (OCTETS | {"x-openstack-image-size": "x"}, image, 400, "is no number of bytes"),
            (OCTETS | {"x-openstack-image-size": str(cap + 1)}, image, 413, f"more than the {cap} bytes"),
        ]
        service = f"http://127.0.0.1:{served.port}"
        with requests.Session() as session:
            for headers, name, code, says in cases:
                url = f"{service}{path_of(name, end)}"
                answer = session.put(url, data=blocks(16), headers=headers, timeout=60)
                assert (answer.status_code, says in answer.text) == (code, True)
                assert session.get(f"{service}/v2/images/{image}", timeout=60).status_code == 200
        assert status(served, image) == ("queued", None)

    @both_ends
    def test_the_connection_goes_on_behind_the_body(self, served: Served, end: str) -> None:
        """Given one connection, when a body was refused, then the next request on it is not taken from its rest."""
        image = served.behind.image()
        connection = served.connect()
        for _ in range(3):
            connection.request("PUT", path_of(image, end), body=BLOCK, headers={"Content-Type": "x/y"})
            refused = connection.getresponse()
            assert (refused.status, b"must be sent as" in refused.read()) == (415, True)
        connection.request("PUT", path_of(image, end), body=BLOCK, headers=OCTETS)
        assert connection.getresponse().status == 204
        connection.close()
        assert status(served, image) == (ENDS[end][0], MIB)

    def test_who_never_ends_is_cut_off(self, served: Served) -> None:
        """Given a sender without end, then it is answered at once, and not listened to for long."""
        with served.talk() as line:
            line.sendall(b"PUT /v2/images/x/file HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
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


def test_a_server_that_is_told_to_go(tmp_path: Path) -> None:
    """Given uploads whose senders go on sending, or are silent, when the server is told to go, then it leaves in time,
    their images take data again, and not a byte of them stays.
    """
    with contextlib.closing(serve(tmp_path, "app")) as running, contextlib.ExitStack() as stack:
        served = next(running)
        images = {end: served.behind.image() for end in ENDS}
        lines = {end: stack.enter_context(served.talk()) for end in ENDS}
        for end, line in lines.items():
            line.sendall(head(images[end], end, f"Content-Length: {LARGE * MIB}") + BLOCK)
        assert wait_until(lambda: all(kept(served, image) for image in images.values()), 20)
        process = psutil.Process(served.pid)
        process.terminate()
        with contextlib.suppress(ConnectionError):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                lines["file"].sendall(BLOCK)
                time.sleep(0.05)
        assert wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE, 20)
        for image in images.values():
            assert (status(served, image), kept(served, image)) == (("queued", None), [])
        assert read_all(lines["stage"]).startswith(b"HTTP/1.1 503 ")
