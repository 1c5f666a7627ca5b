"""Tasks that ended long ago are deleted, and nothing that anybody still needs goes with them."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import NotFound
from tests.catalog.rows import entered, image_of, imported, importing, new_image, new_task, stored
from tests.catalog.test_tasks import pass_by

KEPT = 60.0
"""Seconds for which the tasks here are remembered."""


def ended(catalog: Catalog, image_id: str, stores: tuple[str, ...] = ("a",)) -> str:
    """A task that failed just now."""
    task = new_task(image_id, stores)
    catalog.request_import(task)
    with catalog.fenced(entered(catalog, task.id)) as tx:
        tx.settle_targets(None, ("x", "no"))
        tx.requeue()
        tx.fail(code="x", message="no", keep_for=KEPT)
    return task.id


def rows(catalog: Catalog, table: Any, **equal: object) -> int:
    """How many rows of a table there are."""
    with catalog.database.read() as connection:
        return len(connection.execute(select(table).filter_by(**equal)).all())


def test_after_its_time(catalog: Catalog) -> None:
    """Given a task that ended, then it is known for its time; after that, neither it nor its attempts are left."""
    image_id = new_image(catalog)
    task_id = ended(catalog, image_id)
    pass_by(catalog, KEPT - 1)
    assert catalog.forget_tasks(limit=9) == 0
    pass_by(catalog, 2)
    assert [catalog.forget_tasks(limit=9) for _ in range(2)] == [1, 0]
    assert (rows(catalog, t.tasks), rows(catalog, t.attempts)) == (0, 0)
    with pytest.raises(NotFound), catalog.read() as tx:
        tx.tasks.get(task_id)


def test_the_verdict_stays(catalog: Catalog) -> None:
    """Given a store that an image shows as failed, when the task is forgotten, then it is shown until another import
    has something to say of that store.
    """
    image_id = new_image(catalog)
    ended(catalog, image_id, ("a", "b"))
    pass_by(catalog, KEPT + 1)
    catalog.forget_tasks(limit=9)
    assert image_of(catalog, image_id).failed == ("a", "b")
    catalog.request_import(new_task(image_id, ("b",)))
    assert (image_of(catalog, image_id).failed, image_of(catalog, image_id).importing_to) == (("a",), ("b",))
    assert rows(catalog, t.targets, image_id=image_id) == 2, "what is superseded, and has no task, is no use to anybody"


def test_a_verdict_that_is_superseded_goes_with_its_task(catalog: Catalog) -> None:
    image_id = new_image(catalog)
    ended(catalog, image_id, ("a", "b"))
    ended(catalog, image_id, ("b",))
    pass_by(catalog, KEPT + 1)
    assert catalog.forget_tasks(limit=9) == 2
    assert (rows(catalog, t.targets), image_of(catalog, image_id).failed) == (2, ("a", "b"))


def test_what_the_task_brought_stays(catalog: Catalog) -> None:
    """Given an image that a task has brought, when that is forgotten, then the image is as it was, and its data goes
    when it is deleted.
    """
    image_id, _ = imported(catalog)
    before = image_of(catalog, image_id)
    pass_by(catalog, 1_000_000)
    assert catalog.forget_tasks(limit=9) == 1
    assert image_of(catalog, image_id) == before
    catalog.delete_image(image_id)
    garbage = catalog.take_garbage(again_after=60, limit=9)
    assert {item.object_key for item in garbage} == {place.object_key for place in before.locations}


def test_one_that_is_live_stays(catalog: Catalog) -> None:
    """Given tasks that wait, or are worked on, then they stay, however long they take."""
    _, waiting = importing(catalog)
    _, running = importing(catalog)
    stored(catalog, entered(catalog, running), "a")
    pass_by(catalog, 1_000_000_000)
    assert catalog.forget_tasks(limit=9) == 0
    with catalog.read() as tx:
        assert [tx.tasks.get(task).live for task in (waiting, running)] == [True, True]


def test_one_that_holds_an_image_stays(catalog: Catalog) -> None:
    """Given a task that ended without letting go of its image, then it stays until another has superseded it."""
    image_id = new_image(catalog)
    task_id = ended(catalog, image_id)
    with catalog.database.begin() as connection:
        lock = update(t.image_locks).where(t.image_locks.c.image_id == image_id)
        connection.execute(lock.values(os_glance_import_task=task_id, acquired_at=1))
    pass_by(catalog, KEPT + 1)
    assert catalog.forget_tasks(limit=9) == 0


def test_in_batches_oldest_first(catalog: Catalog) -> None:
    """Given more of them than a batch, then those go first whose time was over first, each once."""
    tasks = []
    for _ in range(5):
        tasks.append(ended(catalog, new_image(catalog)))
        pass_by(catalog, 1)
    pass_by(catalog, KEPT)
    assert catalog.forget_tasks(limit=2) == 2
    with catalog.read() as tx, pytest.raises(NotFound):
        tx.tasks.get(tasks[1])
    with catalog.read() as tx:
        assert tx.tasks.get(tasks[2]).status == "failure"
    assert [catalog.forget_tasks(limit=2) for _ in range(3)] == [2, 1, 0]


def test_a_fulfilled_wish_supersedes_what_is_left(catalog: Catalog) -> None:
    """Given a failed copy that is forgotten, when the image is found to be everywhere, then no verdict stays."""
    image_id, _ = imported(catalog)
    before = image_of(catalog, image_id)
    copy = replace(new_task(image_id, ("z",)), begins_from="active")
    catalog.request_import(copy)
    with catalog.fenced(entered(catalog, copy.id)) as tx:
        tx.settle_targets(None, ("x", "no"))
        tx.fail(code="x", message="no", keep_for=KEPT)
    pass_by(catalog, 1_000_000)
    assert catalog.forget_tasks(limit=9) == 2
    assert image_of(catalog, image_id).failed == ("z",)
    stores = tuple(place.store for place in before.locations)
    wish = replace(new_task(image_id, stores), begins_from="active")
    catalog.record_fulfilled(wish, "It is there.", keep_for=KEPT)
    assert image_of(catalog, image_id).failed == ()
