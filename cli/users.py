"""`tranship user add`: writes one line of the file of users that `auth_strategy = http_basic` reads."""

import os
import sys
import tempfile
from pathlib import Path

import click

from api.context import RANKS, role_names
from api.policy import Policy
from api.users import entry, parse
from cli.errors import Refused
from cli.start import read_settings, refusing


def add(name: str, file: str | None, config_files: tuple[str, ...], project: str, roles: tuple[str, ...]) -> None:
    """Add the user, or replace its line; the password is asked for, or is the first line of stdin. Raises `Refused`."""
    path = Path(file or read_settings(config_files).api.http_basic_auth_user_file)
    if path == Path():
        raise Refused("which file? name it by --file, or as [DEFAULT] http_basic_auth_user_file in the configuration")
    lines = _lines(path)
    try:
        line = entry(name, _password(), project, roles)
    except ValueError as error:
        raise Refused(str(error)) from error
    strange, known = _strange(roles, config_files)
    others = [other for other in lines if other.partition(":")[0].strip() != name]
    _write(path, [*others, line])
    if strange:
        click.echo(f"warning: no rule mentions {' or '.join(strange)}; there are: {', '.join(known)}", err=True)
    click.echo(f"{'Added' if len(others) == len(lines) else 'Replaced'} {name} in {path}")


def _strange(roles: tuple[str, ...], config_files: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Which of the roles mean nothing under the rules of the configuration, and which do."""
    if not roles:
        return [], []
    settings = read_settings(config_files)
    with refusing():
        known = Policy(settings.api).rules().roles.union(RANKS)
    return [role for role in roles if not role_names([role]) <= known], sorted(known)


def _lines(path: Path) -> list[str]:
    """What is in the file; nothing where there is none."""
    try:
        text = path.read_text()
        parse(text, "")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{path} is no file of users: {error}") from error
    return text.splitlines()


def _password() -> str:
    if sys.stdin.isatty():
        given: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return given
    return sys.stdin.readline().rstrip("\n")


def _write(path: Path, lines: list[str]) -> None:
    """Put the new file in the place of the old one at once: a service may be reading it."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write("".join(f"{line}\n" for line in lines))
            _as_before(path, temporary)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error


def _as_before(path: Path, temporary: str) -> None:
    """Keep owner and mode of the old file, so that the service can still read it; a new one is its maker's alone."""
    if path.exists():
        old = path.stat()
        os.chmod(temporary, old.st_mode & 0o777)  # noqa: PTH101 - beside chown, which pathlib has not by numbers
        if os.geteuid() == 0:
            os.chown(temporary, old.st_uid, old.st_gid)
