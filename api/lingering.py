"""Refusals that are read: a client that is still sending its data looks for the answer only when it is done.

If the connection were closed on it at once, it would be told of a broken pipe instead of the reason (RFC 9112 §9.6).
"""

import contextlib
import time
from collections.abc import Iterator

import falcon

from api.bodies import has_body, set_patience

LINGER = 5.0
"""Seconds for which a refused body is still received, and thrown away; who is not done by then is cut off."""

_PIECE = 1 << 14
"""Bytes that a slow sender may take that long for, each: few."""


class Lingering:
    """Middleware: after an answer that came before the end of the body, receive the rest for a while."""

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        """The answer goes out first. What is left of the body afterwards, the server deals with."""
        if not req_succeeded and resp.data is not None and has_body(req):
            resp.stream, resp.content_length, resp.data = _Answer(resp.data, req), len(resp.data), None


class _Answer:
    """The answer's body as a WSGI server takes it, which closes it once it is sent."""

    def __init__(self, content: bytes, req: falcon.Request) -> None:
        self._content = content
        self._req = req

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    def close(self) -> None:
        """Receive the rest, to no purpose."""
        deadline = time.monotonic() + LINGER
        # Whatever is wrong with the rest, nobody wants it; the server sees it too, and drops the connection.
        with contextlib.suppress(Exception):
            while (left := deadline - time.monotonic()) > 0:
                set_patience(self._req, left)
                if not self._req.stream.read(_PIECE):
                    break
