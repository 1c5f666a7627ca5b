"""`tranship` as a process of its own, started as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil
import requests

from tests.servers.process import wait_until

ROOT = Path(__file__).parent.parent.parent

LOOPBACK_SOURCES = "[tranship]\nallowed_networks = 127.0.0.0/8\nprogress_interval = 0.1\n[import_filtering_opts]\n"


def environment(**more: str) -> dict[str, str]:
    """What the program sees of the environment: nothing of ours that could configure it."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **more}


def tranship(
    *words: str, cwd: Path | None = None, options: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = [sys.executable, "-m", "cli", *words]
    return subprocess.run(
        command, env=environment(**options), cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@dataclass
class Serving:
    """A running `tranship serve` that has said its line."""

    process: "subprocess.Popen[str]"
    line: str
    log: Path

    @property
    def url(self) -> str:
        """Where it says that it is."""
        return self.line.removeprefix("ready ")

    def status(self) -> int:
        """The HTTP status of its health check."""
        return requests.get(f"{self.url}/healthcheck", timeout=5).status_code

    def child(self) -> psutil.Process:
        """The process that does all the work."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Tell it to go; exit status and seconds."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(20), time.monotonic() - began


@contextmanager
def serving(data: Path, *words: str, configuration: str = "", **more: str) -> Iterator[Serving]:
    """Start `tranship serve` on a free port with all state under `data`; by force, it is gone at the end."""
    data.mkdir(parents=True, exist_ok=True)
    config, log = data / "test.conf", data / "test.log"
    config.write_text(configuration)
    command = [sys.executable, "-m", "cli", "serve", "--config-file", str(config), "--data", str(data), "--port", "0"]
    with log.open("a") as err:
        process = subprocess.Popen(
            [*command, *words], env=environment(**more), stdout=subprocess.PIPE, stderr=err, text=True
        )
    family = [process.pid]
    try:
        assert process.stdout is not None
        line = process.stdout.readline().rstrip("\n")
        assert line, log.read_text()
        family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        yield Serving(process, line, log)
    finally:
        for pid in family:
            if psutil.pid_exists(pid):
                psutil.Process(pid).kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def gone(process: psutil.Process, seconds: float) -> bool:
    """Whether the process ends within so many seconds."""
    return wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, seconds)
