"""The wired objects of one process, built once from the settings. Nothing else builds them, and nothing is global."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from pipeline.decompress import ExpansionLimit
from pipeline.sources import HttpOptions
from pipeline.taps import FormatRules
from stores.registry import StoreRegistry

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.lock import DatabaseLeaseKeeper, ImportLock, LeaseKeeper, RedisLeaseKeeper
from flows.options import ImportOptions, LeaseOptions
from flows.policy import UriPolicy

if TYPE_CHECKING:
    from settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """What steps and requests may touch. Threads share one; a forked child builds its own."""

    catalog: Catalog
    stores: StoreRegistry
    uris: UriPolicy
    http: HttpOptions
    expansion: ExpansionLimit
    formats: FormatRules
    options: ImportOptions
    lease: LeaseOptions

    @classmethod
    def build(cls, settings: "Settings", *, redis_client: "redis.Redis | None" = None) -> "Runtime":
        """Wire everything for `settings`. A dead store is kept and reported; what makes no sense raises.

        `redis_client` replaces the connection of a Redis lease keeper (fakeredis in tests). The database is not asked yet.
        """
        database = Database(settings.database_url)
        lock = ImportLock(database, _keeper(settings.lease, database, redis_client), ttl=settings.lease.ttl)
        return cls(
            catalog=Catalog(database, lock, grace=settings.lease.orphan_grace),
            stores=StoreRegistry.build(settings.stores, settings.default_store),
            uris=UriPolicy(settings.uris),
            http=settings.http,
            expansion=settings.expansion,
            formats=settings.formats,
            options=settings.imports,
            lease=settings.lease,
        )

    def close(self) -> None:
        """Let go of the database's connections."""
        self.catalog.database.dispose()


def _keeper(options: LeaseOptions, database: Database, client: "redis.Redis | None") -> LeaseKeeper:
    if options.keeper == "database":
        return DatabaseLeaseKeeper(database)
    if client is None:
        # A heartbeat must not hang on a dead Redis: it asks the database instead.
        client = redis.Redis.from_url(options.redis_url, socket_timeout=2, socket_connect_timeout=2)
    return RedisLeaseKeeper(client, database)
