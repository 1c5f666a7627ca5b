"""The embedded service as a process of its own, as a user would start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.errors import ClientError

ENDS_WITHIN = 5.0

SERVE = ("serve", "--port", "0", "--config-file", "tranship.conf", "--data", "data")
"""What to type after `tranship` in the directory of the demonstration."""


@dataclass
class Service:
    """A running `tranship serve`: its address, and after the end how long the end took, in seconds."""

    url: str
    process: subprocess.Popen[str]

    def stop(self) -> float:
        """End it as an operator would; returns the seconds it took. Raises `ClientError` when it does not end well."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(2 * ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            raise ClientError("the service did not end") from None
        if status:
            raise ClientError(f"the service ended with status {status}")
        return time.monotonic() - began


@contextmanager
def running(directory: Path, configuration: str) -> Iterator[Service]:
    """Start the service with `configuration` (INI text) and all its state under `directory`; it is gone at the end."""
    log = directory / "service.log"
    (directory / "tranship.conf").write_text(configuration)
    with (
        log.open("w") as err,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", *SERVE],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            cwd=directory,
            env=_environment(),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            word, _, url = process.stdout.readline().strip().partition(" ")
            if word != "ready":
                raise ClientError(f"the service did not start: {log.read_text().strip()}")
            yield Service(url, process)
        finally:
            if process.poll() is None:
                process.terminate()


def _environment() -> dict[str, str]:
    """Ours, without any option of another service: a demonstration must not touch its database."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRANSHIP_") and not (name.startswith("OS_") and "__" in name)
    }
    # This very program, also where it is not installed.
    root = str(Path(__file__).parents[2])
    return ours | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [ours.get("PYTHONPATH")])])}
