"""The runner and the sweeper: doubled and lost messages, retries, cancelling, handing back, dead and sleeping
workers.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CatalogUnavailable
from flows.dispatch import Dispatcher
from flows.flow import Flow, ImportRequest, Record, Step, StepContext
from flows.methods import FLOWS
from flows.submit import Requester, submit
from stores.errors import StoreUnavailable
from stores.wrappers import Call
from tests.flows.service import Service, eager_service
from workers.runner import Runner
from workers.sweeper import Sweeper, sweep

RESEND = 30.0
LATER = RESEND + 1.0
"""Seconds after which a message counts as lost, and a lease of 2 s as ended."""

STEPS = [step.name for step in FLOWS["web-download"].steps]


class NoBroker(Dispatcher):
    """A doorbell that is never heard; counts how often it was rung."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.dispatcher.app)
        self.rung: list[str] = []

    def _ring(self, signature: object, about: str) -> bool:
        self.rung.append(about)
        return True


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with quick heartbeats and leases."""
    own: dict[str, Any] = {
        "lease_ttl": 2.0,
        "progress_interval": 0.05,
        "http_resume_attempts": 0,
        "max_attempts": 3,
        "resend_after": RESEND,
    }
    with eager_service(tmp_path / "data", **own) as made:
        yield made


def ask(service: Service, stores: tuple[str, ...] = ("a", "b")) -> tuple[Any, str]:
    """An image and the task that imports it, which no message has told anybody of."""
    image = service.image()
    request = ImportRequest("web-download", uri=service.origin.url("/image"), stores=stores)
    return image, submit(service.runtime, NoBroker(service), image, request, Requester())


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


def sweep_soon(service: Service) -> None:
    """Sweep as if the time to send again had passed."""
    service.runtime.catalog.database.skew += LATER
    sweep(service.runtime, service.dispatcher)


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


class Slow:
    """A store hook that lets the test act while a transfer is under way."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, call: Call, go: Callable[[], Any]) -> Any:
        self.entered.set()
        assert self.go_on.wait(30)
        return go()


def in_mid_transfer(service: Service, act: Callable[[Any, str, Runner], None]) -> tuple[Any, str]:
    """Run a transfer in a thread, `act` while its first chunk is being written, and wait for its end."""
    slow = Slow()
    service.fail("a", "write", slow)
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    thread = threading.Thread(target=runner.run, args=(task_id, "transfer"))
    thread.start()
    assert slow.entered.wait(30)
    act(image, task_id, runner)
    slow.go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    service.faulty["a"].hooks.clear()
    return image, task_id


def test_cancel(service: Service) -> None:
    """Given a running transfer, when it is cancelled, then it stops, says so, and leaves nothing."""

    def cancel(_image: Any, task_id: str, runner: Runner) -> None:
        with service.runtime.catalog.begin() as tx:
            assert tx.tasks.cancel(task_id)
        wait_for(lambda: any(monitor.stop for monitor in runner._running))

    image, task_id = in_mid_transfer(service, cancel)
    task = service.task(task_id)
    assert (task.status, task.error_code) == ("failure", "cancelled")
    assert "cancelled" in task.message
    assert service.look(image).status == "queued"
    service.assert_clean(image)


def test_image_deleted_in_mid_import(service: Service) -> None:
    """Given a running transfer, when the image is deleted, then the work ends and not a byte stays (§1.8 [R])."""

    def delete(image: Any, _task_id: str, runner: Runner) -> None:
        service.runtime.catalog.delete_image(image.id)
        wait_for(lambda: any(monitor.stop for monitor in runner._running))

    _, task_id = in_mid_transfer(service, delete)
    assert service.task(task_id).status == "failure"
    assert "deleted" in service.task(task_id).message
    assert service.kept() == {"a": [], "b": [], "c": []}


def test_hand_back(service: Service) -> None:
    """Given a running transfer, when the worker has to go, then another resumes, and the attempt does not count."""

    def leave(_image: Any, _task_id: str, runner: Runner) -> None:
        runner.hand_back_all("the node is drained")

    image, task_id = in_mid_transfer(service, leave)
    task = service.task(task_id)
    assert (task.status, task.attempt, task.sent_at) == ("processing", 0, None)
    assert service.kept()["a"] == []
    assert sweep(service.runtime, service.dispatcher) == 1
    assert service.task(task_id).status == "success"
    with service.runtime.catalog.read() as tx:
        assert tx.tasks.attempts(task_id)[0].outcome == "handed_back"
    service.assert_clean(image)


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
    assert service.task(task_id).step == 1


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds; a bounded number of times."""
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it never came true")


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
