"""Where an import's data comes from, as the command line names it: an address, a file, or standard input."""

import io
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote, urlsplit

from cli.client import CHUNK, Json
from cli.errors import ClientError, Refused

STDIN = "-"

_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
"""RFC 3986 §3.1, with the `//` that every address of ours has: no path that anybody meant looks like that."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes that are here. `size` is None when only their end tells how many there are."""

    label: str
    stream: io.BufferedIOBase
    size: int | None = None

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come, as many as `size` says. Raises `ClientError` when there are fewer, or they change."""
        before = os.fstat(self.stream.fileno()) if self.size is not None else None
        left = self.size
        while chunk := self._read(CHUNK if left is None else min(CHUNK, left)):
            yield chunk
            left = None if left is None else left - len(chunk)
        if before is not None and (left or _changed(before, os.fstat(self.stream.fileno()))):
            raise ClientError(f"{self.label} changed while it was read")

    def _read(self, count: int) -> bytes:
        try:
            # At most one call to the system: what a slow pipe has brought is sent at once.
            return self.stream.read1(count)
        except OSError as error:
            raise ClientError(f"{self.label} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Remote:
    """What the service fetches by itself."""

    uri: str

    @property
    def name(self) -> str:
        """The last segment of the path."""
        return PurePosixPath(unquote(urlsplit(self.uri).path)).name

    def method(self) -> Json:
        """The `method` of the import."""
        return {"name": "web-download", "uri": self.uri}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Nothing is here."""
        yield None


@dataclass(frozen=True, slots=True)
class Local:
    """What is uploaded first: a file, or standard input for `-`."""

    path: str

    @property
    def name(self) -> str:
        """The file's name; none for standard input."""
        return "" if self.path == STDIN else Path(self.path).name

    def method(self) -> Json:
        """The `method` of the import."""
        return {"name": "glance-direct"}

    @contextmanager
    def opened(self) -> Iterator[Data]:
        """The data. Raises `Refused` when there is none that can be read."""
        if self.path == STDIN:
            yield _standard_input()
            return
        try:
            stream = Path(self.path).open("rb")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            raise Refused(f"there is no file {self.path}; an address begins with https:// or http://") from None
        except OSError as error:
            raise Refused(f"{self.path} cannot be read: {error.strerror}") from error
        with stream:
            yield Data(self.path, stream, _size(stream))


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What was uploaded for the image before."""

    name: str = ""

    def method(self) -> Json:
        """The `method` of the import."""
        return {"name": "glance-direct"}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Nothing is here."""
        yield None


Origin = Remote | Local | Uploaded


def origin(operand: str | None) -> Origin:
    """What `operand` means: `scheme://…` is an address, everything else a path, none what was uploaded before."""
    if operand is None:
        return Uploaded()
    return Remote(operand) if is_address(operand) else Local(operand)


def is_address(text: str) -> bool:
    """Whether it begins like `https://`."""
    return _URI.match(text) is not None


def _standard_input() -> Data:
    if sys.stdin is None or sys.stdin.closed:
        raise Refused("standard input is closed: pipe the data in, or name a file")
    if sys.stdin.isatty():
        raise Refused("standard input is a terminal: pipe the data in, or name a file")
    return Data("standard input", cast(io.BufferedIOBase, sys.stdin.buffer))


def _size(stream: io.BufferedIOBase) -> int | None:
    """How many bytes there are to read, if that can be told: of files and disks, not of pipes."""
    found = os.fstat(stream.fileno())
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    if stat.S_ISBLK(found.st_mode):
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        return size
    return None


def _changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether the file was written meanwhile."""
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
