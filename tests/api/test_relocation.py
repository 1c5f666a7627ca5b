"""PATCH of `/locations`: what is done (http-api §4.4)."""

from pathlib import Path
from typing import Any

import pytest

from api.patches import V20, V21
from catalog import tables as t
from flows.collect import collect
from flows.locations import HANDS_OFF
from stores.errors import ObjectInUse, StoreDenied
from stores.wrappers import fails
from tests.api.house import SHOWN, House
from tests.api.places import HASHES, MD5, OTHER, SHA512, WEB, add, place, remove, replaced, show, stray, urls
from tests.api.service import Service, registry, runtime
from tests.api.test_delete_from_store import DATA, TABLE, Row, in_one_store, in_two_stores
from tests.api.test_patch_image import old, patch
from tests.api.test_patches import v21

# -- what is done


@pytest.mark.parametrize("media", [V21, V20])
@pytest.mark.parametrize("make", [add, lambda: add(at=0), lambda: replaced(place())])
def test_the_first_location_makes_a_queued_image_active(house: House, media: str, make: Any) -> None:
    """Given an image without data, then it is active with the size that its store tells, and nothing is hashed."""
    image = house.image()
    operation = make() if media == V21 else old(make())

    answer = patch(house, image, operation, media=media)

    assert answer.status_code == 200, answer.text
    shown = answer.json
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", 10, None)
    assert (shown["checksum"], shown["os_hash_algo"], shown["os_hash_value"]) == (None, None, None)
    assert (shown["stores"], shown["direct_url"]) == ("mirror", WEB)
    assert shown["locations"] == [{"url": WEB, "metadata": {"store": "mirror"}}]
    assert shown == show(house, image)
    assert [row.task_id for row in house.rows(t.objects)] == []
    assert house.rows(t.tasks) == []


def test_an_object_in_a_store_of_ours_is_the_images_from_then_on(house: House) -> None:
    """Given an object that a service has put into a store, then it is read, and goes with the image."""
    image = house.image()
    assert patch(house, image, add(stray(house))).status_code == 200
    assert house.client.simulate_get(f"/v2/images/{image}/file").content == DATA
    assert [(row.state, row.size, row.task_id) for row in house.rows(t.objects)] == [("located", 10, None)]

    house.catalog.delete_image(image)

    assert collect(house.runtime) == 1
    assert house.kept() == set()


def test_formats_may_come_with_the_location(house: House) -> None:
    image = house.image(disk_format=None)
    assert patch(house, image, add(), v21("add", "/disk_format", value="raw")).json["status"] == "active"


def test_adding_to_an_active_image(house: House) -> None:
    """Given an image with data, then more places are added, read after those of heavier stores, and copies count."""
    image = house.active({"fast": DATA})
    before = show(house, image)

    answer = patch(house, image, add(), add(OTHER, 0), add(stray(house), 1))

    key = house.key(image, "fast")
    assert answer.status_code == 200, answer.text
    assert urls(house, image) == ["memory://bulk/snapshot", f"memory://fast/{key}", OTHER, WEB]
    assert answer.json["stores"] == "bulk,fast,mirror"
    same = ("status", "size", "checksum", "os_hash_value", "created_at")
    assert [answer.json[name] for name in same] == [before[name] for name in same]


def test_places_are_counted_in_the_order_that_is_shown_and_one_operation_after_the_other(house: House) -> None:
    image = house.active({"fast": DATA, "cheap": DATA})

    # cheap, fast → WEB, cheap, fast → WEB, fast
    assert patch(house, image, add(at=0), remove(1)).status_code == 200
    assert [at["metadata"]["store"] for at in show(house, image)["locations"]] == ["fast", "mirror"]
    # fast, WEB → fast, OTHER, WEB → OTHER, WEB
    assert patch(house, image, add(OTHER, 1), remove(0)).status_code == 200
    assert urls(house, image) == [WEB, OTHER]
    # WEB, OTHER → OTHER
    assert patch(house, image, remove(0)).status_code == 200
    assert urls(house, image) == [OTHER]
    assert house.kept() == set()


def test_of_two_urls_in_one_store_the_one_that_was_meant_goes(house: House) -> None:
    """Given an image that is published twice, then each place can be taken away, by either call."""
    image = house.image()
    patch(house, image, replaced(place(WEB), place(OTHER), place(f"{WEB}2")))

    assert [at["url"] for at in patch(house, image, remove(1)).json["locations"]] == [WEB, f"{WEB}2"]
    assert house.delete("mirror", image).status_code == 204
    assert urls(house, image) == [f"{WEB}2"]
    assert house.delete("mirror", image).status_code == 403


def test_what_is_said_of_a_location(house: House) -> None:
    """Given metadata, then it is shown wherever locations are; the store in it is always the true one."""
    image = house.active({"fast": DATA})
    key = house.key(image, "fast")
    said: dict[str, Any] = {"zone": "é", "n": 10**30, "deep": [{"x": None}], "z": "\0"}

    patch(house, image, add(**said, store="fast"))

    here = {"url": f"memory://fast/{key}", "metadata": {"store": "fast"}}
    there = {"url": WEB, "metadata": said | {"store": "mirror"}}
    assert show(house, image)["locations"] == [here, there]
    assert house.client.simulate_get(f"/v2/images/{image}/locations").json == [here, there]


@pytest.mark.parametrize("order", [1, -1])
def test_replacing_the_whole_list_changes_what_is_said(house: House, order: int) -> None:
    """Given the list as it is shown, when it is sent back with other metadata, in whatever order, then that counts."""
    image = house.active({"cheap": DATA, "fast": DATA})
    given = show(house, image)["locations"]
    before = show(house, image)["updated_at"]
    house.catalog.database.skew = 5.0
    given[0]["metadata"] = {"rank": 1}

    answer = patch(house, image, replaced(*given[::order]))

    assert answer.status_code == 200, answer.text
    assert [at["metadata"] for at in answer.json["locations"]] == [{"rank": 1, "store": "cheap"}, {"store": "fast"}]
    assert answer.json["updated_at"] > before
    # And what is said no longer is not kept
    given[0]["metadata"] = {}
    assert patch(house, image, replaced(*given)).json["locations"][0]["metadata"] == {"store": "cheap"}


def test_a_copy_that_is_put_back_keeps_what_was_said_of_it(house: House) -> None:
    image = house.active({"cheap": DATA, "fast": DATA})
    given = show(house, image)["locations"]
    given[1]["metadata"] = {"zone": "b"}
    patch(house, image, replaced(*given))
    house.faulty("fast").hooks["delete"] = fails(StoreDenied("fast", "keep out"))

    assert patch(house, image, remove(1)).status_code == 500
    assert show(house, image)["locations"][1]["metadata"] == {"zone": "b", "store": "fast"}


def test_together_with_other_changes(house: House) -> None:
    """Given operations of every kind, then all are done, or none."""
    image = house.active({"cheap": DATA, "fast": DATA})
    before = show(house, image)

    others = [v21("replace", "/name", value="new"), v21("add", "/p", value="1"), v21("replace", "/tags", value=["t"])]
    refused = patch(house, image, *others, add(), remove(1), v21("remove", "/none"))
    assert (refused.status_code, show(house, image), len(house.kept())) == (409, before, 2)
    refused = patch(house, image, *others, remove(0), add(stray(house, data=b"longer than ten")))
    assert (refused.status_code, show(house, image), len(house.kept())) == (409, before, 3)

    done = patch(house, image, *others, add(), remove(1)).json
    assert (done["name"], done["p"], done["tags"], done["stores"]) == ("new", "1", ["t"], "cheap,mirror")


# -- what is said of data that nobody has read


@pytest.mark.parametrize(
    ("promises", "known"),
    [
        ([{}], (None, None)),
        ([HASHES], (None, SHA512)),
        ([HASHES | {"checksum": MD5}], (MD5, SHA512)),
        ([HASHES | {"os_hash_value": SHA512.upper(), "checksum": MD5.upper()}], (MD5, SHA512)),
        ([HASHES, HASHES | {"checksum": MD5}], (MD5, SHA512)),
    ],
)
def test_promises_are_believed(house: House, promises: list[Any], known: tuple[str | None, str | None]) -> None:
    image = house.image()
    added = [add(f"{WEB}{n}", promise=promise or None) for n, promise in enumerate(promises)]

    answer = patch(house, image, *added)

    assert answer.status_code == 200, answer.text
    assert (answer.json["checksum"], answer.json["os_hash_value"]) == known
    assert answer.json["os_hash_algo"] == ("sha512" if known[1] else None)
    assert all("validation_data" not in at for at in answer.json["locations"])


# -- the bytes of what is taken away

ROWS = [
    row
    for row in TABLE
    if row.store == "fast" and row.shown in ("cheap", "cheap,fast") and not row.member and row.given is not in_one_store
]
"""Those in which the image is in `fast`, which has the second place among its locations."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.condition)
def test_taken_away_as_by_the_other_call(house: House, row: Row) -> None:
    """Given each state of image and backend in which `DELETE /v2/stores/…` is asked, then a PATCH does the same."""
    image = row.given(house)

    answer = patch(house, image, remove(1))

    expected = 200 if row.status == 204 else row.status
    assert (answer.status_code, "secret" in answer.text) == (expected, False), answer.text
    assert ",".join(sorted(house.stores_of(image).split(","))) == row.shown
    assert house.kept() == {at for at in house.located() if at[0] != "mirror"}


def test_a_process_that_dies_before_the_bytes_go(house: House) -> None:
    """Given a process that dies when all is on record, then the sweeper deletes what no location names."""
    image = in_two_stores(house)
    house.faulty("fast").hooks["delete"] = fails(SystemExit("it dies"))
    with pytest.raises(SystemExit):
        patch(house, image, remove(1))
    house.faulty("fast").hooks.clear()
    assert house.stores_of(image) == "cheap"
    assert house.collect_after(HANDS_OFF - 5) == 0
    assert house.collect_after(10) == 1
    assert house.kept() == house.located()


def test_one_store_that_refuses_keeps_what_it_has_and_no_other(house: House) -> None:
    """Given several to be taken away, of which one is in use, then the others go, and the answer names that one."""
    image = house.active(dict.fromkeys(("fast", "cheap", "bulk"), DATA))
    house.faulty("cheap").hooks["delete"] = fails(ObjectInUse("cheap", "a volume was cloned from it"))

    answer = patch(house, image, v21("replace", "/name", value="new"), add(), remove(0), remove(0), remove(0))

    assert (answer.status_code, "store cheap: a volume was cloned" in answer.text) == (409, True)
    shown = show(house, image)
    assert (shown["stores"], shown["name"]) == ("cheap,mirror", "new")
    assert house.kept() == {at for at in house.located() if at[0] != "mirror"}


# -- stores by their ids and weights


def test_locations_are_found_under_the_id_of_today(house: House) -> None:
    """Given a location under the id that its store had once, then it is shown, and taken away, by the new one."""
    image = in_two_stores(house)
    with house.catalog.database.begin() as connection:
        for table in (t.locations, t.objects):
            connection.execute(table.update().where(table.c.store == "fast").values(store="quick"))

    answer = patch(house, image, remove(1))

    assert (answer.status_code, house.stores_of(image)) == (200, "cheap")
    assert house.kept() == house.located()


def test_the_heaviest_store_comes_first(tmp_path: Path) -> None:
    """Given the stores of other tests, then the heaviest comes first whatever was added last."""
    service = Service(runtime(tmp_path, registry()), SHOWN)
    image = service.active({"cheap": DATA})
    service.put("fast", "late", DATA)

    shown = patch(service, image, add("memory://fast/late")).json

    assert (shown["direct_url"], shown["stores"]) == ("memory://fast/late", "fast,cheap")
