"""What the service commands do, once their options are parsed."""

import logging
from typing import Any

import click

from cli.address import is_loopback, url
from cli.errors import Refused
from cli.listen import listen
from cli.start import check, check_callers, log_to_stderr, make_data_directory, read_settings
from settings import Settings

log = logging.getLogger(__name__)

Files = tuple[str, ...]


def serve(config_files: Files, log_level: str, host: str | None, port: int | None, data: str) -> None:
    """Run the API and a worker of threads until told to go. Raises `Refused`."""
    log_to_stderr(log_level)
    given: list[tuple[str, str, Any]] = [("DEFAULT", "bind_host", host), ("DEFAULT", "bind_port", port)]
    settings = read_settings(config_files, data=data, overrides=[option for option in given if option[2] is not None])
    check_callers(settings)
    make_data_directory(settings)
    # A server's database is somebody's decision, a file under DIR is not.
    checked = check(settings, create=settings.database_url.startswith("sqlite"))
    if checked.made:
        log.info("made the database %s", checked.database)
    _say_who_reads_staging(settings)
    from cli.serve import EmbeddedService

    EmbeddedService(settings, _listen(settings)).run()


def api(config_files: Files, log_level: str) -> None:
    """Run the API alone. Raises `Refused`."""
    log_to_stderr(log_level)
    settings = read_settings(config_files)
    if not settings.broker.eager:
        _refuse_memory(settings, "`tranship serve` runs the worker in the same process")
    check_callers(settings)
    check(settings)
    _say_who_reads_staging(settings)
    from cli.serve import Service

    Service(settings, _listen(settings)).run()


def worker(config_files: Files, log_level: str) -> None:
    """Run a worker with child processes. Raises `Refused`."""
    log_to_stderr(log_level)
    settings = read_settings(config_files)
    if settings.broker.eager:
        raise Refused("[tranship] eager: imports run inside the API, so a worker has nothing to do")
    _refuse_memory(settings, "`tranship serve` has a worker inside")
    check(settings)
    _say_who_reads_staging(settings)
    from celery import signals

    from workers.app import run_prefork

    told: list[object] = []
    signals.worker_shutting_down.connect(lambda **_: told.append(_), weak=False)
    try:
        run_prefork(settings, loglevel=log_level.upper())
    except SystemExit:
        # On its way out Celery 5.7 may stumble over the pool it has stopped itself; a stop that was asked for is none.
        if not told:
            raise


def db_init(config_files: Files, log_level: str) -> None:
    """Make the tables unless they are there, and say which. Raises `Refused`."""
    log_to_stderr(log_level)
    settings = read_settings(config_files)
    if settings.database_url.startswith("sqlite"):
        make_data_directory(settings)
    checked = check(settings, create=True)
    click.echo(
        f"{'Made the tables in' if checked.made else 'Nothing to do: the tables are there, in'} {checked.database}"
    )


def db_check(config_files: Files, log_level: str) -> None:
    """Say whether the database is fit. Raises `Refused`."""
    log_to_stderr(log_level)
    settings = read_settings(config_files)
    click.echo(f"The database is in order: {check(settings).database}")


def _listen(settings: Settings) -> Any:
    host, port = settings.api.host, settings.api.port
    listener = listen(host, port)
    if settings.api.auth_strategy == "none" and not is_loopback(host):
        where = url(host, listener.getsockname()[1])
        log.warning("auth_strategy is none: everybody who can reach %s may read, import and delete images", where)
    return listener


def _say_who_reads_staging(settings: Settings) -> None:
    """Tell the operator of more than one process where imports of uploads are confined to a host."""
    host = settings.staging.host
    if host is not None:
        from flows.dispatch import queue_of

        log.info(
            "staging is on the disk of host %s: what is staged there is imported by its workers only (queue %s); "
            "to let every worker do it, share the directory (staging_scope = shared) or set staging_driver = s3",
            host,
            queue_of(host),
        )


def _refuse_memory(settings: Settings, instead: str) -> None:
    if settings.broker.url.startswith("memory:"):
        raise Refused(
            "[tranship] broker_url is memory://, which does not leave its process: name a Redis (redis://…) "
            f"or a RabbitMQ (amqp://…); {instead}"
        )
