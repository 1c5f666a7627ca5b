"""The client commands: a running service is asked over HTTP, wherever it runs."""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from cli.address import DEFAULT_URL

if TYPE_CHECKING:
    from cli.client import Client
    from cli.importing import Targets

ENDS_WITH_US = object()
"""The context's `obj` where the service is ours and ends with us, as in the demonstration: no import outlives it."""

_service = click.option(
    "--url",
    "service",
    default=DEFAULT_URL,
    envvar="TRANSHIP_URL",
    show_default=True,
    help="Where the service is; http://USER:PASSWORD@… where it asks for one. A token is taken from TRANSHIP_TOKEN.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print what the service answered.")
_image = click.argument("image", metavar="IMAGE")
_watching = click.option(
    "--watch", "watching", is_flag=True, help="Show progress until it ends; exit status 1 if it fails."
)


def _targets(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that say into which stores; they come to the command as `targets`."""
    options = (
        click.option("--store", "stores", multiple=True, metavar="ID", help=f"Store to {what} into; may be repeated."),
        click.option("--all-stores", is_flag=True, help=f"{what.capitalize()} into every store that can be written."),
        click.option("--allow-failure", is_flag=True, help="One store is enough; by default all must succeed."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def chosen(stores: tuple[str, ...], all_stores: bool, allow_failure: bool, **others: Any) -> None:
            from cli.importing import Targets

            if stores and all_stores:
                raise click.UsageError("--store and --all-stores exclude each other.")
            command(targets=Targets(stores, all_stores, allow_failure), **others)

        for option in reversed(options):
            chosen = option(chosen)
        return chosen

    return decorate


def add_to(group: click.Group) -> None:
    """Add every client command to `group`."""
    for command in (import_, copy, watch, show, list_, tasks, stores, cancel, delete, download, demo):
        group.add_command(command)


@click.command("import")
@_service
@click.argument("operand", metavar="FILE|URL", required=False)
@click.option("--name", help="Name of the image.  [default: the file's]")
@_targets("import")
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
@click.option("--image", metavar="IMAGE", help="Import into this image instead of a new one.")
@_watching
def import_(service: str, operand: str | None, watching: bool, **options: Any) -> None:
    """Import an image into one store or several, in one pass.

    What begins with a scheme, as https://, is fetched by the service; everything else is the path of a file here, which
    is uploaded first, and - is standard input. Without FILE or URL, what was uploaded for --image before is imported.

    Prints the id of the image. Without --watch it returns as soon as the import is on record.
    """
    from cli import importing, origins, show

    if operand is None and options["image"] is None:
        raise click.UsageError("Missing argument 'FILE|URL'; only what was uploaded for --image before needs none.")
    _end_on_sigterm()
    client = _client(service)
    wanted = importing.Wanted(origins.origin(operand), **options)
    image_id = importing.start(client, wanted, show.console(stderr=not watching))
    if watching:
        click.echo(f"image {image_id}")
        _watch(service, image_id)
    else:
        click.echo(image_id)
        _on_record(client, image_id)


@click.command()
@_service
@_image
@_targets("copy")
@_watching
def copy(service: str, image: str, targets: "Targets", watching: bool) -> None:
    """Copy an image into more stores.

    It stays active meanwhile, and whoever downloads it notices nothing. --all-stores skips those that have it.
    """
    from cli import importing

    if not (targets.stores or targets.all_stores):
        raise click.UsageError("Missing option '--store' or '--all-stores'.")
    client, image_id = _found(service, image)
    importing.copy(client, image_id, targets)
    if watching:
        _watch(service, image_id)
    else:
        _on_record(client, image_id)


@click.command()
@_service
@_image
def watch(service: str, image: str) -> None:
    """Show the progress of an image's import until it ends.

    Exit status: 0 when it succeeds, 1 when it fails, 3 when looking on was interrupted (the import goes on).
    """
    _watch(service, _found(service, image)[1])


@click.command()
@_service
@_image
@_as_json
def show(service: str, image: str, as_json: bool) -> None:
    """Show an image."""
    from cli import show

    client, image_id = _found(service, image)
    _print(client.image(image_id), as_json, show.image)


@click.command("list")
@_service
@click.option("--name", help="Only images of this name.")
@click.option("--status", help="Only images in this status.")
@click.option("--limit", default=25, show_default=True, type=click.IntRange(1), help="At most so many.")
@_as_json
def list_(service: str, name: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List images, newest first."""
    from cli import show

    found = list(_client(service).images(limit + 1, name=name, status=status))
    _print(found[:limit], as_json, show.images)
    if len(found) > limit:
        click.echo(f"There are more than these {limit}; --limit shows them.", err=True)


@click.command()
@_service
@_image
@_as_json
def tasks(service: str, image: str, as_json: bool) -> None:
    """Show an image's tasks, and the stores and attempts of the newest import."""
    from cli import show

    client, image_id = _found(service, image)
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
@_image
def cancel(service: str, image: str) -> None:
    """Stop an image's import; the image can be imported into again."""
    client, image_id = _found(service, image)
    client.cancel(image_id)
    click.echo(f"The import is told to stop. To look on: {client.typed(f'watch {image_id}')}", err=True)


@click.command()
@_service
@_image
@click.option("--store", "stores", multiple=True, metavar="ID", help="Only the data in this store; may be repeated.")
def delete(service: str, image: str, stores: tuple[str, ...]) -> None:
    """Delete an image and its data, or with --store its data in one store, and show where it is then."""
    from cli import show

    client, image_id = _found(service, image)
    if not stores:
        client.delete(image_id)
        return
    for store in dict.fromkeys(stores):
        client.delete_from_store(image_id, store)
        click.echo(f"Image {image_id} is not in store {store} any more.", err=True)
    show.images(show.console(), [client.image(image_id)])


@click.command()
@_service
@_image
@click.argument("file", type=click.Path(dir_okay=False, path_type=str))
@click.option("--prefer", metavar="ID", help="Read it from this store, if it can be read there.")
def download(service: str, image: str, file: str, prefer: str | None) -> None:
    """Download an image's data into FILE, or to stdout for `-`, and compare its hash with the image's."""
    from cli import downloading

    downloading.save(*_found(service, image), file, prefer=prefer)


@click.command()
@click.argument("uri", metavar="[URL]", required=False)
@click.option("--disk-format", help="raw, qcow2, iso, … of what is at URL.  [default: by the file's ending, else raw]")
def demo(uri: str | None, disk_format: str | None) -> None:
    """Play imports and a copy from nothing to verified bytes, with a service and disks of its own, or with URL."""
    from cli.demo import play

    _end_on_sigterm()
    raise SystemExit(play.play(uri, disk_format))


def _end_on_sigterm() -> None:
    """What was begun is cleared away also when somebody ends us."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def _on_record(client: "Client", image_id: str) -> None:
    click.echo(f"On record. To look on: {client.typed(f'watch {image_id}')}", err=True)


def _client(service: str) -> "Client":
    from cli.client import Client

    return Client(service, token=os.environ.get("TRANSHIP_TOKEN", ""))


def _found(service: str, image: str) -> tuple["Client", str]:
    """The service, and the id of the image that is named by its id or its name."""
    client = _client(service)
    return client, client.find(image)


def _watch(service: str, image_id: str) -> None:
    from cli import importing, show

    outlives_us = click.get_current_context().obj is not ENDS_WITH_US
    out, err = show.console(), show.console(stderr=True)
    raise SystemExit(importing.follow(_client(service), image_id, out, err, outlives_us=outlives_us))


def _print(found: Any, as_json: bool, table: Callable[..., None]) -> None:
    from cli import show

    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        table(show.console(), found)
