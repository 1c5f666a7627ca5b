"""Databases to test against: SQLite files always, PostgreSQL from the tests' own server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.lock import ImportLock


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with the schema in it."""
    url = f"sqlite:///{tmp_path / 'rows.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = Database(url, pool_size=20)
    made.create()
    yield made
    made.dispose()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    """A catalogue with leases in the database."""
    return Catalog(database, ImportLock(database, ttl=60.0))
