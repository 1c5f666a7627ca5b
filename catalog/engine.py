"""The database: how to reach it, how a transaction begins, whose clock counts, and how it is created from
`schema.sql`.
"""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from select import POLLIN, poll
from typing import Any, Literal, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Connection, create_engine, event, inspect, literal, select
from sqlalchemy.engine import URL, Engine, ExceptionContext, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from catalog import tables as t
from catalog.errors import BadValue, CatalogError, CatalogUnavailable, RuleBroken

SCHEMA_VERSION = 3
SECOND = 1_000_000
"""Times in rows are microseconds."""

LOCK_WAIT = 30.0
"""Seconds that a statement waits for somebody else's row (PostgreSQL) or write (SQLite), or a transaction for a
connection of the pool, before it is given up.
"""

IDLE_IN_TRANSACTION = 15.0
"""Seconds after which PostgreSQL ends the transaction of a client that fell silent within it (a paused worker), so
that those who wait for its rows get them within `LOCK_WAIT`.
"""

_KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds, seconds, times: an idle connection that something on the way has forgotten is closed, and so found out."""

Kind: TypeAlias = Literal["writes", "reads", "peeks"]

_EPOCH = datetime(1970, 1, 1)
_HERE = Path(__file__).parent


def isoformat(microseconds: int) -> str:
    """A row's time as users read it: `2026-11-22T10:00:00Z`."""
    return f"{(_EPOCH + timedelta(seconds=microseconds // SECOND)).isoformat()}Z"


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

    `skew` shifts this object's idea of the database's clock, in seconds: how tests let hours pass.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        parsed = _parsed(url)
        self.dialect = parsed.get_backend_name()
        self.label = parsed.render_as_string(hide_password=True)
        self.skew = 0.0
        if self.dialect == "sqlite":
            self._engine, self._begin = _sqlite(parsed, pool_size), _begin_sqlite
        else:
            self._engine, self._begin = _postgresql(parsed, pool_size), _begin_postgresql
        event.listen(self._engine, "handle_error", _refuse_values)

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

        Raises `RuleBroken` for a constraint or guard, `BadValue` for what a column cannot hold, and
        `CatalogUnavailable` when the database does not answer, all with everything undone.
        """
        with self._transaction("writes") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and never waits for a writer: all of it sees the same moment."""
        with self._transaction("reads") as connection:
            yield connection

    @contextmanager
    def peek(self) -> Iterator[Connection]:
        """For reading by one statement, which sees one moment by itself: no transaction is begun or ended around it."""
        with self._transaction("peeks") as connection:
            yield connection

    @contextmanager
    def _transaction(self, kind: Kind) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection, connection.begin():
                self._begin(connection, kind)
                yield connection
        except IntegrityError as error:
            raise RuleBroken(broken_rule(error)) from error
        except (DBAPIError, PoolExhausted) as error:
            if isinstance(error, ProgrammingError) and not error.connection_invalidated:
                raise  # a statement of ours is wrong, or the schema is missing: trying again cannot help
            raise CatalogUnavailable("the database does not answer") from error

    def dispose(self) -> None:
        """Close every pooled connection. A forked child calls it before its first use."""
        self._engine.dispose()

    # -- the schema

    def create(self) -> bool:
        """Load `schema.sql` and the guards; False when they are there already. All or nothing, also when two try at
        once.
        """
        script = _schema_text() + (_HERE / f"guards_{self.dialect}.sql").read_text()
        try:
            with self._engine.connect() as connection, connection.begin():
                self._begin(connection, "writes")
                connection.execution_options(no_parameters=True)
                return self._load(connection, script)
        except DBAPIError as error:
            raise CatalogUnavailable(f"[database] connection: {_first_line(error)}") from error

    def _load(self, connection: Connection, script: str) -> bool:
        if self.dialect == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('tranship.schema'))")
        if inspect(connection).has_table("schema_version"):
            return False
        for statement in _statements(script) if self.dialect == "sqlite" else [script]:
            connection.exec_driver_sql(statement)
        return True

    def check(self) -> None:
        """Raise `CatalogError` with a sentence to act on unless the schema is there and of this version."""
        try:
            with self.read() as connection:
                if not inspect(connection).has_table("schema_version"):
                    raise CatalogError("the database is empty: run `tranship db init` first")
                found = connection.execute(select(t.schema_version.c.version)).scalar()
        except (SQLAlchemyError, CatalogUnavailable) as error:
            raise CatalogUnavailable(f"[database] connection: {_first_line(error)}") from error
        if found != SCHEMA_VERSION:
            raise CatalogError(f"the database has schema version {found}, this program needs {SCHEMA_VERSION}")


def broken_rule(error: IntegrityError) -> str:
    """The name of what was violated: a constraint or guard of `schema.sql`; of a key, SQLite names only the columns."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        # A guard of ours has no name of its own in PostgreSQL's answer: its message is the name.
        return str(diagnosis.constraint_name or diagnosis.message_primary)
    return str(error.orig).partition("constraint failed: ")[2] or str(error.orig)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise CatalogError("[database] connection: this is no URL like postgresql://user@host/name") from None
    if parsed.drivername in ("postgresql", "postgresql+psycopg2"):
        # Which driver a bare `postgresql` means differs between versions of SQLAlchemy.
        return parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise CatalogError(f"[database] connection: only postgresql and sqlite are known, not {parsed.drivername}")
    return parsed


def _postgresql(url: URL, pool_size: int) -> Engine:
    limits = f"-c lock_timeout={LOCK_WAIT}s -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION}s"
    engine = create_engine(
        url,
        pool_size=pool_size,
        pool_timeout=LOCK_WAIT,
        # What the operator's URL says comes last and wins.
        connect_args={
            "connect_timeout": 5,
            "tcp_user_timeout": round(LOCK_WAIT * 1000),
            **_KEEPALIVES,
            **url.query,
            "options": f"{limits} {url.query.get('options', '')}".strip(),
        },
    )
    event.listen(engine, "checkout", _require_open)
    return engine


def _require_open(connection: Any, _record: object, _fairy: object) -> None:
    """Let the pool connect anew where the server is gone: to look at the socket costs nothing, a ping a round trip."""
    poller = poll()
    poller.register(connection.fileno(), POLLIN)
    if poller.poll(0):
        # Nobody asked for anything, so what there is to read can only be a goodbye.
        raise DisconnectionError


def _begin_postgresql(connection: Connection, kind: Kind) -> None:
    """Say how the transaction begins. The driver only notes it, and tells the server with the first statement."""
    driver: Any = connection.connection.dbapi_connection
    driver.autocommit = False
    if kind == "reads":
        driver.set_session(isolation_level="REPEATABLE READ", readonly=True)
    else:
        driver.set_session(isolation_level="DEFAULT", readonly="DEFAULT")
        driver.autocommit = kind == "peeks"


def _sqlite(url: URL, pool_size: int) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise CatalogError("[database] connection: an SQLite database needs a file, for several threads to share it")
    engine = create_engine(
        url,
        pool_size=pool_size,
        pool_timeout=LOCK_WAIT,
        connect_args={"timeout": LOCK_WAIT, "check_same_thread": False},
    )
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _refuse_values(context: ExceptionContext) -> None:
    """Drivers refuse a value in their own ways: NUL and lone surrogates in text, integers beyond 64 bits."""
    theirs = context.original_exception
    if isinstance(theirs, ValueError | OverflowError) or isinstance(context.sqlalchemy_exception, DataError):
        raise BadValue("A value is one that the database cannot hold: a NUL, half a character, or a number too large.")


def _tune_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # SQLAlchemy must not begin transactions by itself: `begin` chooses the kind.
    connection.isolation_level = None
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    # Where several make the file at once, SQLite refuses all but one of them on the spot, whatever its timeout says.
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.005))
        else:
            return


def _begin_sqlite(connection: Connection, kind: Kind) -> None:
    if kind == "reads":
        connection.exec_driver_sql("BEGIN")
    if kind != "writes":
        return
    # SQLite's own waiting backs off to a tenth of a second, so that among many writers one can go hungry for as long as
    # the others are busy. Asking at one steady rate gives everybody the same chance.
    deadline = time.monotonic() + LOCK_WAIT
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    try:
        while (refusal := _refusal(connection)) == sqlite3.SQLITE_BUSY and time.monotonic() < deadline:
            time.sleep(random.uniform(0.001, 0.005))
        if refusal:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={round(LOCK_WAIT * 1000)}")


def _refusal(connection: Connection) -> int:
    """Try to get the one write lock: SQLite's code for why not, or 0."""
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF
    return 0


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
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
