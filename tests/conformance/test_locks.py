"""`LockContract` over both databases and every lease keeper, and what only a Redis can do to its keeper."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fakeredis
import pytest
import redis

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.errors import LockLost
from catalog.lock import DatabaseLeaseKeeper, ImportLock, LeaseKeeper, RedisLeaseKeeper, lease_keeper
from tests.catalog.rows import importing
from tests.conformance.lock_contract import LockContract
from tests.conftest import started
from tests.servers import RedisServer


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with the schema in it."""
    url = f"sqlite:///{tmp_path / 'rows.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = Database(url, pool_size=20)
    made.create()
    yield made
    made.dispose()


class TestDatabaseLeases(LockContract):
    """Expiry in the lock row."""

    @pytest.fixture
    def keeper(self, database: Database) -> Callable[[], LeaseKeeper]:
        """Each has its own, as each worker has."""
        return lambda: DatabaseLeaseKeeper(database)


class TestFakeRedisLeases(LockContract):
    """Expiry in a Redis that lives in this process."""

    @pytest.fixture
    def keeper(self, database: Database) -> Callable[[], LeaseKeeper]:
        """All share one server."""
        server = fakeredis.FakeServer()
        return lambda: RedisLeaseKeeper(fakeredis.FakeRedis(server=server), database)


@pytest.mark.e2e
class TestRedisLeases(LockContract):
    """Expiry in a real Redis."""

    @pytest.fixture
    def keeper(self, database: Database, redis_url: str) -> Callable[[], LeaseKeeper]:
        """All share one server."""
        return lambda: RedisLeaseKeeper(redis.Redis.from_url(redis_url), database)


class TestRedisTroubles:
    """Redis is believed only as far as nothing hangs on it."""

    @pytest.fixture
    def server(self) -> fakeredis.FakeServer:
        """The Redis to trouble."""
        return fakeredis.FakeServer()

    @pytest.fixture
    def catalog(self, database: Database, server: fakeredis.FakeServer) -> Catalog:
        """A catalogue with its leases there."""
        keeper = RedisLeaseKeeper(fakeredis.FakeRedis(server=server), database)
        return Catalog(database, ImportLock(database, keeper, ttl=60.0))

    def test_emptied_in_mid_import(self, catalog: Catalog, server: fakeredis.FakeServer) -> None:
        """Given a running attempt, when Redis loses everything, then the next renewal puts the lease back."""
        image_id, task_id = importing(catalog)
        claim = catalog.lock.enter(task_id, 0, "w")
        assert claim is not None
        fakeredis.FakeRedis(server=server).flushall()
        assert not catalog.lock.keeper.alive(image_id, claim.fence)
        catalog.lock.renew(claim)
        assert catalog.lock.keeper.alive(image_id, claim.fence)
        with catalog.fenced(claim) as tx:
            tx.advance({})

    def test_emptied_and_taken_over(self, catalog: Catalog, database: Database, server: fakeredis.FakeServer) -> None:
        """Given Redis emptied, when another enters before the first renews, then the first is shut out by the fence."""
        _, task_id = importing(catalog)
        first = catalog.lock.enter(task_id, 0, "first")
        assert first is not None
        fakeredis.FakeRedis(server=server).flushall()
        database.skew = 3600.0  # the row's expiry, which this keeper does not renew, is long past
        other = ImportLock(database, RedisLeaseKeeper(fakeredis.FakeRedis(server=server), database))
        second = other.enter(task_id, 0, "second")
        assert second is not None
        with pytest.raises(LockLost):
            catalog.lock.renew(first)
        with pytest.raises(LockLost), catalog.fenced(first) as tx:
            tx.advance({})
        with Catalog(database, other).fenced(second) as tx:
            tx.advance({})

    def test_down_in_mid_import(self, catalog: Catalog, server: fakeredis.FakeServer) -> None:
        """Given a running attempt, when Redis is unreachable, then the database keeps the lease and nobody else gets
        in.
        """
        image_id, task_id = importing(catalog)
        claim = catalog.lock.enter(task_id, 0, "w")
        assert claim is not None
        server.connected = False
        catalog.lock.renew(claim)
        assert catalog.lock.keeper.alive(image_id, claim.fence)
        assert catalog.lock.enter(task_id, 0, "other") is None
        with catalog.fenced(claim) as tx:
            tx.advance({})
        catalog.lock.keeper.drop(claim)

    def test_down_while_data_flows(self, catalog: Catalog, database: Database, server: fakeredis.FakeServer) -> None:
        """Given an old attempt that writes progress, when Redis goes down, then nobody takes a live import over."""
        _, task_id = importing(catalog)
        claim = catalog.lock.enter(task_id, 0, "w")
        assert claim is not None
        database.skew = 50.0
        with catalog.fenced(claim) as tx:
            tx.progress("downloading", 1, None, {})
        database.skew = 100.0  # past the expiry that the row got on entering
        server.connected = False
        assert catalog.lock.enter(task_id, 0, "other") is None

    def test_down_and_taken_over(self, catalog: Catalog, database: Database, server: fakeredis.FakeServer) -> None:
        """Given Redis down and an attempt silent for long, when another enters, then the first hears it on renewal."""
        _, task_id = importing(catalog)
        first = catalog.lock.enter(task_id, 0, "first")
        assert first is not None
        server.connected = False
        database.skew = 3600.0
        second = catalog.lock.enter(task_id, 0, "second")
        assert second is not None
        with pytest.raises(LockLost):
            catalog.lock.renew(first)
        catalog.lock.renew(second)

    @pytest.mark.e2e
    @pytest.mark.parametrize("trouble", ["kill", "pause"])
    def test_a_real_one_in_trouble(self, database: Database, trouble: str) -> None:
        """Given a Redis that is dead or hangs, then an attempt goes on within seconds; so when it is back."""
        with started(RedisServer()) as redis_server:
            lock = ImportLock(database, lease_keeper(database, redis_server.url), ttl=60.0)
            catalog = Catalog(database, lock)
            image_id, task_id = importing(catalog)
            claim = lock.enter(task_id, 0, "w")
            assert claim is not None
            began = time.monotonic()
            if trouble == "kill":
                redis_server.kill()
            else:
                redis_server.pause()
            lock.renew(claim)
            assert lock.enter(task_id, 0, "other") is None
            with catalog.fenced(claim) as tx:
                tx.progress("downloading", 1, None, {})
            assert time.monotonic() - began < 15
            if trouble == "kill":
                redis_server.restart()
            else:
                redis_server.resume()
            lock.renew(claim)
            assert lock.keeper.alive(image_id, claim.fence)
            with catalog.fenced(claim) as tx:
                tx.advance({})
            lock.keeper.drop(claim)

    def test_the_row_alone_does_not_end_a_lease(self, catalog: Catalog, database: Database) -> None:
        """Given a lease in Redis, when the row's expiry is long past, then nobody gets in and the holder may write."""
        _, task_id = importing(catalog)
        claim = catalog.lock.enter(task_id, 0, "w")
        assert claim is not None
        database.skew = 3600.0
        assert catalog.lock.enter(task_id, 0, "other") is None
        with catalog.fenced(claim) as tx:
            tx.advance({})
