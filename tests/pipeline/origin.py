"""A loopback HTTP server of raw sockets, which can break every rule that a real one keeps."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ETAG = {"ETag": '"v1"'}


@dataclass
class Request:
    """What a client asked: the target and its headers, names in lower case."""

    target: str
    headers: dict[str, str]

    @property
    def start(self) -> int:
        """First byte of the range asked for, 0 without one."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


@dataclass
class Exchange:
    """One connection: the request, and the socket to answer on."""

    request: Request
    socket: socket.socket
    closing: threading.Event

    def head(self, status: int = 200, /, **headers: object) -> None:
        """Send a head; `Content_Length` stands for `Content-Length`."""
        lines = [f"HTTP/1.1 {status} Whatever"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def silence(self) -> None:
        """Keep the connection open and say nothing more, until the server ends."""
        self.closing.wait()


Script = Callable[[Exchange], None]


@dataclass
class Origin:
    """A running server. Connection n is answered by script n, the last script answers all further ones."""

    scripts: list[Script]
    port: int
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/image", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """A URI of this server."""
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Run a server on a free loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = Origin(list(scripts), listener.getsockname()[1])
    closing = threading.Event()
    threads: list[threading.Thread] = []

    def answer(connection: socket.socket, script: Script) -> None:
        try:
            with tls.wrap_socket(connection, server_side=True) if tls else connection as peer:
                script(Exchange(_request(peer, origin), peer, closing))
        except OSError:
            return  # the client went away; what it saw is what the test asserts

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            script = origin.scripts[min(len(threads), len(origin.scripts) - 1)]
            thread = threading.Thread(target=answer, args=(connection, script), daemon=True)
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield origin
    finally:
        closing.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(10)


def _request(peer: socket.socket, origin: Origin) -> Request:
    raw = b""
    while b"\r\n\r\n" not in raw:
        got = peer.recv(65536)
        if not got:
            raise ConnectionError
        raw += got
    first, *lines = raw.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    request = Request(
        first.split(" ")[1], {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    )
    origin.requests.append(request)
    return request


def whole(body: bytes, /, **headers: object) -> Script:
    """Answer 200 with a length and the body."""

    def script(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(body), **headers)
        exchange.send(body)

    return script


def cut(body: bytes, after: int, /, **headers: object) -> Script:
    """Announce the whole body and close after `after` bytes of it."""

    def script(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(body), **headers)
        exchange.send(body[:after])

    return script


def ranged(body: bytes, upto: int | None = None, /, **headers: object) -> Script:
    """Answer 206 from the byte asked for; send no more than `upto` bytes of what was announced."""

    def script(exchange: Exchange) -> None:
        start = exchange.request.start
        given: dict[str, object] = {
            "Content_Length": len(body) - start,
            "Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}",
        }
        exchange.head(206, **{**given, **headers})
        exchange.send(body[start:][:upto])

    return script


def moved(to: str, status: int = 302) -> Script:
    """Redirect."""
    return lambda exchange: exchange.head(status, Location=to, Content_Length=0)
