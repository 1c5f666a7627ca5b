"""The sweeper: lost messages, failures that pass, workers that died, stores that hang."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select

from catalog import tables as t
from flows.options import STAGING_STORE
from flows.staging import Staging
from stores.errors import StoreUnavailable
from stores.memory import MemoryStore
from stores.wrappers import Call
from tests.flows.service import Service
from tests.workers.desk import LATER, STEPS, NoBroker, ask, confine, sweep_soon, wait_for
from workers.runner import Runner
from workers.sweeper import Sweeper, sweep


def test_transient_failure_is_tried_again(service: Service) -> None:
    """Given a store that is away once, when the sweeper comes by, then the second attempt succeeds."""
    calls = []

    def away_once(call: Call, go: Callable[[], Any]) -> Any:
        calls.append(call.key)
        if len(calls) == 1:
            raise StoreUnavailable("b", "does not answer")
        return go()

    service.fail("b", "commit", away_once)
    image, task_id = ask(service)
    assert not Runner(service.runtime, "w").run(task_id, "transfer")
    waiting = service.task(task_id)
    assert (waiting.status, waiting.attempt, waiting.live) == ("processing", 1, True)
    assert "does not answer" in waiting.message
    assert sweep(service.runtime, service.dispatcher) == 1
    assert service.task(task_id).status == "success"
    assert calls[0] != calls[1], "each attempt writes under its own key"
    service.assert_clean(image)


def test_gives_up_after_max_attempts(service: Service) -> None:
    """Given a source that always fails, when it was tried often enough, then the import fails and says how often."""
    service.origin.status = 503
    image, task_id = ask(service)
    for _ in range(3):
        sweep_soon(service)
    task = service.task(task_id)
    assert (task.status, task.error_code) == ("failure", "source_http_status")
    assert "given up after 3 attempts" in task.message
    service.assert_clean(image)


@pytest.mark.parametrize("broken_off_after", range(len(STEPS)))
def test_lost_messages_are_sent_again(service: Service, broken_off_after: int) -> None:
    """Given a chain that broke off after any step, when the sweeper comes by, then it goes on from the row."""
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    for step in STEPS[:broken_off_after]:
        assert runner.run(task_id, step)
    bell = NoBroker(service)
    assert sweep(service.runtime, bell) == 0, "a message may still be on its way"
    service.runtime.catalog.database.skew = LATER
    assert sweep(service.runtime, bell) == 1
    assert bell.rung == [task_id]
    sweep_soon(service)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


@pytest.mark.parametrize("host", [None, "far"])
def test_a_host_is_rung_at_again(service: Service, monkeypatch: pytest.MonkeyPatch, host: str | None) -> None:
    """Given an import that one host alone can do, when its message is lost, then any sweeper rings at that host."""
    confine(monkeypatch, host)
    _, task_id = ask(service)
    bell = NoBroker(service)
    service.runtime.catalog.database.skew = LATER
    assert sweep(service.runtime, bell) == 1
    assert (bell.rung, bell.hosts) == ([task_id], [host])


@pytest.mark.parametrize("done", STEPS[:-1])
def test_what_was_read_any_host_can_finish(service: Service, monkeypatch: pytest.MonkeyPatch, done: str) -> None:
    """Given a host that went for ever after it had read what it alone could read, then others end the import."""
    confine(monkeypatch, "far")
    image, task_id = ask(service)
    worker = Runner(service.runtime, "w")
    assert all(worker.run(task_id, name) for name in STEPS[: STEPS.index(done) + 1])
    bell = NoBroker(service)
    service.runtime.catalog.database.skew += LATER
    sweep(service.runtime, bell)
    assert bell.hosts == [None]
    sweep_soon(service)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


@pytest.mark.parametrize(("host", "left"), [(None, []), ("here", []), ("far", ["staged"])])
def test_garbage_on_the_disk_of_a_host(service: Service, host: str | None, left: list[str]) -> None:
    """Given staged bytes that nobody needs, when a sweeper comes by, then it deletes what its host can reach."""
    staging = MemoryStore(STAGING_STORE)
    writer = staging.create("staged")
    writer.write(b"x")
    writer.commit()
    catalog, image = service.runtime.catalog, service.image()
    row = {"store": STAGING_STORE, "object_key": "staged", "image_id": image.id, "host": host}
    due = {"state": "garbage", "created_at": 0, "collect_at": 0, "forget_at": 0}
    with catalog.begin() as tx:
        tx.connection.execute(insert(t.objects).values(row | due))
    runtime = replace(service.runtime, host="here", staging=Staging(staging, host))
    sweep(runtime, service.dispatcher)
    assert staging.keys() == left
    with catalog.read() as tx:
        keys = [row.object_key for row in tx.connection.execute(select(t.objects.c.object_key))]
    assert keys == left, "what is deleted for the last time is forgotten"


def test_garbage_that_nobody_can_delete_is_in_nobodys_way(service: Service) -> None:
    """Given an object at which a store's driver itself fails, then what is due after it goes all the same."""
    image = service.image()
    for place, key in enumerate(("bad", "good")):
        writer = service.memory["a"].create(key)
        writer.write(b"x")
        writer.commit()
        row = {"store": "a", "object_key": key, "image_id": image.id, "task_id": None, "created_at": 0}
        due = {"state": "garbage", "collect_at": place, "forget_at": 0}
        with service.runtime.catalog.begin() as tx:
            tx.connection.execute(insert(t.objects).values(row | due))

    def fails(call: Call, go: Callable[[], Any]) -> Any:
        if call.key == "bad":
            raise RuntimeError("a bug")
        return go()

    service.fail("a", "delete", fails)
    sweep_soon(service)
    assert service.memory["a"].keys() == ["bad"]


def test_a_dead_worker_is_replaced(service: Service) -> None:
    """Given a worker that died in mid-transfer, when its lease has run out, then another attempt completes the
    import.
    """
    image, task_id = ask(service)
    dead = service.runtime.catalog.lock.enter(task_id, 0, "dead")
    assert dead is not None
    key = f"{image.id}.{dead.fence}"
    with service.runtime.catalog.fenced(dead) as tx:
        tx.begin_objects({"a": key, "b": key})
    writer = service.memory["a"].create(key)
    writer.write(b"half")
    service.memory["b"].create(key).write(b"half")
    assert sweep(service.runtime, service.dispatcher) == 0, "it may be alive"
    service.runtime.catalog.database.skew = LATER
    assert sweep(service.runtime, service.dispatcher) == 1
    assert service.task(task_id).status == "success"
    with service.runtime.catalog.read() as reading:
        outcomes = [a.outcome for a in reading.tasks.attempts(task_id)]
    assert outcomes == ["lost", "done", "done", "done"]
    service.assert_clean(image)


def test_a_step_that_kills_workers_is_given_up(service: Service) -> None:
    """Given a step at which every worker dies, when it was entered often enough, then the import fails."""
    image, task_id = ask(service)
    for number in range(3):
        assert service.runtime.catalog.lock.enter(task_id, 0, f"victim-{number}") is not None
        service.runtime.catalog.database.skew += LATER
    sweep(service.runtime, service.dispatcher)
    task = service.task(task_id)
    assert (task.status, task.error_code) == ("failure", "worker_lost")
    assert service.look(image).status == "queued"
    service.assert_clean(image)


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
