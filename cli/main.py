"""The command `tranship`: what each sub-command takes. What it does is imported only when it is run."""

import os
from collections.abc import Callable
from typing import Any

import click

from cli import commands

LEVELS = ("debug", "info", "warning", "error")


def config_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every service command takes."""
    files = click.option(
        "--config-file",
        "config_files",
        multiple=True,
        metavar="FILE",
        envvar="TRANSHIP_CONFIG_FILE",
        type=click.Path(),
        help="INI file with Glance's section and option names; may be repeated, the last one wins.",
    )
    level = click.option(
        "--log-level",
        default="info",
        type=click.Choice(LEVELS),
        envvar="TRANSHIP_LOG_LEVEL",
        show_default=True,
        help="What to write to stderr.",
    )
    return files(level(command))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tranship", message="tranship %(version)s")
def cli() -> None:
    """Import images into stores, asynchronously, behind Glance's v2 API.

    Every option can come from the environment: --port of `serve` as TRANSHIP_SERVE_PORT (or as its help says), and an
    option of the configuration file as OS_<SECTION>__<OPTION>, for example OS_DATABASE__CONNECTION.
    """


@cli.command()
@config_file
@click.option("--host", envvar="TRANSHIP_HOST", help="Address to listen on; [DEFAULT] bind_host.  [default: 127.0.0.1]")
@click.option(
    "--port",
    envvar="TRANSHIP_PORT",
    type=click.IntRange(0, 65535),
    help="Port to listen on, 0 for a free one; [DEFAULT] bind_port.  [default: 9292]",
)
@click.option(
    "--data", default="", envvar="TRANSHIP_DATA", metavar="DIR", help="All state is under it.  [default: ./var]"
)
def serve(config_files: tuple[str, ...], log_level: str, host: str | None, port: int | None, data: str) -> None:
    """Run everything in one place: API, worker, and a database made at the first start.

    Prints `ready http://HOST:PORT` once it answers. SIGTERM and Ctrl-C end it within 5 seconds; running imports are
    handed back and go on at the next start.
    """
    from cli import run

    run.serve(config_files, log_level, host, port, data)


@cli.command()
@config_file
def api(config_files: tuple[str, ...], log_level: str) -> None:
    """Run the API; imports are done by `tranship worker`."""
    from cli import run

    run.api(config_files, log_level)


@cli.command()
@config_file
def worker(config_files: tuple[str, ...], log_level: str) -> None:
    """Run a worker with [tranship] worker_concurrency processes; any number, on any host."""
    # Must be there before Celery is imported: SIGTERM then means "hand back now" instead of "finish first".
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    from cli import run

    run.worker(config_files, log_level)


@cli.group()
def db() -> None:
    """Make and check the database."""


@db.command("init")
@config_file
def db_init(config_files: tuple[str, ...], log_level: str) -> None:
    """Make the tables, unless they are there."""
    from cli import run

    run.db_init(config_files, log_level)


@db.command("check")
@config_file
def db_check(config_files: tuple[str, ...], log_level: str) -> None:
    """Say whether the database can be used by this version."""
    from cli import run

    run.db_check(config_files, log_level)


commands.add_to(cli)


def main() -> None:
    """Run the command line."""
    cli(prog_name="tranship", auto_envvar_prefix="TRANSHIP")


if __name__ == "__main__":
    main()
