"""The worker of threads as `tranship serve` runs it: in-process messages, several imports at once, a clean end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.dispatch import Dispatcher, celery_app
from flows.methods import FLOWS
from flows.options import BrokerOptions
from stores.wrappers import Call
from tests.flows.service import Service, eager_service
from tests.servers import wait_until
from tests.workers.desk import confine
from workers.app import EmbeddedWorker

LONG = 3600.0
"""Seconds that no test waits: what depends on it does not happen here."""

PATIENCE = 60.0
"""Seconds to wait for what must happen, on a machine that may be busy."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose requests ring through `memory://`; nobody listens yet, and no sweeper comes a second time."""
    own: dict[str, Any] = {
        "eager": False,
        "progress_interval": 0.05,
        "http_idle_timeout": LONG,
        "resend_after": LONG,
        "sweep_interval": LONG,
        "lease_ttl": LONG,
    }
    with eager_service(tmp_path / "data", **own) as made:
        yield replace(made, dispatcher=Dispatcher(celery_app(BrokerOptions())))


class Unheard(Dispatcher):
    """A doorbell out of everybody's hearing."""

    def _ring(self, signature: object, about: str) -> bool:
        return True


@contextmanager
def working(service: Service, concurrency: int = 2) -> Iterator[EmbeddedWorker]:
    """A worker that consumes until the block ends, with an application of its own; it must have ended by then."""
    worker = EmbeddedWorker(service.runtime, celery_app(BrokerOptions()), concurrency=concurrency)
    worker.start()
    try:
        yield worker
    finally:
        assert worker.stop(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    assert wait_until(condition, PATIENCE, pause=0.02)


def ended(service: Service, *task_ids: str) -> None:
    """Wait until the tasks have succeeded and are let go of."""
    until(lambda: all(not service.task(task_id).live for task_id in task_ids))
    for task_id in task_ids:
        assert service.task(task_id).status == "success", service.task(task_id).message


def test_an_import_from_the_message_to_the_last_row(service: Service) -> None:
    """Given a worker that consumes, when an import is asked for, then it is done without anybody's help."""
    image = service.image()
    with working(service):
        task_id = service.ask(image, stores=("a", "b", "c"))
        ended(service, task_id)
        until(lambda: service.look(image).import_task is None)
    with service.runtime.catalog.read() as tx:
        assert [attempt.outcome for attempt in tx.tasks.attempts(task_id)] == ["done", "done", "done"]
    service.assert_clean(image)


def test_what_was_asked_for_before_the_start_is_done_after_it(service: Service) -> None:
    """Given an import on record whose message nobody heard, when a worker starts, then its first sweep sees to it."""
    image = service.image()
    task_id = replace(service, dispatcher=Unheard(service.dispatcher.app)).ask(image)
    with working(service):
        ended(service, task_id)
    service.assert_clean(image)


def test_several_imports_at_once(service: Service) -> None:
    """Given a worker for three, when three imports are asked for, then all three are under way at the same time."""
    together = threading.Barrier(3, timeout=PATIENCE)

    def meet(_: Call, go: Callable[[], Any]) -> Any:
        together.wait()
        return go()

    service.fail("a", "create", meet)
    images = [service.image() for _ in range(3)]
    with working(service, concurrency=3):
        ended(service, *[service.ask(image) for image in images])
    assert not together.broken
    for image in images:
        service.assert_clean(image)


def test_more_imports_than_threads(service: Service) -> None:
    """Given a worker for two, when seven imports are asked for, then never more than two run, and all get done."""
    running = threading.Semaphore(2)

    def count(_: Call, go: Callable[[], Any]) -> Any:
        assert running.acquire(blocking=False), "a third one runs"
        try:
            return go()
        finally:
            running.release()

    service.fail("a", "write", count)
    images = [service.image() for _ in range(7)]
    with working(service):
        ended(service, *[service.ask(image) for image in images])
    for image in images:
        service.assert_clean(image)


def test_a_stop_hands_back_and_the_next_start_resumes(service: Service) -> None:
    """Given an import whose source has fallen silent, when the worker stops, then the import is handed back although
    nothing arrives; and a new worker's first sweep takes it up.
    """
    service.origin.stall_after = 70_000
    image = service.image()
    with working(service) as first:
        task_id = service.ask(image, stores=("a", "b"))
        until(lambda: service.task(task_id).attempt == 1)
        until(lambda: len(service.origin.asked) == 1)
        assert first.stop(PATIENCE)
        waiting = service.task(task_id)
        assert (waiting.status, waiting.attempt, waiting.sent_at) == ("processing", 0, None)
        assert service.look(image).status == "importing"
        assert service.kept() == {"a": [], "b": [], "c": []}
    service.origin.stall_after = None
    with working(service):
        ended(service, task_id)
    with service.runtime.catalog.read() as tx:
        assert tx.tasks.attempts(task_id)[0].outcome == "handed_back"
    service.assert_clean(image)


def test_a_hand_back_tells_whether_work_is_still_in_hand(service: Service) -> None:
    """Given an import that is held up where it cannot hear, when the worker hands back, then it says that it has not
    yet; and once the import can hear, that it has.
    """
    busy, go_on = threading.Event(), threading.Event()

    def wait(_: Call, go: Callable[[], Any]) -> Any:
        busy.set()
        assert go_on.wait(PATIENCE)
        return go()

    service.fail("a", "write", wait)
    with working(service) as worker:
        task_id = service.ask(service.image())
        assert busy.wait(PATIENCE)
        assert not worker.hand_back(0.0)
        go_on.set()
        assert worker.hand_back(PATIENCE)
        task = service.task(task_id)
    assert (task.status, task.attempt, task.sent_at) == ("processing", 0, None)
    assert service.kept()["a"] == []


def test_nothing_begins_once_it_hands_back(service: Service) -> None:
    """Given a worker that is about to leave, when an import is asked for, then it waits on record for the next one."""
    image = service.image()
    with working(service) as leaving:
        assert leaving.hand_back(PATIENCE)
        task_id = service.ask(image)
        assert service.task(task_id).attempt == 0
    assert (service.task(task_id).status, service.task(task_id).attempt) == ("pending", 0)
    with working(service):
        ended(service, task_id)
    service.assert_clean(image)


def at(service: Service, host: str) -> Service:
    """The same service, as a process on `host` sees it."""
    return replace(service, runtime=replace(service.runtime, host=host))


def hosts_of(service: Service, task_id: str) -> list[str]:
    """Where each attempt at the task ran."""
    with service.runtime.catalog.read() as tx:
        return [attempt.worker.partition(":")[0] for attempt in tx.tasks.attempts(task_id)]


def test_what_one_host_can_do_is_done_there(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given workers on two hosts, when imports are asked for that one of the hosts can do, whoever asks, then it does
    each of them from the first step to the last.
    """
    with working(at(service, "left")), working(at(service, "right")):
        asked = []
        for host in ["left", "right"] * 4:
            confine(monkeypatch, host)
            asked.append((host, service.ask(service.image())))
        ended(service, *[task_id for _, task_id in asked])
    for host, task_id in asked:
        assert hosts_of(service, task_id) == [host] * len(FLOWS["web-download"].steps)


def test_a_host_that_is_away_is_waited_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an import that an absent host can do, then others leave it alone, and it is done once the host is back."""
    with working(at(service, "left")):
        confine(monkeypatch, "right")
        task_id = service.ask(service.image())
        confine(monkeypatch, None)
        ended(service, service.ask(service.image()))
        assert (service.task(task_id).attempt, service.task(task_id).phase) == (0, "waiting for a worker")
    with working(at(service, "right")):
        ended(service, task_id)


def test_what_a_lost_host_can_do_is_called_off_by_another(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an import that a host can do which is gone for ever, when it is called off, then any worker ends it."""
    confine(monkeypatch, "gone")
    image = service.image()
    task_id = service.ask(image)
    with working(at(service, "left")):
        with service.runtime.catalog.begin() as tx:
            assert tx.tasks.cancel(task_id)
            task = tx.tasks.get(task_id)
        assert service.dispatcher.send_again(FLOWS[task.flow], task)
        until(lambda: not service.task(task_id).live)
    assert service.task(task_id).error_code == "cancelled"
    assert hosts_of(service, task_id) == ["left"]
    service.assert_clean(image)


def test_no_thread_is_left(service: Service) -> None:
    """Given a worker that has imported, when it was stopped, then every thread that it made is gone."""
    before = set(threading.enumerate())
    with working(service, concurrency=3):
        ended(service, *[service.ask(service.image()) for _ in range(3)])
    # What the source's server runs per connection is not the worker's, and ends by itself.
    until(lambda: set(threading.enumerate()) <= before)
