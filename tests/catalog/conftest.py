"""Databases to test against: SQLite files always, PostgreSQL from the tests' own server."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import fakeredis
import pytest
from sqlalchemy import text

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.leases import lease_keeper
from catalog.lock import ImportLock
from tests.catalog.at_once import Beside
from tests.catalog.rows import LONG, StoppedClock
from tests.servers import wait_until

T = TypeVar("T")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the schema in it."""
    made = Database(database_url, pool_size=20)
    made.create()
    yield made
    made.dispose()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    """A catalogue with leases in the database."""
    return Catalog(database, ImportLock(database, ttl=60.0))


@pytest.fixture(params=["rows", "redis"])
def redis_server(request: pytest.FixtureRequest) -> fakeredis.FakeServer | None:
    """The Redis that keeps the leases of `stopped`; None where the rows do."""
    return fakeredis.FakeServer() if request.param == "redis" else None


@pytest.fixture
def stopped(database_url: str, redis_server: fakeredis.FakeServer | None) -> Iterator[Catalog]:
    """A catalogue by a clock that stands still, with leases that never end by themselves, under each of the keepers."""
    database = StoppedClock(database_url, pool_size=20)
    database.create()
    client = fakeredis.FakeRedis(server=redis_server) if redis_server else None
    yield Catalog(database, ImportLock(database, lease_keeper(database, None, client), ttl=LONG))
    database.dispose()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Catalog]:
    """A catalogue on PostgreSQL, where statements really run side by side."""
    database = Database(postgres_url, pool_size=20)
    database.create()
    yield Catalog(database, ImportLock(database, ttl=60.0))
    database.dispose()


@pytest.fixture
def beside(postgres: Catalog) -> Iterator[Beside]:
    """One more thread."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as pool:

        def start(act: Callable[[], T]) -> "Future[T]":
            doing = pool.submit(act)

            def waits() -> bool:
                with postgres.database.read() as connection:
                    return doing.done() or bool(connection.execute(waiting).scalar_one())

            assert wait_until(waits, 10)
            assert not doing.done(), "it did not wait"
            return doing

        yield start
