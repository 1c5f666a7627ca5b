"""A web server for one file, on loopback, as slow as it is told to be: slow enough to watch."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

_PIECE = 32 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@contextmanager
def serving(file: Path, rate: float, port: int = 0) -> Iterator[str]:
    """Serve `file` at about `rate` bytes a second, on a free port; yields its URL.

    Ranges are answered, so that an import which breaks off is resumed.
    """
    handler = type("Handler", (_Handler,), {"file": file, "rate": rate})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, name="source", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{file.name}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file: ClassVar[Path]
    rate: ClassVar[float]

    def do_HEAD(self) -> None:
        self._begin()

    def do_GET(self) -> None:
        begin, end = self._begin()
        started = time.monotonic()
        with self.file.open("rb") as content:
            content.seek(begin)
            for at in range(begin, end, _PIECE):
                try:
                    self.wfile.write(content.read(min(_PIECE, end - at)))
                except OSError:
                    # The reader has gone.
                    return
                ahead = (at - begin) / self.rate - (time.monotonic() - started)
                if ahead > 0:
                    time.sleep(ahead)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the demonstration."""

    def _begin(self) -> tuple[int, int]:
        """Send the head; returns which bytes follow, the end not included."""
        size = self.file.stat().st_size
        tag = f'"{size:x}-{self.file.stat().st_mtime_ns:x}"'
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None or self.headers.get("If-Range", tag) != tag or self.path != f"/{self.file.name}":
            asked = None
        begin = int(asked[1]) if asked else 0
        end = min(size, int(asked[2]) + 1) if asked and asked[2] else size
        if self.path != f"/{self.file.name}":
            self.send_response(HTTPStatus.NOT_FOUND)
            begin = end = 0
        elif begin >= end:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            begin = end = 0
        else:
            self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
            self.send_header("ETag", tag)
            self.send_header("Content-Type", "application/octet-stream")
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        return begin, end
