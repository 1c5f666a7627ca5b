"""Asking for an image that another import holds (import-behaviour §1.2, rows 4 to 17; §2.3, §2.6): every method against
every other, alive and stale.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from catalog import tables as t
from catalog.errors import LockHeld
from catalog.images import ImageRecord
from flows.errors import BadImportRequest, ImageNotReady, NotAdmitted, StoreNotConfigured
from flows.methods import FLOWS
from stores.errors import StoreFull
from stores.wrappers import fails
from tests.catalog.rows import age, rows_of
from tests.flows.service import Service, eager_service
from tests.workers.desk import ask, ask_for
from workers.runner import Runner

PENDING = 7200
"""Seconds after which an import that nobody began gives way."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that gives up at the first failure."""
    with eager_service(tmp_path / "data", max_attempts=1) as made:
        yield made


def held(
    service: Service, method: str, *, stale: bool, stores: tuple[str, ...] = ("a", "b")
) -> tuple[ImageRecord, str]:
    """An image that an import waits to work on, for too long or not; and that import's task."""
    image, task_id = ask(service, stores, method)
    if stale:
        age(service.runtime.catalog, task_id, PENDING)
    return service.look(image), task_id


@pytest.mark.parametrize("stale", [False, True], ids=["alive", "stale"])
@pytest.mark.parametrize("method", FLOWS)
@pytest.mark.parametrize("holder", FLOWS)
def test_every_method_against_every_other(service: Service, holder: str, method: str, stale: bool) -> None:
    """Given an image held by one method's task, when another's is asked for, then it is judged by the status that the
    image falls back to; if that suits it, a live task is named, and a stale one gives way.
    """
    image, task_id = held(service, holder, stale=stale)
    before = rows_of(service.runtime.catalog)
    if FLOWS[method].begins_from != FLOWS[holder].begins_from:
        with pytest.raises(ImageNotReady, match=f"is in status {image.status}; {method} takes only"):
            ask_for(service, image, method)
        assert rows_of(service.runtime.catalog) == before
    elif not stale:
        with pytest.raises(LockHeld, match=f"Image {image.id} has active task {task_id}; .* taken over from .*Z on"):
            ask_for(service, image, method)
        assert rows_of(service.runtime.catalog) == before
    else:
        won = ask_for(service, image, method, bell=service.dispatcher)
        assert (service.task(task_id).error_code, service.task(won).status) == ("preempted", "success")
        service.assert_clean(image)


WRONG: dict[str, tuple[tuple[str, ...], type[NotAdmitted]]] = {
    "no store": ((), BadImportRequest),
    "a store twice": (("a", "a"), BadImportRequest),
    "an unknown store": (("a", "nowhere"), StoreNotConfigured),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("method", FLOWS)
def test_what_is_wrong_is_refused_first(service: Service, method: str, what: str) -> None:
    """Given a stale task, when an import is asked for that could not be done anyway, then nothing is taken from it."""
    image, _ = held(service, method, stale=True)
    stores, error = WRONG[what]
    before = rows_of(service.runtime.catalog)
    with pytest.raises(error):
        ask_for(service, image, method, stores)
    assert rows_of(service.runtime.catalog) == before


@pytest.mark.parametrize("bad", [False, True], ids=["succeeds", "fails"])
@pytest.mark.parametrize("method", FLOWS)
def test_the_new_import_decides_what_is_shown(service: Service, method: str, bad: bool) -> None:
    """Given a stale import into a and b, when another goes to b alone, then a is in neither list, and b as it fares."""
    image, _ = held(service, method, stale=True)
    if bad:
        service.fail("b", "create", fails(StoreFull("b", "no room")))
    won = ask_for(service, image, method, ("b",), bell=service.dispatcher)
    now = service.look(image)
    assert (now.importing_to, now.failed) == ((), ("b",) if bad else ())
    assert service.task(won).status == ("failure" if bad else "success")
    assert now.status == (FLOWS[method].begins_from if bad else "active")


@pytest.mark.parametrize("method", FLOWS)
def test_a_method_of_another_version(service: Service, method: str) -> None:
    """Given a stale task whose method this version does not know, then it is undone as any would be."""
    image, task_id = held(service, method, stale=True)
    with service.runtime.catalog.database.begin() as connection:
        connection.execute(update(t.tasks).where(t.tasks.c.id == task_id).values(flow="of-the-future"))
    won = ask_for(service, image, method, bell=service.dispatcher)
    assert (service.task(task_id).error_code, service.task(won).status) == ("preempted", "success")
    service.assert_clean(image)


def test_a_stale_copy_with_nothing_left_to_copy(service: Service) -> None:
    """Given a copy that had only its last word to say, when copies in all stores are asked for, then there is nothing
    to do, and the image is free.
    """
    image, task_id = ask(service, ("a", "b"), "copy-image")
    runner = Runner(service.runtime, "w")
    assert all(runner.run(task_id, step.name) for step in FLOWS["copy-image"].steps if step.can_be_called_off)
    age(service.runtime.catalog, task_id, PENDING)
    task = service.copy(service.look(image), all_stores=True)
    assert (task.status, task.message) == ("success", "Nothing to copy: the image is in a, b, c already.")
    assert service.look(image).import_task is None
    service.assert_clean(image)
