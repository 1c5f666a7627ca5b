"""What every service command does first: read the settings, log to stderr, and refuse what cannot work.

A refusal is one sentence on stderr and exit status 2, never a trace: it names the option to change.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from cli.errors import Refused
from flows.runtime import Runtime
from flows.traces import RequestIds
from option_files import BadSettings
from settings import Settings, load
from stores.errors import StoreError


def read_settings(
    config_files: Sequence[str], *, data: str = "", overrides: Sequence[tuple[str, str, Any]] = ()
) -> Settings:
    """Read every option; `overrides` are as `settings.load` takes them. Raises `Refused`."""
    for name in config_files:
        if not Path(name).is_file():
            raise Refused(f"there is no configuration file {name}")
        if not os.access(name, os.R_OK):
            raise Refused(f"the configuration file {name} may not be read")
    try:
        return load(config_files, data=data, overrides=overrides)
    except BadSettings as error:
        raise Refused(str(error)) from error


def make_data_directory(settings: Settings) -> None:
    """Make the directory for what has no other place. Raises `Refused`."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"[tranship] data: {settings.data} cannot be made: {error.strerror}") from error
    if not os.access(settings.data, os.W_OK | os.X_OK):
        raise Refused(f"[tranship] data: {settings.data} may not be written")


@dataclass(frozen=True, slots=True)
class Checked:
    """A database that can be used: its URL without the password, and whether its tables were only made now."""

    database: str
    made: bool


def check(settings: Settings, *, create: bool = False) -> Checked:
    """Wire everything once and ask the database; `create` makes its tables if they are missing. Raises `Refused`.

    A store that is merely away is no reason to refuse: the process that is about to use it reports it.
    """
    with refusing():
        with _unsaid("stores.registry"):
            runtime = Runtime.build(settings)
        database = runtime.catalog.database
        try:
            made = create and database.create()
            database.check()
        finally:
            runtime.close()
    return Checked(database.label, made)


def check_callers(settings: Settings) -> None:
    """See whether it can be told who asks, and what they may, before there is a socket to ask at. Raises `Refused`."""
    from api.authentication import authenticator
    from api.limits import limit_source
    from api.policy import Policy

    with refusing():
        authenticator(settings.api)
        limit_source(settings.api, settings.limits)
        Policy(settings.api)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the rooms below say about a bad configuration into `Refused`."""
    try:
        yield
    except (CatalogError, StoreError, ValueError) as error:
        raise Refused(str(error)) from error


def log_to_stderr(level: str) -> None:
    """Send the log of all rooms to stderr, from `level` (as Python names it, in lower case) on.

    A line begins with the id of the request that it belongs to, in the API as in the worker.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s [%(process)d] %(levelname)s %(name)s: %(request)s%(message)s",
        force=True,
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RequestIds())
    if level != "debug":
        # Celery tells of every message; what happens to a task, our own runner says.
        for chatty in ("celery", "kombu", "amqp"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def _unsaid(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False
