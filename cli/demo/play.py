"""The demonstration, act by act: a disk, a service, an import into two stores, the proof, and what is there then."""

import gzip
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from cli import importing, show, words
from cli.client import Client
from cli.demo.disk import MIB, make_disk
from cli.demo.service import running
from cli.demo.source import serving
from cli.errors import ClientError

SECONDS = 4.0
"""How long the transfer of our own disk takes: the source is slowed down so that there is something to see."""

STORES = ("a", "b")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the image comes from, and the sha512 of the disk if we made it."""

    uri: str
    sha512: str | None = None
    name: str | None = None
    disk_format: str | None = None


def play(
    uri: str | None = None, disk_format: str | None = None, *, size: int = 64 * MIB, seconds: float = SECONDS
) -> int:
    """Play it with our own disk, or with what is at `uri`; returns the exit status. Raises `ClientError`.

    Our own disk has `size` bytes, and its transfer takes about so many `seconds`.
    """
    out, began = show.console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tranship-demo-") as place:
        directory = Path(place)
        given = Source(uri, disk_format=disk_format) if uri else None
        with _given(given) if given else _made(out, directory, size, seconds) as source:
            status = _import(out, directory, source)
    if status == importing.SUCCESS:
        out.print(f"\n[bold green]Done[/] in {words.duration(time.monotonic() - began)}; nothing is left behind.")
    return status


@contextmanager
def _given(source: Source) -> Iterator[Source]:
    yield source


@contextmanager
def _made(out: Console, directory: Path, size: int, seconds: float) -> Iterator[Source]:
    _act(out, "A disk image")
    disk, packed = directory / "disk.img", directory / "disk.img.gz"
    make_disk(disk, size)
    with disk.open("rb") as plain:
        sha512 = hashlib.file_digest(plain, "sha512").hexdigest()
        plain.seek(0)
        with gzip.open(packed, "wb", compresslevel=1) as compressed:
            shutil.copyfileobj(plain, compressed, 1 << 20)
    smaller = packed.stat().st_size
    out.print(f"{words.size(size)}: a GPT partition table and a FAT16 file system; as gzip {words.size(smaller)}")
    with serving(packed, smaller / seconds) as uri:
        out.print(f"served at {uri}, slowed down to {words.rate(smaller / seconds)}")
        yield Source(uri, sha512, "demo", "raw")


def _import(out: Console, directory: Path, source: Source) -> int:
    _act(out, "The service")
    with running(directory, _configuration(source.uri)) as service:
        _command(out, "tranship serve --port 0 --config-file tranship.conf --data …")
        out.print(f"ready {service.url}: API, worker, database and three stores in one place")
        client = Client(service.url)

        _act(out, "The import")
        wanted = importing.Wanted(source.uri, source.name, STORES, disk_format=source.disk_format)
        named = f" --name {source.name}" if source.name else ""
        _command(out, f"tranship import {source.uri}{named} {' '.join(f'--store {id}' for id in STORES)} --watch")
        image_id = importing.start(client, wanted)
        out.print(f"image {image_id}")
        status = importing.follow(client, image_id, out, show.console(stderr=True), outlives_us=False)
        if status == importing.SUCCESS:
            _prove(out, client, image_id, source.sha512)
            _tell(out, client, image_id)
        _act(out, "The end")
        client.close()
        out.print(f"SIGTERM; the service ended in {words.duration(service.stop())} with exit status 0")
    return status


def _prove(out: Console, client: Client, image_id: str, original: str | None) -> None:
    """Download, hash, compare. Raises `ClientError`."""
    _act(out, "The proof")
    image = client.image(image_id)
    algorithm, recorded = image["os_hash_algo"], image["os_hash_value"]
    digest, size = hashlib.new(algorithm, usedforsecurity=False), 0
    for chunk in client.data(image_id):
        digest.update(chunk)
        size += len(chunk)
    hashes = {f"downloaded, {words.size(size)}": digest.hexdigest(), "os_hash_value": recorded}
    if original is not None:
        hashes["the disk we made"] = original
    for name, value in hashes.items():
        out.print(f"{algorithm} {value[:16]}…{value[-16:]}  {name}")
    if len(set(hashes.values())) != 1:
        raise ClientError("the hashes differ")
    out.print("[green]all equal[/]")


def _tell(out: Console, client: Client, image_id: str) -> None:
    _act(out, "What there is now")
    _command(out, f"tranship show {image_id}")
    show.image(out, client.image(image_id))
    out.print()
    _command(out, "tranship stores")
    show.stores(out, client.stores())
    out.print()
    _command(out, f"tranship tasks {image_id}")
    show.tasks(out, client.tasks(image_id))
    out.print()
    show.attempts(out, client.progress(image_id))


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


def _command(out: Console, line: str) -> None:
    out.print(f"$ {line}", style="dim", markup=False, soft_wrap=True)
