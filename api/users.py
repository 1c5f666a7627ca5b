"""The file of users for `auth_strategy = http_basic`: one line each, `name:hash[:project[:role,role]]`.

The first two fields are what `htpasswd -B` writes (bcrypt). A user without a project is in the service's default
project, one without roles is a `member`. Blank lines and those that begin with `#` are left alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from api.context import implied, role_names
from api.files import Watched, text_of

LONGEST_PASSWORD = 72
"""Bytes that bcrypt takes. Programs that silently cut what is longer make other passwords of it."""

_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""The salt has 128 bits, so that its last character is one of four; bcrypt raises for any other."""

_NAME = re.compile(r"[^\s:#,][^\s:,]{0,254}")
_MEMBER = frozenset({"member"})


class BadUsers(ValueError):
    """The file cannot be used; the text names it and the line."""


@dataclass(frozen=True, slots=True)
class User:
    """Who may ask: a name that is also the user's id, the bcrypt hash, the project's id, and lower-case roles with
    what they imply.
    """

    name: str
    hash: bytes
    project: str
    roles: frozenset[str]


def parse(text: str, default_project: str) -> dict[str, User]:
    """Read the lines of a file. Raises `ValueError` that begins with the number of the line."""
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            user = _user(line.strip(), default_project)
            if user.name in users:
                raise ValueError(f"the user {user.name} is there already")
        except ValueError as error:
            # Never the line itself: it may hold a password that somebody took for its hash.
            raise ValueError(f"line {number}: {error}") from None
        users[user.name] = user
    return users


def _user(line: str, default_project: str) -> User:
    name, *rest = line.split(":")
    if not 1 <= len(rest) <= 3:
        raise ValueError("a user is written name:hash[:project[:role,role]]")
    hashed, project, roles = rest + [""] * (3 - len(rest))
    for what, word in (("user", name), *([("project", project)] if project else [])):
        if not _NAME.fullmatch(word):
            raise ValueError(f"the name of the {what} has a character that it may not have, or is too long")
    if not _HASH.fullmatch(hashed):
        raise ValueError("the second field is no bcrypt hash (htpasswd -B makes them)")
    return User(name, hashed.encode(), project or default_project, implied(role_names(roles.split(",")) or _MEMBER))


def entry(name: str, password: str, project: str = "", roles: tuple[str, ...] = ()) -> str:
    """A line for the file. Raises `ValueError` for what cannot be written there."""
    raw = password.encode()
    if not 0 < len(raw) <= LONGEST_PASSWORD or b"\0" in raw:
        raise ValueError(f"a password has 1 to {LONGEST_PASSWORD} bytes, and none of them is NUL")
    fields = [name, bcrypt.hashpw(raw, bcrypt.gensalt()).decode(), project, ",".join(roles)]
    line = ":".join(fields).rstrip(":")
    for word in (name, project, *roles):
        if word and not _NAME.fullmatch(word):
            raise ValueError(f"{word!r} may not stand in a file of users")
    _user(line, "default")
    return line


class UsersFile:
    """The users as the file has them now: it is read again whenever it has changed."""

    def __init__(self, path: str, default_project: str) -> None:
        """Raises `BadUsers`."""
        self._default_project = default_project
        self._file = Watched(path, self._read)

    def users(self) -> Mapping[str, User]:
        """Every user by name."""
        return self._file.now()

    def _read(self, path: Path) -> dict[str, User]:
        text = text_of(path, "the file of users", BadUsers)
        try:
            return parse(text, self._default_project)
        except ValueError as error:
            raise BadUsers(f"the file of users {path}, {error}") from None
