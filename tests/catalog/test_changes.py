"""What users change of an image, and that an import beside it loses nothing of its own."""

import dataclasses
from functools import partial

import pytest

from catalog.catalog import Catalog
from catalog.changes import CHANGEABLE, ImageChange
from catalog.errors import BadValue, Conflict, FormatChanged, NotFound, RuleBroken
from catalog.images import ImageRecord
from tests.catalog.at_once import Beside, at_once
from tests.catalog.rows import FACTS, entered, image_of, imported, importing, new_image, stored

COLUMNS = {
    "name": "new",
    "owner": "q",
    "visibility": "public",
    "protected": True,
    "os_hidden": True,
    "container_format": "ovf",
    "disk_format": "iso",
    "min_disk": 1,
    "min_ram": 2,
}


def change(catalog: Catalog, image_id: str, **what: object) -> ImageRecord:
    """Write the change; the image as it is then."""
    with catalog.begin() as tx:
        return tx.images.update(image_id, ImageChange(**what))  # type: ignore[arg-type]


class TestWriting:
    """`Images.update`."""

    def test_every_column_of_users(self, catalog: Catalog) -> None:
        """Given an image, when all that users may change is changed, then that and the time are all."""
        image_id = new_image(catalog, properties={"keep": "1", "set": "1", "null": "1", "gone": "1"}, tags=("a", "b"))
        before = image_of(catalog, image_id)
        catalog.database.skew = 1.0
        after = change(
            catalog,
            image_id,
            columns=COLUMNS,
            properties={"set": "2", "null": None, "new": ""},
            removed=frozenset({"gone", "never there"}),
            tags=("b", "c", "b"),
        )
        assert after.updated_at > before.updated_at
        assert after == image_of(catalog, image_id)
        assert COLUMNS.keys() == CHANGEABLE
        wanted: dict[str, object] = {
            "properties": {"keep": "1", "set": "2", "null": None, "new": ""},
            "tags": ("b", "c"),
        }
        wanted |= {"tags": ("b", "c"), "updated_at": after.updated_at}
        assert dataclasses.asdict(after) == dataclasses.asdict(before) | COLUMNS | wanted

    def test_nothing(self, catalog: Catalog) -> None:
        """Given a change of nothing, then only the time moves, and the tags stay; an empty tuple takes them."""
        image_id = new_image(catalog, tags=("a",))
        assert change(catalog, image_id).tags == ("a",)
        assert change(catalog, image_id, tags=()).tags == ()

    @pytest.mark.parametrize("column", ["status", "size", "checksum", "os_hash_value", "created_at", "id", "tags"])
    def test_what_is_not_for_users(self, column: str) -> None:
        with pytest.raises(ValueError, match=column):
            ImageChange(columns={column: "x"})

    @pytest.mark.parametrize("name", ["os_glance_x", "os_glancexyz", "stores"])
    def test_a_reserved_property_is_refused_by_the_database(self, catalog: Catalog, name: str) -> None:
        image_id = new_image(catalog, name="old")
        with pytest.raises(RuleBroken, match="property_not_reserved"):
            change(catalog, image_id, columns={"name": "new"}, properties={name: "x"})
        assert image_of(catalog, image_id).name == "old"

    def test_a_value_that_no_column_holds(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        with pytest.raises(BadValue):
            change(catalog, image_id, properties={"p": "\ud800"})

    def test_no_such_image(self, catalog: Catalog) -> None:
        gone = new_image(catalog)
        catalog.delete_image(gone)
        for image_id in (gone, "none"):
            with pytest.raises(NotFound):
                change(catalog, image_id, columns={"name": "x"})


class TestBesideAnImport:
    """A change in the middle of an import (import-behaviour §2.5)."""

    def test_neither_side_loses_anything(self, catalog: Catalog) -> None:
        """Given an import, when a user changes the image between its writes, then both are there in the end."""
        image_id, task_id = importing(catalog, ("a", "b"))
        claim = entered(catalog, task_id)
        keys = stored(catalog, claim, "a", "b")
        change(catalog, image_id, columns={"name": "one"}, properties={"p": "1"}, tags=("t",))
        with catalog.fenced(claim) as tx:
            tx.add_location("a", keys["a"], "file:///a")
        change(catalog, image_id, columns={"min_ram": 5}, properties={"q": "2"}, removed=frozenset({"p"}))
        seen = image_of(catalog, image_id)
        assert (seen.status, seen.importing_to, seen.import_task) == ("importing", ("b",), task_id)
        with catalog.fenced(claim) as tx:
            tx.set_target("b", "failed", code="store_full", reason="full")
            tx.activate(FACTS)
            tx.succeed("Copied.", keep_for=60)
        now = change(catalog, image_id, columns={"os_hidden": True})
        assert (now.status, now.size, now.os_hash_value, now.failed) == ("active", FACTS.size, "5a", ("b",))
        assert [place.store for place in now.locations] == ["a"]
        assert (now.name, now.min_ram, now.os_hidden, now.properties, now.tags) == ("one", 5, True, {"q": "2"}, ("t",))

    @pytest.mark.parametrize("columns", [{"disk_format": "qcow2"}, {"container_format": "ovf"}])
    def test_data_inspected_as_another_format(self, catalog: Catalog, columns: dict[str, str]) -> None:
        """Given data that was inspected, when the image now declares another format, then it does not become active."""
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        stored(catalog, claim, "a")
        change(catalog, image_id, columns=columns)
        with catalog.fenced(claim) as tx, pytest.raises(FormatChanged, match=r"qcow2|ovf") as raised:
            tx.activate(FACTS)
        assert "inspected as raw in bare" in str(raised.value)
        assert (raised.value.code, raised.value.transient) == ("format_changed", False)
        assert image_of(catalog, image_id).status == "importing"

    def test_an_image_that_moved_on(self, catalog: Catalog) -> None:
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        catalog.delete_image(image_id)
        with pytest.raises(Conflict, match="no longer importing"), catalog.fenced(claim) as tx:
            tx.activate(FACTS)


class TestAtOnce:
    """Several changes of one image at the same moment."""

    def test_all_survive(self, catalog: Catalog) -> None:
        """Given changes that judge by what they read, when many come at once, then none is lost."""

        def add(image_id: str, name: str) -> None:
            with catalog.begin() as tx:
                image = tx.images.get_to_change(image_id)
                before = image.properties.get("said", "")
                tags = (*image.tags, name)
                tx.images.update(image_id, ImageChange(properties={"said": f"{before}{name}", name: "1"}, tags=tags))

        for _ in range(3):
            image_id = new_image(catalog)
            at_once(*(partial(add, image_id, name) for name in "abcdef"))
            image = image_of(catalog, image_id)
            assert sorted(image.properties["said"] or "") == list("abcdef")
            assert image.properties.keys() == {"said", *"abcdef"}
            assert image.tags == tuple("abcdef")

    def test_a_change_and_a_publication(self, catalog: Catalog) -> None:
        """Given a new format and the activation at once, then the image is active as inspected, or not active."""

        def publish(task_id: str) -> str:
            claim = entered(catalog, task_id)
            keys = stored(catalog, claim, "a")
            try:
                with catalog.fenced(claim) as tx:
                    tx.add_location("a", keys["a"], "file:///a")
                    tx.activate(FACTS)
            except FormatChanged:
                return "refused"
            return "active"

        def reformat(image_id: str) -> str:
            with catalog.begin() as tx:
                if tx.images.get_to_change(image_id).status == "importing":
                    tx.images.update(image_id, ImageChange(columns={"disk_format": "iso"}))
                    return "changed"
            return "too late"

        for _ in range(8):
            image_id, task_id = importing(catalog)
            ended, said = at_once(partial(publish, task_id), partial(reformat, image_id))
            assert (ended, said) in {("refused", "changed"), ("active", "too late")}
            assert image_of(catalog, image_id).disk_format == ("iso" if said == "changed" else "raw")

    def test_what_is_read_to_change_waits(self, postgres: Catalog, beside: Beside) -> None:
        """Given a change in mid commit, when another is to be judged, then it waits and sees what that did."""
        image_id, _ = imported(postgres)

        def judge() -> ImageRecord:
            with postgres.begin() as tx:
                return tx.images.get_to_change(image_id)

        with postgres.begin() as tx:
            tx.images.update(image_id, ImageChange(columns={"name": "first"}, properties={"p": "1"}))
            judging = beside(judge)
        assert (judging.result().name, judging.result().properties) == ("first", {"p": "1"})
