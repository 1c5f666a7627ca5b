"""`tranship download`: the data of an image, into a file that is whole or not there."""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import click

from cli import words
from cli.client import Client, Json
from cli.errors import ClientError


def save(client: Client, image_id: str, file: str, *, prefer: str | None = None) -> None:
    """Write the data to `file` (`-` is stdout) and compare its hash with `os_hash_value`. Raises `ClientError`.

    It is read from the store `prefer` if it can be read there.
    """
    image = client.image(image_id)
    if file == "-":
        _write(client, image, prefer, sys.stdout.buffer)
        return
    partial = Path(f"{file}.part")
    try:
        with partial.open("wb") as out:
            size = _write(client, image, prefer, out)
        partial.rename(file)
    except OSError as error:
        raise ClientError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    checked = f"; its {image['os_hash_algo']} is the image's" if image.get("os_hash_value") else ""
    click.echo(f"{words.size(size)} in {os.fspath(file)}{checked}", err=True)


def _write(client: Client, image: Json, prefer: str | None, out: IO[bytes]) -> int:
    algorithm, expected = image.get("os_hash_algo") or "sha512", image.get("os_hash_value")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = 0
    for chunk in client.data(image["id"], prefer=prefer):
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    if expected and digest.hexdigest() != expected:
        raise ClientError(f"the {size} bytes that came have another {algorithm} than image {image['id']}")
    return size
