"""Who may ask: the strategy that `auth_strategy` names, chosen when the service starts.

A strategy tells who sent a request. Versions, health and the preflights of browsers are settled before it is asked.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import falcon

from api.context import Authenticate, Context, implied
from api.options import ApiOptions


def authenticator(options: ApiOptions) -> Authenticate:
    """Return what `auth_strategy` names. Raises `ValueError` when it is not known or cannot work as configured."""
    make = _STRATEGIES.get(options.auth_strategy)
    if make is None:
        known = ", ".join(_STRATEGIES)
        raise ValueError(f"[tranship] auth_strategy is {options.auth_strategy!r}; there are: {known}")
    authenticate = make(options)
    if make is _standalone or not options.allow_anonymous_access:
        return authenticate
    return _or_anonymous(authenticate)


def _standalone(options: ApiOptions) -> Authenticate:
    """Everybody is the administrator of the default project; a token is neither asked for nor looked at."""
    roles = implied(frozenset({"admin"}))

    def authenticate(_req: falcon.Request, request_id: str) -> Context:
        return Context(
            project=options.default_project,
            user=options.default_user,
            roles=roles,
            is_admin=True,
            request_id=request_id,
        )

    return authenticate


def _http_basic(options: ApiOptions) -> Authenticate:
    from api.basic import BasicAuthentication

    return BasicAuthentication(options)


def _keystone(options: ApiOptions) -> Authenticate:
    from api.keystone import KeystoneAuthentication

    return KeystoneAuthentication(options)


_STRATEGIES: Mapping[str, Callable[[ApiOptions], Authenticate]] = MappingProxyType(
    {"none": _standalone, "http_basic": _http_basic, "keystone": _keystone}
)


def _or_anonymous(authenticate: Authenticate) -> Authenticate:
    """Let those who show no credentials at all look at what is public; who shows wrong ones is still refused."""

    def authenticate_or_not(req: falcon.Request, request_id: str) -> Context:
        if any(req.get_header(name) for name in _CREDENTIALS):
            return authenticate(req, request_id)
        return Context(None, None, _LOOKING, is_admin=False, request_id=request_id, read_only=True)

    return authenticate_or_not


_LOOKING = frozenset({"reader"})
"""Without it, no rule lets anybody see anything, and the option that lets them in would be of no use."""

_CREDENTIALS = ("X-Auth-Token", "X-Storage-Token", "Authorization")
