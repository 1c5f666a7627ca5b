"""The id of the request that a line of the log belongs to, from the API to the worker (http-api §1.3)."""

import contextvars
import logging
from collections.abc import Iterator
from contextlib import contextmanager

_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


def begin(request_id: str) -> None:
    """What this thread does from now on, it does for this request; empty: for none."""
    _request_id.set(request_id)


@contextmanager
def serving(request_id: str | None) -> Iterator[None]:
    """What is done within is done for this request."""
    before = _request_id.set(request_id or "")
    try:
        yield
    finally:
        _request_id.reset(before)


class RequestIds(logging.Filter):
    """Puts the id before the message, as `%(request)s`; nothing where no request is served."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Fill the record; it always passes."""
        request_id = _request_id.get()
        record.request = f"{request_id} " if request_id else ""
        return True
