"""Where servers live: their programs on this system, and free ports on loopback."""

import os
import random
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"

_SYSTEM_PLACES = ["/usr/local/sbin", "/usr/sbin", "/sbin"]
"""Where Debian keeps servers: not on an ordinary user's PATH."""


class ServerMissing(Exception):
    """The server's program is not installed; the text says how to install it."""


class ServerFailed(Exception):
    """The server ended early or did not answer in time; the text ends with the tail of its log."""


def find_program(name: str, package: str, places: Sequence[str] = ()) -> str:
    """The path of program `name`: from `places` (globs, newest version first), else where programs are."""
    for place in places:
        found = sorted(Path("/").glob(place.lstrip("/")), key=_version, reverse=True)
        for folder in found:
            if os.access(folder / name, os.X_OK):
                return str(folder / name)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_PLACES])
    if program := shutil.which(name, path=path):
        return program
    raise ServerMissing(f"{name} is not installed; run: sudo apt-get install {package} (make test does it)")


def _version(folder: Path) -> list[int]:
    return [int(part) for part in folder.parts if part.isdigit()]


class Port:
    """A free TCP port on loopback, kept for us until `close`.

    Other test runs are kept off by a name in the kernel (an abstract socket, gone with our process),
    everybody else by choosing below the range that the kernel hands out to clients and for port 0.
    """

    _CANDIDATES = range(20_000, 32_000)

    def __init__(self) -> None:
        for number in random.sample(self._CANDIDATES, len(self._CANDIDATES)):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0tranship-test-port-{number}")
                with socket.socket() as probe:
                    # Without SO_REUSEADDR: a connection that lingers there would keep some servers from binding
                    probe.bind((LOOPBACK, number))
            except OSError:
                claim.close()
                continue
            self.number = number
            self._claim = claim
            return
        raise ServerFailed("no free port on loopback")

    def close(self) -> None:
        self._claim.close()
