"""On whose behalf a request runs, and under which id: decided once, before an endpoint sees the request."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import falcon

from api.options import ApiOptions

REQUEST_ID = "X-OpenStack-Request-ID"

_LONGEST_ID = 64
_ID = re.compile(r"[A-Za-z0-9._:~-]+")


@dataclass(frozen=True, slots=True)
class Context:
    """The caller: project and user ids (None where there is none), lower-case role names, and the id of the request."""

    project: str | None
    user: str | None
    roles: frozenset[str]
    is_admin: bool
    request_id: str


Authenticate: TypeAlias = Callable[[falcon.Request, str], Context]
"""Tells who sent a request, given its id; raises a `falcon.HTTPError` (401) for nobody."""


def authenticator(options: ApiOptions) -> Authenticate:
    """Return what `auth_strategy` names. Raises `ValueError` for a strategy that is not known."""
    if options.auth_strategy != "none":
        raise ValueError(f"auth_strategy: only none is known, not {options.auth_strategy!r}")
    return _standalone(options)


def _standalone(options: ApiOptions) -> Authenticate:
    """Everybody is the administrator of the default project; a token is neither asked for nor looked at."""

    def authenticate(_req: falcon.Request, request_id: str) -> Context:
        return Context(
            project=options.default_project,
            user=options.default_user,
            roles=frozenset({"admin"}),
            is_admin=True,
            request_id=request_id,
        )

    return authenticate


class Contexts:
    """Middleware: gives every request below `/v2` its id and its caller, and refuses what is no request at all."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Set `req.context.caller` and answer with the request's id, also when the request is refused."""
        if not req.path.startswith("/v2/"):
            return
        given = (req.get_header(REQUEST_ID) or "").strip()
        request_id = _normal(given)
        resp.set_header(REQUEST_ID, request_id)
        if len(given) > _LONGEST_ID:
            raise falcon.HTTPError(
                falcon.HTTP_431, description=f"The header {REQUEST_ID} is longer than {_LONGEST_ID} characters."
            )
        _check_form(req)
        req.context.caller = self._authenticate(req, request_id)


def caller(req: falcon.Request) -> Context:
    """Return who sent the request. Only for endpoints below `/v2`."""
    who: Context = req.context.caller
    return who


def _normal(given: str) -> str:
    """The id to work under: the client's with `req-` in front, or a new one where that is unfit for a header."""
    if len(given) > _LONGEST_ID or not _ID.fullmatch(given):
        return f"req-{uuid.uuid4()}"
    return given if given.startswith("req-") else f"req-{given}"


def _check_form(req: falcon.Request) -> None:
    if req.method not in falcon.COMBINED_METHODS:
        raise falcon.HTTPNotImplemented(description=f"There is no method {req.method}.")
    if not req.path.isascii():
        try:
            # Falcon has put replacement characters where the bytes are no UTF-8.
            req.env["PATH_INFO"].encode("latin-1").decode()
        except UnicodeDecodeError:
            raise falcon.HTTPBadRequest(description="The path is not UTF-8.") from None
    if "\0" in req.path:
        raise falcon.HTTPBadRequest(description="The path holds a NUL character.")
