"""Lists of images on both databases: every order is total, every filter means the same."""

from typing import Any

import pytest
from sqlalchemy import event

from catalog.catalog import Catalog
from catalog.errors import BadMarker, NotFound, Protected
from catalog.listing import ImageQuery, SortKey
from catalog.visibility import EVERYTHING, Viewer
from tests.catalog.rows import importing, new_image, new_task


def listed(catalog: Catalog, **query: Any) -> list[str]:
    """The ids on one page."""
    with catalog.peek() as tx:
        return [image.id for image in tx.images.page(ImageQuery(**{"limit": 100} | query))]


def pages(catalog: Catalog, size: int, *sort: SortKey, viewer: Viewer = EVERYTHING) -> list[str]:
    """The ids of all images that `viewer` sees, read in pages of `size`."""
    seen: list[str] = []
    while True:
        with catalog.read() as tx:
            page = tx.images.page(ImageQuery(limit=size, marker=seen[-1] if seen else None, sort=sort, viewer=viewer))
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
        ({"outside": {"min_disk": (1, 2)}}, "acd"),
        ({"outside": {"min_disk": (0, 0)}}, "b"),
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


@pytest.mark.parametrize("sort", [(), (SortKey("name", descending=False),), (SortKey("name"), SortKey("id", False))])
def test_pages_of_a_project(catalog: Catalog, sort: tuple[SortKey, ...]) -> None:
    """Given images of its own, public and shared ones in turns, then a project's pages have each once, in order."""
    made = []
    for number in range(12):
        owner, visibility = [("me", "private"), ("you", "public"), ("you", "shared"), ("me", "public")][number % 4]
        image_id = new_image(catalog, name=f"n{number % 5}", owner=owner, visibility=visibility)
        made.append(image_id)
        if visibility == "shared":
            with catalog.begin() as tx:
                tx.members.add(image_id, "me")
                tx.members.answer(image_id, "me", "accepted")
    new_image(catalog, owner="you", visibility="private")
    reads = [pages(catalog, size, *sort, viewer=Viewer("me")) for size in (1, 3, 5, 100)]
    assert sorted(reads[0]) == sorted(made)
    assert all(read == reads[0] for read in reads)
    if not sort:
        assert reads[0] == made[::-1]


def test_one_statement_reads_all_of_it(catalog: Catalog) -> None:
    """Given images with all that may belong to one, when an image or a page is read, then one statement is sent."""
    ids = [new_image(catalog, properties={"a": "1"}, tags=("x", "y")) for _ in range(3)]
    said: list[str] = []
    with catalog.peek() as tx:
        event.listen(tx.connection, "before_cursor_execute", lambda _c, _cursor, sent, *_: said.append(sent))
        for viewer in (EVERYTHING, Viewer("p")):
            tx.images.get(ids[0], viewer)
            assert len(tx.images.page(ImageQuery(limit=10, viewer=viewer))) == 3
    assert len(said) == 4


def test_values_belong_to_their_query_alone(catalog: Catalog) -> None:
    """Given queries that differ in their values only, when one follows the other, then each finds its own."""
    made = {word: new_image(catalog, name=word, owner=word, properties={"p": word}, tags=(word,)) for word in "abc"}
    for word in "abcab":
        assert listed(catalog, one_of={"name": (word,)}) == [made[word]]
        assert listed(catalog, properties={"p": word}, tags=(word,)) == [made[word]]
        assert listed(catalog, viewer=Viewer(word)) == [made[word]]
    assert set(listed(catalog, one_of={"name": ("a", "b")})) == {made["a"], made["b"]}
    assert listed(catalog, one_of={"name": ()}) == []


def test_long_values_of_properties(catalog: Catalog) -> None:
    """Given values that begin alike for longer than an index holds, then a filter tells them apart."""
    first, second = (new_image(catalog, properties={"p": "ü" * 5000 + end}) for end in "12")
    assert listed(catalog, properties={"p": "ü" * 5000 + "1"}) == [first]
    assert listed(catalog, properties={"p": "ü" * 5000 + "2"}) == [second]
    assert listed(catalog, properties={"p": "ü" * 5000}) == []


def test_null_is_not_what_it_is_sorted_as(catalog: Catalog) -> None:
    """Given images without name and size, which count as empty in an order, then no filter takes them for that."""
    new_image(catalog)
    empty = new_image(catalog, name="")
    assert listed(catalog, one_of={"name": ("",)}) == [empty]
    assert listed(catalog, least={"size": 0}) == listed(catalog, most={"size": 9}) == []


MANY = 600


@pytest.mark.parametrize("viewer", [EVERYTHING, Viewer("p")])
@pytest.mark.parametrize("kind", ["tags", "properties"])
def test_each_of_many_filters_counts(catalog: Catalog, kind: str, viewer: Viewer) -> None:
    """Given more filters than a database can weigh against each other, then the answer still comes, and is right."""
    words = [f"w{number}" for number in range(MANY)]
    values = dict.fromkeys(words, "v")
    everything: dict[str, Any] = {"tags": tuple(words), "properties": values}
    all_but_one: dict[str, Any] = {"tags": tuple(words[:-1]), "properties": values | {words[-1]: "u"}}
    made = new_image(catalog, **{kind: everything[kind]})
    new_image(catalog, **{kind: all_but_one[kind]})

    with catalog.read() as tx:
        if catalog.database.dialect == "postgresql":
            tx.connection.exec_driver_sql("SET LOCAL statement_timeout = '20s'")
        found = tx.images.page(ImageQuery(limit=5, viewer=viewer, **{kind: everything[kind]}))

    assert [image.id for image in found] == [made]


def test_a_filter_that_is_repeated_counts_once(catalog: Catalog) -> None:
    made = new_image(catalog, tags=("x", "y"))
    new_image(catalog, tags=("x",))

    assert listed(catalog, tags=("x", "y") * 300) == [made]


def test_a_key_that_is_repeated_sorts_once(catalog: Catalog) -> None:
    """Given keys in both directions, each many times, then a page is found at once, and in the order of the first."""
    made = [new_image(catalog, name=name) for name in "bca"]
    keys = (SortKey("name", descending=False), SortKey("name"), SortKey("size"), SortKey("id", descending=False)) * 200

    assert pages(catalog, 1, *keys) == [made[2], made[0], made[1]]
