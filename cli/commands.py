"""The client commands: a running service is asked over HTTP, wherever it runs."""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.address import DEFAULT_URL

if TYPE_CHECKING:
    from cli.client import Client

_service = click.option(
    "--url",
    "service",
    default=DEFAULT_URL,
    envvar="TRANSHIP_URL",
    show_default=True,
    help="Where the service is; http://USER:PASSWORD@… where it asks for one. A token is taken from TRANSHIP_TOKEN.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print what the service answered.")
_image_id = click.argument("image_id", metavar="IMAGE")


def add_to(group: click.Group) -> None:
    """Add every client command to `group`."""
    for command in (import_, watch, show, list_, tasks, stores, cancel, delete, download, demo):
        group.add_command(command)


@click.command("import")
@_service
@click.argument("uri", metavar="URL")
@click.option("--name", help="Name of the image.  [default: the file's]")
@click.option("--store", "stores", multiple=True, metavar="ID", help="Store to import into; may be repeated.")
@click.option("--all-stores", is_flag=True, help="Import into every store that can be written.")
@click.option("--allow-failure", is_flag=True, help="One store is enough; by default all must succeed.")
@click.option("--disk-format", help="raw, qcow2, iso, …  [default: by the file's ending, else raw]")
@click.option(
    "--container-format", default="bare", show_default=True, help="`compressed` keeps the bytes as they come."
)
@click.option(
    "--checksum",
    metavar="SUM|URL",
    help="sha256:…, sha512:… or md5:… that must be met, or where a file like SHA256SUMS is (#NAME: another entry).",
)
@click.option(
    "--checksum-of",
    type=click.Choice(["source", "image"]),
    help="What the checksum is of: the bytes as they come, or decompressed.  [default: source]",
)
@click.option("--image", "image_id", metavar="IMAGE", help="Import into this queued image instead of a new one.")
@click.option("--watch", "watching", is_flag=True, help="Show progress until it ends; exit status 1 if it fails.")
def import_(service: str, watching: bool, **options: Any) -> None:
    """Import what is at URL into one store or several, in one pass.

    Prints the id of the image. Without --watch it returns as soon as the import is on record.
    """
    from cli import importing

    client = _client(service)
    image_id = importing.start(client, importing.Wanted(**options))
    if watching:
        click.echo(f"image {image_id}")
        _watch(service, image_id)
    else:
        click.echo(image_id)
        click.echo(f"The import is on record. To look on: {client.look_again(image_id)}", err=True)


@click.command()
@_service
@_image_id
def watch(service: str, image_id: str) -> None:
    """Show the progress of an image's import until it ends.

    Exit status: 0 when it succeeds, 1 when it fails, 3 when looking on was interrupted (the import goes on).
    """
    _watch(service, image_id)


@click.command()
@_service
@_image_id
@_as_json
def show(service: str, image_id: str, as_json: bool) -> None:
    """Show an image."""
    from cli import show

    found = _client(service).image(image_id)
    _print(found, as_json, show.image)


@click.command("list")
@_service
@click.option("--name", help="Only images of this name.")
@click.option("--status", help="Only images in this status.")
@click.option("--limit", default=25, show_default=True, type=click.IntRange(1), help="At most so many.")
@_as_json
def list_(service: str, name: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List images, newest first."""
    from cli import show

    found = list(_client(service).images(limit, name=name, status=status))
    _print(found, as_json, show.images)


@click.command()
@_service
@_image_id
@_as_json
def tasks(service: str, image_id: str, as_json: bool) -> None:
    """Show an image's tasks, and the stores and attempts of the newest import."""
    from cli import show

    client = _client(service)
    found = client.tasks(image_id)
    _print(found, as_json, show.tasks)
    if found and not as_json:
        click.echo()
        show.attempts(show.console(), client.progress(image_id))


@click.command()
@_service
@_as_json
def stores(service: str, as_json: bool) -> None:
    """List the configured stores."""
    from cli import show

    found = _client(service).stores()
    _print(found, as_json, show.stores)


@click.command()
@_service
@_image_id
def cancel(service: str, image_id: str) -> None:
    """Stop an image's import; the image can be imported into again."""
    client = _client(service)
    client.cancel(image_id)
    click.echo(f"The import is told to stop. To look on: {client.look_again(image_id)}", err=True)


@click.command()
@_service
@_image_id
def delete(service: str, image_id: str) -> None:
    """Delete an image and its data."""
    _client(service).delete(image_id)


@click.command()
@_service
@_image_id
@click.argument("file", type=click.Path(dir_okay=False, path_type=str))
def download(service: str, image_id: str, file: str) -> None:
    """Download an image's data into FILE, or to stdout for `-`, and compare its hash with the image's."""
    from cli import downloading

    downloading.save(_client(service), image_id, file)


@click.command()
@click.argument("uri", metavar="[URL]", required=False)
@click.option("--disk-format", help="raw, qcow2, iso, … of what is at URL.  [default: by the file's ending, else raw]")
def demo(uri: str | None, disk_format: str | None) -> None:
    """Play one import from nothing to verified bytes, with a service and a disk image of its own, or with URL."""
    from cli.demo import play

    # Its service and its files go also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    raise SystemExit(play.play(uri, disk_format))


def _client(service: str) -> "Client":
    from cli.client import Client

    return Client(service, token=os.environ.get("TRANSHIP_TOKEN", ""))


def _watch(service: str, image_id: str) -> None:
    from cli import importing, show

    status = importing.follow(_client(service), image_id, show.console(), show.console(stderr=True))
    raise SystemExit(status)


def _print(found: Any, as_json: bool, table: Callable[..., None]) -> None:
    from cli import show

    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        table(show.console(), found)
