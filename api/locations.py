"""Where an image's data is: registered by services and owners, told to services (http-api §12)."""

import re
from collections.abc import Mapping
from typing import Any, Final

import falcon

from api import rights
from api.bodies import answer, no_body, read_object
from api.context import Context, caller
from api.image_view import located
from api.imports import accepted, requester
from api.validation import complaint
from flows.dispatch import Dispatcher
from flows.flow import ImportRequest
from flows.location_import import LOCATION_IMPORT
from flows.locations import settled
from flows.runtime import Runtime
from flows.submit import submit
from pipeline.uris import mask
from stores.registry import StoreRegistry

DIGITS: Final[Mapping[str, int]] = {"sha512": 128, "sha256": 64, "sha1": 40, "md5": 32}
"""Hex digits of each algorithm that may be named."""

_URL = {"type": "string", "maxLength": 255}
_HASH = ("os_hash_algo", "os_hash_value")
_WEB = re.compile(r"https?://", re.IGNORECASE)


class Locations:
    """`/v2/images/{image_id}/locations`."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Make data that is there already the image's: 202; a task looks at it first."""
        body = read_object(req)
        url, checksum = registration(body)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, LOCATION_IMPORT.rule)
        require_may_name(who, self._runtime.stores, url)
        request = ImportRequest(LOCATION_IMPORT.name, uri=url, checksum=checksum, body=body)
        submit(self._runtime, self._dispatcher, image, request, requester(who))
        accepted(resp)

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Where the data is, in the order in which it would be read: a bare array, for services."""
        no_body(req)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, "fetch_image_location")
        answer(resp, located(self._runtime.stores, settled(self._runtime, image)))


def require_may_name(who: Context, stores: StoreRegistry, url: str) -> None:
    """Raise a 403 unless `who` may choose this URL: as a user one on the web, of a store for such ones."""
    if rights.may_name_any_location(who):
        return
    place = stores.place_of(url)
    if not _WEB.match(url) or place is None or place[0] in stores.writable_ids():
        raise falcon.HTTPForbidden(
            description=f"'url' {mask(url)} is not that of an http store here; others are for services to name."
        )


def registration(body: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the URL in the body and the promised hash (`algorithm:hex`), if one is. Raises a 400 naming the field."""
    _require_known(body, ("url", "validation_data"), "")
    if "url" not in body:
        raise _bad("'url' is missing.")
    wrong = complaint("url", body["url"], _URL)
    if wrong or not body["url"]:
        raise _bad(wrong or "'url' is empty.")
    data = body.get("validation_data", {})
    if not isinstance(data, dict):
        raise _bad("'validation_data' must be an object.")
    _require_known(data, _HASH, "validation_data.")
    if not data:
        return body["url"], None
    for name in _HASH:
        if not isinstance(data.get(name), str):
            raise _bad(f"'validation_data.{name}' must be a string: both {' and '.join(_HASH)} are needed, or neither.")
    algorithm, value = data["os_hash_algo"], data["os_hash_value"].lower()
    if algorithm not in DIGITS:
        raise _bad(f"'validation_data.os_hash_algo' must be one of {', '.join(DIGITS)}.")
    if not re.fullmatch(rf"[0-9a-f]{{{DIGITS[algorithm]}}}", value):
        raise _bad(f"'validation_data.os_hash_value' must be {DIGITS[algorithm]} hex digits for {algorithm}.")
    return body["url"], f"{algorithm}:{value}"


def _require_known(holder: Mapping[str, Any], names: tuple[str, ...], within: str) -> None:
    for name in holder:
        if name not in names:
            raise _bad(f"'{within}{name}' is not known here.")


def _bad(text: str) -> falcon.HTTPError:
    return falcon.HTTPBadRequest(description=text)
