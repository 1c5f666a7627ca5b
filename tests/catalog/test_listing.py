"""Lists of images on both databases: every order is total, every filter means the same."""

import pytest

from catalog.catalog import Catalog
from catalog.errors import BadMarker, NotFound, Protected
from catalog.listing import ImageQuery, SortKey
from catalog.visibility import Viewer
from tests.catalog.rows import importing, new_image, new_task


def pages(catalog: Catalog, size: int, *sort: SortKey) -> list[str]:
    """The ids of all images, read in pages of `size`."""
    seen: list[str] = []
    while True:
        with catalog.read() as tx:
            page = tx.images.page(ImageQuery(limit=size, marker=seen[-1] if seen else None, sort=sort))
        seen += [image.id for image in page]
        if len(page) < size:
            return seen


@pytest.mark.parametrize(
    "sort",
    [
        (),
        (SortKey("name"),),
        (SortKey("name", descending=False),),
        (SortKey("name", descending=False), SortKey("size"), SortKey("id", descending=False)),
        (SortKey("container_format"), SortKey("status", descending=False)),
        (SortKey("created_at", descending=False),),
    ],
)
def test_pages_neither_lose_nor_repeat_an_image(catalog: Catalog, sort: tuple[SortKey, ...]) -> None:
    # Given names that are missing, empty, equal and of several scripts
    made = {new_image(catalog, name=name) for name in (None, "", None, "a", "A", "b", "b", "ä", "a b", "中")}

    # When the list is read in pages of several sizes
    reads = [pages(catalog, size, *sort) for size in (1, 3, 100)]

    # Then each has every image once, and all are in the same order
    assert set(reads[0]) == made
    assert len(reads[0]) == len(made)
    assert reads[0] == reads[1] == reads[2]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "abcd"),
        ({"one_of": {"name": ("a", "b"), "status": ("queued",)}}, "ab"),
        ({"one_of": {"name": ()}}, ""),
        ({"one_of": {"protected": (True,)}}, "b"),
        ({"least": {"min_disk": 1}, "most": {"min_disk": 1}}, "b"),
        ({"tags": ("x",)}, "ac"),
        ({"tags": ("x", "y")}, "c"),
        ({"properties": {"os": "deb", "empty": ""}}, "a"),
        ({"properties": {"os": "rpm"}}, ""),
        ({"hidden": True}, "d"),
        ({"hidden": False}, "abc"),
        ({"viewer": Viewer("p", sees_all=True), "strangers": False}, "abd"),
        ({"viewer": Viewer("q", sees_all=True), "strangers": False}, "abcd"),
        ({"viewer": Viewer(None, sees_all=True), "strangers": False}, "abd"),
    ],
)
def test_filters(catalog: Catalog, query: dict[str, object], found: str) -> None:
    new_image(catalog, name="a", tags=("x",), properties={"os": "deb", "empty": ""})
    new_image(catalog, name="b", protected=True, min_disk=1)
    new_image(catalog, name="c", tags=("x", "y"), visibility="community", owner="q")
    new_image(catalog, name="d", os_hidden=True)

    with catalog.read() as tx:
        page = tx.images.page(ImageQuery(limit=10, **query))  # type: ignore[arg-type]

    assert "".join(sorted(str(image.name) for image in page)) == found


def test_a_deleted_image_is_neither_listed_nor_a_marker(catalog: Catalog) -> None:
    image = new_image(catalog)
    catalog.delete_image(image)

    assert pages(catalog, 10) == []
    with catalog.read() as tx, pytest.raises(BadMarker, match=image):
        tx.images.page(ImageQuery(limit=1, marker=image))


def test_a_protected_image_is_not_deleted_and_its_import_goes_on(catalog: Catalog) -> None:
    image = new_image(catalog, protected=True)
    task = new_task(image)
    catalog.request_import(task)

    with pytest.raises(Protected, match=image):
        catalog.delete_image(image)

    with catalog.read() as tx:
        assert tx.images.get(image).status == "importing"
        assert not tx.tasks.get(task.id).cancel_requested


def test_the_newest_task(catalog: Catalog) -> None:
    # Given an image whose first import has failed and was forgotten
    image, first = importing(catalog)
    claim = catalog.lock.enter(first, 0, "w")
    assert claim is not None
    with catalog.fenced(claim) as tx:
        tx.requeue()
        tx.fail(code="c", message="m", keep_for=60.0)

    with catalog.read() as tx:
        assert tx.tasks.newest(image).id == first
    catalog.database.skew = 61.0
    with catalog.read() as tx, pytest.raises(NotFound):
        tx.tasks.newest(image)
