"""The crash matrix: a real process dies at every commit and at every call to a store, before it and after it;
whatever it left, one later attempt brings the image to its end, and nothing unowned stays (architecture §9).

A new flow is picked up by itself as soon as an image can be brought here into the status that it begins from.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from catalog.engine import Database
from catalog.facts import DataFacts
from catalog.images import ImageRecord
from flows.flow import Flow, ImportRequest
from flows.methods import FLOWS
from flows.runtime import Runtime
from flows.staging import stage
from flows.submit import Requester, submit
from pipeline.sources import ChunkSource
from settings import Settings
from stores.base import CHUNK, Store
from stores.errors import StoreUnavailable
from stores.filesystem import FilesystemStore
from stores.registry import StoreRegistry
from stores.wrappers import Call, FaultyStore, Hook, Operation, fails
from tests.catalog.rows import entered, image_of, new_image, new_task, stored
from tests.conformance.origin import Origin, serving
from tests.flows.service import load
from workers.app import eager
from workers.runner import Runner
from workers.sweeper import sweep

STORES = ("a", "b")
DATA = bytes(range(256)) * (CHUNK // 256) + b"the odd end"
CRASHED = 42
OPERATIONS: tuple[Operation, ...] = ("create", "write", "commit", "delete")


@dataclass
class Fuse:
    """Ends the process at the `at`-th point that it passes; 0 for never."""

    at: int
    passed: int = 0

    def point(self) -> None:
        """Something else could have been the last thing this process did."""
        self.passed += 1
        if self.passed == self.at:
            os._exit(CRASHED)


class FusedDatabase(Database):
    """Passes a point before every commit and after it."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """As ever, with two points more."""
        with super().begin() as connection:
            yield connection
            self._fuse.point()
        self._fuse.point()


def runtime_of(settings: Settings, fuse: Fuse, *, breaks: bool = False) -> Runtime:
    """A runtime over file stores in which everything that others can see passes the fuse; with `breaks`, reading any of
    them breaks off before the end, and so it does where data is staged.
    """

    def hook(_call: Call, go: Callable[[], Any]) -> Any:
        fuse.point()
        answer = go()
        fuse.point()
        return answer

    built = Runtime.build(settings)
    database = FusedDatabase(settings.database_url, fuse)
    for part in (built.catalog, built.catalog.lock, built.catalog.lock.keeper):
        for name in ("database", "_database"):
            if hasattr(part, name):
                setattr(part, name, database)

    def fused(store: Store) -> FaultyStore:
        hooks: dict[Operation, Hook] = dict.fromkeys(OPERATIONS, hook)
        if breaks:
            hooks["read"] = fails(StoreUnavailable(store.id, "it broke off"), after=CHUNK)
        return FaultyStore(store, hooks)

    stores = []
    for name in STORES:
        store = FilesystemStore(name, settings.data / "stores" / name)
        store.prepare()
        stores.append(fused(store))
    staging = replace(built.staging, store=fused(built.staging.store))
    return replace(built, stores=StoreRegistry(stores, STORES[0]), staging=staging)


def queued(runtime: Runtime) -> str:
    """An image that has no data yet."""
    return new_image(runtime.catalog)


def active(runtime: Runtime) -> str:
    """An image that is in the first store."""
    image_id = queued(runtime)
    task, store = new_task(image_id), STORES[0]
    runtime.catalog.request_import(task)
    claim = entered(runtime.catalog, task.id)
    key = stored(runtime.catalog, claim, store)[store]
    session = runtime.stores.writable(store).create(key)
    session.write(DATA)
    session.commit()
    with runtime.catalog.fenced(claim) as tx:
        tx.add_location(store, key, f"file:///{key}")
        tx.activate(DataFacts(len(DATA), None, None, "sha512", hashlib.sha512(DATA).hexdigest(), "raw", "bare"))
        tx.succeed("Copied.", keep_for=60)
    return image_id


def uploading(runtime: Runtime) -> str:
    """An image whose data is staged."""
    image_id = queued(runtime)
    stage(runtime, image_id, ChunkSource([DATA]), len(DATA))
    return image_id


BEGINNINGS: dict[str, Callable[[Runtime], str]] = {"queued": queued, "uploading": uploading, "active": active}
"""How an image comes into the status that a flow begins from."""


def asked(runtime: Runtime, origin: Origin, flow: Flow) -> tuple[ImageRecord, str]:
    """An image as the flow needs it, and a task that nobody was told of: to all stores that do not hold it."""

    class Silent:
        def send(self, *_: object, **__: object) -> bool:
            return True

    image = image_of(runtime.catalog, BEGINNINGS[flow.begins_from](runtime))
    request = ImportRequest(flow.name, uri=origin.url("/image"), all_stores=True)
    return image, submit(runtime, Silent(), image, request, Requester())  # type: ignore[arg-type]


def dies(settings: Settings, flow: Flow, task_id: str, at: int, *, breaks: bool) -> bool:
    """Run the whole chain in a child process that dies at point `at`; False when it got to its end alive."""
    child = os.fork()
    if child == 0:
        try:
            runner = Runner(runtime_of(settings, Fuse(at), breaks=breaks), "doomed")
            for step in flow.steps:
                runner.run(task_id, step.name)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == CRASHED


@pytest.mark.parametrize("method", FLOWS)
@pytest.mark.parametrize("broken", [False, True], ids=["succeeds", "fails"])
def test_a_crash_anywhere_is_survived(tmp_path: Path, method: str, broken: bool) -> None:
    """Given a process that dies at point n of an import, when another sweeps, then the import ends as if nothing
    was.
    """
    flow = FLOWS[method]
    with serving() as origin:
        origin.objects["/image"] = DATA
        settings = load(tmp_path, origin, lease_ttl=30.0, progress_interval=10.0, max_attempts=2)
        # Transient, so undo is reached by way of a retry.
        runtime = runtime_of(settings, Fuse(0), breaks=broken)
        runtime.catalog.database.create()
        if broken:
            origin.break_after = 70000
        points = 0
        while True:
            points += 1
            image, task_id = asked(runtime, origin, flow)
            runtime.close()
            crashed = dies(settings, flow, task_id, points, breaks=broken)
            recover(settings, runtime, task_id)
            judge(runtime, settings, image, task_id, success=not broken)
            if not crashed:
                break
        assert points > 14, "the fuse must have been passed in every step"


def recover(settings: Settings, runtime: Runtime, task_id: str) -> None:
    """What a sweeper elsewhere does in the following minutes, until the task has ended."""
    dispatcher = eager(runtime, settings)
    for _ in range(6):
        runtime.catalog.database.skew += 61.0
        sweep(runtime, dispatcher)
        with runtime.catalog.read() as tx:
            if not tx.tasks.get(task_id).live:
                return
    raise AssertionError("the import never ended")


def judge(runtime: Runtime, settings: Settings, image: ImageRecord, task_id: str, *, success: bool) -> None:
    """One end, no visible partial, no lost lock, no orphan: the listing of each store equals the locations.

    `image` is as it was before: what fails leaves it so.
    """
    runtime.catalog.database.skew += 61.0
    sweep(runtime, eager(runtime, settings))
    with runtime.catalog.read() as tx:
        task, now = tx.tasks.get(task_id), tx.images.get(image.id)
        attempts = tx.tasks.attempts(task_id)
        staged = tx.uploads.staged(image.id)
    assert task.status == ("success" if success else "failure")
    assert now.status == ("active" if success else image.status)
    assert (now.import_task, now.importing_to) == (None, ())
    assert [a.fence for a in attempts] == sorted({a.fence for a in attempts})
    assert all(a.outcome != "running" for a in attempts)
    located = {(place.store, place.object_key) for place in now.locations}
    assert {store for store, _ in located} == (set(STORES) if success else {at.store for at in image.locations})
    kept = {(store, name) for store in STORES for name in whole(settings.data / "stores" / store, image.id)}
    assert kept == located
    assert whole(settings.data / "staging", image.id) == ({staged.key} if staged else set())
    assert (staged is not None) == (now.status == "uploading")


def whole(directory: Path, image_id: str) -> set[str]:
    """The names of the image's files in `directory`, finished or not: each must be whole."""
    paths = [path for path in directory.rglob("*") if path.is_file() and image_id in path.name]
    assert all(path.read_bytes() == DATA for path in paths)
    return {path.name for path in paths}
