"""`auth_strategy = http_basic`: users and passwords of our own, for a service that stands alone (RFC 7617)."""

import base64
import binascii
import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import bcrypt
import falcon

from api.context import Context, caller_of
from api.options import ApiOptions
from api.users import LONGEST_PASSWORD, BadUsers, User, UsersFile

CHALLENGE = 'Basic realm="tranship", charset="UTF-8"'

REMEMBERED = 60.0
"""Seconds for which a password need not be hashed again: bcrypt is made to take a tenth of a second."""

_MOST = 4096
"""Answers that are remembered at most, right ones and wrong ones."""


class BasicAuthentication:
    """Knows the users of a file."""

    def __init__(self, options: ApiOptions) -> None:
        """Raises `ValueError` when there is no file, or one that makes no sense."""
        if not options.http_basic_auth_user_file:
            raise BadUsers("[DEFAULT] http_basic_auth_user_file must be set when auth_strategy is http_basic")
        self._file = UsersFile(options.http_basic_auth_user_file, options.default_project)
        self._passwords = Passwords()

    def __call__(self, req: falcon.Request, request_id: str) -> Context:
        """Return who sent the request; 401 for everybody else, whatever the reason."""
        name, password = _credentials(req)
        user = self._passwords.verified(self._file.users(), name, password)
        if user is None:
            raise _unauthorized("The user or the password is wrong.")
        return caller_of(user.project, user.name, user.roles, request_id)


class Passwords:
    """Compares passwords, and remembers for a while how that ended: keyed by a digest, never by the password.

    A user that does not exist costs as much time as one that does.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()
        self._guard = threading.Lock()
        # One request computes what the same one beside it waits for; others are kept waiting only by chance.
        self._turns = [threading.Lock() for _ in range(64)]

    def verified(self, users: Mapping[str, User], name: str, password: bytes) -> User | None:
        """Return the user of that name if the password is right."""
        user = users.get(name)
        hashed = user.hash if user else self._decoy(users, name)
        digest = self._digest(name.encode(), hashed, password)
        with self._turns[digest[0] % len(self._turns)]:
            right = self._remembered(digest)
            if right is None:
                right = _matches(password, hashed)
                self._remember(digest, right)
        return user if right and user else None

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            digest.update(len(part).to_bytes(8) + part)
        return digest.digest()

    def _decoy(self, users: Mapping[str, User], name: str) -> bytes:
        """A hash that nothing matches, as dear as that of a user who exists, and for one name always the same."""
        if not users:
            return _NOBODY
        others = list(users.values())
        chosen = int.from_bytes(self._digest(name.encode())[:8]) % len(others)
        return others[chosen].hash[:29] + _NOBODY[29:]

    def _remembered(self, digest: bytes) -> bool | None:
        with self._guard:
            until, right = self._known.get(digest, (0.0, False))
            return right if self._clock() < until else None

    def _remember(self, digest: bytes, right: bool) -> None:
        with self._guard:
            self._known[digest] = (self._clock() + REMEMBERED, right)
            self._known.move_to_end(digest)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


_NOBODY = b"$2b$12$" + b"." * 53


def _matches(password: bytes, hashed: bytes) -> bool:
    # Hashed all the same, so that the length tells nothing of who exists.
    return bcrypt.checkpw(password[:LONGEST_PASSWORD], hashed) and len(password) <= LONGEST_PASSWORD


def _credentials(req: falcon.Request) -> tuple[str, bytes]:
    """The name and the password of the header; 401 without it, or for one that is malformed."""
    scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        raise _unauthorized("The service asks for a user and a password.")
    try:
        name, colon, password = base64.b64decode(given.strip(), validate=True).partition(b":")
        if not colon or b"\0" in password:
            raise ValueError
        return name.decode(), password
    except (binascii.Error, ValueError):
        raise _unauthorized("The header Authorization is malformed.") from None


def _unauthorized(why: str) -> falcon.HTTPError:
    return falcon.HTTPUnauthorized(description=why, challenges=[CHALLENGE])
