"""Stores that hold a call for ever, as a dead mount does: they fail alone, and no image is held with them (§5.7)."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.flow import ImportRequest
from flows.submit import Requester, submit
from stores.wrappers import Operation, waits
from tests.flows.service import DATA, Service, eager_service
from tests.workers.desk import LATER, RESEND, STEPS, NoBroker, ask, wait_for
from workers.runner import Runner
from workers.sweeper import sweep


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with little patience for stores."""
    own: dict[str, Any] = {"progress_interval": 0.05, "max_attempts": 1, "resend_after": RESEND}
    with eager_service(tmp_path / "data", store_idle_timeout=0.3, store_commit_timeout=0.3, **own) as made:
        yield made


@pytest.fixture
def proceed(service: Service) -> Iterator[threading.Event]:
    """Set at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("operation", ["create", "write", "commit"])
@pytest.mark.parametrize("must_all", [False, True], ids=["may fail", "must succeed"])
def test_a_store_behind_a_dead_mount_fails_alone(
    service: Service, proceed: threading.Event, operation: Operation, must_all: bool
) -> None:
    """Given a remote store that hangs, when an import has waited long enough, then that store has failed, and
    only it.
    """
    service.faulty["b"].remote = True
    service.fail("b", operation, waits(threading.Event(), proceed))
    image = service.image()
    task = service.task(service.ask(image, stores=("a", "b", "c"), all_stores_must_succeed=must_all))
    now = service.look(image)
    assert (task.status, now.failed) == ("failure" if must_all else "success", ("b",))
    waited = "did not complete the object in" if operation == "commit" else "took no bytes for"
    assert f"store b: {waited} 0.3 seconds" in task.message
    assert sorted(place.store for place in now.locations) == ([] if must_all else ["a", "c"])
    assert now.import_task is None


@pytest.mark.parametrize("operation", ["open", "read"])
def test_a_source_behind_a_dead_mount_is_left_for_another_copy(
    service: Service, proceed: threading.Event, operation: Operation
) -> None:
    """Given a copy that hangs, when it has been waited for long enough, then the next one is read."""
    image = service.active("a", "b")
    service.faulty["a"].remote = True
    service.fail("a", operation, waits(threading.Event(), proceed))
    task = service.copy(image, "c")
    assert task.message == "Copied 1 MiB to c. Trouble while reading: store a: sent no bytes for 0.3 seconds."
    assert service.read(image, "c") == DATA


def test_a_source_that_hangs_does_not_hold_up_a_worker_that_has_to_go(tmp_path: Path) -> None:
    """Given a copying that waits for its source, when the worker is told to go, then it hands back at once."""
    entered, proceed = threading.Event(), threading.Event()
    with eager_service(tmp_path / "data", store_idle_timeout=60.0) as service:
        image = service.active("a")
        service.faulty["a"].remote = True
        service.fail("a", "read", waits(entered, proceed))
        request = ImportRequest("copy-image", stores=("b",))
        task_id = submit(service.runtime, NoBroker(service), image, request, Requester())
        runner = Runner(service.runtime, "leaving")
        thread = threading.Thread(target=runner.run, args=(task_id, "transfer"))
        thread.start()
        assert entered.wait(30)
        runner.hand_back_all("going")
        assert runner.wait_idle(10)
        proceed.set()
        thread.join(10)
        assert (service.task(task_id).attempt, service.look(image).status) == (0, "active")
        with service.runtime.catalog.read() as tx:
            assert [attempt.outcome for attempt in tx.tasks.attempts(task_id)] == ["handed_back"]


def test_a_store_that_takes_long_to_complete_does_not_hold_up_a_worker_that_has_to_go(tmp_path: Path) -> None:
    """Given an import that waits for a store to complete its object, when the worker is told to go, then it hands back
    at once, and what appears later is deleted.
    """
    entered, proceed = threading.Event(), threading.Event()
    with eager_service(tmp_path / "data") as service:
        service.faulty["a"].remote = True
        service.fail("a", "commit", waits(entered, proceed))
        image, task_id = ask(service, stores=("a",))
        runner = Runner(service.runtime, "leaving")
        thread = threading.Thread(target=runner.run, args=(task_id, "transfer"))
        thread.start()
        assert entered.wait(30)
        assert service.runtime.options.store_commit_timeout > 60
        runner.hand_back_all("going")
        assert runner.wait_idle(10)
        assert (service.task(task_id).attempt, service.look(image).status) == (0, "importing")
        proceed.set()
        thread.join(10)
        service.faulty["a"].hooks.clear()
        again = Runner(service.runtime, "next")
        assert all(again.run(task_id, step) for step in STEPS)
        wait_for(lambda: not [t for t in threading.enumerate() if t.name == "write a"])
        service.runtime.catalog.database.skew += 2 * service.runtime.lease.orphan_grace
        sweep(service.runtime, service.dispatcher)
        service.assert_clean(image)


def test_what_a_store_is_at_is_shown(tmp_path: Path) -> None:
    """Given a store that takes long to complete its object, then whoever looks on sees which."""
    entered, proceed = threading.Event(), threading.Event()
    with eager_service(tmp_path / "data", progress_interval=0.05) as service:
        service.faulty["b"].remote = True
        service.fail("b", "commit", waits(entered, proceed))
        _, task_id = ask(service)
        thread = threading.Thread(target=Runner(service.runtime, "w").run, args=(task_id, "transfer"))
        thread.start()
        wait_for(lambda: service.task(task_id).phase == "completing in b")
        proceed.set()
        thread.join(30)
        assert service.task(task_id).step == 1


def test_an_import_that_stands_still_lets_its_lease_go(service: Service, proceed: threading.Event) -> None:
    """Given a local disk that hangs, when nothing moved for long enough, then another worker may try, by the
    rules for a lost one.
    """
    entered = threading.Event()
    service.fail("a", "write", waits(entered, proceed))
    image, task_id = ask(service)
    hasty = replace(service.runtime, lease=replace(service.runtime.lease, stall_timeout=1.0))
    stuck = Runner(hasty, "stuck")
    thread = threading.Thread(target=stuck.run, args=(task_id, "transfer"))
    thread.start()
    assert entered.wait(30)
    (monitor,) = stuck._running
    pause = threading.Event()
    while monitor.stop is None:
        pause.wait(0.05)
    assert "nothing moved for 1 s" in monitor.why
    service.faulty["a"].hooks.clear()
    service.runtime.catalog.database.skew = 2 * LATER
    other = Runner(service.runtime, "other")
    assert service.task(task_id).attempt == 1
    for step in STEPS:
        assert not other.run(task_id, step), "one attempt was allowed, and it stood still"
    assert service.task(task_id).error_code == "worker_lost"
    proceed.set()
    thread.join(30)
    assert not thread.is_alive()
    service.assert_clean(image)
