"""Bad moments for a worker: the database away at the end of a transfer, a cancel that comes late, a store on a dead
mount, a sweep that fails.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from catalog.errors import CatalogUnavailable
from flows.flow import ImportRequest
from flows.submit import Requester, submit
from stores.wrappers import Call
from tests.flows.service import Service
from tests.workers.test_runner import NoBroker, ask, service, sweep_soon, wait_for
from workers.runner import Runner
from workers.sweeper import Sweeper

__all__ = ["service"]


def unavailable_at(service: Service, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the database be away for the next `times` fenced changes that come after the whole transfer."""
    catalog, left = service.runtime.catalog, [times]
    fenced = type(catalog).fenced

    def away(self: Any, claim: Any) -> Any:
        if left[0] and service.kept()["a"]:
            left[0] -= 1
            raise CatalogUnavailable("the database does not answer")
        return fenced(self, claim)

    monkeypatch.setattr(type(catalog), "fenced", away)


def test_the_database_is_away_at_the_end_of_a_transfer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given hours of transfer, when the database is away as they are to be recorded, then they are not done twice."""
    image, task_id = ask(service)
    unavailable_at(service, monkeypatch, times=2)
    assert Runner(service.runtime, "w").run(task_id, "transfer")
    assert (service.task(task_id).step, len(service.origin.asked)) == (1, 1)
    sweep_soon(service)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


def test_the_database_stays_away(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a database that stays away for longer than a lease, then the attempt ends, and another does it anew."""
    image, task_id = ask(service)
    unavailable_at(service, monkeypatch, times=1000)
    began = time.monotonic()
    assert not Runner(service.runtime, "w").run(task_id, "transfer")
    assert time.monotonic() - began < 10, "a lease is 2 s here"
    monkeypatch.undo()
    for _ in range(3):
        sweep_soon(service)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


def test_too_late_to_cancel(service: Service) -> None:
    """Given an image that is active already, when its import is cancelled before its last step, then it stays whole."""
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    assert runner.run(task_id, "transfer")
    assert runner.run(task_id, "publish")
    with service.runtime.catalog.begin() as tx:
        tx.tasks.cancel(task_id)
    assert runner.run(task_id, "finish")
    now = service.look(image)
    assert (now.status, now.failed, now.importing_to) == ("active", (), ())
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_called_off_before_it_is_published(service: Service, action: str) -> None:
    """Given bytes that are stored, when the import is called off before they are published, then they go."""
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    assert runner.run(task_id, "transfer")
    if action == "delete":
        service.runtime.catalog.delete_image(image.id)
    else:
        with service.runtime.catalog.begin() as tx:
            tx.tasks.cancel(task_id)
    assert not runner.run(task_id, "publish")
    assert (service.task(task_id).status, service.task(task_id).error_code) == ("failure", "cancelled")
    assert service.kept() == {"a": [], "b": [], "c": []}


def test_the_secret_goes_with_the_import(service: Service) -> None:
    """Given a URI with a password, when its import has ended, then no row knows the password any more."""
    image = service.image()
    uri = service.origin.url("/image").replace("://", "://me:s3cr3t@")
    task_id = submit(service.runtime, service.dispatcher, image, ImportRequest("web-download", uri=uri), Requester())
    assert service.task(task_id).status == "success"
    assert "s3cr3t" not in repr(service.task(task_id))


def test_a_sweeper_outlives_what_it_did_not_foresee(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a sweep that fails in an unforeseen way, when the next is due, then it comes: nobody else would."""
    rounds = threading.Semaphore(0)

    def fails(*_: object, **__: object) -> int:
        rounds.release()
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("workers.sweeper.ring", fails)
    lease = replace(service.runtime.lease, sweep_interval=0.01)
    sweeper = Sweeper(replace(service.runtime, lease=lease), service.dispatcher)
    sweeper.start()
    assert rounds.acquire(timeout=10)
    assert rounds.acquire(timeout=10)
    sweeper.stop()


def test_a_store_on_a_dead_mount_does_not_stop_the_bell(service: Service) -> None:
    """Given garbage whose deletion is held for ever, when a task is due, then it is rung for nevertheless."""
    lease = replace(service.runtime.lease, sweep_interval=0.01, resend_after=0.0)
    held, mended = threading.Event(), threading.Event()

    def dead(_call: Call, go: Callable[[], Any]) -> Any:
        held.set()
        assert mended.wait(30)
        return go()

    gone = service.image()
    service.ask(gone)
    service.fail("a", "delete", dead)
    service.runtime.catalog.delete_image(gone.id)
    bell = NoBroker(service)
    sweeper = Sweeper(replace(service.runtime, lease=lease), bell)
    sweeper.start()
    assert held.wait(10)
    _, task_id = ask(service)
    wait_for(lambda: task_id in bell.rung)
    mended.set()
    sweeper.stop()
