"""A worker that loses its image to another import while it is at work (import-behaviour §2.4), for every method and
under both keepers of leases.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from catalog.errors import LockHeld
from flows.methods import FLOWS
from flows.monitor import Stop
from tests.catalog.rows import age
from tests.flows.service import DATA, Service, eager_service
from tests.workers.desk import Moment, ask, ask_for, in_mid_transfer, told_to_stop, wait_for
from workers.runner import Runner
from workers.sweeper import sweep

HOUR = 3600
STORES = ("a", "b")


@pytest.fixture(params=["database", "redis"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with quick heartbeats and long leases: what a worker hears soon, it hears from the row."""
    client = fakeredis.FakeRedis() if request.param == "redis" else None
    with eager_service(tmp_path / "data", redis_client=client, lease_ttl=3600.0, progress_interval=0.05) as made:
        yield made


def quiet(service: Service, task_id: str, runner: Runner) -> None:
    """Let the task have shown nothing for an hour, though its worker lives and beats."""

    def all_shown() -> bool:
        (monitor,) = runner._running
        now, task = monitor.progress(), service.task(task_id)
        return (task.phase, task.bytes_done) == (now.phase, now.bytes_done)

    wait_for(all_shown)
    age(service.runtime.catalog, task_id, HOUR)


MOMENTS = {
    "before the first byte": Moment("create"),
    "in mid-write": Moment("write"),
    "before it commits": Moment("commit"),
    "after it committed": Moment("commit", answer=True),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("method", FLOWS)
def test_nothing_of_the_loser_stays(service: Service, method: str, moment: str) -> None:
    """Given a worker that hangs anywhere in its transfer, when another import has run to its end and the worker wakes
    up, then the image is the other's, whole, and no store holds a byte of the loser.
    """
    won = []

    def steal(image: Any, task_id: str, runner: Runner) -> None:
        quiet(service, task_id, runner)
        (monitor,) = runner._running
        won.append(ask_for(service, service.look(image), method, STORES, bell=service.dispatcher))
        told_to_stop(runner)
        assert monitor.stop is Stop.LOST

    image, task_id = in_mid_transfer(service, steal, method=method, at=MOMENTS[moment])
    loser, winner = service.task(task_id), service.task(won[0])
    assert (loser.status, loser.error_code) == ("failure", "preempted")
    assert loser.message.startswith(f"Expired lock preempted by task {winner.id}: ")
    assert winner.status == "success"
    now = service.look(image)
    assert (now.status, now.failed) == ("active", ())
    assert {*STORES} <= {place.store for place in now.locations}
    for place in now.locations:
        with service.runtime.stores.get(place.store).open(place.object_key) as reader:
            assert b"".join(reader) == DATA
    service.assert_clean(image)
    service.runtime.catalog.database.skew += 61
    sweep(service.runtime, service.dispatcher)
    service.assert_clean(image)


@pytest.mark.parametrize("method", FLOWS)
def test_progress_keeps_the_image(service: Service, method: str) -> None:
    """Given a worker that is slow but not silent, when another import is asked for, then that one is refused."""

    def ask_again(image: Any, task_id: str, _runner: Runner) -> None:
        age(service.runtime.catalog, task_id, HOUR - 60)
        with pytest.raises(LockHeld, match=task_id):
            ask_for(service, service.look(image), method, STORES)

    image, task_id = in_mid_transfer(service, ask_again, method=method)
    assert service.task(task_id).status == "success"
    service.assert_clean(image)


@pytest.mark.parametrize("method", FLOWS)
def test_between_two_steps(service: Service, method: str) -> None:
    """Given an import of which n steps were done when its messages were lost, and nobody swept, then another takes its
    place, or is told that there is nothing left to do.
    """
    steps = FLOWS[method].steps
    for done, step in enumerate(steps):
        image, task_id = ask(service, STORES, method)
        runner = Runner(service.runtime, "w")
        assert all(runner.run(task_id, step.name) for step in steps[:done])
        age(service.runtime.catalog, task_id, 2 * HOUR)
        if not step.can_be_called_off:
            continue
        won = ask_for(service, service.look(image), method, STORES, bell=service.dispatcher)
        assert not runner.run(task_id, step.name)
        assert (service.task(task_id).error_code, service.task(won).status) == ("preempted", "success")
        service.assert_clean(image)
