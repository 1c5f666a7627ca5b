"""Holds every answer that a test gets against the OpenAPI description: its status, its type, and its body."""

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import falcon
import jsonschema_rs
import msgspec

from api.app import App
from api.openapi import describe
from api.options import ApiOptions

_SEEN = "tests.documented"
_NOT_OF_A_CALL = frozenset({405, 501})
"""Answers to methods that are none of the path."""


def documented(app: App, options: ApiOptions) -> WSGIApplication:
    """Return `app`, which now raises `AssertionError` for an answer that its description does not have."""
    app.add_middleware(_Watch())
    if options not in _known:
        _known[options] = Description(describe(app, options))
    told = _known[options]

    def checked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answered = app(environ, start_response)
        if _SEEN in environ:
            told.require(*environ[_SEEN])
        return answered

    return checked


class _Watch:
    """Middleware: notes what was answered to which call."""

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool) -> None:
        req.env[_SEEN] = (req.method, req.uri_template, resp.status_code, resp.content_type, resp.data)


class Description:
    """A description, and what it takes to hold an answer against it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._paths = told["paths"]
        self._components = told["components"]
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def require(self, method: str, path: str | None, status: int, media: str | None, body: bytes | None) -> None:
        """Raise an `AssertionError` unless the call answers like this. A 500 of ours is what tests provoke."""
        if path is None or method == "OPTIONS" or status in _NOT_OF_A_CALL:
            return
        answers = self._paths[path][method.lower()]["responses"]
        if status == 500 and "500" not in answers:
            return
        assert str(status) in answers, f"{method} {path} does not tell of {status}"
        answer = answers[str(status)]
        if "$ref" in answer:
            answer = self._components["responses"][answer["$ref"].rpartition("/")[2]]
        if "content" not in answer:
            assert not body, f"{method} {path} does not tell of a body with {status}"
        elif body is not None:
            kind = (media or "").partition(";")[0]
            assert kind in answer["content"], f"{method} {path} does not tell of {kind} with {status}"
            if kind == falcon.MEDIA_JSON:
                self._require_shape(answer["content"][kind]["schema"]["$ref"], body)

    def _require_shape(self, component: str, body: bytes) -> None:
        if component not in self._validators:
            schema = {"$ref": component, "components": self._components}
            self._validators[component] = jsonschema_rs.Draft202012Validator(schema)
        wrong = [error.message for error in self._validators[component].iter_errors(msgspec.json.decode(body))]
        assert not wrong, f"no {component}: {wrong}"


_known: dict[ApiOptions, Description] = {}
