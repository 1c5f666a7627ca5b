"""A service that says what a test wants it to say."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from cli.client import Client

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


def answer(status: int, body: object) -> Answer:
    """A JSON answer."""
    return status, "application/json", json.dumps(body).encode()


def refusal(status: int, text: str) -> Answer:
    """An error as the service words it for Glance's clients."""
    return answer(status, {"message": f"{text}<br /><br />\n\n\n", "code": str(status), "title": "x"})


@dataclass
class FakeService:
    """Answers by method and path; notes what it was asked. `short` leaves so many bytes of an image's data out."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    short: int = 0
    url: str = ""


@contextmanager
def fake_service(**answers: Answer) -> Iterator[FakeService]:
    """Run one on a free port; `answers` may be added later."""
    service = FakeService(dict(answers))
    handler = type("Handler", (_Handler,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    service: ClassVar[FakeService]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.service.asked.append((f"{self.command} {self.path}", json.loads(body) if body else None))
        status, kind, content = self.service.answers.get(f"{self.command} {path}", refusal(404, "Not here."))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - (self.service.short if path.endswith("/file") else 0)])

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names that http.server gives

    def log_message(self, format: str, *args: object) -> None:
        """A test's output is its own."""


class Scripted(Client):
    """A client whose `progress` gives one item of a script after the other: a dictionary, or an error to raise."""

    def __init__(self, script: Sequence["dict[str, Any] | BaseException"]) -> None:
        super().__init__("http://127.0.0.1:1")
        self._script = list(script)

    def progress(self, image_id: str) -> dict[str, Any]:
        item = self._script.pop(0)
        if isinstance(item, BaseException):
            raise item
        return item


def running(done: int, total: int | None = 100, given: int | None = None, **more: Any) -> dict[str, Any]:
    """An import under way: `done` of `total` bytes read, `given` to each of two stores."""
    return {
        "task_id": "t",
        "status": "processing",
        "phase": "downloading",
        "attempt": 1,
        "message": "",
        "bytes_done": done,
        "bytes_total": total,
        "stores": [store("a", "copying", done if given is None else given), store("b", "copying", done)],
    } | more


def store(id: str, state: str, done: int = 0, reason: str = "") -> dict[str, Any]:
    """A target store of an import."""
    return {"store": id, "state": state, "bytes_done": done, "error_code": None, "reason": reason}


def succeeded(message: str = "Copied 100 B to a, b.", **more: Any) -> dict[str, Any]:
    """An import that is over and well."""
    stores = [store("a", "done", 100), store("b", "done", 100)]
    return running(100, status="success", phase="", message=message, stores=stores) | more


def failed(message: str, stores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """An import that is over and not well."""
    return running(40, status="failure", phase="", message=message, stores=list(stores))
