"""A whole service to ask: a real SQLite file, stores in memory, and a doorbell that nobody hears."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from falcon import testing

from api.app import App, create_app
from api.context import Authenticate, Context, caller_of, implied
from api.options import ApiOptions
from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.facts import DataFacts
from catalog.images import NewImage
from catalog.leases import Claim
from catalog.lock import ImportLock
from catalog.tasks import NewTask
from flows.dispatch import Dispatcher, celery_app
from flows.flow import Flow
from flows.options import STAGING_STORE, BrokerOptions, ImportOptions, LeaseOptions, Limits
from flows.policy import UriPolicy
from flows.runtime import Runtime
from flows.staging import Staging
from pipeline.decompress import ExpansionLimit
from pipeline.formats import FormatRules
from pipeline.sources import HttpOptions
from stores.base import ObjectInfo, ReadableStore, Store, StoreSpec
from stores.errors import StoreError
from stores.http import HttpStore, check_url_key
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from tests.api.documented import documented

WEIGHTS = {"fast": 10, "cheap": 0, "bulk": 0}
"""Stores that can be written; `mirror` can only be read."""

URI = "http://example.org/disk.img"
IMPORT = {"method": {"name": "web-download", "uri": URI}}


def a_member(project: str, request_id: str = "req-1") -> Context:
    """A member of the project, as Keystone knows one."""
    return caller_of(project, "somebody", implied(frozenset({"member"})), request_id)


class Doorbell(Dispatcher):
    """Rings into an empty house, and remembers for whom."""

    def __init__(self) -> None:
        super().__init__(celery_app(BrokerOptions("memory://")))
        self.rung: list[tuple[str, int]] = []
        self.hosts: list[str | None] = []
        self.collected: list[str] = []

    def send(self, flow: Flow, task_id: str, from_step: int = 0, host: str | None = None) -> bool:
        self.rung.append((task_id, from_step))
        self.hosts.append(host)
        return super().send(flow, task_id, from_step, host)

    def collect(self, image_id: str) -> bool:
        self.collected.append(image_id)
        return super().collect(image_id)


class Web(HttpStore):
    """A store over a web on which every URL leads to ten bytes, unless `there` has another number, or an error."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.there: dict[str, int | StoreError] = {}

    def stat(self, key: str) -> ObjectInfo:
        found = self.there.get(check_url_key(key), 10)
        if isinstance(found, StoreError):
            raise found
        return ObjectInfo(key, found)


def registry() -> StoreRegistry:
    """Three stores in memory, one that can only be read; the default is `cheap`."""
    specs = [StoreSpec(name, "memory", f"the {name} one", weight) for name, weight in WEIGHTS.items()]
    mirror = StoreSpec("mirror", "http")
    stores: list[ReadableStore] = [MemoryStore(spec.id) for spec in specs]
    return StoreRegistry([*stores, Web("mirror")], "cheap", [*specs, mirror])


def runtime(directory: Path, stores: StoreRegistry | None = None, *, url: str | None = None) -> Runtime:
    """A runtime over a new database: the one at `url`, or an SQLite file in `directory`."""
    database = Database(url or f"sqlite:///{directory / 'service.db'}")
    database.create()
    return Runtime(
        host="here",
        catalog=Catalog(database, ImportLock(database)),
        stores=stores or registry(),
        staging=Staging(MemoryStore(STAGING_STORE), None),
        uris=UriPolicy(),
        http=HttpOptions(),
        expansion=ExpansionLimit(max_bytes=1 << 40),
        formats=FormatRules(),
        options=ImportOptions(),
        limits=Limits(),
        lease=LeaseOptions(ttl=0.1, progress_interval=0.1),
    )


@dataclass
class Service:
    """The service and what a test needs to look behind it."""

    runtime: Runtime
    options: ApiOptions = field(default_factory=ApiOptions)
    authenticate: Authenticate | None = None
    doorbell: Doorbell = field(default_factory=Doorbell)

    def __post_init__(self) -> None:
        self.app: App = create_app(self.runtime, self.doorbell, self.options, authenticate=self.authenticate)
        self.client = testing.TestClient(documented(self.app, self.options))

    @property
    def catalog(self) -> Catalog:
        return self.runtime.catalog

    def image(self, **columns: object) -> str:
        """A queued image that may be imported into; returns its id."""
        given: dict[str, object] = {
            "id": str(uuid.uuid4()),
            "owner": self.options.default_project,
            "disk_format": "raw",
            "container_format": "bare",
        } | columns
        with self.catalog.begin() as tx:
            return tx.images.create(NewImage(**given)).id  # type: ignore[arg-type]

    def importing(
        self,
        image_id: str,
        stores: Sequence[str] = ("cheap",),
        *,
        must_all: bool = True,
        begins_from: str = "queued",
        host: str | None = None,
        owner: str | None = None,
    ) -> str:
        """Ask for an import behind the API's back; returns the task's id."""
        task_id = str(uuid.uuid4())
        self.catalog.request_import(
            NewTask(
                id=task_id,
                image_id=image_id,
                flow="web-download",
                stores=tuple(stores),
                input={"image_id": image_id},
                source={"uri": URI},
                all_stores_must_succeed=must_all,
                owner=owner or self.options.default_project,
                user_id="u",
                request_id="req-1",
                begins_from=begins_from,
                host=host,
            )
        )
        return task_id

    def entered(self, task_id: str, step: int = 0) -> Claim:
        """Let a worker begin an attempt."""
        claim = self.catalog.lock.enter(task_id, step, "worker-1")
        assert claim is not None
        return claim

    def active(self, content: Mapping[str, bytes], **columns: object) -> str:
        """An active image whose data is in the stores of `content`, as an import leaves it; returns its id."""
        image_id = self.image(**columns)
        claim = self.entered(self.importing(image_id, list(content)))
        keys = dict.fromkeys(content, f"{image_id}.{claim.fence}")
        with self.catalog.fenced(claim) as tx:
            tx.begin_objects(keys)
        for name, data in content.items():
            self.put(name, keys[name], data)
        data = next(iter(content.values()))
        with self.catalog.fenced(claim) as tx:
            for name, key in keys.items():
                tx.object_stored(name, key, len(content[name]))
                tx.add_location(name, key, self.runtime.stores.get(name).url(key))
            digests = hashlib.md5(data).hexdigest(), "sha512", hashlib.sha512(data).hexdigest()
            tx.activate(DataFacts(len(data), None, *digests, disk_format="raw", container_format="bare"))
            tx.succeed("", keep_for=3600.0)
        return image_id

    def put(self, store: str, key: str, data: bytes) -> None:
        """Commit an object."""
        writer = self.writable(store).create(key)
        writer.write(data)
        writer.commit()

    def writable(self, store: str) -> Store:
        return self.runtime.stores.writable(store)

    def key(self, image_id: str, store: str) -> str:
        """The key of the image's data in `store`."""
        with self.catalog.read() as tx:
            return next(at.object_key for at in tx.images.get(image_id).locations if at.store == store)


def ask(service: Service, image: str, body: object = IMPORT, **headers: str) -> testing.Result:
    """Ask for an import."""
    return service.client.simulate_post(f"/v2/images/{image}/import", json=body, headers=headers)
