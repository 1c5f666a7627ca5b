"""Locations as the asking side changes them: taken away, put back, under a store's new id."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select, text, update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, LastLocation, LockHeld, NotFound, RuleBroken
from catalog.images import Location
from catalog.locations import NewLocation
from catalog.objects import Garbage
from tests.catalog.rows import entered, image_of, imported, importing, new_task, stored
from tests.catalog.test_tasks import pass_by

HANDS_OFF = 900.0


def stores_of(catalog: Catalog, image_id: str) -> list[str]:
    """The stores of the image's locations, in their order."""
    return [at.store for at in image_of(catalog, image_id).locations]


def objects(catalog: Catalog) -> dict[str, str]:
    """Store → state of every object on record."""
    with catalog.database.read() as connection:
        rows = connection.execute(select(t.objects.c.store, t.objects.c.state))
        return {row.store: row.state for row in rows}


def copying(catalog: Catalog, image_id: str, store: str) -> str:
    """A task that copies the active image to `store`; returns its id."""
    task = replace(new_task(image_id, (store,)), begins_from="active")
    catalog.request_import(task)
    return task.id


class TestTakingAway:
    """`Catalog.withdraw`."""

    def test_the_record_goes_and_the_object_is_garbage_later(self, catalog: Catalog) -> None:
        """Given an image in three stores, when it is taken from one, then its object is nobody's for a while."""
        image_id, _ = imported(catalog, ("a", "b", "c"))
        before = image_of(catalog, image_id)
        taken = catalog.withdraw(image_id, "b", due_in=HANDS_OFF)
        assert taken.location == before.locations[1]
        assert stores_of(catalog, image_id) == ["a", "c"]
        assert objects(catalog) == {"a": "located", "b": "garbage", "c": "located"}
        assert image_of(catalog, image_id).updated_at >= before.updated_at
        pass_by(catalog, HANDS_OFF - 5)
        assert catalog.take_garbage(again_after=60, limit=9) == []
        pass_by(catalog, 10)
        assert catalog.take_garbage(again_after=60, limit=9) == [Garbage("b", taken.location.object_key, last=False)]

    def test_bytes_that_are_not_ours_are_forgotten(self, catalog: Catalog) -> None:
        """Given a store that can only be read, when the image is taken from it, then nobody is told to delete."""
        image_id, _ = imported(catalog, ("a", "b"))
        assert catalog.withdraw(image_id, "a", due_in=None).due is None
        assert objects(catalog) == {"b": "located"}

    def test_an_object_that_was_never_on_record(self, catalog: Catalog) -> None:
        """Given a location that a user registered, when it is taken away and put back, then it is as it was."""
        image_id, _ = imported(catalog, ("a",))
        elsewhere = {"image_id": image_id, "store": "w", "object_key": "http://h/x", "url": "http://h/x"}
        with catalog.begin() as tx:
            tx.connection.execute(t.locations.insert().values(**elsewhere, created_at=1))
        taken = catalog.withdraw(image_id, "w", due_in=HANDS_OFF)
        assert (taken.due, stores_of(catalog, image_id)) == (None, ["a"])
        assert catalog.put_back(taken)
        assert stores_of(catalog, image_id) == ["w", "a"]

    def test_of_two_images_of_one_url(self, catalog: Catalog) -> None:
        """Given two images of what somebody else publishes, when one is taken from there, then the other stays."""
        images = [imported(catalog, ("a",))[0] for _ in range(2)]
        with catalog.begin() as tx:
            for image_id in images:
                elsewhere = {"image_id": image_id, "store": "w", "object_key": "http://h/x", "url": "http://h/x"}
                tx.connection.execute(t.locations.insert().values(**elsewhere, created_at=1))
        catalog.withdraw(images[0], "w", due_in=None)
        assert [stores_of(catalog, image_id) for image_id in images] == [["a"], ["w", "a"]]

    @pytest.mark.parametrize("status", ["queued", "importing", "deactivated"])
    def test_only_from_an_active_image(self, catalog: Catalog, status: str) -> None:
        """Given an image in another status, then that is said before all else."""
        if status == "deactivated":
            image_id, _ = imported(catalog, ("a", "b"))
            with catalog.begin() as tx:
                tx.connection.execute(update(t.images).values(status=status))
        else:
            image_id, task_id = importing(catalog)
            if status == "queued":
                with catalog.fenced(entered(catalog, task_id)) as work:
                    work.requeue()
        with pytest.raises(Conflict, match=f"is in status {status}, not active"):
            catalog.withdraw(image_id, "a", due_in=HANDS_OFF)

    def test_what_is_not_there(self, catalog: Catalog) -> None:
        """Given no such image, a deleted one, or a store that lacks it, then it is not found."""
        image_id, _ = imported(catalog, ("a", "b"))
        with pytest.raises(NotFound, match="is not in store c"):
            catalog.withdraw(image_id, "c", due_in=HANDS_OFF)
        catalog.delete_image(image_id)
        for gone in (image_id, "no such"):
            with pytest.raises(NotFound, match="No image found"):
                catalog.withdraw(gone, "a", due_in=HANDS_OFF)

    @pytest.mark.parametrize("store", ["a", "b"])
    def test_the_last_location_stays(self, catalog: Catalog, store: str) -> None:
        """Given an image in one store, then it is the last, even before it is asked whether it is this store."""
        image_id, _ = imported(catalog, ("a",))
        with pytest.raises(LastLocation):
            catalog.withdraw(image_id, store, due_in=HANDS_OFF)
        assert stores_of(catalog, image_id) == ["a"]

    def test_a_task_that_holds_the_image_is_not_met(self, catalog: Catalog) -> None:
        """Given a copy, waiting or running, then nothing is taken away, and the task is named."""
        image_id, _ = imported(catalog, ("a", "b"))
        task_id = copying(catalog, image_id, "c")
        for begin in (False, True):
            if begin:
                entered(catalog, task_id)
            with pytest.raises(LockHeld, match=task_id):
                catalog.withdraw(image_id, "a", due_in=HANDS_OFF)
        assert (stores_of(catalog, image_id), objects(catalog)["a"]) == (["a", "b"], "located")


def deleted(catalog: Catalog, image_id: str) -> None:
    """Somebody deletes the image."""
    catalog.delete_image(image_id)


def collected(catalog: Catalog, image_id: str) -> None:
    """A collector comes when it may."""
    pass_by(catalog, HANDS_OFF + 1)
    assert catalog.take_garbage(again_after=60, limit=9, image_id=image_id)


def copied_anew(catalog: Catalog, image_id: str) -> None:
    """A copy brings the image to the store again."""
    task_id = copying(catalog, image_id, "a")
    claim = entered(catalog, task_id)
    keys = stored(catalog, claim, "a")
    with catalog.fenced(claim) as tx:
        tx.add_location("a", keys["a"], "file:///anew")
        tx.succeed("Copied.", keep_for=60)


class TestAdopting:
    """`Locations.adopt` and `describe`: what somebody else has put somewhere, as the asking side adds it."""

    def add(self, catalog: Catalog, image_id: str, *new: NewLocation) -> None:
        """Add them to the image, one after the other."""
        with catalog.unheld(image_id) as tx:
            tx.images.get_to_change(image_id)
            for one in new:
                tx.locations.adopt(image_id, one)

    def test_an_object_that_is_ours(self, catalog: Catalog) -> None:
        """Given an object in a store of ours, then it is on record, and in the list after all others."""
        image_id, _ = imported(catalog, ("b",))
        at = Location("a", "k", "file:///k", '{"x":1}')
        self.add(catalog, image_id, NewLocation(at, 7, ours=True))
        assert image_of(catalog, image_id).locations[1] == at
        assert objects(catalog) == {"a": "located", "b": "located"}

    @pytest.mark.parametrize(
        ("second", "why"),
        [
            (NewLocation(Location("a", "k", "file:///k"), 7, ours=True), "is in store a already"),
            (NewLocation(Location("a", "other", "file:///other"), 7, ours=True), "is in store a already"),
        ],
    )
    def test_one_in_each_store(self, catalog: Catalog, second: NewLocation, why: str) -> None:
        image_id, _ = imported(catalog, ("b",))
        first = NewLocation(Location("a", "k", "file:///k"), 7, ours=True)
        with pytest.raises(Conflict, match=why):
            self.add(catalog, image_id, first, second)
        assert (stores_of(catalog, image_id), objects(catalog)) == (["b"], {"b": "located"})

    @pytest.mark.parametrize("state", ["located", "garbage"])
    def test_an_object_that_is_known(self, catalog: Catalog, state: str) -> None:
        """Given an object of another image, or what is left of one, then it is never a second one's."""
        other, _ = imported(catalog, ("a", "c"))
        key = image_of(catalog, other).locations[0].object_key
        if state == "garbage":
            catalog.withdraw(other, "a", due_in=HANDS_OFF)
        image_id, _ = imported(catalog, ("b",))
        with pytest.raises(Conflict, match="belongs to an image already"):
            self.add(catalog, image_id, NewLocation(Location("a", key, "file:///a"), 7, ours=True))
        assert stores_of(catalog, image_id) == ["b"]

    def test_several_places_that_others_fill(self, catalog: Catalog) -> None:
        """Given URLs in one store, then each is a location of its own, taken away by its key, and kept by nobody."""
        image_id, _ = imported(catalog, ("a",))
        places = [Location("w", url, url) for url in ("http://h/2", "http://h/1")]
        self.add(catalog, image_id, *(NewLocation(at, 7, ours=False) for at in places))
        assert image_of(catalog, image_id).locations[1:] == tuple(places)
        with catalog.unheld(image_id) as tx:
            taken = tx.locations.withdraw(image_id, "w", "http://h/1", held=None, due_in=None)
            with pytest.raises(NotFound):
                tx.locations.withdraw(image_id, "w", "http://h/1", held=None, due_in=None)
        assert (taken.location, image_of(catalog, image_id).locations[1:]) == (places[1], (places[0],))
        assert objects(catalog) == {"a": "located"}

    def test_what_is_said_of_one_is_said_of_no_other(self, catalog: Catalog) -> None:
        """Given two images of one URL, when one's is described, then so it is, also after it was put back."""
        images, at = [imported(catalog, ("a",))[0] for _ in range(2)], Location("w", "http://h/x", "http://h/x")
        for image_id in images:
            self.add(catalog, image_id, NewLocation(at, 7, ours=False))
        with catalog.unheld(images[0]) as tx:
            tx.locations.describe(images[0], at, '{"x":1}')
        assert [image_of(catalog, image_id).locations[1].metadata for image_id in images] == ['{"x":1}', None]
        assert catalog.put_back(catalog.withdraw(images[0], "w", due_in=None))
        assert {place.metadata for place in image_of(catalog, images[0]).locations} == {'{"x":1}', None}

    def test_not_while_a_task_holds_the_image(self, catalog: Catalog) -> None:
        image_id, _ = imported(catalog, ("a",))
        task_id = copying(catalog, image_id, "c")
        with pytest.raises(LockHeld, match=task_id), catalog.unheld(image_id):
            raise AssertionError("nothing may be done here")
        with pytest.raises(NotFound), catalog.unheld("no such"):
            raise AssertionError("nothing may be done here")


class TestPuttingBack:
    """`Catalog.put_back`."""

    def test_all_is_as_before(self, catalog: Catalog) -> None:
        """Given a location taken away, when it is put back, then order and object are what they were, for good."""
        image_id, _ = imported(catalog, ("a", "b", "c"))
        before = image_of(catalog, image_id).locations
        taken = catalog.withdraw(image_id, "a", due_in=HANDS_OFF)
        assert catalog.put_back(taken)
        assert image_of(catalog, image_id).locations == before
        assert set(objects(catalog).values()) == {"located"}
        assert not catalog.put_back(taken), "once is enough"
        pass_by(catalog, 1_000_000)
        assert catalog.take_garbage(again_after=60, limit=9) == []

    def test_in_an_image_deactivated_meanwhile(self, catalog: Catalog) -> None:
        """Given an image that was deactivated meanwhile, then it has its data in all its stores."""
        image_id, _ = imported(catalog, ("a", "b"))
        taken = catalog.withdraw(image_id, "a", due_in=HANDS_OFF)
        with catalog.begin() as tx:
            tx.connection.execute(update(t.images).values(status="deactivated"))
        assert catalog.put_back(taken)
        assert stores_of(catalog, image_id) == ["a", "b"]

    @pytest.mark.parametrize("meanwhile", [deleted, collected, copied_anew])
    def test_too_late(self, catalog: Catalog, meanwhile: Callable[[Catalog, str], None]) -> None:
        """Given an image that moved on, then what was taken away stays garbage, and nothing else is changed."""
        image_id, _ = imported(catalog, ("a", "b"))
        taken = catalog.withdraw(image_id, "a", due_in=HANDS_OFF)
        meanwhile(catalog, image_id)
        with catalog.read() as tx:
            before = tx.connection.execute(select(t.locations)).all()
        assert not catalog.put_back(taken)
        with catalog.read() as tx:
            assert tx.connection.execute(select(t.locations)).all() == before
        with catalog.database.read() as connection:
            key = t.objects.c.object_key == taken.location.object_key
            state = connection.execute(select(t.objects.c.state).where(t.objects.c.store == "a", key)).scalar_one()
        assert state == "garbage"


class TestNewIds:
    """`Catalog.settle`."""

    def homes(self, catalog: Catalog, image_id: str, **new: str) -> dict[Location, str]:
        """The image's locations whose stores have `new` ids."""
        return {at: new[at.store] for at in image_of(catalog, image_id).locations if at.store in new}

    def test_locations_and_objects_move(self, catalog: Catalog) -> None:
        """Given two stores with new ids, then one image's locations have them, in order, and so have its objects."""
        image_id, _ = imported(catalog, ("a", "b", "c"))
        other, _ = imported(catalog, ("a",))
        catalog.withdraw(image_id, "c", due_in=HANDS_OFF)
        before = image_of(catalog, image_id)
        catalog.settle(image_id, self.homes(catalog, image_id, a="x", b="y"))
        after = image_of(catalog, image_id)
        assert [(at.store, at.object_key) for at in after.locations] == [
            ("x", before.locations[0].object_key),
            ("y", before.locations[1].object_key),
        ]
        assert replace(after, locations=before.locations) == before, "nothing else changes, not even updated_at"
        assert stores_of(catalog, other) == ["a"]
        catalog.delete_image(image_id)
        assert {g.store for g in catalog.take_garbage(again_after=60, limit=9)} == {"x", "y"}

    def test_garbage_moves_along(self, catalog: Catalog) -> None:
        """Given an object that awaits its deletion, when the store's new id is learned, then it can be deleted."""
        image_id, _ = imported(catalog, ("a", "b"))
        task_id = copying(catalog, image_id, "c")
        claim = entered(catalog, task_id)
        stored(catalog, claim, "c")
        with catalog.begin() as tx:
            # What an earlier attempt left in the store that has another id since.
            tx.connection.execute(text("UPDATE objects SET store = 'a', object_key = 'k' WHERE store = 'c'"))
        with catalog.fenced(claim) as work:
            work.discard_objects()
        catalog.settle(image_id, self.homes(catalog, image_id, a="x"))
        assert [(g.store, g.object_key) for g in catalog.take_garbage(again_after=60, limit=9)] == [("x", "k")]

    def test_what_a_task_is_writing_is_its_own(self, catalog: Catalog) -> None:
        """Given a worker that knows the store by its old id, when others learn the new one, then it can finish."""
        image_id, _ = imported(catalog, ("a", "b"))
        with catalog.begin() as tx:
            tx.connection.execute(text("DELETE FROM locations WHERE store = 'b'"))
        claim = entered(catalog, copying(catalog, image_id, "b"))
        with catalog.fenced(claim) as work:
            work.begin_objects({"b": "k"})
        catalog.settle(image_id, {Location("b", "gone", "file:///gone"): "y"})
        with catalog.fenced(claim) as work:
            work.object_stored("b", "k", 7)
            work.add_location("b", "k", "file:///k")
        assert stores_of(catalog, image_id) == ["a", "b"]

    def test_a_place_that_is_taken(self, catalog: Catalog) -> None:
        """Given another location of the same store and key, then the rule refuses, and nothing is changed."""
        image_id, _ = imported(catalog, ("a", "b"))
        with pytest.raises(RuleBroken):
            catalog.settle(image_id, self.homes(catalog, image_id, a="b"))
        assert stores_of(catalog, image_id) == ["a", "b"]
