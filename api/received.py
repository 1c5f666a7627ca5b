"""Bodies that are data of an image: checked by their headers, then handed on as they come (http-api §5.1, §5.3)."""

import contextlib
import socket

import falcon

from api.bodies import has_body
from pipeline.errors import SourceBroken, SourceStalled
from pipeline.received import ReceivedSource

MEDIA_TYPE = "application/octet-stream"
SIZE = "x-openstack-image-size"


def require_data(req: falcon.Request) -> int | None:
    """Return how many bytes of data are announced, None for a chunked body that says nothing.

    By RFC 9112 §6.3 a request without any framing has no bytes, which is as good as any other number of them. Raises
    415 for another media type, whose parameters are left alone, and 400 for sizes that make no sense.
    """
    kind = (req.content_type or "").partition(";")[0].strip()
    if kind.lower() != MEDIA_TYPE:
        sent = f"not as {kind}" if kind else "and the request has no Content-Type"
        raise falcon.HTTPUnsupportedMediaType(description=f"The data must be sent as {MEDIA_TYPE}, {sent}.")
    chunked = has_body(req) and not req.content_length
    framed = None if chunked else req.content_length or 0
    text = req.get_header(SIZE)
    if text is None:
        return framed
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise falcon.HTTPBadRequest(description=f"The header {SIZE} is no number of bytes: {text!r}")
    if framed is not None and framed != int(text):
        raise falcon.HTTPBadRequest(description=f"The header {SIZE} says {text} bytes, but the body has {framed}.")
    return int(text)


def data_of(req: falcon.Request, size: int | None, *, patience: float) -> ReceivedSource:
    """Return the body as a source of `size` bytes, whose sender may be silent for `patience` seconds."""
    set_patience(req, patience)
    received = 0

    def read(count: int) -> bytes:
        nonlocal received
        try:
            piece: bytes = req.stream.read(count)
        except TimeoutError as error:
            raise SourceStalled(f"Nothing came for {patience:g} seconds after at least {received} bytes.") from error
        except Exception as error:
            raise SourceBroken(f"The body broke off after at least {received} bytes.") from error
        received += len(piece)
        return piece

    return ReceivedSource(read, size, lambda: _end_reading(req))


def _end_reading(req: falcon.Request) -> None:
    """Let a read of the body end at once, where the server shows us its socket. The answer can still be sent."""
    connection = req.env.get("gunicorn.socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)


def set_patience(req: falcon.Request, seconds: float) -> None:
    """Let a read of the body, or a write of the answer, fail when nothing moves for so long (0: for ever), where the
    server shows us its socket.
    """
    connection = req.env.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(seconds or None)
