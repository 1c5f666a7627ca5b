"""The worker of threads: it works off what is sent to its own application, and hands back what it holds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from catalog.images import ImageRecord
from flows.dispatch import Dispatcher, celery_app
from flows.runtime import Runtime
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from stores.wrappers import FaultyStore
from tests.conformance.origin import serving
from tests.flows.service import DATA, Service, load
from tests.servers.process import wait_until
from workers.app import EmbeddedWorker


@contextmanager
def service(data: Path) -> Iterator[tuple[Service, EmbeddedWorker]]:
    """A service whose imports are done by a worker of threads that has not started yet."""
    data.mkdir()
    with serving() as origin:
        origin.objects["/image"] = DATA
        settings = load(data, origin, eager=False, progress_interval=0.05, resend_after=3600.0)
        memory = {name: MemoryStore(name) for name in ("a", "b")}
        faulty = {name: FaultyStore(store) for name, store in memory.items()}
        runtime = replace(Runtime.build(settings), stores=StoreRegistry(list(faulty.values()), "a"))
        runtime.catalog.database.create()
        # A broker of its own: `memory://` is one for the whole process.
        app = celery_app(settings.broker)
        worker = EmbeddedWorker(runtime, app)
        try:
            yield Service(runtime, Dispatcher(app), memory, faulty, origin), worker
        finally:
            worker.stop(10.0)
            runtime.close()


class Unheard(Dispatcher):
    """Its messages are lost, and it does not know."""

    def _ring(self, signature: object, about: str) -> bool:
        return True


def imported(service: Service, image: ImageRecord) -> bool:
    """Whether the import ends well within ten seconds, its last step too."""

    def ended() -> bool:
        now = service.look(image)
        return now.status == "active" and now.import_task is None

    return wait_until(ended, 10)


def test_an_import(tmp_path: Path) -> None:
    """Given a worker of threads, when an import is asked for, then all its steps are run, here and in a second
    application beside it.
    """
    with service(tmp_path / "x") as (one, worker):
        worker.start()
        image = one.image()
        one.ask(image, stores=("a", "b"))
        assert imported(one, image)
    with service(tmp_path / "y") as (other, worker):
        worker.start()
        image = other.image()
        other.ask(image)
        assert imported(other, image)
        other.assert_clean(image)


def test_lost_messages_are_not_waited_for(tmp_path: Path) -> None:
    """Given an import whose message was lost with the process before, when a worker starts, then it goes on at once,
    however long a message may take otherwise.
    """
    with service(tmp_path / "x") as (one, worker):
        one.dispatcher = Unheard(one.dispatcher.app)
        image = one.image()
        one.ask(image)
        worker.start()
        assert imported(one, image)


def test_hand_back(tmp_path: Path) -> None:
    """Given a running transfer, when the worker hands back, then the task is free at once, and nothing new begins."""
    with service(tmp_path / "x") as (one, worker):
        busy, stopping = threading.Event(), threading.Event()

        def wait(_call: object, go_on: Callable[[], object]) -> object:
            busy.set()
            assert stopping.wait(10)
            return go_on()

        one.fail("a", "write", wait)
        worker.start()
        task_id = one.ask(one.image())
        assert busy.wait(10)
        assert not worker.hand_back(0.0)
        stopping.set()
        assert worker.hand_back(10.0)
        task = one.task(task_id)
        assert (task.status, task.attempt, task.sent_at) == ("processing", 0, None)
        assert one.kept() == {"a": [], "b": []}
        later = one.ask(one.image())
        assert not worker.runner.run(later, "transfer")
        assert one.task(later).status == "pending"
