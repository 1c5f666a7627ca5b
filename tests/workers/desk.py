"""What the tests of the runner and the sweeper share: a task nobody was told of, and a pause in mid-transfer."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from catalog.images import ImageRecord
from flows.dispatch import Dispatcher
from flows.flow import Admission, Flow, ImportRequest
from flows.methods import FLOWS
from flows.runtime import Runtime
from flows.submit import Requester, submit
from stores.wrappers import Call, Operation
from tests.flows.service import Service
from workers.runner import Runner
from workers.sweeper import sweep

RESEND = 30.0
LATER = RESEND + 1.0
"""Seconds after which a message counts as lost, and a lease of 2 s as ended."""

STEPS = [step.name for step in FLOWS["web-download"].steps]


class NoBroker(Dispatcher):
    """A doorbell that is never heard; remembers for whom it was rung, and at which host."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.dispatcher.app)
        self.rung: list[str] = []
        self.hosts: list[str | None] = []

    def send(self, flow: Flow, task_id: str, from_step: int = 0, host: str | None = None) -> bool:
        self.hosts.append(host)
        return super().send(flow, task_id, from_step, host)

    def _ring(self, signature: object, about: str) -> bool:
        self.rung.append(about)
        return True


def confine(monkeypatch: pytest.MonkeyPatch, host: str | None) -> None:
    """From now on, what web downloads read can be read by the workers of `host` only; None: by all."""

    def admit(_runtime: Runtime, request: ImportRequest, _image: ImageRecord) -> Admission:
        return Admission({"uri": request.uri}, host=host)

    monkeypatch.setitem(FLOWS, "web-download", replace(FLOWS["web-download"], admit=admit))


def staged(service: Service) -> ImageRecord:
    """An image whose data waits to be imported."""
    image = service.image()
    service.stage(image)
    return service.look(image)


PREPARED: dict[str, Callable[[Service], ImageRecord]] = {
    "queued": Service.image,
    "uploading": staged,
    "active": lambda service: service.active("c"),
}
"""How to make an image in the status that a method begins from."""


def prepared(service: Service, method: str) -> ImageRecord:
    """An image that this method may be asked for."""
    return PREPARED[FLOWS[method].begins_from](service)


def ask_for(
    service: Service,
    image: ImageRecord,
    method: str = "web-download",
    stores: tuple[str, ...] = ("a", "b"),
    *,
    bell: Dispatcher | None = None,
    **more: Any,
) -> str:
    """Ask for this import of the image, by default such that no message tells anybody; the task's id."""
    request = ImportRequest(method, uri=service.origin.url("/image"), stores=stores, **more)
    return submit(service.runtime, bell or NoBroker(service), image, request, Requester())


def ask(
    service: Service, stores: tuple[str, ...] = ("a", "b"), method: str = "web-download", **more: Any
) -> tuple[Any, str]:
    """An image and the task that imports it, which no message has told anybody of."""
    image = prepared(service, method)
    return image, ask_for(service, image, method, stores, **more)


def sweep_soon(service: Service) -> None:
    """Sweep as if the time to send again had passed."""
    service.runtime.catalog.database.skew += LATER
    sweep(service.runtime, service.dispatcher)


class Slow:
    """A store hook that lets the test act while a transfer is under way: it holds the first call back, or its answer.

    Whatever else comes to the store meanwhile passes.
    """

    def __init__(self, *, answer: bool = False) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self._answer = answer

    def __call__(self, call: Call, go: Callable[[], Any]) -> Any:
        if self.entered.is_set():
            return go()
        said = go() if self._answer else None
        self.entered.set()
        assert self.go_on.wait(30)
        return said if self._answer else go()


@dataclass(frozen=True)
class Moment:
    """A moment in the transfer step: before store `a` is called so for the first time, or (`answer`) right after."""

    operation: Operation = "write"
    answer: bool = False


def in_mid_transfer(
    service: Service,
    act: Callable[[Any, str, Runner], None],
    *,
    method: str = "web-download",
    at: Moment = Moment(),
) -> tuple[Any, str]:
    """Run an import in a thread as far as it gets, `act` while its transfer is held `at` that moment, and wait for its
    end.
    """
    image, task_id = ask(service, method=method)
    slow = Slow(answer=at.answer)
    service.fail("a", at.operation, slow)
    runner = Runner(service.runtime, "w")

    def work() -> None:
        all(runner.run(task_id, step.name) for step in FLOWS[method].steps)

    thread = threading.Thread(target=work)
    thread.start()
    assert slow.entered.wait(30)
    act(image, task_id, runner)
    slow.go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    service.faulty["a"].hooks.clear()
    return image, task_id


def told_to_stop(runner: Runner) -> None:
    """Wait until the step that this runner is at has been told to stop."""
    wait_for(lambda: any(monitor.stop for monitor in runner._running))


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds; a bounded number of times."""
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it never came true")
