"""What a refusal looks like: the status of every error code, and the three bodies of http-api §1.4."""

import html
import logging
from collections.abc import Mapping

import falcon
import msgspec
from falcon import mediatypes

from api.context import Context, line_of, request_id_of
from catalog.errors import CatalogError
from flows.errors import NotAdmitted, OverLimit, StagingError
from pipeline.errors import TransferError
from stores.errors import StoreError

log = logging.getLogger(__name__)

STATUSES: Mapping[str, int] = {
    "not_found": 404,
    "duplicate": 409,
    "conflict": 409,
    "protected": 403,
    "last_location": 403,
    "bad_marker": 400,
    "lock_held": 409,
    "catalog_unavailable": 503,
    "bad_import_request": 400,
    "image_not_ready": 409,
    "store_not_configured": 409,
    "location_quota": 413,
    "over_limit": 413,
    "limits_unknown": 503,
    "source_refused": 400,
    "uri_denied": 400,
    "store_unknown": 409,
    "store_read_only": 400,
    "object_in_use": 409,
    "store_unavailable": 503,
    "store_denied": 503,
    "store_full": 413,
    "formats_missing": 400,
    "format_mismatch": 415,
    "unsafe_image": 415,
    "source_broken": 400,
    "source_stalled": 408,
    "interrupted": 503,
    "too_big": 413,
    "upload_over": 410,
    "staging_full": 413,
    "staging_unavailable": 503,
}
"""`code` of an error of ours → HTTP status. A code that is not here is our own fault: 500, and its text stays here."""

_OURS = (CatalogError, NotAdmitted, StagingError, TransferError, StoreError)

_EXPLANATIONS: Mapping[int, str] = {
    404: "The resource could not be found.",
    405: "The method is not allowed for this resource.",
}

_HTML = """<html>
 <head>
  <title>{status}</title>
 </head>
 <body>
  <h1>{status}</h1>
  {explanation}<br /><br />
 </body>
</html>
"""


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Make `app` answer every error as http-api §1.4 says, and never with a trace."""
    app.set_error_serializer(serialize)
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(_OURS, _known)


def _known(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, object]) -> None:
    """Answer an error of ours by its code."""
    code = getattr(error, "code", "")
    if code not in STATUSES:
        _unexpected(req, resp, error, params)
    status = STATUSES[code]
    if status >= 500:
        log.error("%s: %s", line_of(req), error)
    raise falcon.HTTPError(status, description=_told(req, error)) from error


def _told(req: falcon.Request, error: Exception) -> str:
    """The text of an error of ours. Who copies the image of another project is not told how much that one uses."""
    who: Context | None = getattr(req.context, "caller", None)
    if not isinstance(error, OverLimit) or (who and (who.is_admin or who.project == error.project)):
        return str(error)
    return f"Project {error.project} would have more than it may."


def _unexpected(req: falcon.Request, _resp: falcon.Response, error: Exception, _params: dict[str, object]) -> None:
    """Log what nobody foresaw; the client gets the id to ask the operator about."""
    log.error("%s failed", line_of(req), exc_info=error)
    where = f"under {request_id_of(req)}" if request_id_of(req) else "at this time"
    raise falcon.HTTPInternalServerError(
        description=f"The service failed; its operator finds the reason in the log {where}."
    ) from error


def serialize(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Write `error` in the form that the request's `Accept` asks for."""
    status = falcon.code_to_http_status(error.status)
    code, _, title = status.partition(" ")
    explanation = error.description or _EXPLANATIONS.get(int(code), title)
    resp.append_header("Vary", "Accept")
    wanted = _form(req)
    if wanted == "text/html":
        resp.content_type = "text/html; charset=UTF-8"
        resp.data = _HTML.format(status=status, explanation=html.escape(explanation, quote=False)).encode()
    elif wanted == falcon.MEDIA_JSON:
        resp.content_type = falcon.MEDIA_JSON
        # Without the markup that Glance's template leaves behind the text: clients print it as it is.
        flat = {"message": explanation, "code": status, "title": title}
        resp.data = msgspec.json.encode(flat)
    else:
        resp.content_type = "text/plain; charset=UTF-8"
        resp.data = f"{status}\n\n{explanation}\n".encode()


def _form(req: falcon.Request) -> str:
    """The media type of the error body; empty for plain text."""
    accept = (req.get_header("Accept") or "").strip()
    if not accept:
        # An empty one is openstacksdk's, where it changes and sends: of plain text it would show nobody a word.
        return "text/html"
    try:
        return mediatypes.best_match(["text/html", falcon.MEDIA_JSON], accept)
    except ValueError:
        # It is no list of media types.
        return ""
