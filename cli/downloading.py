"""`tranship download`: the data of an image, into a file that is whole or not there."""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import click

from cli import words
from cli.client import Client
from cli.errors import ClientError


def save(client: Client, image_id: str, file: str) -> None:
    """Write the data to `file` (`-` is stdout) and compare its hash with `os_hash_value`. Raises `ClientError`."""
    image = client.image(image_id)
    algorithm, expected = image.get("os_hash_algo"), image.get("os_hash_value")
    if file == "-":
        _write(client, image_id, sys.stdout.buffer, algorithm, expected)
        return
    partial = Path(f"{file}.part")
    try:
        with partial.open("wb") as out:
            size = _write(client, image_id, out, algorithm, expected)
        partial.rename(file)
    except OSError as error:
        raise ClientError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    checked = f"; its {algorithm} is the image's" if expected else ""
    click.echo(f"{words.size(size)} in {os.fspath(file)}{checked}", err=True)


def _write(client: Client, image_id: str, out: IO[bytes], algorithm: str | None, expected: str | None) -> int:
    digest = hashlib.new(algorithm or "sha512", usedforsecurity=False)
    size = 0
    for chunk in client.data(image_id):
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    if expected and digest.hexdigest() != expected:
        raise ClientError(f"the {size} bytes that came have another {algorithm} than image {image_id}")
    return size
