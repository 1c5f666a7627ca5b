"""Work that is called off: cancelled, its image deleted, or handed back by a worker that has to go."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from catalog.errors import NotFound
from flows.collect import collect
from flows.methods import FLOWS
from tests.flows.service import Service
from tests.workers.desk import Moment, ask, in_mid_transfer, told_to_stop, wait_for
from workers.runner import Runner
from workers.sweeper import sweep


def test_cancel(service: Service) -> None:
    """Given a running transfer, when it is cancelled, then it stops, says so, and leaves nothing."""

    def cancel(_image: Any, task_id: str, runner: Runner) -> None:
        with service.runtime.catalog.begin() as tx:
            assert tx.tasks.cancel(task_id)
        told_to_stop(runner)

    image, task_id = in_mid_transfer(service, cancel)
    task = service.task(task_id)
    assert (task.status, task.error_code) == ("failure", "cancelled")
    assert "cancelled" in task.message
    assert service.look(image).status == "queued"
    service.assert_clean(image)


def test_cancel_while_the_checksums_are_read(service: Service) -> None:
    """Given a file of checksums that does not come, when the import is cancelled, then nobody waits for it."""
    service.origin.silent = True
    image, task_id = ask(service, checksum=service.origin.url("/SHA256SUMS"))
    thread = threading.Thread(target=Runner(service.runtime, "w").run, args=(task_id, "transfer"))
    thread.start()
    wait_for(lambda: service.task(task_id).phase == "reading the checksums")
    with service.runtime.catalog.begin() as tx:
        assert tx.tasks.cancel(task_id)
    thread.join(30)
    assert not thread.is_alive()
    task = service.task(task_id)
    assert (task.status, task.error_code) == ("failure", "cancelled")
    service.assert_clean(image)


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


def test_cancelled_before_it_is_published(service: Service) -> None:
    """Given bytes that are stored, when the import is cancelled before they are published, then they go."""
    image, task_id = ask(service)
    runner = Runner(service.runtime, "w")
    assert runner.run(task_id, "transfer")
    with service.runtime.catalog.begin() as tx:
        tx.tasks.cancel(task_id)
    assert not runner.run(task_id, "publish")
    assert (service.task(task_id).status, service.task(task_id).error_code) == ("failure", "cancelled")
    service.assert_clean(image)


class TestImageDeleted:
    """An image is deleted in any phase of its import: the work ends, and not a byte stays (§1.8 [R])."""

    MOMENTS: Mapping[str, Moment] = {
        "connecting": Moment("create"),
        "in mid-transfer": Moment("write"),
        "all is read": Moment("commit"),
        "a store has it all": Moment("commit", answer=True),
    }

    @pytest.mark.parametrize("moment", MOMENTS)
    @pytest.mark.parametrize("method", FLOWS)
    def test_under_a_worker(self, service: Service, method: str, moment: str) -> None:
        """Given a worker at any point of the transfer, then it is told within a heartbeat."""

        def delete(image: Any, _task_id: str, runner: Runner) -> None:
            service.runtime.catalog.delete_image(image.id)
            told_to_stop(runner)

        _, task_id = in_mid_transfer(service, delete, method=method, at=self.MOMENTS[moment])
        self._judge(service, task_id)

    @pytest.mark.parametrize("method", FLOWS)
    def test_between_two_steps(self, service: Service, method: str) -> None:
        """Given an import of which n steps are done, then the next does not begin, nor is the image seen again."""
        steps = FLOWS[method].steps
        for done in range(len(steps)):
            image, task_id = ask(service, method=method)
            runner = Runner(service.runtime, "w")
            assert all(runner.run(task_id, step.name) for step in steps[:done])
            service.runtime.catalog.delete_image(image.id)
            began = runner.run(task_id, steps[done].name)
            assert began != steps[done].can_be_called_off
            if steps[done].can_be_called_off:
                self._judge(service, task_id)
            self._nothing_stays(service)
            with pytest.raises(NotFound):
                service.look(image)

    def _judge(self, service: Service, task_id: str) -> None:
        task = service.task(task_id)
        assert (task.status, task.error_code, "deleted" in task.message) == ("failure", "cancelled", True)
        self._nothing_stays(service)

    def _nothing_stays(self, service: Service) -> None:
        collect(service.runtime)
        assert service.kept() == {"a": [], "b": [], "c": []}
        assert service.staged.keys() == []
