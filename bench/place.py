"""Where a measurement happens: a folder in memory, so that no disk is measured, with nginx serving a part of it."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import NginxServer

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class NoRoom(Exception):
    """The folder is too small for what is to be measured."""


@dataclass(frozen=True, slots=True)
class Place:
    """`origin` is served at `url`; `state` belongs to the service, `other` to the pipe."""

    origin: Path
    state: Path
    other: Path
    url: str


@contextmanager
def place(parent: Path, need: int) -> Iterator[Place]:
    """Make a place of at least `need` free bytes under `parent`; it is gone afterwards. Raises `NoRoom`."""
    free = shutil.disk_usage(parent).free
    if free < need:
        raise NoRoom(
            f"{parent} has {free >> 20} MiB free and {need >> 20} MiB are needed:"
            " choose a smaller --size, or another folder with --dir."
        )
    root = Path(tempfile.mkdtemp(prefix="tranship-bench-", dir=parent))
    try:
        origin, state, other = root / "origin", root / "state", root / "other"
        for folder in (origin, state, other):
            folder.mkdir()
        with NginxServer(origin) as nginx:
            yield Place(origin, state, other, nginx.url)
    finally:
        shutil.rmtree(root)


def arguments(program: str, what: str, size: str) -> argparse.ArgumentParser:
    """A parser with the options that all measurements have."""
    parser = argparse.ArgumentParser(f"python -m bench.{program}", description=what)
    parser.add_argument("--size", type=_size, default=size, help=f"bytes of the image, K, M or G after it ({size})")
    parser.add_argument("--dir", type=Path, default=_in_memory(), help="folder for all files (%(default)s)")
    return parser


def _in_memory() -> Path:
    shm = Path("/dev/shm")
    return shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper())
    number = int(text[:-1] if unit else text) * (unit or 1)
    if number < 1:
        raise ValueError(text)
    return number


def refuse(error: Exception) -> int:
    """Say why nothing was measured; the exit status."""
    print(f"bench: {error}", file=sys.stderr)
    return 2
