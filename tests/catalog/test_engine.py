"""The database itself: its clock, its transactions, its silence, and what it says when it cannot be used."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from catalog import engine as module
from catalog import tables as t
from catalog.catalog import Catalog
from catalog.engine import SCHEMA_VERSION, SECOND, Database, isoformat
from catalog.errors import BadValue, CatalogError, CatalogUnavailable, RuleBroken
from catalog.fenced import Fenced
from catalog.leases import Claim
from catalog.lock import ImportLock
from tests.catalog.rows import entered, importing, new_image
from tests.servers import PostgresServer, wait_until


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server to stop."""
    with PostgresServer() as server:
        yield server


class TestClock:
    """Times are the database's, in microseconds."""

    def test_real_and_monotone(self, database: Database) -> None:
        """Given the clock, when it is read again and again, then it never goes back and is the time of day."""
        before = time.time() * SECOND
        with database.read() as connection:
            read = [connection.execute(select(database.now())).scalar_one() for _ in range(200)]
        assert read == sorted(read)
        assert before - SECOND < read[0]
        assert read[-1] < time.time() * SECOND + SECOND

    def test_moves_within_a_transaction(self, database: Database) -> None:
        """Given an open transaction, when time passes, then its clock sees it: a lease must run out there too."""
        with database.begin() as connection:
            first = connection.execute(select(database.now())).scalar_one()
            assert wait_until(lambda: connection.execute(select(database.now())).scalar_one() > first, 5)

    def test_after_and_skew(self, database: Database) -> None:
        """Given a distance, when it is added, then it is exact to the microsecond that the clock shows."""
        with database.read() as connection:
            now, later, ago = connection.execute(
                select(database.now(), database.after(1.5), database.after(-2.25))
            ).one()
            assert abs(later - now - 1.5 * SECOND) < 50_000
            assert abs(now - ago - 2.25 * SECOND) < 50_000
            database.skew = 3600.0
            skewed = connection.execute(select(database.now())).scalar_one()
        assert 3600 * SECOND <= skewed - now < 3602 * SECOND

    def test_isoformat(self) -> None:
        """Given microseconds, then users read whole seconds in UTC."""
        assert isoformat(1_795_342_800_999_999) == "2026-11-22T10:20:00Z"


class TestTransactions:
    """All or nothing; readers and writers leave each other alone."""

    def test_an_error_undoes_everything(self, database: Database) -> None:
        """Given a change that was half made, when an error passes, then nothing of it is there."""

        def half() -> None:
            with database.begin() as connection:
                connection.execute(update(t.schema_version).values(version=7))
                raise KeyError

        with pytest.raises(KeyError):
            half()
        database.check()

    def test_reading_neither_waits_nor_sees_half(self, database: Database) -> None:
        """Given a writer in mid change, when another reads, then it is answered at once with how it was before."""
        with database.begin() as writing:
            writing.execute(update(t.schema_version).values(version=7))
            with database.read() as reading:
                assert reading.execute(select(t.schema_version.c.version)).scalar_one() == SCHEMA_VERSION
        with database.read() as reading:
            assert reading.execute(select(t.schema_version.c.version)).scalar_one() == 7

    def test_reading_sees_one_moment(self, database: Database) -> None:
        """Given a reader between two statements, when somebody commits, then the second sees what the first saw.

        Else an image could be shown active, from before it was deleted, and without locations, from after.
        """
        with database.read() as reading:
            assert reading.execute(select(t.schema_version.c.version)).scalar_one() == SCHEMA_VERSION
            with database.begin() as writing:
                writing.execute(update(t.schema_version).values(version=7))
            assert reading.execute(select(t.schema_version.c.version)).scalar_one() == SCHEMA_VERSION

    def test_writing_after_reading(self, database: Database) -> None:
        """Given a pooled connection that has read, when it next writes, then it may: its kind went with its use."""
        for _ in range(30):
            with database.read() as connection:
                connection.execute(select(t.schema_version)).all()
            with database.peek() as connection:
                connection.execute(select(t.schema_version)).all()
            with database.begin() as connection:
                connection.execute(update(t.schema_version).values(version=1))

    def test_reading_after_peeking(self, database: Database) -> None:
        """Given a pooled connection that has peeked, or written, when it next reads, then it sees one moment again."""
        for before in (database.peek, database.begin):
            with before() as connection:
                connection.execute(select(t.schema_version)).all()
            self.test_reading_sees_one_moment(database)
            with database.begin() as connection:
                connection.execute(update(t.schema_version).values(version=SCHEMA_VERSION))

    def test_peeking_leaves_no_transaction(self, postgres_url: str) -> None:
        """Given a peek that is not over, then the server has nothing open for it, and it sees what others commit."""
        database = Database(postgres_url)
        database.create()
        version, state = select(t.schema_version.c.version), text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
        with database.peek() as peeking:
            pid = peeking.execute(text("SELECT pg_backend_pid()")).scalar_one()
            assert peeking.execute(version).scalar_one() == SCHEMA_VERSION
            with database.begin() as writing:
                assert writing.execute(state, {"pid": pid}).scalar_one() == "idle"
                writing.execute(update(t.schema_version).values(version=7))
            assert peeking.execute(version).scalar_one() == 7
        database.dispose()

    @pytest.mark.parametrize("text", ["", "größer 図 🖼", "'; DROP TABLE images; --", "a\nb\tc", "e\u0301", "\u202e"])
    def test_text_comes_back_as_it_was(self, catalog: Catalog, text: str) -> None:
        """Given any text, when it is a name, a property and a tag, then it is read as it was written."""
        image_id = new_image(catalog, name=text, properties={text: text}, tags=(text,))
        with catalog.read() as tx:
            image = tx.images.get(image_id)
        assert (image.name, image.properties, image.tags) == (text, {text: text}, (text,))


class TestRefusals:
    """Errors are ours."""

    def test_half_a_character(self, database: Database) -> None:
        """Given text that no driver can send, when it is written or looked for, then it is a `BadValue`."""
        self._refused(database, "half \ud83d")

    def test_a_nul(self, postgres_url: str) -> None:
        """Given a NUL, which SQLite does keep, when it is to go into PostgreSQL, then it is a `BadValue`."""
        database = Database(postgres_url)
        database.create()
        self._refused(database, "nul \0")
        database.dispose()

    @staticmethod
    def _refused(database: Database, value: str) -> None:
        with pytest.raises(BadValue), database.begin() as connection:
            connection.execute(insert(t.image_tags).values(image_id="i", tag=value))
        with pytest.raises(BadValue), database.read() as connection:
            connection.execute(select(t.images).where(t.images.c.name == value))

    def test_a_number_too_large(self, catalog: Catalog) -> None:
        """Given a number beyond 64 bits, when it is a column's, then it is a `BadValue`."""
        with pytest.raises(BadValue):
            new_image(catalog, min_disk=1 << 63)

    def test_a_rule(self, catalog: Catalog) -> None:
        """Given a broken rule, then the error is ours, and names it."""
        with pytest.raises(RuleBroken, match="image_visibility") as refusal:
            new_image(catalog, visibility="everyone")
        assert (refusal.value.rule, refusal.value.code, refusal.value.transient) == (
            "image_visibility",
            "rule_broken",
            False,
        )

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("mysql://h/glance", "only postgresql and sqlite are known, not mysql"),
            ("postgresql+asyncpg://h/glance", "not postgresql"),
            ("no url", "no URL"),
            ("sqlite://", "needs a file"),
            ("sqlite:///:memory:", "needs a file"),
        ],
    )
    def test_a_url_that_makes_no_sense(self, url: str, says: str) -> None:
        """Given such a URL, then the sentence names the option and what is expected."""
        with pytest.raises(CatalogError, match=rf"\[database\] connection: .*{says}"):
            Database(url)

    def test_a_bare_postgresql_url(self, postgres_url: str) -> None:
        """Given a URL that names no driver, as most do, then the one that is installed is used."""
        database = Database(postgres_url.replace("+psycopg2", ""))
        assert database.create()
        database.check()
        database.dispose()


class TestCheck:
    """What an operator reads when the database cannot be used."""

    def test_empty(self, database_url: str) -> None:
        """Given a database without our tables, then the sentence says which command makes them."""
        with pytest.raises(CatalogError, match="tranship db init") as refusal:
            Database(database_url).check()
        assert not refusal.value.transient

    @pytest.mark.parametrize("versions", [[1], []])
    def test_another_version(self, database: Database, versions: list[int]) -> None:
        """Given the tables of another version, then the sentence names both."""
        with database.begin() as connection:
            connection.execute(t.schema_version.delete())
            for version in versions:
                connection.execute(insert(t.schema_version).values(version=version))
        with pytest.raises(CatalogError, match=f"this program needs {SCHEMA_VERSION}") as refusal:
            database.check()
        assert not refusal.value.transient

    def test_no_such_directory(self, tmp_path: Path) -> None:
        """Given a file in no directory, then SQLite's own reason is told, for both checking and creating."""
        database = Database(f"sqlite:///{tmp_path / 'none' / 'x.db'}")
        for act in (database.check, database.create):
            with pytest.raises(CatalogUnavailable, match=r"\[database\] connection: unable to open database file"):
                act()

    def test_another_file(self, tmp_path: Path) -> None:
        """Given a file that is no database, then it says so and is left alone."""
        (tmp_path / "x.db").write_text("shopping list " * 100)
        database = Database(f"sqlite:///{tmp_path / 'x.db'}")
        for act in (database.check, database.create):
            with pytest.raises(CatalogUnavailable, match="not a database"):
                act()
        assert (tmp_path / "x.db").read_text() == "shopping list " * 100

    def test_nobody_there(self) -> None:
        """Given a port without a server, then checking and creating tell the address."""
        database = Database("postgresql://u:secret@127.0.0.1:1/x")
        for act in (database.check, database.create):
            with pytest.raises(CatalogUnavailable, match=r"127\.0\.0\.1") as refusal:
                act()
            assert "secret" not in str(refusal.value)


class TestSilence:
    """A database that is away, and clients that fall silent."""

    def test_stopped_and_back(self, own_postgres: PostgresServer) -> None:
        """Given a server that is killed, then every use says `CatalogUnavailable`; when it is back, all work again."""
        database = Database(own_postgres.create_database())
        database.create()
        catalog = Catalog(database, ImportLock(database))
        image_id = new_image(catalog)

        def interrupted() -> None:
            with catalog.begin() as tx:
                own_postgres.kill()
                tx.images.get(image_id)

        with pytest.raises(CatalogUnavailable):
            interrupted()
        for _ in range(2):
            with pytest.raises(CatalogUnavailable) as refusal, catalog.read() as tx:
                tx.images.get(image_id)
            assert refusal.value.transient
        with pytest.raises(CatalogUnavailable):
            catalog.lock.enter("t", 0, "w")
        own_postgres.restart()
        with catalog.read() as tx:
            assert tx.images.get(image_id).status == "queued"
        database.dispose()

    def test_restarted_between_two_uses(self, own_postgres: PostgresServer) -> None:
        """Given pooled connections whose server was restarted, when they are next used, then nobody notices."""
        database = Database(own_postgres.create_database())
        database.create()
        with ExitStack() as at_once:
            for _ in range(4):
                at_once.enter_context(database.read()).execute(select(t.schema_version)).all()
        own_postgres.restart()
        with ExitStack() as at_once:
            for use in (database.peek, database.read, database.begin, database.peek):
                at_once.enter_context(use()).execute(select(t.schema_version)).all()
        database.dispose()

    def test_a_writer_that_never_ends(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given somebody who keeps a row, when another wants it, then it waits and is told to come again."""
        monkeypatch.setattr(module, "LOCK_WAIT", 0.3)
        database = Database(database_url)
        database.create()
        with database.begin() as first:
            first.execute(update(t.schema_version).values(version=SCHEMA_VERSION))
            with pytest.raises(CatalogUnavailable), database.begin() as second:
                second.execute(update(t.schema_version).values(version=9))
        database.check()
        database.dispose()

    def test_a_paused_holder_lets_go(self, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a worker paused within a fenced change, when its lease is over, then another gets in regardless."""
        monkeypatch.setattr(module, "IDLE_IN_TRANSACTION", 0.5)
        database = Database(postgres_url)
        database.create()
        catalog = Catalog(database, ImportLock(database, ttl=1.0))
        image_id, task_id = importing(catalog)
        paused, found = entered(catalog, task_id), list[Claim]()

        def write_after_a_pause(tx: Fenced) -> None:
            assert wait_until(lambda: not catalog.lock.keeper.alive(image_id, paused.fence), 20)
            # The other waits for our row until the server ends our transaction.
            other = threading.Thread(target=lambda: found.append(entered(catalog, task_id, worker="other")))
            other.start()
            other.join(20)
            tx.set_target("a", "copying")

        with pytest.raises(CatalogUnavailable), catalog.fenced(paused) as tx:
            write_after_a_pause(tx)
        assert [claim.owner for claim in found] == ["other"]
        with catalog.read() as reading:
            assert reading.tasks.get(task_id).targets[0].state == "pending"
        database.dispose()

    def test_more_threads_than_connections(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a pool that is used up, when one more asks, then it waits for so long and is told to come again."""
        monkeypatch.setattr(module, "LOCK_WAIT", 0.2)
        database = Database(database_url, pool_size=1)
        database.create()
        with ExitStack() as busy, pytest.raises(CatalogUnavailable):
            list(map(busy.enter_context, (database.read() for _ in range(50))))
        database.check()
        database.dispose()
