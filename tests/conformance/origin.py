"""A web server on the loopback with switchable bad manners, to read objects from."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass
class Origin:
    """What the server has and how it behaves; `port` is filled in by `serving`."""

    objects: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    """Answer ranges with 206 and 416; else ignore them, as simple servers do."""
    status: int | None = None
    """Answer this instead, whatever is asked."""
    headers: dict[str, str | None] = field(default_factory=dict)
    """Headers to add, to change, or (None) to leave out."""
    break_after: int | None = None
    """Close the connection after so many bytes of a body."""
    stall_after: int | None = None
    """Send so many bytes of a body, then nothing more, and stay connected until the block ends."""
    silent: bool = False
    """Say nothing until the block ends."""
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers of every request."""
    port: int = 0
    over: Event = field(default_factory=Event)
    """Set when the block ends."""

    def url(self, path: str) -> str:
        """Return the URL of `path` (with its slash) here."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def serving() -> Iterator[Origin]:
    """Serve an `Origin` on a free port until the block ends."""
    origin = Origin()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            origin.asked.append((self.command, self.path, dict(self.headers)))
            if origin.silent:
                origin.over.wait(30)
            _answer(origin, self)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing on the test's terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    origin.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield origin
    finally:
        origin.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(origin: Origin, handler: BaseHTTPRequestHandler) -> None:
    whole = origin.objects.get(handler.path)
    if target := origin.redirects.get(handler.path):
        return _send(origin, handler, 302, b"", {"Location": target})
    if origin.status is not None or whole is None:
        return _send(origin, handler, origin.status or 404, b"sorry", {})
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not (asked and origin.ranges):
        return _send(origin, handler, 200, whole, {})
    start, end = int(asked[1]), min(int(asked[2] or len(whole)), len(whole) - 1)
    if start >= len(whole):
        return _send(origin, handler, 416, b"", {"Content-Range": f"bytes */{len(whole)}"})
    told = {"Content-Range": f"bytes {start}-{end}/{len(whole)}"}
    return _send(origin, handler, 206, whole[start : end + 1], told)


def _send(origin: Origin, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers | origin.headers).items():
        if value is not None:
            handler.send_header(name, value)
    handler.end_headers()
    try:
        handler.wfile.write(body[: origin.break_after or origin.stall_after])
        if origin.stall_after is not None:
            origin.over.wait(30)
    except ConnectionError:
        # The reader had enough.
        handler.close_connection = True
    if origin.break_after is not None or "Content-Length" in origin.headers:
        handler.close_connection = True
