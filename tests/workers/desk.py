"""What the tests of the runner and the sweeper share: a task nobody was told of, and a pause in mid-transfer."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from catalog.images import ImageRecord
from flows.dispatch import Dispatcher
from flows.flow import Admission, Flow, ImportRequest
from flows.methods import FLOWS
from flows.runtime import Runtime
from flows.submit import Requester, submit
from stores.wrappers import Call
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


def ask(service: Service, stores: tuple[str, ...] = ("a", "b"), **more: Any) -> tuple[Any, str]:
    """An image and the task that imports it, which no message has told anybody of."""
    image = service.image()
    request = ImportRequest("web-download", uri=service.origin.url("/image"), stores=stores, **more)
    return image, submit(service.runtime, NoBroker(service), image, request, Requester())


def sweep_soon(service: Service) -> None:
    """Sweep as if the time to send again had passed."""
    service.runtime.catalog.database.skew += LATER
    sweep(service.runtime, service.dispatcher)


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


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds; a bounded number of times."""
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it never came true")
