"""The server as `tranship api` runs it, started by a test, with an application of `tests.api.served`."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psutil

import settings
from api.app import App
from cli.listen import listen
from cli.serve import Service as Server
from tests.api import served
from tests.api.service import Service

ROOT = Path(__file__).parents[2]
THREADS = 2


@dataclass
class Served:
    """A running server: its port, the same service from behind, and its parent process."""

    port: int
    behind: Service
    pid: int

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept between requests."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def talk(self) -> socket.socket:
        """A connection to say anything on."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    @property
    def worker(self) -> psutil.Process:
        """The process that answers."""
        (child,) = psutil.Process(self.pid).children()
        return child


class _Server(Server):
    """One process of few threads, in which the application of that name is wired."""

    kill = 5
    patience = 1

    def __init__(self, application: str, listener: socket.socket) -> None:
        self._application = application
        patience = [("DEFAULT", "client_socket_timeout", served.PATIENCE)] if application == "app_in_a_hurry" else []
        super().__init__(settings.load(data=os.environ[served.DIRECTORY], overrides=patience), listener)

    def gunicorn_options(self) -> dict[str, object]:
        """As of the service, but for its size."""
        return super().gunicorn_options() | {"workers": 1, "threads": THREADS}

    def load(self) -> App:
        """See `cli.serve.Service.load`."""
        wired: served.Wired = getattr(served, self._application)()
        self.runtime, app = wired
        return app


def read_all(line: socket.socket) -> bytes:
    """What the server says until it hangs up."""
    said = b""
    while more := line.recv(65536):
        said += more
    return said


def serve(directory: Path, application: str) -> Generator[Served]:
    """One worker process, until the generator is closed."""
    runtime = served.wired(directory)
    with listen("127.0.0.1", 0) as listener:
        # The socket exists before the server does, so that nobody has to wait for it.
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.api.gunicorn_server", application, str(listener.fileno())],
            cwd=ROOT,
            env=os.environ | {served.DIRECTORY: str(directory), "PYTHONPATH": str(ROOT)},
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
        )
        port = listener.getsockname()[1]
    try:
        yield Served(port, Service(runtime), process.pid)
    finally:
        process.terminate()
        process.wait(10)
        runtime.close()


if __name__ == "__main__":
    _Server(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))).run()
