"""A gate before an S3 server, on loopback: passes requests on as they are, signatures included, or breaks them."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.servers import LOOPBACK

Fault: TypeAlias = Literal[
    "slow down",
    "cut",
    "lose answer",
    "flip a byte",
    "half the answer",
    "blanks first",
    "web page",
    "gone",
    "no such upload",
]

_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came to the gate: `host` is whom it believes to speak to, without the port. `part` is the
    number of the part that it sends, or 0.
    """

    method: str
    path: str
    query: str
    host: str = ""

    @property
    def part(self) -> int:
        return int(parse_qs(self.query).get("partNumber", ["0"])[0])

    @property
    def completes(self) -> bool:
        return self.method == "POST" and "uploadId" in self.query


@dataclass
class Gate:
    """Where it listens, what went through, and which fault, if any, each request is to meet."""

    url: str
    fault: Callable[[Asked], Fault | None] = lambda asked: None
    asked: list[Asked] = field(default_factory=list)

    def times(self, wanted: Callable[[Asked], bool]) -> int:
        """How many requests that are `wanted` came."""
        return sum(map(wanted, self.asked))


def only(times: int, fault: Fault, wanted: Callable[[Asked], bool]) -> Callable[[Asked], Fault | None]:
    """Break the first `times` of the requests that are `wanted`."""
    lock, left = threading.Lock(), times

    def choose(asked: Asked) -> Fault | None:
        nonlocal left
        with lock:
            if not wanted(asked) or not left:
                return None
            left -= 1
            return fault

    return choose


@contextmanager
def gate_before(url: str, *, tls: ssl.SSLContext | None = None) -> Iterator[Gate]:
    """Open a gate before the server at `url`, which is spoken to over TLS if there is a context for that."""
    target = urlsplit(url).netloc
    gate = Gate("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            place = urlsplit(self.path)
            asked = Asked(self.command, place.path, place.query, self.headers["Host"].partition(":")[0])
            gate.asked.append(asked)
            fault = gate.fault(asked)
            body = bytearray(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if fault == "cut":
                self.hang_up()
            elif fault == "slow down":
                self.answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN)
            elif fault == "no such upload":
                self.answer(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchUpload</Code></Error>")
            elif fault == "gone":
                self.answer(410, {}, b"")
            elif fault == "web page":
                self.answer(200, {"Content-Type": "text/html"}, b"<html><body>Welcome</body></html>")
            else:
                if fault == "flip a byte":
                    body[len(body) // 2] ^= 1
                self.forward(bytes(body), fault)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 — http.server's names

        def forward(self, body: bytes, fault: Fault | None) -> None:
            connection = http.client.HTTPConnection(target, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            if fault == "lose answer":
                self.hang_up()
                return
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
            if fault == "half the answer":
                content = content[: len(content) // 2]
                self.close_connection = True
            if fault == "blanks first":
                # What S3 does while it is at work: a head at once, blanks that keep the line alive, then its verdict.
                declaration, end, rest = content.partition(b"?>")
                content = declaration + end + b"\n" + b" " * 100 + rest
                kept = {k: v for k, v in kept.items() if k.lower() != "content-length"}
            self.answer(answer.status, kept, content)

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: `asked` tells it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, object]:
            peer, address = super().get_request()
            # The shaking of hands, which may fail, is left to the thread of the connection.
            return tls.wrap_socket(peer, server_side=True, do_handshake_on_connect=False) if tls else peer, address

        def handle_error(self, *_: object) -> None:
            """A client that went away is what some tests are about."""

    with Server((LOOPBACK, 0), Handler) as server:
        gate.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gate
        finally:
            # Connections that are open already are closed at their next request.
            gate.fault = lambda asked: "cut"
            server.shutdown()
            thread.join()
