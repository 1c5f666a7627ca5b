"""SQLite with several processes at once, in WAL mode (issue: schema)."""

import multiprocessing
import sqlite3
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.lock import ImportLock
from tests.catalog.rows import imported


class TestManyProcesses:
    """SQLite in WAL mode serves several processes (issue: schema)."""

    PROCESSES = 16
    ROUNDS = 6

    def test_nobody_is_told_that_it_is_locked(self, tmp_path: Path) -> None:
        """Given sixteen processes that open, read and write one file at once, then none fails or loses a write."""
        url = f"sqlite:///{tmp_path / 'shared.db'}"
        apart = multiprocessing.get_context("forkserver")  # a fork of ours would inherit the locks of our threads
        gate, answers = apart.Barrier(self.PROCESSES), apart.Queue()
        children = [
            apart.Process(target=_read_and_write, args=(url, self.ROUNDS, gate, answers)) for _ in range(self.PROCESSES)
        ]
        for child in children:
            child.start()
        said = [answers.get(timeout=90) for _ in children]
        for child in children:
            child.join()
        assert said == ["fine"] * self.PROCESSES
        database = Database(url)
        with database.read() as connection:
            counts = [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (t.images, t.tasks, t.locations)
            ]
        database.dispose()
        assert counts == [self.PROCESSES * self.ROUNDS] * 3

    def test_a_file_that_somebody_else_is_making(self, tmp_path: Path) -> None:
        """Given another's first write to a new file, when we open it, then we wait: SQLite itself refuses on the
        spot.
        """
        path = tmp_path / "new.db"
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("CREATE TABLE theirs (x)")
        other.execute("BEGIN IMMEDIATE")
        done = threading.Timer(0.3, other.rollback)
        done.start()
        database = Database(f"sqlite:///{path}")
        assert database.create()
        done.join()
        other.close()
        database.dispose()

    def test_write_ahead_and_durable(self, tmp_path: Path) -> None:
        """Given a connection, then its settings are those that make this safe."""
        database = Database(f"sqlite:///{tmp_path / 'x.db'}")
        with database.read() as connection:
            settings = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        database.dispose()
        assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
        with sqlite3.connect(tmp_path / "x.db") as raw:
            assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        raw.close()


def _read_and_write(url: str, rounds: int, gate: Any, answers: Any) -> None:
    gate.wait()
    try:
        for _ in range(rounds):
            database = Database(url)
            database.create()
            catalog = Catalog(database, ImportLock(database))
            image_id, _task = imported(catalog)
            with catalog.read() as tx:
                assert tx.images.get(image_id).status == "active"
            database.dispose()
    except Exception as error:  # noqa: BLE001 - the parent judges
        answers.put(f"{error!r} from {error.__cause__!r}")
    else:
        answers.put("fine")
