"""gunicorn, started by a test, with the application of `tests.api.served`."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.api.served import DIRECTORY, wired
from tests.api.service import Service

ROOT = Path(__file__).parents[2]


@dataclass
class Served:
    """A running server: its port, the same service from behind, and its parent process."""

    port: int
    behind: Service
    pid: int

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept between requests."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


def serve(directory: Path, application: str) -> Iterator[Served]:
    """One worker process of two threads, until the generator is closed."""
    runtime = wired(directory)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The socket exists before the server does, so that nobody has to wait for it.
        flags = ["-k", "gthread", "--threads", "2", "--bind", f"fd://{listener.fileno()}", "--no-control-socket"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *flags, f"tests.api.served:{application}()"],
            cwd=ROOT,
            env=os.environ | {DIRECTORY: str(directory), "PYTHONPATH": str(ROOT)},
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
    try:
        yield Served(port, Service(runtime), process.pid)
    finally:
        process.terminate()
        process.wait(10)
        runtime.close()
