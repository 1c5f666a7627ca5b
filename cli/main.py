"""The command `tranship`: what each sub-command takes. What it does is imported only when it is run."""

import os
from collections.abc import Callable
from typing import Any

import click

from cli import commands

LEVELS = ("debug", "info", "warning", "error")


_config_files = click.option(
    "--config-file",
    "config_files",
    multiple=True,
    metavar="FILE",
    envvar="TRANSHIP_CONFIG_FILE",
    type=click.Path(),
    help="INI file with Glance's section and option names; may be repeated, the last one wins.",
)


def config_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every service command takes."""
    level = click.option(
        "--log-level",
        default="info",
        type=click.Choice(LEVELS),
        envvar="TRANSHIP_LOG_LEVEL",
        show_default=True,
        help="What to write to stderr.",
    )
    return _config_files(level(command))


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

    Prints `ready http://HOST:PORT` once it answers; /docs there shows every call. SIGTERM and Ctrl-C end it within
    5 seconds; running imports are handed back and go on at the next start.
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


@cli.group()
def user() -> None:
    """Keep the users of a service with auth_strategy http_basic."""


@user.command("add")
@_config_files
@click.argument("name")
@click.option("--file", metavar="FILE", help="File of users.  [default: [DEFAULT] http_basic_auth_user_file]")
@click.option("--project", default="", help="Project of the user.  [default: [tranship] default_project]")
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="admin, manager, member, reader …; may be repeated.  [default: member]",
)
def user_add(config_files: tuple[str, ...], name: str, file: str | None, project: str, roles: tuple[str, ...]) -> None:
    """Add a user, or give it another password, project and roles.

    The password is asked for, or is the first line of standard input. A running service knows the user at once.
    """
    from cli import users

    users.add(name, file, config_files, project, roles)


@cli.group()
def policy() -> None:
    """Look at the rules that decide who may do what."""


@policy.command("list")
@_config_files
def policy_list(config_files: tuple[str, ...]) -> None:
    """Print the rules in effect: the defaults, and what [oslo_policy] policy_file says instead of some of them."""
    from cli import policy as rules

    rules.list_rules(config_files)


commands.add_to(cli)


def main() -> None:
    """Run the command line."""
    cli(prog_name="tranship", auto_envvar_prefix="TRANSHIP")


if __name__ == "__main__":
    main()
