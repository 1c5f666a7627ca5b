"""What this service serves, told as OpenAPI 3.1: the application's routes with what `api/calls.py` says of them."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, TypeAlias

import falcon
import msgspec
from falcon import inspect

from api.bodies import LARGEST_BODY, answer
from api.calls import CALLS, HTML, JSON, TEXT, WORDS, Answer, Call
from api.context import REQUEST_ID
from api.errors import STATUSES
from api.options import ApiOptions
from api.page import page
from api.parameters import HEADERS, PARAMETERS, in_path
from api.rules import RULES
from api.shapes import components
from api.versions import CURRENT, base_url

App: TypeAlias = falcon.App[falcon.Request, falcon.Response]

AHEAD_OF_ROUTES: Final = ("GET /", "GET /versions")
"""Calls that `api/versions.py` answers before a route is looked for."""

_MAX_AGE: Final = 300
"""Seconds for which a description may be kept: it changes only when the service is started anew."""

_PATH_ERROR: Final = "The path or the query is not UTF-8 or holds a NUL, or there is a body where none belongs."
_BODY_ERROR: Final = "The body is missing, or is not what is described here."
_COMMON: Final[Mapping[int, str]] = {
    431: f"The header {REQUEST_ID} is longer than 64 characters.",
    503: "The service cannot answer at the moment.",
}
_SCHEMES: Final[Mapping[str, dict[str, Any]]] = {
    "none": {},
    "http_basic": {"password": {"type": "http", "scheme": "basic"}},
    "keystone": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
}


def calls_of(app: App) -> list[str]:
    """Every call that the application answers, written as method and path."""
    routes = inspect.inspect_routes(app)
    routed = [f"{one.method} {route.path}" for route in routes for one in route.methods if not one.internal]
    return [*AHEAD_OF_ROUTES, *routed]


def describe(app: App, options: ApiOptions) -> dict[str, Any]:
    """Return the description of `app`, without its `servers`."""
    schemes = _SCHEMES[options.auth_strategy]
    served = set(calls_of(app))
    calls = {name: call for name, call in CALLS.items() if name in served}
    paths: dict[str, dict[str, Any]] = {}
    for name, call in calls.items():
        method, path = name.split()
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, call, asks=bool(schemes))
    groups = dict.fromkeys(call.group for call in CALLS.values())
    security: list[dict[str, list[str]]] = [{scheme: []} for scheme in schemes]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tranship",
            "version": CURRENT.removeprefix("v"),
            "summary": "OpenStack's Image API v2 before import and copy workers that survive a crash",
        },
        "tags": [{"name": group} for group in groups],
        "security": [*security, {}] if options.allow_anonymous_access else security,
        "paths": paths,
        "components": {
            "schemas": components(options),
            "responses": {"Refusal": _refusal()},
            "securitySchemes": schemes,
        },
    }


class OpenApi:
    """`/openapi.json`, and `/docs` for people: open to everybody, and encoded once but for the URL of the service."""

    def __init__(self, app: App, options: ApiOptions) -> None:
        self._app = app
        self._options = options

    @cached_property
    def _description(self) -> dict[str, Any]:
        # When it is asked for, and not before: by then all routes are there, these two included.
        return describe(self._app, self._options)

    @cached_property
    def _encoded(self) -> dict[str, msgspec.Raw]:
        return {name: msgspec.Raw(msgspec.json.encode(part)) for name, part in self._description.items()}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The description, with the URL at which the client has reached it."""
        answer(resp, self._encoded | {"servers": [{"url": base_url(req, self._options)}]})
        resp.cache_control = (f"max-age={_MAX_AGE}",)

    def on_get_page(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The same to look at."""
        resp.text = page(self._description, base_url(req, self._options))
        resp.content_type = "text/html; charset=UTF-8"
        resp.cache_control = (f"max-age={_MAX_AGE}",)
        resp.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")


def _operation(method: str, path: str, call: Call, *, asks: bool) -> dict[str, Any]:
    """One call; `asks` tells that it is asked who calls."""
    ours = path.startswith("/v2/")
    takes = [*call.takes, REQUEST_ID] if ours else call.takes
    parameters = [in_path(name) for name in re.findall(r"{(\w+)}", path)]
    parameters += [parameter for name in takes for parameter in PARAMETERS[name]]
    told = {
        "tags": [call.group],
        "summary": call.summary,
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path)]),
        "parameters": parameters,
        "responses": _responses(method, path, call, asks=asks),
        "x-policy-rules": _deciding(method, path),
    }
    if not ours:
        told["security"] = []
    if call.body:
        content = {media: {"schema": _reference(schema)} for media, schema in call.body.items()}
        if call.example is not None:
            next(iter(content.values()))["example"] = call.example
        # Data may well be of no bytes; JSON may not.
        told["requestBody"] = {"required": call.example is not None, "content": content}
    return told


def _responses(method: str, path: str, call: Call, *, asks: bool) -> dict[str, Any]:
    done = {str(status): _success(said, ours=path.startswith("/v2/")) for status, said in call.answers.items()}
    refused = _refusals(method, path, call, asks=asks) if path.startswith("/v2/") else {}
    return done | {
        str(status): {"$ref": "#/components/responses/Refusal", "description": " ".join(dict.fromkeys(says))}
        for status, says in sorted(refused.items())
    }


def _refusals(method: str, path: str, call: Call, *, asks: bool) -> dict[int, list[str]]:
    """Every status that refuses, with its meanings: those of the call itself first."""
    meanings: dict[int, list[str]] = {}

    def add(status: int, says: str) -> None:
        meanings.setdefault(status, []).append(says)

    for status, says in call.refusals.items():
        add(status, says)
    for code in call.codes:
        add(STATUSES[code], WORDS[code])
    json = call.example is not None
    add(400, _BODY_ERROR if json else _PATH_ERROR)
    if json:
        add(408, WORDS["source_stalled"])
        add(413, f"The body is longer than {LARGEST_BODY} bytes.")
    if asks:
        add(401, "Nobody is known by these credentials, or there are none.")
    if decides := [f"`{rule}`" for rule in _deciding(method, path)]:
        add(403, f"The caller may not: {', '.join(decides)}.")
    for status, says in _COMMON.items():
        if status not in meanings:
            add(status, says)
    return meanings


def _deciding(method: str, path: str) -> list[str]:
    """The policy rules that decide about a call. Those that no call has decide within others."""
    call = {"method": method, "path": path}
    return [name for name, rule in RULES.items() if call in getattr(rule, "operations", ())]


def _success(said: Answer, *, ours: bool) -> dict[str, Any]:
    names = [*said.headers, REQUEST_ID] if ours else said.headers
    told: dict[str, Any] = {"description": said.says}
    if names:
        told["headers"] = {name: HEADERS[name] for name in names}
    if said.schema:
        told["content"] = {said.media: {"schema": _reference(said.schema)}}
    return told


def _refusal() -> dict[str, Any]:
    """What every refusal looks like: the form is that of the request's `Accept` (http-api §1.4)."""
    schemas = {HTML: "Text", JSON: "Refusal", TEXT: "Text"}
    return {
        "description": "Why not, as text or JSON by the request's `Accept`",
        "content": {media: {"schema": _reference(schema)} for media, schema in schemas.items()},
    }


def _reference(component: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{component}"}
