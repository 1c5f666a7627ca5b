"""copy-image from the request to the last row, in the caller's own thread: import-behaviour §1.6 and §1.7 [R]."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from catalog import tables as t
from catalog.errors import Conflict, LockHeld, NotFound
from flows.errors import BadImportRequest, ImageNotReady, LocationQuota, StoreNotConfigured
from stores.errors import StoreFull
from stores.wrappers import Call, fails
from tests.flows.copying import DATA, STORES, copying, facts, stores
from tests.flows.service import Service, eager_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Four stores, of which b is the best to read from."""
    with copying(tmp_path / "data") as made:
        yield made


# -- what it does when all goes well


def test_the_image_is_in_more_stores_and_otherwise_as_it_was(service: Service) -> None:
    """Given an image in one store, when it is copied to two, then each has its bytes and nothing else has changed."""
    image = service.active("a")
    task = service.copy(image, "c", "b")
    now = service.look(image)
    assert (task.status, task.message) == ("success", "Copied 3 MiB to b, c.")
    assert (stores(now), now.importing_to, now.failed) == (["a", "c", "b"], (), ())
    assert facts(now) == facts(image)
    assert [service.read(image, store) for store in "abc"] == [DATA] * 3
    assert [(target.store, target.state, target.bytes_done) for target in task.targets] == [
        ("c", "done", len(DATA)),
        ("b", "done", len(DATA)),
    ]
    service.assert_clean(image)


def test_it_is_active_and_readable_all_the_while(service: Service) -> None:
    """Given a copy under way, when somebody looks at any moment, then the image is active, and its data is there."""
    image = service.active("a")
    seen: list[tuple[str, tuple[str, ...] | None, bool]] = []

    def look(_: Call, go: Callable[[], Any]) -> Any:
        now = service.look(image)
        seen.append((now.status, now.importing_to, service.read(image, "a") == DATA))
        return go()

    for operation in ("create", "write", "commit"):
        service.fail("b", operation, look)
    service.copy(image, "b")
    assert set(seen) == {("active", ("b",), True)}
    assert len(seen) == 6


def test_the_best_copy_is_read_and_no_other(service: Service) -> None:
    image = service.active("a", "b", "c")
    for store in "ac":
        service.fail(store, "open", fails(AssertionError("b weighs more")))
    assert service.copy(image, "d").status == "success"


def test_the_stores_are_told_the_size(service: Service) -> None:
    image = service.active("a")
    told: list[int] = []

    def note(call: Call, go: Callable[[], Any]) -> Any:
        told.append(call.count)
        return go()

    service.fail("b", "create", note)
    service.copy(image, "b")
    assert told == [len(DATA)]


def test_all_stores_are_those_that_lack_it(service: Service) -> None:
    image = service.active("b")
    task = service.copy(image, all_stores=True)
    assert [target.store for target in task.targets] == ["a", "c", "d"]
    assert task.input["backend"] == ["a", "c", "d"]
    assert sorted(stores(service.look(image))) == list(STORES)
    service.assert_clean(image)


def test_bug_1885725_plugins_never_touch_an_active_image(service: Service) -> None:
    """Given data that an import would expand, or refuse for its format, when it is copied, then it stays as it is."""
    service.origin.objects["/image"] = packed = gzip.compress(DATA, 1)
    image = service.active("a", container_format="compressed")
    with service.runtime.catalog.database.begin() as connection:
        connection.execute(
            update(t.images).where(t.images.c.id == image.id).values(container_format="bare", disk_format="qcow2")
        )
    task = service.copy(service.look(image), "b")
    assert task.status == "success", task.message
    assert service.read(image, "b") == packed
    assert (service.look(image).container_format, service.look(image).disk_format) == ("bare", "qcow2")


# -- who may ask, and for what


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"stores": ("a",)}, BadImportRequest, "Store a in 'stores' holds the image already"),
        ({"stores": ("b", "a")}, BadImportRequest, "holds the image already"),
        ({}, BadImportRequest, "Store a"),
        ({"store_header": "a"}, BadImportRequest, "Store a"),
        ({"stores": ("z",)}, StoreNotConfigured, "z"),
        ({"stores": ("b",), "all_stores": True}, BadImportRequest, "all_stores"),
        ({"stores": ("b",), "checksum": "md5:" + "0" * 32}, BadImportRequest, "cannot be used with copy-image"),
    ],
)
def test_requests_that_make_no_sense(
    service: Service, asked: dict[str, Any], error: type[Exception], says: str
) -> None:
    """Given an image in the default store a, when a copy is asked for that cannot be, then nothing is recorded."""
    image = service.active("a")
    named = asked.pop("stores", ())
    with pytest.raises(error, match=says):
        service.copy(image, *named, **asked)
    with service.runtime.catalog.read() as tx:
        assert len(tx.tasks.of_image(image.id)) == 1


def test_the_quota_counts_the_stores_that_hold_it(tmp_path: Path) -> None:
    with eager_service(tmp_path / "data") as service:
        options = replace(service.runtime.options, location_quota=2)
        small = replace(service, runtime=replace(service.runtime, options=options))
        image = small.active("a")
        with pytest.raises(LocationQuota, match="2 stores, and with 'stores' it would be in 3"):
            small.copy(image, "b", "c")
        assert small.copy(image, "b").status == "success"


@pytest.mark.parametrize("status", ["queued", "deactivated"])
def test_only_an_active_image(service: Service, status: str) -> None:
    image = service.image() if status == "queued" else service.active("a")
    with service.runtime.catalog.database.begin() as connection:
        connection.execute(update(t.images).where(t.images.c.id == image.id).values(status=status))
    with pytest.raises(ImageNotReady, match=f"in status {status}; copy-image takes only an active image"):
        service.copy(service.look(image), "b")


@pytest.mark.parametrize("meanwhile", ["copied", "deactivated", "deleted"])
@pytest.mark.parametrize("wish", [{}, {"all_stores": True}], ids=["one store", "all stores"])
def test_what_changed_since_the_image_was_looked_at(service: Service, meanwhile: str, wish: dict[str, Any]) -> None:
    """Given a request that saw the image as it was, when it is recorded, then the database judges as it is now."""
    image = service.active(*(STORES if wish else "a"))
    if meanwhile == "copied" and not wish:
        service.copy(image, "b")
    elif meanwhile == "copied":
        image = replace(
            image, locations=(*image.locations, replace(image.locations[0], store="gone", url="memory://gone"))
        )
    elif meanwhile == "deleted":
        service.runtime.catalog.delete_image(image.id)
    else:
        with service.runtime.catalog.database.begin() as connection:
            connection.execute(update(t.images).where(t.images.c.id == image.id).values(status="deactivated"))
    with pytest.raises(NotFound if meanwhile == "deleted" else Conflict):
        service.copy(image, *(() if wish else ("b",)), **wish)


# -- nothing left to copy (decided in http-api §17 (f))


def test_a_copy_to_all_stores_that_all_have_it_is_done_at_once(service: Service) -> None:
    """Given an image that every store holds, when it is copied to all, then a finished task says so, and both lists
    are there and empty, whatever was in them.
    """
    image = service.active("a")
    service.fail("b", "create", fails(StoreFull("b", "no room")))
    service.copy(image, "b")
    assert service.look(image).failed == ("b",)
    service.faulty["b"].hooks.clear()
    service.copy(image, "c", "d")
    with service.runtime.catalog.database.begin() as connection:  # as if b had got it some other way
        place = {"image_id": image.id, "store": "b", "object_key": "k", "url": "u", "created_at": 1}
        connection.execute(t.locations.insert().values(**place))
    before = service.look(image)

    task = service.copy(before, all_stores=True)

    now = service.look(image)
    assert (task.status, task.message) == ("success", "Nothing to copy: the image is in a, b, c, d already.")
    assert (task.result, task.input["backend"], task.error_code) == ({"image_id": image.id}, [], None)
    assert task.expires_at is not None
    assert (now.importing_to, now.failed, now.import_task) == ((), (), None)
    assert facts(now) == facts(before)
    assert now.updated_at == before.updated_at


def test_nothing_to_copy_still_waits_for_the_lock(service: Service) -> None:
    """Given a copy under way, when another is asked for that would have nothing to do, then it is refused all the
    same.
    """
    image = service.active("a", "b", "c")
    refused: list[LockHeld] = []

    def meanwhile(_: Call, go: Callable[[], Any]) -> Any:
        seen = replace(image, locations=(*image.locations, replace(image.locations[0], store="d")))
        with pytest.raises(LockHeld) as held:
            service.copy(seen, all_stores=True)
        refused.append(held.value)
        return go()

    service.fail("d", "commit", meanwhile)
    task = service.copy(image, "d")
    assert [held.task_id for held in refused] == [task.id]


# -- final states


def test_a_copy_that_failed_can_be_asked_for_again(service: Service) -> None:
    """Given a failed copy, when another to the same store succeeds, then that store is no longer among the failed."""
    image = service.active("a")
    service.fail("b", "write", fails(StoreFull("b", "no room")))
    service.fail("c", "write", fails(StoreFull("c", "no room")))
    for store in "bc":
        service.copy(image, store)
    assert service.look(image).failed == ("b", "c")
    service.faulty["b"].hooks.clear()
    assert service.copy(image, "b").status == "success"
    assert service.look(image).failed == ("c",)
    service.assert_clean(image)


def test_an_image_deleted_in_mid_copy_leaves_no_byte(service: Service) -> None:
    """Given a copy under way, when the image is deleted, then nothing is left of it in any store (§1.8 [R])."""
    image = service.active("a")

    def delete(_: Call, go: Callable[[], Any]) -> Any:
        service.runtime.catalog.delete_image(image.id)
        return go()

    service.fail("b", "commit", delete)
    task = service.copy(image, "b")
    assert (task.status, task.error_code) == ("failure", "cancelled")
    assert "deleted" in task.message
    assert service.kept() == {store: [] for store in STORES}


def test_a_cancelled_copy_leaves_the_image_as_it_was(service: Service) -> None:
    image = service.active("a")

    def cancel(_: Call, go: Callable[[], Any]) -> Any:
        with service.runtime.catalog.begin() as tx:
            holder = service.look(image).import_task
            assert holder is not None
            assert tx.tasks.cancel(holder)
        return go()

    service.fail("b", "commit", cancel)
    task = service.copy(image, "b")
    assert (task.status, task.error_code) == ("failure", "cancelled")
    assert (stores(service.look(image)), facts(service.look(image))) == (["a"], facts(image))
    service.assert_clean(image)
