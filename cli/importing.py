"""`tranship import`, `copy` and `watch`: from the command line to the last word on an import."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from rich.console import Console

from cli import words
from cli.client import Client, Json
from cli.errors import ClientError, NoAnswer, Refused
from cli.origins import Data, Local, Origin, is_address
from cli.progress import shown_on
from cli.uploading import upload
from cli.watch import Snapshot, watch

SUCCESS, FAILURE, INTERRUPTED = 0, 1, 3
"""Exit statuses of watching. Interrupted: the import goes on, only nobody looks any more."""

_CHECKSUM = re.compile(r"\w+:.*")
"""An algorithm and a value, which the service knows how to judge; no path that anybody meant looks like that."""

_BLAMED = ("corrupt", "format_mismatch", "too_big", "unsafe_image")
"""Failures that the uploaded bytes are to blame for, beside a checksum: the service takes others in their place."""

_COMPRESSION = (".gz", ".zst", ".xz", ".bz2")
_FORMATS = {".qcow2": "qcow2", ".iso": "iso", ".vmdk": "vmdk", ".vhd": "vhd", ".vhdx": "vhdx", ".vdi": "vdi"}


@dataclass(frozen=True, slots=True)
class Targets:
    """The stores of an import or a copy; without any, the service chooses."""

    stores: tuple[str, ...] = ()
    all_stores: bool = False
    allow_failure: bool = False

    def body(self, method: Json) -> Json:
        """The body that asks for it (http-api §6.1)."""
        body: Json = {"method": method, "all_stores_must_succeed": not self.allow_failure}
        if self.stores:
            body["stores"] = list(self.stores)
        if self.all_stores:
            body["all_stores"] = True
        return body


@dataclass(frozen=True, slots=True)
class Wanted:
    """An import as the command line names it. `image` is the id or the name of one that is there."""

    origin: Origin
    targets: Targets = Targets()
    name: str | None = None
    disk_format: str | None = None
    container_format: str = "bare"
    image: str | None = None
    checksum: str | None = None
    checksum_of: str | None = None

    def attributes(self) -> Json:
        """The body that makes the image."""
        stem = _stem(self.origin.name)
        return {
            "name": self.name or stem.name or None,
            "disk_format": self.disk_format or _FORMATS.get(stem.suffix.lower(), "raw"),
            "container_format": self.container_format,
        }

    def body(self) -> Json:
        """The body that asks for the import."""
        asked = {"checksum": self._checksum(), "checksum_of": self.checksum_of}
        return self.targets.body(self.origin.method() | {k: v for k, v in asked.items() if v is not None})

    def _checksum(self) -> str | None:
        """As given; but in a file of sums without #NAME the service can look up addresses only, not uploaded files."""
        if self.checksum is None or not isinstance(self.origin, Local) or not self.origin.name:
            return self.checksum
        named = "#" in self.checksum or not is_address(self.checksum)
        return self.checksum if named else f"{self.checksum}#{quote(os.fsencode(self.origin.name))}"


class UploadKept(ClientError):
    """An upload came whole, but its import is not on record: the data waits to be asked for again."""


def start(client: Client, wanted: Wanted, out: Console) -> str:
    """Make the image, unless one is named, upload what is here, and ask for the import; returns the image's id.

    Nobody wants an image that was only made for what comes to nothing: it is deleted again, also on Ctrl-C. Raises
    `UploadKept`, any other `ClientError`, and `Refused` before the service is asked for anything.
    """
    with wanted.origin.opened() as data:
        if data is not None:
            _foresee(client, wanted)
        if wanted.image is not None:
            image_id = client.find(wanted.image)
            _bring(client, image_id, wanted, data, out)
            return image_id
        image_id = str(client.create_image(wanted.attributes())["id"])
        try:
            _bring(client, image_id, wanted, data, out)
        except BaseException as failure:
            if not isinstance(failure, UploadKept) and not _deleted(client, image_id):
                failure.add_note(f"The empty image {image_id} is left behind.")
            raise
    return image_id


def _foresee(client: Client, wanted: Wanted) -> None:
    """What would be refused after an upload, which may take hours, is refused before it."""
    checksum, stores = wanted.checksum, wanted.targets.stores
    if checksum is not None and not (_CHECKSUM.fullmatch(checksum) or is_address(checksum)):
        raise Refused(f"{checksum} is no checksum, which looks like sha256:9f86…, or is where one is, https://…")
    if not stores:
        return
    known = [store["id"] for store in client.stores()]
    for name in stores:
        if name not in known:
            raise ClientError(f"{client.url} has no store {name}; there are: {', '.join(known)}")


def _bring(client: Client, image_id: str, wanted: Wanted, data: Data | None, out: Console) -> None:
    if data is None:
        client.start_import(image_id, wanted.body())
        return
    try:
        upload(client, image_id, data, out)
    except KeyboardInterrupt:
        raise ClientError("interrupted; nothing of the upload is kept.") from None
    try:
        client.start_import(image_id, wanted.body())
    except ClientError as refusal:
        raise UploadKept(f"{refusal.message} {_kept(client, image_id)}") from refusal


def copy(client: Client, image_id: str, targets: Targets) -> None:
    """Ask for copies of an active image in more stores. Raises `ClientError`."""
    client.start_import(image_id, targets.body({"name": "copy-image"}))


def follow(client: Client, image_id: str, out: Console, err: Console, *, outlives_us: bool = True) -> int:
    """Show the import's progress until it ends; returns the exit status. Raises `Answered`.

    `outlives_us` says that the service is still there when we are not.
    """
    began = time.monotonic()
    try:
        with shown_on(out) as view:
            last = watch(client, image_id, view)
    except KeyboardInterrupt:
        goes_on = f"The import goes on. To look again: {client.typed(f'watch {image_id}')}"
        _say(err, goes_on if outlives_us else "Interrupted.")
        return INTERRUPTED
    except NoAnswer as error:
        _say(err, f"{error.message}. The import may go on. To look again: {client.typed(f'watch {image_id}')}")
        return INTERRUPTED
    if last.status == "success":
        _say(out, f"{last.message} Watched for {words.duration(time.monotonic() - began)}.")
        _say_reasons(err, last)
        return SUCCESS
    _say(err, f"The import failed: {last.message}")
    _say_reasons(err, last, unless=last.message)
    with suppress(ClientError):
        if client.image(image_id)["status"] == "uploading":
            _say(err, _kept(client, image_id, last.error_code))
    return FAILURE


def _say_reasons(err: Console, last: Snapshot, unless: str = "") -> None:
    for store in last.stores:
        if store.reason and store.reason not in unless:
            _say(err, f"  {store.id}: {store.reason}")


def _say(to: Console, text: str) -> None:
    to.print(text, markup=False, soft_wrap=True)


def _kept(client: Client, image_id: str, why: str | None = None) -> str:
    """What to type next for an upload that is kept; `why` its import has failed decides what can help."""
    again, other = f"import --image {image_id}", f"import FILE --image {image_id}"
    ways = {"import it": again}
    if why == "checksum_mismatch":
        ways = {
            "compare it with another checksum": f"{again} --checksum SUM",
            "upload another file in its place": f"{other} --checksum SUM",
        }
    elif why in _BLAMED:
        ways = {"upload another file in its place": other, "import it as it is": again}
    ways["throw it away"] = f"delete {image_id}"
    return "The upload is kept. To " + "; to ".join(f"{what}: {client.typed(how)}" for what, how in ways.items())


def _stem(name: str) -> PurePosixPath:
    """The file's name without the ending of a compression."""
    for ending in _COMPRESSION:
        name = name.removesuffix(ending)
    return PurePosixPath(name)


def _deleted(client: Client, image_id: str) -> bool:
    try:
        client.delete(image_id)
    except ClientError:
        return False
    return True
