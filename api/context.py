"""On whose behalf a request runs, and under which id: decided once, before an endpoint sees the request."""

import logging
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import quote

import falcon

from api.policy import DEFAULTS, Policy, Rules
from flows import traces

log = logging.getLogger(__name__)

REQUEST_ID = "X-OpenStack-Request-ID"

RANKS = ("admin", "manager", "member", "reader")
"""What implies what, as a cloud's Keystone has it from its beginning."""

_PREFIX = "req-"
_LONGEST_ID = 64
"""Characters of an id at most, without the prefix: clients ask on with the id of an answer, which has it."""

_ID = re.compile(r"[A-Za-z0-9._:~-]+")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Context:
    """The caller: project and user ids (None where there is none), lower-case role names, and the id of the request.

    `system_scope` is `all` for a token of the whole system, `service_roles` are those of the service that asks on the
    user's behalf, and who is `read_only` may look at what is public and change nothing. `rules` are those that the
    request is judged by, from its beginning to its end.
    """

    project: str | None
    user: str | None
    roles: frozenset[str]
    is_admin: bool
    request_id: str
    system_scope: str | None = None
    service_roles: frozenset[str] = frozenset()
    read_only: bool = False
    rules: Rules = field(default=DEFAULTS, repr=False, compare=False)

    def to_policy_values(self) -> dict[str, object]:
        """The credentials under the names that the rules of OpenStack's policies know."""
        return {
            "project_id": self.project,
            "user_id": self.user,
            # As files of older clouds have them.
            "tenant": self.project,
            "user": self.user,
            "roles": sorted(self.roles),
            "is_admin": self.is_admin,
            "system_scope": self.system_scope,
            "service_roles": sorted(self.service_roles),
        }


Authenticate: TypeAlias = Callable[[falcon.Request, str], Context]
"""Tells who sent a request, given its id; raises a `falcon.HTTPError` (401) for nobody."""


def role_names(names: Iterable[str]) -> frozenset[str]:
    """Roles as they are compared: in lower case (http-api §1.2)."""
    return frozenset(name.strip().lower() for name in names if name.strip())


def implied(roles: frozenset[str]) -> frozenset[str]:
    """With the roles that these imply: each of `RANKS` those that follow."""
    highest = next((n for n, role in enumerate(RANKS) if role in roles), len(RANKS))
    return roles.union(RANKS[highest:])


def caller_of(
    project: str | None,
    user: str | None,
    roles: frozenset[str],
    request_id: str,
    *,
    system_scope: str | None = None,
    service_roles: frozenset[str] = frozenset(),
) -> Context:
    """Who these roles make of a user: the role `admin`, on whatever project, makes an administrator (http-api §1.2).

    Who has no project and is none owns nothing, and would otherwise make images that belong to nobody and are seen by
    everybody. (Another rule `context_is_admin` has its say in `judged`.)
    """
    is_admin = "admin" in roles
    return Context(
        project=project or None,
        user=user or None,
        roles=roles,
        is_admin=is_admin,
        request_id=request_id,
        system_scope=system_scope,
        service_roles=service_roles,
        read_only=not project and not is_admin,
    )


def judged(who: Context, rules: Rules) -> Context:
    """`who` under these rules, of which `context_is_admin` says who is an administrator; who is nobody never is."""
    if rules is who.rules:
        return who
    if rules.is_default("context_is_admin") or (who.user is None and who.project is None):
        return replace(who, rules=rules)
    values = who.to_policy_values()
    is_admin = rules.allows("context_is_admin", values, values)
    return replace(who, rules=rules, is_admin=is_admin, read_only=not who.project and not is_admin)


class Contexts:
    """Middleware: gives every request below `/v2` its id and its caller, and refuses what is no request at all."""

    def __init__(self, authenticate: Authenticate, policy: Policy) -> None:
        self._authenticate = authenticate
        self._policy = policy

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Set `req.context.caller` and answer with the request's id, also when the request is refused."""
        if not req.path.startswith("/v2/"):
            traces.begin("")
            return
        given = (req.get_header(REQUEST_ID) or "").strip()
        request_id = _normal(given)
        traces.begin(request_id)
        req.context.request_id = request_id
        resp.set_header(REQUEST_ID, request_id)
        if _is_overlong(given):
            raise falcon.HTTPError(
                falcon.HTTP_431, description=f"The header {REQUEST_ID} is longer than {_LONGEST_ID} characters."
            )
        _check_form(req)
        who = judged(self._authenticate(req, request_id), self._policy.rules())
        req.context.caller = who
        if who.read_only and req.method not in _READING:
            raise falcon.HTTPForbidden(description="Read-only access")

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool) -> None:
        """Tell the log of every request that may have changed something, and who sent it."""
        if req.method in _READING or not req.path.startswith("/v2/"):
            return
        who: Context | None = getattr(req.context, "caller", None)
        by = f"{who.user} of {who.project}" if who else "nobody"
        log.info("%s by %s: %s", line_of(req), by, resp.status_code)


def caller(req: falcon.Request) -> Context:
    """Return who sent the request. Only for endpoints below `/v2`."""
    who: Context = req.context.caller
    return who


def request_id_of(req: falcon.Request) -> str:
    """The id of the request, also before it is known who sent it; empty outside `/v2`."""
    given: str = getattr(req.context, "request_id", "")
    return given


def line_of(req: falcon.Request) -> str:
    """Method and path for a line of the log; what a client puts there begins no line of its own."""
    return f"{req.method} {quote(req.path)}"


def _normal(given: str) -> str:
    """The id to work under: the client's with `req-` in front, or a new one where that is unfit for a header."""
    if _is_overlong(given) or not _ID.fullmatch(given.removeprefix(_PREFIX)):
        return f"{_PREFIX}{uuid.uuid4()}"
    return given if given.startswith(_PREFIX) else f"{_PREFIX}{given}"


def _is_overlong(given: str) -> bool:
    return len(given.removeprefix(_PREFIX)) > _LONGEST_ID


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
