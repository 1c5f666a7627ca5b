"""An image taken from a store, while others take, copy, delete, collect or read it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, select

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import CatalogError, Conflict, LastLocation, LockHeld
from catalog.images import Location
from catalog.locations import Locations, NewLocation, Withdrawn
from tests.catalog.at_once import Beside, at_once
from tests.catalog.rows import image_of, imported, new_task


def withdrawn(catalog: Catalog, image_id: str, store: str) -> Withdrawn | CatalogError:
    """What was taken from the store, or why nothing was."""
    try:
        return catalog.withdraw(image_id, store, due_in=900.0)
    except CatalogError as error:
        return error


def test_the_last_two(catalog: Catalog) -> None:
    """Given an image in two stores, when it is taken from both at once, then it stays in one."""
    for _ in range(12):
        image_id, _ = imported(catalog, ("a", "b"))
        taken = at_once(*(partial(withdrawn, catalog, image_id, store) for store in ("a", "b")))
        assert sorted(map(type, taken), key=str) == [LastLocation, Withdrawn]
        assert len(image_of(catalog, image_id).locations) == 1


def test_the_second_of_the_last_two_sees_the_first(postgres: Catalog, beside: Beside) -> None:
    """Given one about to take the image from its store, when another comes for the last, then it waits, and is
    refused.
    """
    image_id, _ = imported(postgres, ("a", "b"))
    with postgres.database.begin() as first:
        assert postgres.lock.holder(first, image_id) is None
        Locations(first, postgres.database, grace=60.0).withdraw(image_id, "a", held=None, due_in=900.0)
        second = beside(lambda: withdrawn(postgres, image_id, "b"))
    assert isinstance(second.result(), LastLocation)
    assert [at.store for at in image_of(postgres, image_id).locations] == ["b"]


def test_without_the_lock_the_image_is_enough(postgres: Catalog, beside: Beside) -> None:
    """Given two who skip the image's lock, then the image's own row lets the second see what the first did."""
    image_id, _ = imported(postgres, ("a", "b"))

    def take(connection: Connection, store: str) -> Withdrawn:
        return Locations(connection, postgres.database, grace=60.0).withdraw(image_id, store, held=None, due_in=900.0)

    def take_alone(store: str) -> Withdrawn:
        with postgres.database.begin() as connection:
            return take(connection, store)

    with postgres.database.begin() as first:
        take(first, "a")
        second = beside(lambda: take_alone("b"))
    with pytest.raises(LastLocation):
        second.result()


def adopted(catalog: Catalog, image_id: str, store: str) -> bool:
    """Whether an object that lies there could be added to the image."""
    try:
        with catalog.unheld(image_id) as tx:
            tx.images.get_to_change(image_id)
            tx.locations.adopt(image_id, NewLocation(Location(store, "k", f"file:///{store}/k"), 7, ours=True))
    except Conflict:
        return False
    return True


def test_one_object_for_two_images(catalog: Catalog) -> None:
    """Given an object that two images want at once, then it is one's, and the other is told so."""
    for n in range(8):
        images = [imported(catalog, ("a",))[0] for _ in range(2)]
        got = at_once(*(partial(adopted, catalog, image_id, f"s{n}") for image_id in images))
        assert sorted(map(bool, got)) == [False, True]
        assert sorted(len(image_of(catalog, image_id).locations) for image_id in images) == [1, 2]


def test_a_place_is_added_while_a_copy_is_asked_for(catalog: Catalog) -> None:
    """Given a copy and a PATCH at once, then either the PATCH came first, or it met the copy."""
    for n in range(8):
        image_id, _ = imported(catalog, ("a",))
        copy = replace(new_task(image_id, ("c",)), begins_from="active")

        def add(image_id: str = image_id, store: str = f"s{n}") -> object:
            try:
                return adopted(catalog, image_id, store)
            except LockHeld as held:
                return held

        acts: list[Callable[[], object]] = [add, partial(catalog.request_import, copy)]
        added, _asked = at_once(*acts)
        assert isinstance(added, bool | LockHeld)
        assert image_of(catalog, image_id).import_task == copy.id
        assert len(image_of(catalog, image_id).locations) == (2 if added is True else 1)


def test_a_copy_is_asked_for(catalog: Catalog) -> None:
    """Given a copy and a taking away at once, then one comes after the other, and nobody hangs."""
    for _ in range(12):
        image_id, _ = imported(catalog, ("a", "b"))
        copy = replace(new_task(image_id, ("c",)), begins_from="active")
        acts: list[Callable[[], object]] = [
            partial(withdrawn, catalog, image_id, "a"),
            partial(catalog.request_import, copy),
        ]
        taken, _asked = at_once(*acts)
        assert isinstance(taken, Withdrawn | LockHeld)
        assert image_of(catalog, image_id).import_task == copy.id
        assert len(image_of(catalog, image_id).locations) == (1 if isinstance(taken, Withdrawn) else 2)


def test_the_image_is_deleted(catalog: Catalog) -> None:
    """Given an image deleted while it is taken from a store and put back, then all of it is garbage."""

    def back_and_forth(image_id: str) -> None:
        taken = withdrawn(catalog, image_id, "a")
        if isinstance(taken, Withdrawn):
            catalog.put_back(taken)

    for _ in range(12):
        image_id, _ = imported(catalog, ("a", "b"))
        at_once(partial(back_and_forth, image_id), partial(catalog.delete_image, image_id))
        with catalog.read() as tx:
            places = select(t.locations).where(t.locations.c.image_id == image_id)
            assert tx.connection.execute(places).all() == []
            states = select(t.objects.c.state).where(t.objects.c.image_id == image_id)
            assert list(tx.connection.execute(states).scalars()) == ["garbage"] * 2


def test_a_collector_comes_in_the_end(catalog: Catalog) -> None:
    """Given garbage that comes due in the moment it is put back, then it is either collected or a location."""
    for _ in range(12):
        image_id, _ = imported(catalog, ("a", "b"))
        taken = catalog.withdraw(image_id, "a", due_in=0.0)
        acts: list[Callable[[], object]] = [
            partial(catalog.put_back, taken),
            partial(catalog.take_garbage, again_after=60, limit=9, image_id=image_id),
        ]
        back, garbage = at_once(*acts)
        assert bool(back) != bool(garbage)
        assert len(image_of(catalog, image_id).locations) == 1 + bool(back)


def test_a_store_gets_its_new_id(catalog: Catalog) -> None:
    """Given readers that all learn a store's new id at once, then each may save it, and it is saved once."""
    for _ in range(6):
        image_id, _ = imported(catalog, ("a", "b"))
        before = image_of(catalog, image_id).locations
        at_once(*[partial(catalog.settle, image_id, {before[0]: "x"})] * 4)
        after = image_of(catalog, image_id).locations
        assert [(at.store, at.url) for at in after] == [("x", before[0].url), ("b", before[1].url)]
