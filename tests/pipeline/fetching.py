"""How the tests of HttpSource fetch: a guard that lets loopback pass, and ways to read to the end or to the error."""

import random

import pytest

from flows.policy import UriPolicy, UriRules
from pipeline.errors import (
    SourceError,
)
from pipeline.sources import HttpOptions, HttpSource
from pipeline.uris import CheckedUri

BODY = random.Random(1).randbytes(3_000_000)
QUICK = HttpOptions(connect_timeout=5, idle_timeout=20, backoff_base=0.01, backoff_cap=0.02, resume_attempts=3)


class Open:
    """A guard that lets loopback pass on any port, and remembers the addresses it was asked about."""

    def __init__(self, *refused_hosts: str) -> None:
        ports = tuple(range(1, 65536))
        self._policy = UriPolicy(
            UriRules(allowed_ports=ports, allowed_networks=("127.0.0.0/8",), disallowed_hosts=refused_hosts)
        )
        self.addresses: list[tuple[str, str]] = []

    def check_uri(self, uri: str) -> CheckedUri:
        return self._policy.check_uri(uri)

    def check_address(self, host: str, ip: str) -> None:
        self.addresses.append((host, ip))
        self._policy.check_address(host, ip)


def fetch(url: str, options: HttpOptions = QUICK, guard: Open | None = None) -> bytes:
    source = HttpSource(url, guard or Open(), options)
    with source.open() as chunks:
        return b"".join(chunks)


def failing(url: str, options: HttpOptions = QUICK, guard: Open | None = None) -> tuple[bytes, SourceError]:
    """Read until the error; return what came before it, and it."""
    got: list[bytes] = []
    with pytest.raises(SourceError) as caught, HttpSource(url, guard or Open(), options).open() as chunks:
        got.extend(chunks)
    return b"".join(got), caught.value
