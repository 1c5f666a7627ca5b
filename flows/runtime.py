"""The wired objects of one process, built once from the settings. Nothing else builds them, and nothing is global."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.leases import RedisClient, lease_keeper
from catalog.lock import ImportLock
from flows.guard import guard_web_stores
from flows.limits import LimitSource
from flows.options import ImportOptions, LeaseOptions
from flows.policy import UriPolicy
from flows.reception import Receiving
from flows.staging import Staging
from pipeline.decompress import ExpansionLimit
from pipeline.formats import FormatRules
from pipeline.sources import HttpOptions
from stores.base import Store
from stores.registry import StoreRegistry, build_store

if TYPE_CHECKING:
    from settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """What steps and requests may touch. Threads share one; a forked child builds its own. `host` is the name of this
    host in queues and rows.
    """

    host: str
    catalog: Catalog
    stores: StoreRegistry
    staging: Staging
    uris: UriPolicy
    http: HttpOptions
    expansion: ExpansionLimit
    formats: FormatRules
    options: ImportOptions
    limits: LimitSource
    lease: LeaseOptions
    receiving: Receiving = field(default_factory=Receiving)

    @classmethod
    def build(cls, settings: "Settings", *, redis_client: RedisClient | None = None) -> "Runtime":
        """Wire everything for `settings`. A dead store is kept and reported; what makes no sense raises.

        `redis_client` replaces the connection of a Redis lease keeper (fakeredis in tests). The database is not asked
        yet.
        """
        database = Database(settings.database_url)
        redis_url = settings.lease.redis_url if settings.lease.keeper == "redis" else None
        keeper = lease_keeper(database, redis_url, redis_client)
        lock = ImportLock(
            database,
            keeper,
            ttl=settings.lease.ttl,
            stale_after=settings.lease.stale_after,
            stale_pending_after=settings.lease.stale_pending_after,
        )
        stores = StoreRegistry.build(settings.stores, settings.default_store)
        uris = UriPolicy(settings.uris)
        guard_web_stores(stores, uris)
        staging = settings.staging
        return cls(
            host=settings.host,
            catalog=Catalog(database, lock, grace=settings.lease.orphan_grace, keep_for=staging.keep_for),
            stores=stores,
            staging=Staging(build_store(staging.spec, stores), staging.host),
            uris=uris,
            http=settings.http,
            expansion=settings.expansion,
            formats=settings.formats,
            options=settings.imports,
            limits=settings.limits,
            lease=settings.lease,
        )

    def keeper(self, store: str) -> Store:
        """Return the store that keeps an object of the catalogue: one to write to, or the staging store.

        Raises `UnknownStore`, `ReadOnlyStore`.
        """
        return self.staging.store if store == self.staging.store.id else self.stores.writable(store)

    def close(self) -> None:
        """Let go of the database's connections."""
        self.catalog.database.dispose()
