"""A service that says what a test wants it to say."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from click.testing import CliRunner, Result

from cli.client import Client
from cli.main import cli

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


def answer(status: int, body: object) -> Answer:
    """A JSON answer."""
    return status, "application/json", json.dumps(body).encode()


def refusal(status: int, text: str) -> Answer:
    """An error as the service words it."""
    return answer(status, {"message": text, "code": str(status), "title": "x"})


@dataclass
class FakeService:
    """Answers by method and path; notes what it was asked: the body is an object if it is JSON, else bytes.

    `headers` are those of the last request of each kind. `short` leaves so many bytes of an image's data out.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
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


IMAGE = {
    "id": "11111111-1111-1111-1111-111111111111",
    "name": "debian",
    "status": "active",
    "disk_format": "raw",
    "size": 3 << 20,
    "stores": "a,b",
    "os_hash_algo": "sha256",
    "os_hash_value": hashlib.sha256(b"data").hexdigest(),
    "self": "/v2/images/x",
    "tags": ["x", "y"],
    "zeta": "custom",
}
AT = f"/v2/images/{IMAGE['id']}"
ID = str(IMAGE["id"])


def image_answers() -> dict[str, Answer]:
    """What a service says that knows `IMAGE`, and does all it is asked for."""
    return {
        "POST /v2/images": answer(201, IMAGE),
        "GET /v2/info/stores": answer(200, {"stores": [{"id": "a", "default": "true"}, {"id": "b"}]}),
        f"PUT {AT}/stage": (204, "text/html", b""),
        f"POST {AT}/import": (202, "text/html", b""),
        f"GET {AT}/import": answer(200, succeeded() | {"attempts": []}),
        f"GET {AT}": answer(200, IMAGE),
        f"DELETE {AT}": (204, "text/html", b""),
        f"DELETE {AT}/import": (202, "text/html", b""),
        f"GET {AT}/file": (200, "application/octet-stream", b"data"),
    }


def run(service: FakeService, *words: str, stdin: bytes | None = None) -> Result:
    """Run a client command against it, in this process."""
    env = {"TRANSHIP_URL": f"{service.url}/v2/"}
    return CliRunner().invoke(cli, [*words], input=stdin, env=env, auto_envvar_prefix="TRANSHIP")


class _Handler(BaseHTTPRequestHandler):
    service: ClassVar[FakeService]

    def _answer(self) -> None:
        try:
            body = self._body()
        except EOFError:
            # Nobody waits for an answer.
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        self.service.asked.append((f"{self.command} {self.path}", body))
        self.service.headers[f"{self.command} {path}"] = dict(self.headers)
        status, kind, content = self.service.answers.get(f"{self.command} {path}", refusal(404, "Not here."))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - (self.service.short if path.endswith("/file") else 0)])

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names that http.server gives

    def _body(self) -> Any:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self._read(int(self.headers.get("Content-Length") or 0))
        return json.loads(body) if self.headers.get("Content-Type") == "application/json" else body or None

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().strip() or b"-1", 16):
            yield self._read(size)
            self._read(2)
        self._read(2)

    def _read(self, count: int) -> bytes:
        read = self.rfile.read(count) if count >= 0 else b""
        if len(read) != count:
            raise EOFError
        return read

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
