"""Images as users ask for them: made, read and listed."""

import uuid
from typing import Any

import pytest
from sqlalchemy import event, insert, text, update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.errors import BadMarker, Duplicate, NotFound, RuleBroken
from catalog.images import NewImage
from catalog.listing import ImageQuery
from tests.catalog.rows import image_of, imported, importing, new_image


def listed(catalog: Catalog, **query: object) -> list[str]:
    """The ids on one page."""
    with catalog.read() as tx:
        return [image.id for image in tx.images.page(ImageQuery(**({"limit": 100} | query)))]  # type: ignore[arg-type]


class TestCreating:
    """`Images.create`, `Images.get`."""

    def test_as_it_was_asked_for(self, catalog: Catalog) -> None:
        """Given every wish, when the image is made, then it is queued, without data, and all of them are there."""
        image_id = str(uuid.uuid4())
        wish = NewImage(
            image_id,
            owner="p",
            name="n",
            visibility="public",
            protected=True,
            os_hidden=True,
            container_format="bare",
            disk_format="iso",
            min_disk=3,
            min_ram=4,
            properties={"b": "2", "a": None},
            tags=("y", "x", "y"),
        )
        with catalog.begin() as tx:
            made = tx.images.create(wish)
        found = image_of(catalog, image_id)
        assert made == found
        assert (found.status, found.size, found.checksum, found.locations) == ("queued", None, None, ())
        assert (found.protected, found.os_hidden, found.min_disk, found.min_ram) == (True, True, 3, 4)
        assert (found.properties, found.tags) == ({"a": None, "b": "2"}, ("x", "y"))
        assert found.created_at == found.updated_at
        assert found.deleted_at is None

    def test_before_the_first_import(self, catalog: Catalog) -> None:
        """Given an image never imported into, then its three import properties are absent (§1.3)."""
        image = image_of(catalog, new_image(catalog))
        assert (image.import_task, image.importing_to, image.failed) == (None, None, None)

    def test_ids_are_never_used_twice(self, catalog: Catalog) -> None:
        """Given an image, also a deleted one, when its id is asked for again, then it is a `Duplicate`."""
        image_id = new_image(catalog)
        with pytest.raises(Duplicate, match=image_id), catalog.begin() as tx:
            tx.images.create(NewImage(image_id, owner="other"))
        catalog.delete_image(image_id)
        with pytest.raises(Duplicate), catalog.begin() as tx:
            tx.images.create(NewImage(image_id, owner="other"))

    def test_a_bad_wish_is_no_duplicate(self, catalog: Catalog) -> None:
        """Given a wish that breaks another rule, then the answer is not that the id is taken."""
        with pytest.raises(RuleBroken, match="image_numbers"):
            new_image(catalog, min_ram=-1)
        with pytest.raises(RuleBroken, match="property_not_reserved"):
            new_image(catalog, properties={"os_glance_failed_import": "a"})

    @pytest.mark.parametrize("image_id", ["", "nobody", "größer", "' OR 1=1"])
    def test_unknown(self, catalog: Catalog, image_id: str) -> None:
        """Given no such image, then reading and deleting it say `NotFound`."""
        with pytest.raises(NotFound):
            image_of(catalog, image_id)
        with pytest.raises(NotFound):
            catalog.delete_image(image_id)


class TestPages:
    """`Images.page`."""

    def test_newest_first(self, catalog: Catalog) -> None:
        """Given images of different ages, then the newest comes first, and `limit` is kept."""
        made = [new_image(catalog) for _ in range(3)]
        self._age(catalog.database, dict(zip(made, (10, 30, 20), strict=True)))
        assert listed(catalog) == [made[1], made[2], made[0]]
        assert listed(catalog, limit=2) == [made[1], made[2]]
        assert listed(catalog, limit=0) == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    def test_every_image_once_however_alike_in_age(self, catalog: Catalog, limit: int) -> None:
        """Given images made in the same microsecond, when they are paged, then each comes once, in a fixed order."""
        made = [new_image(catalog) for _ in range(9)]
        self._age(catalog.database, {image_id: 10 + number // 4 for number, image_id in enumerate(made)})
        seen: list[str] = []
        while page := listed(catalog, limit=limit, marker=seen[-1] if seen else None):
            assert len(page) <= limit
            seen += page
        assert sorted(seen) == sorted(made)
        assert seen == listed(catalog)

    def test_changes_while_one_pages(self, catalog: Catalog) -> None:
        """Given a page read, when images come and go, then the next page begins where the first ended."""
        made = [new_image(catalog) for _ in range(4)]
        self._age(catalog.database, {image_id: number for number, image_id in enumerate(made)})
        assert listed(catalog, limit=2) == [made[3], made[2]]
        new_image(catalog)
        catalog.delete_image(made[3])
        assert listed(catalog, limit=2, marker=made[2]) == [made[1], made[0]]

    def test_markers_that_name_nothing(self, catalog: Catalog) -> None:
        """Given the id of a deleted image, or of none, as marker, then it is a `BadMarker` (http-api §1.6)."""
        gone = new_image(catalog)
        catalog.delete_image(gone)
        for marker in (gone, "nobody", ""):
            with pytest.raises(BadMarker):
                listed(catalog, marker=marker)

    def test_filters(self, catalog: Catalog) -> None:
        """Given names and statuses, then only images with one of each are shown."""
        first, second = new_image(catalog, name="a"), new_image(catalog, name="b")
        third, _ = importing(catalog)
        assert listed(catalog, one_of={"name": ("a", "größer")}) == [first]
        assert set(listed(catalog, one_of={"name": ("a", "b")})) == {first, second}
        assert listed(catalog, one_of={"status": ("importing",)}) == [third]
        assert listed(catalog, one_of={"name": ("a",), "status": ("importing",)}) == []
        assert listed(catalog, one_of={"name": ("%",)}) == []

    def test_the_gone_are_not_shown(self, catalog: Catalog) -> None:
        """Given deleted and killed images, then no list shows them, whatever it asks for."""
        gone, killed = new_image(catalog), new_image(catalog)
        catalog.delete_image(gone)
        with catalog.database.begin() as connection:
            connection.execute(update(t.images).where(t.images.c.id == killed).values(status="killed"))
        assert listed(catalog) == []
        assert listed(catalog, one_of={"status": ("deleted", "killed")}) == []

    def test_whole_records(self, catalog: Catalog) -> None:
        """Given a page of many images, then each has its own properties, tags, locations and verdicts."""
        plain = new_image(catalog, properties={"p": "1"}, tags=("x",))
        active, _ = imported(catalog, ("b", "a"))
        running, task_id = importing(catalog, ("c",))
        with catalog.read() as tx:
            found = {image.id: image for image in tx.images.page(ImageQuery(limit=10))}
        assert found == {image_id: image_of(catalog, image_id) for image_id in (plain, active, running)}
        assert found[plain].properties == {"p": "1"}
        assert [place.store for place in found[active].locations] == ["b", "a"]
        assert (found[running].import_task, found[running].importing_to) == (task_id, ("c",))

    def test_a_deep_page_is_found_by_index(self, catalog: Catalog) -> None:
        """Given many images, when one pages deep into them, then an index leads to the marker: nothing is skipped."""
        with catalog.database.begin() as connection:
            rows = [
                {**_BARE, "id": f"{number:05}", "created_at": number, "updated_at": number} for number in range(3000)
            ]
            connection.execute(insert(t.images), rows)
            if catalog.database.dialect == "postgresql":
                connection.execute(text("ANALYZE images"))
        plan = self._plan(catalog, ImageQuery(limit=10, marker="01500"))
        assert "images_by_age" in plan
        if catalog.database.dialect == "sqlite":
            assert "(created_at,id)<(?,?)" in plan
        else:
            assert "Index Cond: (ROW(created_at, id) < ROW(" in plan

    @staticmethod
    def _plan(catalog: Catalog, query: ImageQuery) -> str:
        """How the database finds that page, in its own words."""
        said: list[tuple[str, Any]] = []
        with catalog.read() as tx:
            listen = lambda _c, _cursor, statement, values, *_: said.append((statement, values))  # noqa: E731
            event.listen(tx.connection, "before_cursor_execute", listen)
            tx.images.page(query)
            event.remove(tx.connection, "before_cursor_execute", listen)
            ((statement, values),) = [s for s in said if "ORDER BY images.created_at" in s[0]]
            explain = "EXPLAIN QUERY PLAN " if catalog.database.dialect == "sqlite" else "EXPLAIN "
            plan = tx.connection.exec_driver_sql(explain + statement, values)
            return "\n".join(str(line) for line in plan.all())

    @staticmethod
    def _age(database: Database, ages: dict[str, int]) -> None:
        with database.begin() as connection:
            for image_id, age in ages.items():
                connection.execute(update(t.images).where(t.images.c.id == image_id).values(created_at=age))


_BARE = {
    "status": "queued",
    "visibility": "shared",
    "protected": False,
    "os_hidden": False,
    "min_disk": 0,
    "min_ram": 0,
}
