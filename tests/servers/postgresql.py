"""PostgreSQL for tests."""

import atexit
import shutil
import signal
import tempfile
import textwrap
from pathlib import Path
from typing import ClassVar

import psycopg2

from tests.servers.places import LOOPBACK, find_program
from tests.servers.process import Server


class PostgresServer(Server):
    """PostgreSQL without fsync: fast, keeps what it committed through a `kill`, but not through a power cut.

    `create_database()` gives a new, empty database as a SQLAlchemy URL.
    """

    name = "postgresql"
    stop_signal = signal.SIGINT  # fast shutdown: open connections are closed
    not_ready = (psycopg2.OperationalError,)
    account = "postgres"

    _PLACES = ("/usr/lib/postgresql/*/bin",)
    _SETTINGS = """
        fsync = off
        full_page_writes = off
        max_connections = 200
        dynamic_shared_memory_type = mmap
        shared_buffers = 64MB
        log_min_messages = warning
        timezone = UTC
    """
    _template: ClassVar[Path | None] = None
    """A fresh data folder, made once per test run: copying it takes a tenth of what making it takes."""

    def __init__(self) -> None:
        super().__init__()
        self._databases = 0

    def _prepare(self) -> None:
        if PostgresServer._template is None:
            PostgresServer._template = self._make_template()
        self._give_away(self.home)
        self._run(["cp", "--archive", "--reflink=auto", str(self._template), "data"])

    def _make_template(self) -> Path:
        initdb = find_program("initdb", "postgresql", self._PLACES)
        parent = Path(tempfile.mkdtemp(prefix="tranship-postgresql-template-"))
        atexit.register(shutil.rmtree, parent)
        self._give_away(parent)
        options = ["--username=tranship", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run([initdb, *options, f"--pgdata={parent / 'data'}"], cwd=parent)
        with (parent / "data" / "postgresql.conf").open("a") as config:
            config.write(textwrap.dedent(self._SETTINGS))
        return parent / "data"

    def _command(self) -> list[str]:
        postgres = find_program("postgres", "postgresql", self._PLACES)
        return [postgres, "-D", "data", "-h", LOOPBACK, "-p", str(self.port), "-k", str(self.home)]

    def _greet(self) -> None:
        self._execute("SELECT 1")

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(
            host=LOOPBACK, port=self.port, user="tranship", dbname="postgres", connect_timeout=5
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def create_database(self) -> str:
        """A new, empty database; returns its URL, `postgresql+psycopg2://…`."""
        self._databases += 1
        database = f"test_{self._databases}"
        self._execute(f"CREATE DATABASE {database} TEMPLATE template0")
        return f"postgresql+psycopg2://tranship@{LOOPBACK}:{self.port}/{database}"

    def drop_database(self, url: str) -> None:
        """Remove a database that `create_database` made, also from under its users."""
        self._execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
