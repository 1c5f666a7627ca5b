"""Bodies of requests and answers: JSON in, JSON out, and nothing where nothing belongs (http-api §1.3)."""

from typing import Any

import falcon
import msgspec

LARGEST_BODY = 4 << 20
"""Bytes of JSON that are read at most; 128 properties of 16 KiB fit."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def has_body(req: falcon.Request) -> bool:
    """Whether the request announces a body; a Content-Length of 0 announces none."""
    return req.env.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in req.env


def no_body(req: falcon.Request) -> None:
    """Refuse a body where none belongs, whatever its type."""
    if has_body(req):
        raise falcon.HTTPBadRequest(description="A body is not expected with this request.")


def read_object(req: falcon.Request) -> dict[str, Any]:
    """Return the JSON object in the body. Whatever else is there is a 400, an overlong body a 413."""
    body = _read_json(req)
    if not isinstance(body, dict):
        raise falcon.HTTPBadRequest(description="The body must be a JSON object.")
    return body


def read_array(req: falcon.Request) -> list[Any]:
    """Return the JSON array in the body. Whatever else is there is a 400, an overlong body a 413."""
    body = _read_json(req)
    if not isinstance(body, list):
        raise falcon.HTTPBadRequest(description="The body must be a JSON array.")
    return body


def answer(resp: falcon.Response, content: object) -> None:
    """Answer with `content` as JSON."""
    resp.data = _encoder.encode(content)
    resp.content_type = falcon.MEDIA_JSON


class Fixed:
    """An endpoint whose answer never changes while the service runs: encoded once."""

    def __init__(self, content: object) -> None:
        self._body = _encoder.encode(content)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the content."""
        no_body(req)
        resp.data = self._body
        resp.content_type = falcon.MEDIA_JSON


def _read_json(req: falcon.Request) -> object:
    raw = _read(req)
    if not raw:
        raise falcon.HTTPBadRequest(description="Body expected in request.")
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise falcon.HTTPBadRequest(description=f"The body is not JSON: {error}") from error


def _read(req: falcon.Request) -> bytes:
    length = req.content_length
    if length is None and "HTTP_TRANSFER_ENCODING" not in req.env:
        return b""
    if (length or 0) > LARGEST_BODY:
        raise _too_large()
    # A chunked body has its own end, which the server sees; asking for one byte more tells an overlong one.
    raw = _received(req, LARGEST_BODY + 1 if length is None else length)
    if len(raw) > LARGEST_BODY:
        raise _too_large()
    if length is not None and len(raw) < length:
        raise falcon.HTTPBadRequest(description=f"The body ends after {len(raw)} of {length} bytes.")
    return raw


def _received(req: falcon.Request, count: int) -> bytes:
    """Read the body: what goes wrong with that comes of the client, in whatever words the server has for it."""
    try:
        raw: bytes = req.stream.read(count)
    except (BlockingIOError, TimeoutError) as error:
        raise falcon.HTTPError(falcon.HTTP_408, description="Nothing came of the body for too long.") from error
    except Exception as error:
        raise falcon.HTTPBadRequest(description="The body broke off, or is not framed as HTTP wants it.") from error
    return raw


def _too_large() -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(description=f"The body is larger than {LARGEST_BODY} bytes.")
