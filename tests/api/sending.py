"""Sending data for an image: bodies of known length, chunked ones, and ones that do something on the way."""

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from falcon import testing

from tests.api.service import Service

DATA = bytes(range(256)) * 8
OCTETS = {"Content-Type": "application/octet-stream"}
NO_MORE: Mapping[str, str] = MappingProxyType({})


def put(
    service: Service, image: str, body: bytes = DATA, headers: Mapping[str, str] = NO_MORE, *, to: str = "stage"
) -> testing.Result:
    """Send a body whose length is known."""
    return service.client.simulate_put(f"/v2/images/{image}/{to}", body=body, headers={**OCTETS, **headers})


def put_chunked(
    service: Service, image: str, stream: Any, headers: Mapping[str, str] = NO_MORE, *, to: str = "stage"
) -> testing.Result:
    """Send a body that only its end ends."""
    return service.client.simulate_put(
        f"/v2/images/{image}/{to}",
        headers={**OCTETS, **headers},
        extras={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": stream},
    )


def show(service: Service, image: str) -> dict[str, Any]:
    """The image as its owner sees it."""
    shown: dict[str, Any] = service.client.simulate_get(f"/v2/images/{image}").json
    return shown


class Body(io.RawIOBase):
    """A body that does something after its first bytes."""

    def __init__(self, then: Callable[[], bytes], first: bytes = DATA) -> None:
        self._first = first
        self._then = then

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or self._then()


def raising(error: Exception) -> Callable[[], bytes]:
    """What such a body does when it breaks."""

    def then() -> bytes:
        raise error

    return then
