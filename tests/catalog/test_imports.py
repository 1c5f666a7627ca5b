"""What an import does to an image, and what becomes of both when the image is deleted; how it all shows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, LockHeld, NotFound, RuleBroken
from catalog.images import Location
from tests.catalog.rows import FACTS, entered, image_of, imported, importing, new_image, new_task, stored


def _uploading(catalog: Catalog) -> str:
    image_id = new_image(catalog)
    with catalog.database.begin() as connection:
        connection.execute(update(t.images).where(t.images.c.id == image_id).values(status="uploading"))
    return image_id


STATES: dict[str, Callable[[Catalog], str]] = {
    "queued": new_image,
    "uploading": _uploading,
    "importing": lambda catalog: importing(catalog)[0],
    "active": lambda catalog: imported(catalog, ("a", "b"))[0],
}


class TestAskingForAnImport:
    """`Catalog.request_import`: the wish is recorded whole, or not at all."""

    def test_all_of_it_at_once(self, catalog: Catalog) -> None:
        """Given a queued image, when an import is asked for, then status, task, lock and stores show it before 202."""
        image_id, task_id = importing(catalog, ("b", "a"))
        image = image_of(catalog, image_id)
        assert (image.status, image.import_task) == ("importing", task_id)
        assert (image.importing_to, image.failed) == (("a", "b"), ())
        with catalog.read() as tx:
            (task,) = tx.tasks.of_image(image_id)
        assert (task.id, task.status, [target.store for target in task.targets]) == (task_id, "pending", ["b", "a"])

    def test_while_another_holds_it(self, catalog: Catalog) -> None:
        """Given a task that waits, is worked on, or whose worker died, then another hears which task it is, and how."""
        image_id, task_id = importing(catalog)
        with pytest.raises(LockHeld, match=f"Image {image_id} has active task {task_id}; it waits for a worker"):
            catalog.request_import(new_task(image_id))
        entered(catalog, task_id)
        with pytest.raises(LockHeld, match=r"its lease runs until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"):
            catalog.request_import(new_task(image_id))
        catalog.database.skew = 61
        with pytest.raises(LockHeld, match="it waits for a worker") as held:
            catalog.request_import(new_task(image_id))
        assert held.value.task_id == task_id

    def test_in_the_wrong_status(self, catalog: Catalog) -> None:
        """Given an image that has its data, then asking is a `Conflict` that names its status."""
        image_id, _ = imported(catalog)
        with pytest.raises(Conflict, match="in status active"):
            catalog.request_import(new_task(image_id))

    @pytest.mark.parametrize("missing", ["disk_format", "container_format"])
    def test_without_formats(self, catalog: Catalog, missing: str) -> None:
        """Given an image without a format, then asking is a `Conflict` that says so, not a broken rule."""
        image_id = new_image(catalog, **{missing: None})
        with pytest.raises(Conflict, match="'disk_format' set"):
            catalog.request_import(new_task(image_id))

    def test_for_what_is_so_already(self, catalog: Catalog) -> None:
        """Given an active image, when its own stores are wished for, then a task is done, whose verdict alone stays."""
        image_id, _ = imported(catalog, ("a", "b"))
        failed = replace(new_task(image_id, ("c",)), begins_from="active")
        catalog.request_import(failed)
        with catalog.fenced(entered(catalog, failed.id)) as tx:
            tx.settle_targets(None, ("full", "no room"))
            tx.fail(code="full", message="no room", keep_for=60)
        before = image_of(catalog, image_id)
        wish = replace(new_task(image_id, ("b", "a")), begins_from="active")
        catalog.record_fulfilled(wish, "Nothing to do.", keep_for=60)
        with catalog.read() as reading:
            task = reading.tasks.get(wish.id)
            due = reading.tasks.newest(image_id)
        assert before.failed == ("c",)
        assert image_of(catalog, image_id) == replace(before, failed=())
        assert (task.status, task.message, task.result) == ("success", "Nothing to do.", {"image_id": image_id})
        assert (task.live, task.source, task.phase, due.id) == (False, {}, "", wish.id)
        assert [(target.store, target.state) for target in task.targets] == [("b", "done"), ("a", "done")]

    def test_for_what_is_so_no_longer(self, catalog: Catalog) -> None:
        """Given an image that left a store or its status, or is held or deleted, then nothing is recorded for it."""
        image_id, _ = imported(catalog, ("a",))

        def refused(error: type[Exception], says: str, *stores: str, begins_from: str = "active") -> None:
            with pytest.raises(error, match=says):
                catalog.record_fulfilled(replace(new_task(image_id, stores), begins_from=begins_from), "", keep_for=60)

        refused(Conflict, "no longer in b", "a", "b")
        refused(Conflict, "in status active, not queued", "a", begins_from="queued")
        copy = replace(new_task(image_id, ("c",)), begins_from="active")
        catalog.request_import(copy)
        refused(LockHeld, copy.id, "a")
        with catalog.read() as reading:
            assert len(reading.tasks.of_image(image_id)) == 2
        catalog.delete_image(image_id)
        with catalog.fenced(entered(catalog, copy.id)) as tx:
            tx.fail(code="cancelled", message="deleted", keep_for=60)
        refused(NotFound, image_id, "a")

    def test_into_an_active_image(self, catalog: Catalog) -> None:
        """Given an active image, when stores are added to it, then it stays active; where it is, it need not go."""
        image_id, _ = imported(catalog, ("a",))
        task = replace(new_task(image_id, ("b", "c")), begins_from="active")
        with pytest.raises(Conflict, match="already in one of the stores a, b"):
            catalog.request_import(replace(task, stores=("a", "b")))
        catalog.request_import(task)
        image = image_of(catalog, image_id)
        assert (image.status, image.import_task, image.importing_to) == ("active", task.id, ("b", "c"))
        with catalog.fenced(entered(catalog, task.id)) as tx:
            tx.requeue()
            tx.fail(code="x", message="no", keep_for=60)
        assert image_of(catalog, image_id) == replace(
            image, import_task=None, importing_to=(), updated_at=image_of(catalog, image_id).updated_at
        )

    def test_of_nothing(self, catalog: Catalog) -> None:
        """Given an image that is deleted or never was, then it is `NotFound`."""
        gone = new_image(catalog)
        catalog.delete_image(gone)
        for image_id in (gone, "nobody"):
            with pytest.raises(NotFound):
                catalog.request_import(new_task(image_id))

    def test_a_refused_wish_leaves_nothing(self, catalog: Catalog) -> None:
        """Given a task that cannot be recorded, when it is asked for, then the image is as it was, and free."""
        image_id = new_image(catalog)
        with pytest.raises(RuleBroken):
            catalog.request_import(new_task(image_id, ("a", "a")))
        image = image_of(catalog, image_id)
        assert (image.status, image.import_task, image.importing_to) == ("queued", None, None)
        catalog.request_import(new_task(image_id))


class TestDeleting:
    """`Catalog.delete_image`: in any state, at any time (§1.8)."""

    @pytest.mark.parametrize("state", STATES)
    def test_once(self, catalog: Catalog, state: str) -> None:
        """Given an image in any state, when it is deleted, then it is gone, once, and its data is garbage."""
        image_id = STATES[state](catalog)
        located = image_of(catalog, image_id).locations
        catalog.delete_image(image_id)
        with pytest.raises(NotFound):
            image_of(catalog, image_id)
        with pytest.raises(NotFound):
            catalog.delete_image(image_id)
        taken = catalog.take_garbage(again_after=60, limit=10, image_id=image_id)
        assert {(g.store, g.object_key) for g in taken} == {(place.store, place.object_key) for place in located}

    def test_before_a_worker_came(self, catalog: Catalog) -> None:
        """Given a task that waits, when its image is deleted, then it is rung for at once and told to stop."""
        image_id, task_id = importing(catalog)
        catalog.delete_image(image_id)
        with catalog.begin() as tx:
            assert [task.id for task in tx.tasks.due(resend_after=60, limit=10)] == [task_id]
            assert tx.tasks.stop_requested(task_id) == "the image was deleted"
        claim = entered(catalog, task_id)
        with catalog.fenced(claim) as fenced:
            fenced.requeue()
            fenced.fail(code="cancelled", message="the image was deleted", keep_for=60)
        with pytest.raises(NotFound):
            image_of(catalog, image_id)

    def test_under_a_worker(self, catalog: Catalog) -> None:
        """Given data on its way, when the image is deleted, then it never appears, and what was written is garbage."""
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, "a")
        catalog.delete_image(image_id)
        with pytest.raises(Conflict), catalog.fenced(claim) as fenced:
            fenced.add_location("a", keys["a"], "file:///x")
        with pytest.raises(Conflict), catalog.fenced(claim) as fenced:
            fenced.activate(FACTS)
        with catalog.fenced(claim) as fenced:
            fenced.fail(code="cancelled", message="the image was deleted", keep_for=60)
        (garbage,) = catalog.take_garbage(again_after=60, limit=10)
        assert (garbage.store, garbage.object_key) == ("a", keys["a"])
        with catalog.read() as tx:
            (task,) = tx.tasks.of_image(image_id)
        assert (task.status, task.error_code) == ("failure", "cancelled")


class TestVerdicts:
    """os_glance_importing_to_stores and os_glance_failed_import, as views of rows (§1.3, §1.6 [R])."""

    @staticmethod
    def _failed(catalog: Catalog, image_id: str, stores: tuple[str, ...], *failed: str) -> None:
        """Let an import into `stores` fail because of some of them."""
        task = new_task(image_id, stores)
        catalog.request_import(task)
        with catalog.fenced(entered(catalog, task.id)) as tx:
            tx.settle_targets(dict.fromkeys(failed, ("store_full", "no space")))
            tx.requeue()
            tx.fail(code="store_full", message="no space", keep_for=60)

    def _shown(self, catalog: Catalog, image_id: str) -> tuple[object, object]:
        image = image_of(catalog, image_id)
        return image.importing_to, image.failed

    def test_a_clean_run_leaves_them_empty(self, catalog: Catalog) -> None:
        """Given a clean run, then both are there and empty, not absent."""
        image_id, _ = imported(catalog, ("a", "b"))
        assert self._shown(catalog, image_id) == ((), ())

    def test_exactly_the_failed_are_named(self, catalog: Catalog) -> None:
        """Given stores of which one failed, then only it is named: not those taken back, not those never begun."""
        image_id = new_image(catalog)
        self._failed(catalog, image_id, ("a", "b", "c"), "b")
        assert self._shown(catalog, image_id) == ((), ("b",))

    def test_all_failed_for_the_source(self, catalog: Catalog) -> None:
        """Given a source that broke, then all requested stores are named, sorted."""
        image_id, task_id = importing(catalog, ("c", "a"))
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.settle_targets(None, ("source_broken", "HTTP 404"))
            tx.requeue()
            tx.fail(code="source_broken", message="HTTP 404", keep_for=60)
        assert self._shown(catalog, image_id) == ((), ("a", "c"))

    def test_only_the_requested_are_subtracted_at_the_start(self, catalog: Catalog) -> None:
        """Given two failed stores, when one is asked for again, then the other stays named."""
        image_id = new_image(catalog)
        self._failed(catalog, image_id, ("a", "b"), "a", "b")
        catalog.request_import(new_task(image_id, ("b", "c")))
        assert self._shown(catalog, image_id) == (("b", "c"), ("a",))

    def test_cleared_by_a_later_success(self, catalog: Catalog) -> None:
        """Given a store that failed, when it later succeeds, then nothing is held against it."""
        image_id = new_image(catalog)
        self._failed(catalog, image_id, ("a", "b"), "a")
        task = new_task(image_id, ("a",))
        catalog.request_import(task)
        claim = entered(catalog, task.id)
        keys = stored(catalog, claim, "a")
        with catalog.fenced(claim) as tx:
            tx.add_location("a", keys["a"], "file:///a")
            tx.activate(FACTS)
            tx.succeed("Copied.", keep_for=60)
        assert self._shown(catalog, image_id) == ((), ())

    def test_partial_success(self, catalog: Catalog) -> None:
        """Given a request that may fail in part, when one store fails, then the image is active without it."""
        image_id, task_id = importing(catalog, ("a", "b"), must_all=False)
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, "a", "b")
        assert self._shown(catalog, image_id) == (("a", "b"), ())
        with catalog.fenced(claim) as tx:
            tx.discard_objects("b")
            tx.set_target("b", "failed", code="store_full", reason="no space")
            tx.add_location("a", keys["a"], "file:///a")
            tx.activate(FACTS)
        assert self._shown(catalog, image_id) == ((), ("b",))
        image = image_of(catalog, image_id)
        assert (image.status, image.size, image.virtual_size) == ("active", 7, 9)
        assert (image.checksum, image.os_hash_algo, image.os_hash_value) == ("c5", "sha512", "5a")
        assert image.locations == (Location("a", keys["a"], "file:///a"),)
        assert image.import_task == task_id

    def test_no_store_is_left_waiting(self, catalog: Catalog) -> None:
        """Given a task that ends without a word on some stores, then no client waits for these for ever."""
        image_id, task_id = importing(catalog, ("a", "b"))
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.requeue()
            tx.fail(code="x", message="no", keep_for=60)
        assert self._shown(catalog, image_id) == ((), ())
        assert image_of(catalog, image_id).import_task is None
