"""Fixtures shared by all rooms: real servers, started when a test first asks for one and stopped at the end.

A server, program or file that is not installed skips the test with the command that installs it. Under `make test` and
in continuous integration (TRANSHIP_REQUIRE_SERVERS=1 or CI=true) the test fails instead: nothing is skipped
silently there.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.servers import (
    KeystoneServer,
    MemcachedServer,
    NginxServer,
    PostgresServer,
    RabbitServer,
    RedisServer,
    Server,
    ServerMissing,
    SwiftServer,
)

AnyServer = TypeVar("AnyServer", bound=Server)
Found = TypeVar("Found")


def servers_required() -> bool:
    """Whether a missing server program is a failure here."""
    return os.environ.get("TRANSHIP_REQUIRE_SERVERS") == "1" or os.environ.get("CI") == "true"


def installed(get: Callable[[], Found]) -> Found:
    """What `get` returns; fails or skips the test when it raises `ServerMissing`."""
    try:
        return get()
    except ServerMissing as missing:
        if servers_required():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


def started(server: AnyServer) -> AnyServer:
    """`server`, started; fails or skips the test when its program is missing."""
    return installed(server.start)


@pytest.fixture(scope="session", autouse=True)
def _no_eventlet() -> Iterator[None]:
    """Hide what only Swift's own process needs: libraries that find it use it, and then no test may fork."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "eventlet", None)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL of this run. A test that stops or freezes a server starts one of its own instead."""
    with started(PostgresServer()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis of this run."""
    with started(RedisServer()) as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[RabbitServer]:
    """The RabbitMQ of this run; it takes some seconds to start."""
    with started(RabbitServer()) as server:
        yield server


@pytest.fixture(scope="session")
def swift_server() -> Iterator[SwiftServer]:
    """The S3 server of this run."""
    with started(SwiftServer()) as server:
        yield server


@pytest.fixture(scope="session")
def keystone_server() -> Iterator[KeystoneServer]:
    """The Keystone of this run. A test that stops it starts one of its own instead."""
    with started(KeystoneServer()) as server:
        yield server


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[MemcachedServer]:
    """The memcached of this run."""
    with started(MemcachedServer()) as server:
        yield server


@pytest.fixture
def s3_bucket(swift_server: SwiftServer) -> str:
    """A new, empty bucket on the S3 server; `swift_server.options(s3_bucket)` is a store's section for it."""
    return swift_server.create_bucket()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty PostgreSQL database as a SQLAlchemy URL; gone after the test."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis."""
    redis_server.flushall()
    return redis_server.url


@pytest.fixture
def rabbit_url(rabbit_server: RabbitServer) -> str:
    """A new, empty virtual host on RabbitMQ."""
    return rabbit_server.create_vhost()


@pytest.fixture
def nginx() -> Iterator[Callable[..., NginxServer]]:
    """Starts an nginx that serves a folder: `nginx(folder, rate=bytes_per_second)`; stopped at the end."""
    with ExitStack() as running:

        def serve(root: Path, rate: int | None = None) -> NginxServer:
            return running.enter_context(started(NginxServer(root, rate)))

        yield serve
