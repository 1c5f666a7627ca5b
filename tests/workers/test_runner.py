"""The runner: each step once and in order, whatever messages come, and nothing written without the lock."""

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from catalog.errors import CatalogUnavailable
from flows.flow import Flow, ImportRequest, Record, Step, StepContext
from flows.methods import FLOWS
from flows.submit import Requester, submit
from stores.errors import StoreUnavailable
from tests.flows.service import Service
from tests.workers.desk import LATER, STEPS, ask, in_mid_transfer, sweep_soon
from workers.runner import Runner


def test_steps_in_order_and_once(service: Service) -> None:
    """Given a task, when every message comes twice and in any order, then each step runs once, in order."""
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    assert not runner.run(task_id, "finish")
    assert not runner.run(task_id, "publish")
    assert runner.run(task_id, "transfer")
    assert not runner.run(task_id, "transfer")
    assert service.look(image).status == "importing"
    assert runner.run(task_id, "publish")
    assert runner.run(task_id, "finish")
    assert not runner.run(task_id, "finish")
    assert service.task(task_id).status == "success"
    with service.runtime.catalog.read() as tx:
        assert [(a.step, a.outcome) for a in tx.tasks.attempts(task_id)] == [(0, "done"), (1, "done"), (2, "done")]
    service.assert_clean(image)


def test_unknown_task_and_step(service: Service) -> None:
    """Given a message of another version or about nothing, then it is dropped quietly."""
    _, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    assert not runner.run("no-such-task", "transfer")
    assert not runner.run(task_id, "no-such-step")


def test_a_sleeper_changes_nothing(service: Service) -> None:
    """Given a worker that sleeps past its lease, when it wakes after another has finished, then only the other
    counts.
    """
    taker = Runner(service.runtime, "taker")

    def overtake(_image: Any, task_id: str, _runner: Runner) -> None:
        service.faulty["a"].hooks.clear()
        service.runtime.catalog.database.skew = LATER
        for step in STEPS:
            assert taker.run(task_id, step)

    image, task_id = in_mid_transfer(service, overtake)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


def test_a_running_lease_is_renewed(service: Service) -> None:
    """Given a transfer longer than its lease, when others try to enter, then they get nothing until it is done."""

    def wait(_image: Any, task_id: str, _runner: Runner) -> None:
        pause = threading.Event()
        for _ in range(30):
            assert service.runtime.catalog.lock.enter(task_id, 0, "other") is None
            pause.wait(0.1)

    _, task_id = in_mid_transfer(service, wait)
    assert service.task(task_id).status == "success"
    with service.runtime.catalog.read() as tx:
        assert {attempt.outcome for attempt in tx.tasks.attempts(task_id)} == {"done"}


def stumbling(error: BaseException) -> Flow:
    """web-download, whose second step fails once with `error`."""
    flow, left = FLOWS["web-download"], [error]

    def publish(ctx: StepContext) -> Record:
        if left:
            raise left.pop()
        return flow.steps[1].run(ctx)

    return replace(flow, steps=(flow.steps[0], Step("publish", publish), flow.steps[2]))


@pytest.mark.parametrize("error", [StoreUnavailable("a", "away"), SystemExit()], ids=["tried again", "handed back"])
def test_what_an_earlier_step_brought_is_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Given bytes that are stored, when a later step has to be run again, then they are not brought again."""
    monkeypatch.setitem(FLOWS, "web-download", stumbling(error))
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    assert runner.run(task_id, "transfer")
    kept = service.kept()
    with contextlib.suppress(SystemExit):
        assert not runner.run(task_id, "publish")
    assert service.kept() == kept
    sweep_soon(service)
    assert service.task(task_id).status == "success"
    assert service.kept() == kept
    service.assert_clean(image)


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


def test_the_secret_goes_with_the_import(service: Service) -> None:
    """Given a URI with a password, when its import has ended, then no row knows the password any more."""
    image = service.image()
    uri = service.origin.url("/image").replace("://", "://me:s3cr3t@")
    task_id = submit(service.runtime, service.dispatcher, image, ImportRequest("web-download", uri=uri), Requester())
    assert service.task(task_id).status == "success"
    assert "s3cr3t" not in repr(service.task(task_id))
