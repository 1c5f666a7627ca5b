"""Tasks of a method that this version does not know, as after a downgrade."""

from typing import Any

import pytest
from sqlalchemy import update

from catalog import tables as t
from catalog.errors import NotFound
from flows.methods import FLOWS
from tests.flows.service import Service
from tests.workers.desk import LATER, ask, sweep_soon
from workers.sweeper import sweep


def unknown(service: Service, method: str) -> tuple[Any, str]:
    """An image, and a task of a method of tomorrow that begins like this one."""
    image, task_id = ask(service, method=method)
    with service.runtime.catalog.database.begin() as connection:
        connection.execute(update(t.tasks).where(t.tasks.c.id == task_id).values(flow="of-tomorrow"))
    return image, task_id


@pytest.mark.parametrize("method", FLOWS)
def test_it_waits_for_a_version_that_knows_it(service: Service, method: str) -> None:
    image, task_id = unknown(service, method)
    sweep_soon(service)
    assert (service.task(task_id).status, service.look(image).import_task) == ("pending", task_id)


@pytest.mark.parametrize("method", FLOWS)
def test_its_image_is_deleted(service: Service, method: str) -> None:
    """Given a deleted image, when a sweeper comes by, then the task is over, and nothing of it is left."""
    image, task_id = unknown(service, method)
    service.runtime.catalog.delete_image(image.id)
    sweep(service.runtime, service.dispatcher)
    task = service.task(task_id)
    assert (task.status, task.error_code, task.message) == ("failure", "cancelled", "the image was deleted")
    assert not [key for keys in service.kept().values() for key in keys if key.startswith(image.id)]
    assert service.staged.keys() == []
    with pytest.raises(NotFound):
        service.look(image)


@pytest.mark.parametrize(("method", "back"), [("web-download", "queued"), ("glance-direct", "uploading")])
def test_it_is_cancelled(service: Service, method: str, back: str) -> None:
    """Given a wish to cancel it, when a sweeper comes by, then the image can be imported into again."""
    image, task_id = unknown(service, method)
    with service.runtime.catalog.begin() as tx:
        assert tx.tasks.cancel(task_id)
    sweep(service.runtime, service.dispatcher)
    assert (service.task(task_id).status, service.look(image).status) == ("failure", back)
    service.assert_clean(image)


def test_somebody_is_still_at_it(service: Service) -> None:
    """Given a worker of tomorrow at work on it, then it is left to that one; its lease over, the sweeper ends it."""
    image, task_id = unknown(service, "web-download")
    claim = service.runtime.catalog.lock.enter(task_id, 0, "of tomorrow")
    assert claim is not None
    service.runtime.catalog.delete_image(image.id)
    sweep(service.runtime, service.dispatcher)
    assert service.task(task_id).live
    service.runtime.catalog.database.skew += LATER
    sweep(service.runtime, service.dispatcher)
    assert service.task(task_id).status == "failure"


def test_ended_tasks_are_forgotten(service: Service) -> None:
    """Given a task whose time to live is over, when a sweeper comes by, then it is gone and its image is as it was."""
    image = service.active("a")
    with service.runtime.catalog.read() as tx:
        (task,) = tx.tasks.of_image(image.id)
    service.runtime.catalog.database.skew += service.runtime.options.task_time_to_live + 1
    sweep(service.runtime, service.dispatcher)
    with pytest.raises(NotFound):
        service.task(task.id)
    assert service.look(image) == image
    service.assert_clean(image)
