"""`auth_strategy = keystone`: tokens, as keystonemiddleware validates them under `[keystone_authtoken]`.

Its middleware is asked as the WSGI application it is, around nothing: what it refuses becomes one of our own answers,
with the request's id and in the form that the client accepts, and what it knows becomes a `Context`.
"""

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import falcon

from api.context import Context, caller_of, role_names
from api.options import ApiOptions
from api.sections import PATIENCE, missing, reading

try:
    from keystoneauth1.exceptions import ClientException
    from keystonemiddleware.auth_token import AuthProtocol, list_opts
except ImportError as error:
    raise missing("[tranship] auth_strategy is keystone", error) from error

log = logging.getLogger(__name__)

SECTION = "keystone_authtoken"

_BINARY = ("memcache_sasl_enabled", "memcache_tls_enabled")
"""Options that need another client of memcached, which is looked for only when the first token comes."""


class KeystoneAuthentication:
    """Asks Keystone who holds a token."""

    def __init__(self, options: ApiOptions) -> None:
        """Raises `ValueError` when the section makes no sense. Keystone itself is not asked before it is needed."""
        self._middleware = _middleware(options.configuration)

    def __call__(self, req: falcon.Request, request_id: str) -> Context:
        """Return who sent the request; 401 without a token or for one that is not valid, 503 when Keystone is away."""
        answered = _Answered()
        try:
            self._middleware(req.env, answered)
        except ClientException as error:
            # Whatever Keystone's clients raise beside what the middleware knows: an endpoint that is not in the
            # catalogue, a certificate that is not trusted, our own password refused.
            log.error("Keystone cannot be asked: %s", error)
            raise _away() from error
        except Exception as error:
            # What they make of an answer that is not Keystone's, such as a page about its maintenance, has no class.
            log.error("what Keystone said cannot be used", exc_info=error)
            raise _away() from error
        if answered.status == 401:
            raise falcon.HTTPUnauthorized(
                description="The request you have made requires authentication.", challenges=answered.challenges
            )
        if answered.status != 200:
            raise _away()
        return _context(req.env, request_id)


class _Answered:
    """What a WSGI application is given to answer with; it keeps the status and who challenges."""

    def __init__(self) -> None:
        self.status = 0
        self.challenges: list[str] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], _info: object = None) -> Any:
        self.status = int(status[:3])
        self.challenges = [value for name, value in headers if name.lower() == "www-authenticate"]
        return lambda _data: None


def _passed(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


def _middleware(configuration: Any) -> Any:
    if configuration is None:
        raise ValueError(f"auth_strategy keystone reads a section [{SECTION}], and there is no configuration")
    for section, known in list_opts():
        configuration.register_opts(known, group=section)
    if not (configuration[SECTION].auth_type or configuration[SECTION].auth_section):
        raise ValueError(
            f"[{SECTION}] auth_type must be set (`password`, with auth_url, username, password and project_name, is "
            "what most clouds have)"
        )
    for option in _BINARY:
        if configuration[SECTION][option] and find_spec("bmemcached") is None:
            raise ValueError(f"[{SECTION}] {option} needs python-binary-memcached, which is not installed")
    configuration.set_default("http_connect_timeout", PATIENCE, group=SECTION)
    given = {
        "oslo_config_config": configuration,
        # Who may ask is decided here and now; put off, a Keystone that is away would look like a wrong token.
        "delay_auth_decision": False,
    }
    with reading(SECTION):
        return AuthProtocol(_passed, given)


def _context(environ: dict[str, Any], request_id: str) -> Context:
    """The caller, by what Keystone says of the tokens; not by headers, where one token's scope may hide the other's."""
    auth = environ["keystone.token_auth"]
    service = auth.service if environ.get("HTTP_X_SERVICE_IDENTITY_STATUS") == "Confirmed" else None
    system = auth.user.system if auth.user.system_scoped else {}
    return caller_of(
        auth.user.project_id,
        auth.user.user_id,
        role_names(auth.user.role_names),
        request_id,
        system_scope="all" if system.get("all") else None,
        service_roles=role_names(service.role_names) if service else frozenset(),
    )


def _away() -> falcon.HTTPError:
    return falcon.HTTPServiceUnavailable(
        description="Keystone, which says who may ask, cannot be asked at the moment.", retry_after=5
    )
