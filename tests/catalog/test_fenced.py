"""What a worker writes: every method of `Fenced`, and that it counts only under the current fence."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, LockLost, RuleBroken
from catalog.fenced import Fenced
from catalog.images import Location
from catalog.locations import NewLocation
from tests.catalog.rows import FACTS, age, entered, image_of, importing, rows_of, stored, take_over
from tests.catalog.test_tasks import pass_by, task_of


def objects_of(catalog: Catalog, image_id: str) -> dict[tuple[str, str], tuple[str, int | None]]:
    """(store, key) → (state, size) of every recorded object."""
    with catalog.database.read() as connection:
        rows = connection.execute(select(t.objects).where(t.objects.c.image_id == image_id))
        return {(row.store, row.object_key): (row.state, row.size) for row in rows}


class TestObjects:
    """Keys are on record before the first byte, and nothing recorded is ever lost sight of."""

    def test_begun_and_stored(self, catalog: Catalog) -> None:
        """Given a fresh attempt, when it begins and stores, then record and targets follow."""
        image_id, task_id = importing(catalog, ("a", "b"))
        claim = entered(catalog, task_id)
        with catalog.fenced(claim) as tx:
            tx.begin_objects({"a": "k", "b": "k"})
        assert objects_of(catalog, image_id) == {("a", "k"): ("writing", None), ("b", "k"): ("writing", None)}
        assert [x.state for x in task_of(catalog, task_id).targets] == ["copying", "copying"]
        with catalog.fenced(claim) as tx:
            tx.object_stored("a", "k", 7)
        assert objects_of(catalog, image_id) == {("a", "k"): ("stored", 7), ("b", "k"): ("writing", None)}

    def test_the_next_attempt_throws_away(self, catalog: Catalog) -> None:
        """Given what a lost attempt wrote, when the next begins, then it is garbage, and progress starts anew."""
        image_id, task_id = importing(catalog)
        first = entered(catalog, task_id)
        stored(catalog, first, "a")
        with catalog.fenced(first) as tx:
            tx.progress("downloading", 7, 9, {"a": 7})
            tx.set_target("a", "failed", code="store_full", reason="no space")
        pass_by(catalog, 61)
        second = entered(catalog, task_id)
        with catalog.fenced(second) as tx:
            tx.begin_objects({"a": "again"})
        assert objects_of(catalog, image_id) == {
            ("a", f"{image_id}.{first.fence}"): ("garbage", 7),
            ("a", "again"): ("writing", None),
        }
        (target,) = task_of(catalog, task_id).targets
        assert (target.state, target.bytes_done, target.error_code, target.reason) == ("copying", 0, None, "")

    def test_discarding_one_store(self, catalog: Catalog) -> None:
        """Given one store that failed, when its object is discarded, then the others stay."""
        image_id, task_id = importing(catalog, ("a", "b"))
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, "a", "b")
        with catalog.fenced(claim) as tx:
            tx.discard_objects("a")
            tx.discard_objects("a")
        states = {store: state for (store, _), (state, _size) in objects_of(catalog, image_id).items()}
        assert states == {"a": "garbage", "b": "stored"}
        with catalog.fenced(claim) as tx:
            tx.object_stored("a", keys["a"], 7)
        assert objects_of(catalog, image_id)["a", keys["a"]][0] == "garbage"

    @pytest.mark.parametrize("end", ["succeed", "fail"])
    def test_an_end_leaves_none_unclaimed(self, catalog: Catalog, end: str) -> None:
        """Given objects that no location names, when the task ends, then they are garbage: nobody else would ask."""
        image_id, task_id = importing(catalog, ("a", "b"))
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, "a", "b")
        with catalog.fenced(claim) as tx:
            if end == "succeed":
                tx.add_location("a", keys["a"], "file:///a")
                tx.activate(FACTS)
                tx.succeed("Copied.", keep_for=60)
            else:
                tx.requeue()
                tx.fail(code="x", message="no", keep_for=60)
        states = {store: state for (store, _), (state, _size) in objects_of(catalog, image_id).items()}
        assert states == {"a": "located" if end == "succeed" else "garbage", "b": "garbage"}


class TestLocations:
    """An image's data appears whole, or not at all."""

    def test_in_order_of_arrival(self, catalog: Catalog) -> None:
        """Given stores in one request, then locations show in the order they were added, however coarse the clock."""
        stores = ("d", "b", "c", "a")
        image_id, task_id = importing(catalog, stores)
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, *stores)
        with catalog.fenced(claim) as tx:
            for store in stores:
                tx.add_location(store, keys[store], f"file:///{store}")
        assert [place.store for place in image_of(catalog, image_id).locations] == list(stores)
        assert [x.state for x in task_of(catalog, task_id).targets] == ["done"] * 4

    def test_once(self, catalog: Catalog) -> None:
        """Given a location, when it is added again, then nothing changes; another object for the store is garbage."""
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        with catalog.fenced(claim) as tx:
            tx.begin_objects({"a": "k"})
            tx.object_stored("a", "k", 7)
            tx.add_location("a", "k", "file:///k")
            tx.add_location("a", "k", "file:///k")
            tx.begin_objects({"a": "other"})
            tx.object_stored("a", "other", 7)
            tx.add_location("a", "other", "file:///other")
        assert [place.object_key for place in image_of(catalog, image_id).locations] == ["k"]
        assert objects_of(catalog, image_id) == {("a", "k"): ("located", 7), ("a", "other"): ("garbage", 7)}

    @pytest.mark.parametrize("state", ["unknown", "writing", "garbage"])
    def test_only_what_is_complete(self, catalog: Catalog, state: str) -> None:
        """Given an object not known to be whole, when it is to be a location, then it is a `Conflict`."""
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        with catalog.fenced(claim) as tx:
            if state != "unknown":
                tx.begin_objects({"a": "k"})
            if state == "garbage":
                tx.discard_objects()
        with pytest.raises(Conflict, match="not known to be complete"), catalog.fenced(claim) as tx:
            tx.add_location("a", "k", "file:///k")
        assert image_of(catalog, image_id).locations == ()

    def test_active_only_with_data(self, catalog: Catalog) -> None:
        """Given no location, when a worker activates, then the database itself refuses."""
        image_id, task_id = importing(catalog)
        with (
            pytest.raises(RuleBroken, match="active_image_has_location"),
            catalog.fenced(entered(catalog, task_id)) as tx,
        ):
            tx.activate(FACTS)
        assert image_of(catalog, image_id).status == "importing"

    def test_active_only_once(self, catalog: Catalog) -> None:
        """Given an image that is active, when it is activated again, then it is a `Conflict`; requeue does nothing."""
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, "a")
        with catalog.fenced(claim) as tx:
            tx.add_location("a", keys["a"], "file:///a")
            tx.activate(FACTS)
        with pytest.raises(Conflict), catalog.fenced(claim) as tx:
            tx.activate(FACTS)
        with catalog.fenced(claim) as tx:
            tx.requeue()
        assert image_of(catalog, image_id).status == "active"

    def test_requeued_twice(self, catalog: Catalog) -> None:
        """Given a rollback that runs twice, then the second finds it done (§1.1 [R])."""
        image_id, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.requeue()
            tx.requeue()
        assert image_of(catalog, image_id).status == "queued"


class TestTheTask:
    """How an attempt leaves its task."""

    def test_progress(self, catalog: Catalog) -> None:
        """Given bytes on their way, then phase, counts and message tell, for the task and for each store."""
        _, task_id = importing(catalog, ("a", "b"))
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.progress("downloading", 3 << 20, 1 << 41, {"a": 5, "b": 1 << 40, "unknown": 1})
        task = task_of(catalog, task_id)
        assert (task.phase, task.bytes_done, task.bytes_total) == ("downloading", 3 << 20, 1 << 41)
        assert task.message == "Copied 3 MiB"
        assert [x.bytes_done for x in task.targets] == [5, 1 << 40]

    def test_advance(self, catalog: Catalog) -> None:
        """Given steps done, then their facts add up, tries are counted anew, and the lock stays with the task."""
        image_id, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.retry_later(0, code="x", message="again")
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.advance({"stored": {"a": "k"}, "n": 1})
        claim = entered(catalog, task_id, 1)
        assert claim.attempt == 1
        with catalog.fenced(claim) as tx:
            tx.advance({"n": 2})
        task = task_of(catalog, task_id)
        assert (task.step, task.status, task.facts) == (2, "processing", {"stored": {"a": "k"}, "n": 2})
        assert image_of(catalog, image_id).import_task == task_id

    def test_hand_back(self, catalog: Catalog) -> None:
        """Given a worker that goes, then anybody gets in at once, and the try is not counted."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.hand_back("going")
        assert task_of(catalog, task_id).attempt == 0
        assert entered(catalog, task_id).attempt == 1

    def test_succeed(self, catalog: Catalog) -> None:
        """Given the last step done, then the task says so, names its image, and the image is free."""
        image_id, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.succeed("Copied 7 bytes.", keep_for=60)
        task = task_of(catalog, task_id)
        assert (task.status, task.message, task.result, task.phase) == (
            "success",
            "Copied 7 bytes.",
            {"image_id": image_id},
            "",
        )
        assert task.expires_at is not None
        assert abs(task.expires_at - task.updated_at - 60_000_000) < 1_000_000
        assert image_of(catalog, image_id).import_task is None

    @pytest.mark.parametrize(("message", "said"), [("HTTP 404", "HTTP 404"), ("", "source_broken")])
    def test_fail(self, catalog: Catalog, message: str, said: str) -> None:
        """Given no hope, then the task ends with a reason, be it only the code, and the image is free."""
        image_id, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.settle_targets(None, ("source_broken", message))
            tx.set_target("a", "failed", code="source_broken", reason=message)
            tx.requeue()
            tx.fail(code="source_broken", message=message, keep_for=60)
        task = task_of(catalog, task_id)
        assert (task.status, task.error_code, task.message, task.targets[0].reason) == (
            "failure",
            "source_broken",
            said,
            said,
        )
        image = image_of(catalog, image_id)
        assert (image.status, image.import_task) == ("queued", None)


WRITES: dict[str, Callable[[Fenced], object]] = {
    "begin_objects": lambda tx: tx.begin_objects({"a": "late"}),
    "object_stored": lambda tx: tx.object_stored("a", "k", 1),
    "discard_objects": lambda tx: tx.discard_objects(),
    "set_target": lambda tx: tx.set_target("a", "done"),
    "settle_targets": lambda tx: tx.settle_targets(None, ("x", "no")),
    "progress": lambda tx: tx.progress("late", 1, None, {"a": 1}),
    "add_location": lambda tx: tx.add_location("a", "k", "file:///late"),
    "adopt_location": lambda tx: tx.adopt_location(NewLocation(Location("a", "k", "file:///late"), 1, ours=True)),
    "activate": lambda tx: tx.activate(FACTS),
    "requeue": lambda tx: tx.requeue(),
    "restage": lambda tx: tx.restage(),
    "discard_upload": lambda tx: tx.discard_upload(),
    "advance": lambda tx: tx.advance({"late": True}),
    "retry_later": lambda tx: tx.retry_later(0, code="x", message="late"),
    "hand_back": lambda tx: tx.hand_back("late"),
    "succeed": lambda tx: tx.succeed("late", keep_for=1),
    "fail": lambda tx: tx.fail(code="x", message="late", keep_for=1),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("how", ["expired", "taken over", "left", "freed", "preempted"])
def test_nothing_counts_without_the_fence(catalog: Catalog, how: str, write: str) -> None:
    """Given a worker that no longer holds the image, when it writes anything, then not one row changes."""
    _, task_id = importing(catalog)
    late = entered(catalog, task_id)
    if how in ("expired", "taken over"):
        pass_by(catalog, 61)
    if how == "taken over":
        entered(catalog, task_id, worker=late.owner)
    if how in ("left", "freed"):
        with catalog.fenced(late) as tx:
            if how == "left":
                tx.hand_back("going")
            else:
                tx.succeed("done", keep_for=60)
    if how == "preempted":
        age(catalog, task_id, 3600)
        take_over(catalog, late.image_id)
    before = rows_of(catalog)
    with pytest.raises(LockLost), catalog.fenced(late) as tx:
        WRITES[write](tx)
    assert rows_of(catalog) == before


def test_every_write_is_tried() -> None:
    """Given the public methods of `Fenced`, then the table above has each."""
    assert {name for name in vars(Fenced) if not name.startswith("_")} == set(WRITES)
