"""The demonstration, act by act: a disk, a service, an import from a URL and one of a file, a copy, and the proof.

Whatever is printed behind a `$` is what is run, word by word, and what anybody could type.
"""

import gzip
import hashlib
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from cli import commands, main, show, words
from cli.client import Client
from cli.demo.disk import MIB, make_disk
from cli.demo.service import SERVE, running
from cli.demo.source import serving
from cli.errors import ClientError

SECONDS = 2.5
"""How long the transfer of our own disk takes: the source is slowed down so that there is something to see."""

STORES, THIRD = ("a", "b"), "c"

DISK, SECOND = "disk.img", "second.img"
"""The disks that we make."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the first image comes from, with what has to be said of it on the command line; `disk` if we made it."""

    uri: str
    options: tuple[str, ...] = ()
    disk: Path | None = None


class _Ended(Exception):
    """A command ended with another status than 0, and so the demonstration ends too."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def play(
    uri: str | None = None, disk_format: str | None = None, *, size: int = 64 * MIB, seconds: float = SECONDS
) -> int:
    """Play it with our own disk, or with what is at `uri`; returns the exit status. Raises `ClientError`.

    Our own disk has `size` bytes, and its transfer takes about so many `seconds`.
    """
    out, began, status = show.console(), time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="tranship-demo-") as place:
        directory = Path(place)
        with _given(uri, disk_format) if uri else _made(out, directory, size, seconds) as source:
            status = _served(out, directory, source)
    if not status:
        out.print(f"\n[bold green]Done[/] in {words.duration(time.monotonic() - began)}; nothing is left behind.")
    return status


@contextmanager
def _given(uri: str, disk_format: str | None) -> Iterator[Source]:
    yield Source(uri, ("--disk-format", disk_format) if disk_format else ())


@contextmanager
def _made(out: Console, directory: Path, size: int, seconds: float) -> Iterator[Source]:
    _act(out, "A disk image")
    disk, packed = directory / DISK, directory / f"{DISK}.gz"
    make_disk(disk, size)
    with disk.open("rb") as plain, gzip.open(packed, "wb", compresslevel=1) as compressed:
        shutil.copyfileobj(plain, compressed, 1 << 20)
    smaller = packed.stat().st_size
    out.print(f"{words.size(size)}: a GPT partition table and a FAT16 file system; as gzip {words.size(smaller)}")
    with serving(packed, smaller / seconds) as uri:
        out.print(f"served at {uri}, slowed down to {words.rate(smaller / seconds)}")
        yield Source(uri, disk=disk)


def _served(out: Console, directory: Path, source: Source) -> int:
    """All that needs the service; returns the exit status of the command that failed, or 0."""
    _act(out, "The service: API, worker, database and three stores in one place")
    status = 0
    with running(directory, _configuration(source.uri)) as service:
        _line(out, "cd", str(directory))
        _line(out, "tranship", *SERVE)
        out.print(f"ready {service.url}")
        _line(out, "export", f"TRANSHIP_URL={service.url}")
        client = Client(service.url)
        try:
            with chdir(directory), _telling(service.url):
                _play(out, client, source)
        except _Ended as ended:
            status = ended.status
        finally:
            client.close()
        _act(out, "The end")
        out.print(f"SIGTERM; the service ended in {words.duration(service.stop())} with exit status 0")
    return status


def _play(out: Console, client: Client, source: Source) -> None:
    """The commands, in the directory of the demonstration. Raises `_Ended` and `ClientError`."""
    _type(out, "stores")

    _act(out, "An import from a URL, into two stores at once")
    into = [word for store in STORES for word in ("--store", store)]
    _type(out, "import", source.uri, *source.options, *into, "--watch")
    first = _newest(client)

    _act(out, "An import of a file: uploaded first, then the same")
    make_disk(Path(SECOND), 16 * MIB)
    _type(out, "import", SECOND, "--watch")
    second = _newest(client)

    _act(out, "A copy into the third store; the image stays active")
    _type(out, "copy", first, "--store", THIRD)
    _type(out, "list")
    _type(out, "watch", first)

    _act(out, "The proof")
    _type(out, "download", first, f"from-{THIRD}.img", "--prefer", THIRD)
    _type(out, "download", second, "again.img")
    if source.disk is not None:
        _compare(out, source.disk, Path(f"from-{THIRD}.img"))
    _compare(out, Path(SECOND), Path("again.img"))

    _act(out, "What there is now")
    _type(out, "list")
    _type(out, "tasks", first)


def _compare(out: Console, made: Path, downloaded: Path) -> None:
    """Hash both. Raises `ClientError` when they differ."""
    ours, theirs = _sha512(made), _sha512(downloaded)
    if ours != theirs:
        raise ClientError(f"{downloaded.name} is not {made.name}: the hashes differ")
    out.print(f"sha512 {ours[:16]}…{ours[-16:]}  {made.name}, {downloaded.name}: [green]equal[/]")


def _sha512(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha512").hexdigest()


def _newest(client: Client) -> str:
    newest: str = next(client.images(1))["id"]
    return newest


@contextmanager
def _telling(url: str) -> Iterator[None]:
    """What `export TRANSHIP_URL=…` does: every command asks our service, and no other."""
    before = os.environ.get("TRANSHIP_URL")
    os.environ["TRANSHIP_URL"] = url
    try:
        yield
    finally:
        del os.environ["TRANSHIP_URL"]
        if before is not None:
            os.environ["TRANSHIP_URL"] = before


def _configuration(uri: str) -> str:
    """The default but for two things: the source is on this machine, and progress is written more often."""
    parts = urlsplit(uri)
    ports = dict.fromkeys([80, 443, parts.port or 443])
    return "\n".join(
        [
            "[tranship]",
            "allowed_networks = 127.0.0.0/8, ::1/128",
            "progress_interval = 0.25",
            "http_use_env_proxies = true",
            "[import_filtering_opts]",
            f"allowed_ports = {', '.join(map(str, ports))}",
            "",
        ]
    )


def _act(out: Console, title: str) -> None:
    out.print(f"\n[bold]{title}[/]")


def _type(out: Console, *line: str) -> None:
    """Print a command of `tranship` as one would type it, and run it. Raises `_Ended` and `ClientError`."""
    _line(out, "tranship", *line)
    try:
        main.cli.main([*line], prog_name="tranship", standalone_mode=False, obj=commands.ENDS_WITH_US)
    except SystemExit as ended:
        if ended.code:
            raise _Ended(int(ended.code)) from None


def _line(out: Console, *line: str) -> None:
    out.print(f"$ {shlex.join(line)}", style="dim", markup=False, soft_wrap=True)
