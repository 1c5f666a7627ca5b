"""Databases to test against: SQLite files always, PostgreSQL from the tests' own server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.lock import ImportLock


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
