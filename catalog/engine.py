"""The database: how to reach it, how a transaction begins, whose clock counts, and how it is created from
`schema.sql`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, create_engine, event, inspect, literal, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from catalog import tables as t
from catalog.errors import CatalogError, CatalogUnavailable

SCHEMA_VERSION = 1
SECOND = 1_000_000
"""Times in rows are microseconds."""

_HERE = Path(__file__).parent


def isoformat(microseconds: int) -> str:
    """A row's time as users read it: `2026-11-22T10:00:00Z`."""
    return datetime.fromtimestamp(microseconds // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Now(FunctionElement[int]):
    """The database's clock in microseconds: it moves on within a transaction, as a lease must see it."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Now, "postgresql")
def _now_postgresql(element: _Now, compiler: Any, **kw: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


@compiles(_Now, "sqlite")
def _now_sqlite(element: _Now, compiler: Any, **kw: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"


class Database:
    """One database, reached by `url` (a SQLAlchemy URL, PostgreSQL or SQLite). Threads may share it; processes may not.

    `label` is the URL without its password. `skew` shifts this object's idea of the database's clock, in seconds: how tests let hours pass.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        parsed = _parse(url)
        self.dialect = parsed.get_backend_name()
        self.label = parsed.render_as_string(hide_password=True)
        self.skew = 0.0
        if self.dialect == "sqlite":
            self._engine = create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False})
            event.listen(self._engine, "connect", _tune_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            self._engine = create_engine(
                parsed, pool_size=pool_size, pool_pre_ping=True, connect_args={"connect_timeout": 5}
            )

    def now(self) -> ColumnElement[int]:
        """An SQL expression for this moment by the database's clock, in microseconds."""
        if self.skew:
            return _Now() + literal(round(self.skew * SECOND), BigInteger)
        return _Now()

    def after(self, seconds: float) -> ColumnElement[int]:
        """An SQL expression for `seconds` from now (or, negative, ago)."""
        return self.now() + literal(round(seconds * SECOND), BigInteger)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that may write: all or nothing. SQLite takes its one write lock at once, so none fails
        half-way.

        Raises `CatalogUnavailable` when the database does not answer; errors of constraints pass as `IntegrityError`.
        """
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and never waits for a writer."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as bare:
                connection = bare.execution_options(writes=writes)
                with connection.begin():
                    yield connection
        except (OperationalError, InterfaceError) as error:
            raise CatalogUnavailable("the database does not answer") from error

    def dispose(self) -> None:
        """Close every pooled connection. A forked child calls it before its first use."""
        self._engine.dispose()

    # -- the schema

    def create(self) -> bool:
        """Load `schema.sql` and the guards; False when they are there already. All or nothing, also when two try at
        once. Raises `CatalogUnavailable` when the database does not take it.
        """
        try:
            return self._create()
        except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
            raise CatalogUnavailable(f"[database] connection: {_first_line(error)}") from error

    def _create(self) -> bool:
        script = _schema_text() + (_HERE / f"guards_{self.dialect}.sql").read_text()
        raw = self._engine.raw_connection()
        try:
            cursor = raw.cursor()
            if self.dialect == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            else:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('tranship.schema'))")
            if self._has_schema(cursor):
                raw.rollback()
                return False
            for statement in _statements(script) if self.dialect == "sqlite" else [script]:
                cursor.execute(statement)
            raw.commit()
        finally:
            raw.close()
        return True

    def _has_schema(self, cursor: Any) -> bool:
        if self.dialect == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE name = 'schema_version'")
        else:
            cursor.execute("SELECT to_regclass('schema_version')")
        found = cursor.fetchone()
        return found is not None and found[0] is not None

    def check(self) -> None:
        """Raise `CatalogError` with a sentence to act on unless the schema is there and of this version."""
        try:
            with self.read() as connection:
                if not inspect(connection).has_table("schema_version"):
                    raise CatalogError("the database is empty: run `tranship db init` first")
                found = connection.execute(select(t.schema_version.c.version)).scalar_one()
        except (SQLAlchemyError, CatalogUnavailable) as error:
            raise CatalogUnavailable(f"[database] connection: {_first_line(error)}") from error
        if found != SCHEMA_VERSION:
            raise CatalogError(f"the database has schema version {found}, this program needs {SCHEMA_VERSION}")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            # The one driver that is installed, also for an URL that names none.
            parsed = parsed.set(drivername="postgresql+psycopg2")
        known = parsed.get_dialect().name in ("postgresql", "sqlite")
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise CatalogError(f"[database] connection: {_first_line(error)}") from error
    if not known:
        backend = parsed.get_backend_name()
        raise CatalogError(f"[database] connection: only postgresql and sqlite are known, not {backend!r}")
    return parsed


def _tune_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # SQLAlchemy must not begin transactions by itself: `begin` chooses the kind.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options()["writes"] else "BEGIN")


def _schema_text() -> str:
    """schema.sql lies beside this room, in a checkout and where a wheel is installed."""
    return (_HERE.parent / "schema.sql").read_text()


def _statements(script: str) -> Iterator[str]:
    """Cut an SQLite script where SQLite itself says that a statement is complete (a trigger holds semicolons)."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
