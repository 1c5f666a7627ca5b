"""Everything that may meet on an image meets, for some seconds, over PostgreSQL: uploads, imports by every method,
changes, deletions, takings from a store, cancellations, take-overs, cleaners, workers that fall silent, and stores that
fail.

Nobody may hang, deadlock or break a rule meanwhile; when all is quiet again, stores, staging and rows must agree.
"""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.changes import ImageChange
from catalog.engine import Database
from catalog.errors import CatalogError, CatalogUnavailable, NotFound, RuleBroken
from catalog.images import NewImage
from catalog.lock import ImportLock
from flows.collect import collect
from flows.dispatch import Dispatcher, celery_app
from flows.errors import NotAdmitted, StagingError
from flows.flow import ImportRequest
from flows.locations import remove
from flows.methods import FLOWS
from flows.options import STAGING_STORE, BrokerOptions
from flows.runtime import Runtime
from flows.staging import Staging, stage
from flows.submit import Requester, submit
from pipeline.errors import TransferError
from pipeline.received import ReceivedSource
from stores.errors import StoreError, StoreUnavailable
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from stores.wrappers import Call, FaultyStore
from tests.conformance.origin import Origin, serving
from tests.flows.service import load
from workers.runner import Runner
from workers.sweeper import expire

SECONDS = float(os.environ.get("TRANSHIP_STRESS_SECONDS", "5"))
IMAGES = 5
STORES = ("a", "b", "c")
DATA = random.Random(7).randbytes(200_000)

EXPECTED = (CatalogError, NotAdmitted, StagingError, TransferError, StoreError)
"""What users may be told; of these, `UNEXPECTED` are our fault."""
UNEXPECTED = (CatalogUnavailable, RuleBroken)


class Deaf(Dispatcher):
    """A doorbell that nobody hears: the workers here look at the rows."""

    def _ring(self, signature: object, about: str) -> bool:
        return True


class House:
    """One service, as many processes would run it, and the images that all are busy with."""

    def __init__(self, url: str, data: Path, origin: Origin) -> None:
        overrides: dict[str, Any] = {"lease_ttl": 1.0, "progress_interval": 0.05}
        self._settings = load(data, origin, max_attempts=3, **overrides)
        self._url, self.origin = url, origin
        self.memory = {name: MemoryStore(name) for name in (*STORES, STAGING_STORE)}
        self.dice = random.Random(1)
        self._faulty = {name: FaultyStore(store) for name, store in self.memory.items()}
        for name, store in self._faulty.items():
            hook = self._unsteady(name)
            store.hooks = {"write": hook, "commit": hook, "delete": hook}
        self.calm = False
        self.api, self.thief, self.cleaner = self.runtime(), self.runtime(stale_after=0.1), self.runtime()
        self.workers = [self.runtime(), self.runtime()]
        self.bell = Deaf(celery_app(BrokerOptions()))
        self.api.catalog.database.create()
        self.images = [self.new() for _ in range(IMAGES)]
        self.all_images = list(self.images)

    def runtime(self, *, stale_after: float = 3600.0) -> Runtime:
        """What one process has."""
        database = Database(self._url, pool_size=8)
        lock = ImportLock(database, ttl=1.0, stale_after=stale_after, stale_pending_after=stale_after)
        registry = StoreRegistry([self._faulty[name] for name in STORES], "a")
        made = Runtime.build(self._settings)
        return replace(
            made,
            lease=replace(made.lease, stall_timeout=0.5),
            catalog=Catalog(database, lock, grace=0.2, keep_for=0.3),
            stores=registry,
            staging=Staging(self._faulty[STAGING_STORE], None),
        )

    def _unsteady(self, name: str) -> Callable[[Call, Callable[[], Any]], Any]:
        def hook(_call: Call, go: Callable[[], Any]) -> Any:
            roll = 1.0 if self.calm else self.dice.random()
            if roll < 0.03:
                raise StoreUnavailable(name, "it has a bad day")
            if roll < 0.06:
                time.sleep(0.02)
            answer = go()
            if 0.06 < roll < 0.08:
                raise StoreUnavailable(name, "the answer was lost")
            return answer

        return hook

    def new(self) -> str:
        """An image to be busy with."""
        with self.api.catalog.begin() as tx:
            return tx.images.create(NewImage(str(uuid.uuid4()), "p", disk_format="raw", container_format="bare")).id

    def close(self) -> None:
        """Let go of the database."""
        for runtime in (self.api, self.thief, self.cleaner, *self.workers):
            runtime.close()

    # -- what users, operators and programs do

    def any(self) -> str:
        return self.dice.choice(self.images)

    def stage(self) -> None:
        stage(self.api, self.any(), ReceivedSource(BytesIO(DATA).read, None), None)

    def ask(self, runtime: Runtime, method: str) -> None:
        with runtime.catalog.read() as tx:
            image = tx.images.get(self.any())
        stores = None if self.dice.random() < 0.3 else tuple(self.dice.sample(STORES, self.dice.randint(1, 3)))
        everywhere = stores is None and self.dice.random() < 0.5
        request = ImportRequest(
            method,
            uri=self.origin.url("/image") if method == "web-download" else None,
            stores=stores,
            all_stores=everywhere,
            all_stores_must_succeed=self.dice.random() < 0.5,
        )
        submit(runtime, self.bell, image, request, Requester("p", "u", "req"))

    def change(self) -> None:
        image_id, dice = self.any(), self.dice
        with self.api.catalog.begin() as tx:
            image = tx.images.get_to_change(image_id)
            columns: dict[str, object] = {"name": f"n{dice.random()}"}
            if image.status in ("queued", "importing") and dice.random() < 0.2:
                columns["container_format"] = dice.choice(["bare", "compressed"])
            tx.images.update(image_id, ImageChange(columns, {"p": str(dice.random())}, tags=("x",)))

    def switch(self) -> None:
        with self.api.catalog.begin() as tx:
            tx.images.switch(self.any(), self.dice.choice(["active", "deactivated"]))

    def delete(self) -> None:
        at = self.dice.randrange(IMAGES)
        self.api.catalog.delete_image(self.images[at])
        self.images[at] = self.new()
        self.all_images.append(self.images[at])

    def take_away(self) -> None:
        remove(self.api, self.any(), self.dice.choice(STORES))

    def cancel(self) -> None:
        with self.api.catalog.begin() as tx:
            held = tx.images.get(self.any()).import_task
            if held is not None:
                tx.tasks.cancel(held)

    def clean(self) -> None:
        expire(self.cleaner)
        collect(self.cleaner)

    def work(self, runtime: Runtime) -> bool:
        """Do what is due, as a worker that was told of it; a few fall silent at the end of a step."""
        with runtime.catalog.begin() as tx:
            due = tx.tasks.due(resend_after=0.0, limit=1)
        for task in due:
            flow = FLOWS[task.flow]
            runner = Runner(runtime, f"w{uuid.uuid4().hex}")
            for step in flow.steps[task.step :]:
                if not runner.run(task.id, step.name):
                    break
                if not self.calm and self.dice.random() < 0.1:
                    self.silent(runtime, task.id)
                    break
        return bool(due)

    def silent(self, runtime: Runtime, task_id: str) -> None:
        """A worker enters, and is never heard of again."""
        with runtime.catalog.read() as tx:
            step = tx.tasks.get(task_id).step
        runtime.catalog.lock.enter(task_id, step, "dead")

    def acts(self) -> list[tuple[Callable[[], object], float]]:
        """Everybody, and how long each rests in between."""
        return [
            (self.stage, 0.05),
            (self.stage, 0.05),
            (lambda: self.ask(self.api, "glance-direct"), 0.01),
            (lambda: self.ask(self.api, "web-download"), 0.01),
            (lambda: self.ask(self.api, "copy-image"), 0.01),
            (lambda: self.ask(self.thief, self.dice.choice(list(FLOWS))), 0.02),
            (lambda: self.ask(self.thief, "copy-image"), 0.01),
            (self.change, 0.005),
            (self.switch, 0.2),
            (self.delete, 0.5),
            (self.take_away, 0.02),
            (self.cancel, 0.6),
            (self.clean, 0.02),
            (self.clean, 0.02),
            *[(lambda runtime=runtime: self.work(runtime), 0.005) for runtime in self.workers * 2],
        ]

    # -- and what must be so when they are done

    def settle(self) -> None:
        """Let every task end, everything staged expire and all garbage go."""
        self.calm = True
        runtime = self.workers[0]
        for _ in range(200):
            runtime.catalog.database.skew += 400
            self.cleaner.catalog.database.skew += 400
            busy = self.work(runtime)
            self.clean()
            with self.api.catalog.read() as tx:
                live = tx.connection.execute(
                    select(t.tasks.c.id).where(t.tasks.c.status.in_(("pending", "processing")))
                ).all()
            if not busy and not live:
                break
        for _ in range(30):
            self.cleaner.catalog.database.skew += 4000
            self.clean()

    def check(self) -> None:
        """What must hold after every import, for all rows there are, and for every image there ever was."""
        self._check_rows()
        for image_id in self.all_images:
            self._check_image(image_id)

    def _check_rows(self) -> None:
        with self.api.catalog.read() as tx:
            rows = tx.connection
            tasks = rows.execute(select(t.tasks.c.id, t.tasks.c.status, t.tasks.c.error_code)).all()
            assert [row for row in tasks if row.status not in ("success", "failure")] == []
            assert [row for row in tasks if row.error_code == "internal_error"] == []
            locked = select(t.image_locks.c.image_id).where(
                t.image_locks.c.os_glance_import_task.is_not(None) | t.image_locks.c.owner.is_not(None)
            )
            assert rows.execute(locked).all() == []
            located = {(row.store, row.object_key) for row in rows.execute(select(t.locations))}
            kept = {(name, key) for name in STORES for key in self.memory[name].keys()}  # noqa: SIM118 - a store's own
            assert kept == located
            objects = {(row.store, row.object_key): row.state for row in rows.execute(select(t.objects))}
            assert objects == dict.fromkeys(located, "located")
            assert self.memory[STAGING_STORE].keys() == []
            assert rows.execute(select(t.attempts.c.task_id).where(t.attempts.c.outcome == "running")).all() == []

    def _check_image(self, image_id: str) -> None:
        with self.api.catalog.read() as tx:
            try:
                image = tx.images.get(image_id)
            except NotFound:
                return
        assert image.status in ("queued", "active", "deactivated"), image
        assert (image.status != "queued") == bool(image.locations), image
        assert not image.importing_to, image
        for place in image.locations:
            with self.memory[place.store].open(place.object_key) as reader:
                assert (image.size, b"".join(reader)) == (len(DATA), DATA)


@pytest.fixture
def house(postgres_url: str, tmp_path: Path) -> Iterator[House]:
    """A service over PostgreSQL."""
    with serving() as origin:
        origin.objects["/image"] = DATA
        yield House(postgres_url, tmp_path, origin)


def test_whatever_may_meet(house: House) -> None:
    """Given everybody at work on the same few images, then nobody breaks a rule, and in the end all agrees."""
    until = time.monotonic() + SECONDS
    strange: list[Exception] = []

    def busy(act: Callable[[], object], rest: float) -> None:
        while time.monotonic() < until:
            try:
                act()
            except EXPECTED as error:
                if isinstance(error, UNEXPECTED):
                    strange.append(error)
            except Exception as error:  # noqa: BLE001 - shown in the end, by the thread that the test is
                strange.append(error)
            time.sleep(rest * house.dice.random())  # people rest, too

    threads = [threading.Thread(target=busy, args=act, daemon=True) for act in house.acts()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 40)
    assert not any(thread.is_alive() for thread in threads), "somebody hangs"
    deadlocks = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    with house.api.catalog.read() as tx:
        assert (strange, tx.connection.execute(deadlocks).scalar_one()) == ([], 0)
    house.settle()
    house.check()
    with house.api.catalog.read() as tx:
        ended = {(row.flow, row.status) for row in tx.connection.execute(select(t.tasks))}
    assert {(flow, "success") for flow in FLOWS} <= ended, "too little has met"
    house.close()
