"""Lists of 300 images, as each client pages through them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.clients.conftest import Worlds
from tests.e2e.clients.job import AS_JSON, CLIENTS, FORMATS
from tests.e2e.clients.people import MOST_IMAGES, PIA, World

pytestmark = CLIENTS

COUNT = MOST_IMAGES


@dataclass(frozen=True)
class Gallery:
    """Pia's images, of which many have the same name: ids as one page without end would have them."""

    newest_first: list[str]
    by_name: list[str]


@pytest.fixture(scope="module")
def gallery(kind: str, worlds: Worlds) -> Iterator[Gallery]:
    """COUNT images in a world."""
    world = worlds(kind)
    pia = world.by(PIA)
    made = [pia.create(name=f"page {number % 7}") for number in range(COUNT)]

    def whole(order: str) -> list[str]:
        page = pia.call("GET", f"/v2/images?limit=1000&{order}", 200).json()
        assert "next" not in page
        return [image["id"] for image in page["images"]]

    newest, by_name = whole("sort=created_at:desc"), whole("sort_key=name&sort_dir=asc")
    assert newest == made[::-1]
    assert sorted(by_name) == sorted(made)
    yield Gallery(newest, by_name)
    world.clear()


@pytest.fixture
def world(kind: str, worlds: Worlds, gallery: Gallery, home: None) -> World:
    """The world of the gallery, which stays."""
    return worlds(kind)


def test_glance(world: World, gallery: Gallery) -> None:
    """Given pages that do not divide the list, then each image comes once, by name; a limit ends inside a page."""
    pia = world.glance(PIA)
    assert [row["ID"] for row in pia("image-list", "--page-size", "70").rows] == gallery.by_name
    assert [row["ID"] for row in pia("image-list", "--page-size", "50", "--limit", "120").rows] == gallery.by_name[:120]


def test_openstack(world: World, gallery: Gallery) -> None:
    """Given the service's own size of pages, then each image comes once; what the command is told to show one page of
    begins after a marker. (It sorts what it prints by itself.)
    """
    pia = world.openstack(PIA)

    def listed(*words: str) -> list[str]:
        return [row["ID"] for row in pia("image", "list", *words, *AS_JSON).json]

    assert sorted(listed()) == sorted(gallery.newest_first)
    page = listed("--limit", "100", "--marker", gallery.newest_first[99])
    assert sorted(page) == sorted(gallery.newest_first[100:200])


def test_there_is_no_room_for_another(world: World, gallery: Gallery) -> None:
    """Given as many images as a project may have, then who makes another is told the limit."""
    said = world.openstack(PIA)("image", "create", *FORMATS, "another", status=1)
    assert f"may have {COUNT} images" in said.err


def test_the_sdk(world: World, gallery: Gallery) -> None:
    """Given pages of any size, in any order, then each image comes once and in that order."""
    with world.sdk(PIA) as image:

        def listed(**words: object) -> list[str]:
            return [one.id for one in image.images(**words)]

        assert listed() == gallery.newest_first
        assert listed(limit=100) == gallery.newest_first
        assert listed(limit=70, sort_key="name", sort_dir="asc") == gallery.by_name
        assert listed(limit=70, max_items=120) == gallery.newest_first[:120]
        assert listed(limit=70, marker=gallery.newest_first[-31]) == gallery.newest_first[-30:]
