"""`tranship import` and `tranship watch`: from the command line to the last word on an import."""

import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from rich.console import Console

from cli import words
from cli.client import Client, Json
from cli.errors import ClientError, NoAnswer
from cli.progress import shown_on
from cli.watch import Snapshot, watch

SUCCESS, FAILURE, INTERRUPTED = 0, 1, 3
"""Exit statuses of watching. Interrupted: the import goes on, only nobody looks any more."""

_COMPRESSION = (".gz", ".zst", ".xz", ".bz2")
_FORMATS = {".qcow2": "qcow2", ".iso": "iso", ".vmdk": "vmdk", ".vhd": "vhd", ".vhdx": "vhdx", ".vdi": "vdi"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An import as the command line names it."""

    uri: str
    name: str | None = None
    stores: tuple[str, ...] = ()
    all_stores: bool = False
    allow_failure: bool = False
    disk_format: str | None = None
    container_format: str = "bare"
    image_id: str | None = None
    checksum: str | None = None
    checksum_of: str | None = None

    def attributes(self) -> Json:
        """The body that makes the image."""
        stem = _stem(self.uri)
        return {
            "name": self.name or stem.name or None,
            "disk_format": self.disk_format or _FORMATS.get(stem.suffix.lower(), "raw"),
            "container_format": self.container_format,
        }

    def body(self) -> Json:
        """The body that asks for the import (http-api §6.1)."""
        method = {"name": "web-download", "uri": self.uri, "checksum": self.checksum, "checksum_of": self.checksum_of}
        body: Json = {"method": {name: value for name, value in method.items() if value is not None}}
        if self.stores:
            body["stores"] = list(self.stores)
        if self.all_stores:
            body["all_stores"] = True
        body["all_stores_must_succeed"] = not self.allow_failure
        return body


def start(client: Client, wanted: Wanted) -> str:
    """Make the image, unless one is named, and ask for its import; returns the image's id. Raises `ClientError`."""
    if wanted.image_id is not None:
        client.start_import(wanted.image_id, wanted.body())
        return wanted.image_id
    image_id: str = client.create_image(wanted.attributes())["id"]
    try:
        client.start_import(image_id, wanted.body())
    except ClientError as refusal:
        # Nobody wants an image that was only made for an import that is refused.
        if not _deleted(client, image_id):
            refusal.add_note(f"The empty image {image_id} is left behind.")
        raise
    return image_id


def follow(client: Client, image_id: str, out: Console, err: Console, *, outlives_us: bool = True) -> int:
    """Show the import's progress until it ends; returns the exit status. Raises `Answered`.

    `outlives_us` says that the service is still there when we are not.
    """
    began = time.monotonic()
    try:
        with shown_on(out) as view:
            last = watch(client, image_id, view)
    except KeyboardInterrupt:
        goes_on = f"The import goes on. To look again: {client.look_again(image_id)}"
        _say(err, goes_on if outlives_us else "Interrupted.")
        return INTERRUPTED
    except NoAnswer as error:
        _say(err, f"{error.message}. The import may go on. To look again: {client.look_again(image_id)}")
        return INTERRUPTED
    if last.status == "success":
        _say(out, f"{last.message} Watched for {words.duration(time.monotonic() - began)}.")
        _say_reasons(err, last)
        return SUCCESS
    _say(err, f"The import failed: {last.message}")
    _say_reasons(err, last, unless=last.message)
    return FAILURE


def _say_reasons(err: Console, last: Snapshot, unless: str = "") -> None:
    for store in last.stores:
        if store.reason and store.reason not in unless:
            _say(err, f"  {store.id}: {store.reason}")


def _say(to: Console, text: str) -> None:
    to.print(text, markup=False, soft_wrap=True)


def _stem(uri: str) -> PurePosixPath:
    """The file's name without the ending of a compression."""
    name = PurePosixPath(unquote(urlsplit(uri).path)).name
    for ending in _COMPRESSION:
        name = name.removesuffix(ending)
    return PurePosixPath(name)


def _deleted(client: Client, image_id: str) -> bool:
    try:
        client.delete(image_id)
    except ClientError:
        return False
    return True
