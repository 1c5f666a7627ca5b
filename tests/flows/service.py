"""A whole service in the caller's own thread: SQLite, memory stores that can be made to fail, and a source on
loopback.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import settings
from catalog.images import ImageRecord, NewImage
from catalog.leases import RedisClient
from catalog.tasks import TaskRecord
from flows.dispatch import Dispatcher
from flows.flow import ImportRequest
from flows.guard import guard_web_stores
from flows.limits import LimitSource
from flows.options import STAGING_STORE, Limits
from flows.policy import UriPolicy
from flows.runtime import Runtime
from flows.staging import Staging, stage
from flows.submit import Requester, submit
from pipeline.received import ReceivedSource
from stores.base import ReadableStore, StoreSpec
from stores.errors import StoreFull
from stores.http import HttpOptions, HttpStore
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from stores.wrappers import Call, FaultyStore, Hook, Operation
from tests.conformance.origin import Origin, serving
from workers.app import eager

DATA = bytes(range(256)) * 4096
"""One MiB that is no disk format, so `raw`."""


@dataclass
class Service:
    """Asks for imports and looks at what they leave behind."""

    runtime: Runtime
    dispatcher: Dispatcher
    memory: dict[str, MemoryStore]
    faulty: dict[str, FaultyStore]
    staged: MemoryStore
    origin: Origin
    objects: Mapping[str, bytes] = field(default_factory=dict)

    def image(self, disk_format: str | None = "raw", container_format: str | None = "bare") -> ImageRecord:
        """A queued image."""
        new = NewImage(str(uuid.uuid4()), "p", disk_format=disk_format, container_format=container_format)
        with self.runtime.catalog.begin() as tx:
            return tx.images.create(new)

    def ask(self, image: ImageRecord, path: str = "/image", stores: Sequence[str] = ("a",), **more: Any) -> str:
        """Ask for a web download of `path`; in eager mode it has ended when this returns, unless it waits to be
        retried.
        """
        request = ImportRequest("web-download", uri=self.origin.url(path), stores=tuple(stores), **more)
        return submit(self.runtime, self.dispatcher, image, request, Requester("p", "u", "req-1"))

    def stage(self, image: ImageRecord, data: bytes = DATA, size: int | None = None) -> int:
        """Upload data for the image, announced as `size` bytes."""
        return stage(self.runtime, image.id, ReceivedSource(BytesIO(data).read, size), size)

    def ask_staged(self, image: ImageRecord, stores: Sequence[str] | None = ("a",), **more: Any) -> str:
        """Ask for an import of what was staged; as `ask`."""
        request = ImportRequest("glance-direct", stores=tuple(stores) if stores is not None else None, **more)
        return submit(self.runtime, self.dispatcher, self.look(image), request, Requester("p", "u", "req-3"))

    def active(self, *stores: str, **formats: Any) -> ImageRecord:
        """An image that was imported into these stores."""
        image = self.image(**formats)
        self.ask(image, stores=stores)
        return self.look(image)

    def copy(self, image: ImageRecord, *stores: str, **more: Any) -> TaskRecord:
        """Ask for copies in these stores; the task as it stands when the request returns."""
        request = ImportRequest("copy-image", stores=stores or None, **more)
        return self.task(submit(self.runtime, self.dispatcher, image, request, Requester("p", "u", "req-2")))

    def read(self, image: ImageRecord, store: str) -> bytes:
        """What the image's location in that store holds."""
        with self.runtime.stores.get(store).open(self.key(image, store)) as reader:
            return b"".join(reader)

    def tamper(self, image: ImageRecord, store: str, data: bytes) -> None:
        """Let the image's location in that store hold other bytes."""
        key = self.key(image, store)
        self.memory[store].delete(key)
        session = self.memory[store].create(key)
        session.write(data)
        session.commit()

    def key(self, image: ImageRecord, store: str) -> str:
        """The key of the image's location in that store."""
        return next(at.object_key for at in self.look(image).locations if at.store == store)

    def task(self, task_id: str) -> TaskRecord:
        """The task as it stands."""
        with self.runtime.catalog.read() as tx:
            return tx.tasks.get(task_id)

    def look(self, image: ImageRecord) -> ImageRecord:
        """The image as it stands."""
        with self.runtime.catalog.read() as tx:
            return tx.images.get(image.id)

    def fail(self, store: str, operation: Operation, hook: Hook) -> None:
        """Let every such call to the store go through `hook`; `STAGING_STORE` is one more."""
        self.faulty[store].hooks[operation] = hook

    def kept(self) -> dict[str, list[str]]:
        """The keys in each store, whatever the catalogue says."""
        return {name: store.keys() for name, store in self.memory.items()}

    def assert_clean(self, image: ImageRecord) -> None:
        """What must hold after every import, however it went (issue: the listing of each store equals the
        locations).
        """
        now = self.look(image)
        located = {(place.store, place.object_key) for place in now.locations}
        stored = {(name, key) for name, keys in self.kept().items() for key in keys if key.startswith(image.id)}
        assert stored == located
        with self.runtime.catalog.read() as tx:
            staged = tx.uploads.staged(image.id)
        kept = self.staged.keys()
        assert [key for key in kept if key.startswith(image.id)] == ([staged.key] if staged else [])
        assert (now.status == "uploading") == (staged is not None)
        assert now.import_task is None
        assert not now.importing_to
        assert (now.status == "active") == bool(located)


def full(store: str) -> Hook:
    """A hook for `store` that says it has no room."""

    def hook(_call: Call, _go: Callable[[], Any]) -> Any:
        raise StoreFull(store, "no room for the next 65536 bytes")

    return hook


def load(data: Path, origin: Origin | None, *, cap: int | None = None, **own: Any) -> settings.Settings:
    """Settings for tests: eager, impatient, and allowed to read from loopback; images have at most `cap` bytes."""
    quick = {"eager": True, "allowed_networks": ["127.0.0.0/8"], "retry_base": 0.0, "resend_after": 0.1} | own
    overrides = [("tranship", name, value) for name, value in quick.items()]
    if origin is not None:
        overrides.append(("import_filtering_opts", "allowed_ports", [origin.port]))
    if cap is not None:
        overrides.append(("DEFAULT", "image_size_cap", cap))
    return settings.load(data=str(data), overrides=overrides)


@contextmanager
def eager_service(
    data: Path,
    *,
    stores: Sequence[str] = ("a", "b", "c"),
    weights: Mapping[str, int] | None = None,
    redis_client: RedisClient | None = None,
    web: bool = False,
    limits: LimitSource = Limits(),  # noqa: B008 - it is frozen
    **own: Any,
) -> Iterator[Service]:
    """A service over memory stores, with a source that serves `/image`; `own` are arguments of `load`.

    With a `redis_client`, leases are kept there. With `web`, there is also a store `web` that reads from any server.
    `limits` is who says what projects may have, to API and worker alike.
    """
    data.mkdir(parents=True, exist_ok=True)
    with serving() as origin:
        origin.objects["/image"] = DATA
        chosen = load(data, origin, **own)
        memory = {name: MemoryStore(name) for name in stores}
        faulty = {name: FaultyStore(store) for name, store in memory.items()}
        specs = [StoreSpec(name, "memory", weight=(weights or {}).get(name, 0)) for name in stores]
        given: list[ReadableStore] = list(faulty.values())
        if web:
            given.append(HttpStore("web", HttpOptions(timeouts=(5, 5))))
            specs.append(StoreSpec("web", "http"))
        registry = StoreRegistry(given, stores[0], specs)
        guard_web_stores(registry, UriPolicy(chosen.uris))
        staged = MemoryStore(STAGING_STORE)
        faulty[STAGING_STORE] = FaultyStore(staged)
        staging = Staging(faulty[STAGING_STORE], None)
        wired = Runtime.build(chosen, redis_client=redis_client)
        runtime = replace(wired, stores=registry, staging=staging, limits=limits)
        runtime.catalog.database.create()
        yield Service(runtime, eager(runtime, chosen), memory, faulty, staged, origin)
        runtime.close()
