"""PATCH of `/locations`: what is refused, and to whom (http-api §4.4)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from api.options import ApiOptions
from catalog import tables as t
from flows.options import Limits
from stores.errors import StoreDenied, StoreError, StoreUnavailable
from stores.wrappers import fails
from tests.api.house import SHOWN, House
from tests.api.places import (
    HASHES,
    MD5,
    OTHER,
    SHA256,
    SHA512,
    STRAY,
    WEB,
    add,
    place,
    remove,
    replaced,
    show,
    stray,
    urls,
    web,
)
from tests.api.service import Service, runtime
from tests.api.test_delete_from_store import DATA, being_copied, in_one_store, in_two_stores, waiting_to_be_copied
from tests.api.test_patch_image import patch
from tests.api.test_patches import v21
from tests.api.walks import OWNER, PEOPLE


@pytest.mark.parametrize(
    ("promise", "status", "says"),
    [
        # What is known already may be said again.
        (HASHES, 200, ""),
        (HASHES | {"checksum": MD5, "os_hash_value": SHA512.upper()}, 200, ""),
        (HASHES | {"checksum": "0" * 32}, 409, "'checksum' of image"),
        (HASHES | {"os_hash_value": "0" * 128}, 409, "'os_hash_value' of image"),
        ({"os_hash_algo": "sha256", "os_hash_value": SHA256}, 409, "'os_hash_algo' of image"),
    ],
)
def test_promises_of_what_is_known(house: House, promise: Any, status: int, says: str) -> None:
    image = house.active({"cheap": DATA})
    answer = patch(house, image, add(promise=promise))
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert len(urls(house, image)) == (2 if status == 200 else 1)


def queued(house: House) -> str:
    return house.image()


def on_the_web(house: House) -> str:
    image = in_one_store(house)
    assert patch(house, image, add()).status_code == 200
    return image


def without_formats(house: House) -> str:
    return house.image(container_format=None)


def importing(house: House) -> str:
    image = house.image()
    house.importing(image)
    return image


def in_status(status: str) -> Callable[[House], str]:
    def given(house: House) -> str:
        image = in_two_stores(house)
        house.change(status=status)
        return image

    return given


def uploading(house: House) -> str:
    image = house.image()
    house.change(status="uploading")
    return image


def web_with(found: int | StoreError) -> Callable[[House], str]:
    """What WEB leads to."""

    def given(house: House) -> str:
        web(house).there[WEB] = found
        return house.image()

    return given


def store_away(house: House) -> str:
    house.faulty("bulk").hooks["stat"] = fails(StoreUnavailable("bulk", "it does not answer"))
    return house.image()


def fetched_by_another(house: House) -> str:
    """The object of `stray` is an image's."""
    assert patch(house, house.image(), add(stray(house))).status_code == 200
    return house.image()


def full(house: House) -> str:
    image = house.image()
    added = [add(f"{WEB}{n}") for n in range(10)]
    assert patch(house, image, *added).status_code == 200
    return image


@dataclass(frozen=True)
class Refusal:
    """What is given, what is asked, the status, and words of the answer."""

    given: Callable[[House], str]
    operations: list[Any]
    status: int
    says: str


def refusals() -> Iterator[Refusal]:
    # malformed, whatever the image
    for value, says in (
        (5, "'locations' must be object"),
        ([], "'locations' must be object"),
        ({}, "'locations' has no 'url'"),
        ({"url": WEB}, "'locations' has no 'metadata'"),
        ({"url": None, "metadata": {}}, "'locations.url' must be string"),
        ({"url": WEB, "metadata": []}, "'locations.metadata' must be object"),
        ({"url": "http://example.org/" + "x" * 240, "metadata": {}}, "longer than 255"),
        ({"url": "http://example.org/\0", "metadata": {}}, "NUL"),
        (place(promise=5), "'locations.validation_data' must be object"),
        (place(promise={}), "'locations.validation_data' has no 'os_hash_algo'"),
        (place(promise={"checksum": MD5}), "has no 'os_hash_algo'"),
        (place(promise={"os_hash_algo": "sha512"}), "has no 'os_hash_value'"),
        (place(promise=HASHES | {"checksum": "x"}), "shorter than 32"),
        (place(promise=HASHES | {"checksum": MD5 + "0"}), "longer than 32"),
        (place(promise=HASHES | {"size": "1"}), "'size', which is not known"),
        (place(promise=HASHES | {"os_hash_value": 1}), "'locations.validation_data.os_hash_value' must be string"),
        (place(said="x" * 5000), "'locations.metadata' is longer than 4096"),
    ):
        yield Refusal(queued, [v21("add", "/locations/-", value=value)], 400, says)
        if value not in (5, []):
            yield Refusal(queued, [replaced(value)], 400, says)
    yield Refusal(queued, [v21("replace", "/locations", value={})], 400, "must be array")
    # what is said of the data
    for promise, says in (
        ({"os_hash_algo": "md5", "os_hash_value": MD5}, "'os_hash_algo' must be sha512, not md5"),
        ({"os_hash_algo": "none", "os_hash_value": MD5}, "'os_hash_algo' must be sha512"),
        (HASHES | {"os_hash_value": MD5}, "'os_hash_value' must be 128 hex digits"),
        (HASHES | {"os_hash_value": "g" * 128}, "'os_hash_value' must be 128 hex digits"),
        (HASHES | {"checksum": "g" * 32}, "'checksum' must be 32 hex digits"),
    ):
        yield Refusal(queued, [add(promise=promise)], 409, says)
    different = HASHES | {"os_hash_value": "0" * 128}
    yield Refusal(queued, [add(promise=HASHES), add(OTHER, promise=different)], 409, "two different things")
    yield Refusal(queued, [replaced(place(promise=HASHES), place(OTHER, different))], 409, "two different things")
    # places
    for at in ("1", "x", "+", "00", "-1", "1e0", "²", "99999999999", "0~1"):
        yield Refusal(queued, [add(at=at)], 400, "is no place among the 0 locations")
    for at in ("-", "2", "x", "00", "-1", "99999999999"):
        yield Refusal(in_two_stores, [remove(at)], 400, "is no place among the 2 locations")
    # URLs
    for url in ("", "nonsense", "file:///etc/passwd", "memory://moon/x", "memory://bulk/.hidden", "memory://bulk/a/b",
                "swift+config://x/y", "gopher://example.org/x", "rbd://pool/x", "http://u:secret@example.org/x",
                "http://example.org/x#part", "memory://os_glance_staging_store/x"):  # fmt: skip
        yield Refusal(queued, [add(url)], 400, "is not the URL of an object in a store")
        yield Refusal(queued, [replaced(place(url))], 400, "is not the URL of an object in a store")
    for url in ("http://10.0.0.1/x", "http://[::1]/x", "http://2130706433/x", "http://example.org:22/x"):
        yield Refusal(queued, [add(url)], 400, "does not pass filtering")
    yield Refusal(queued, [add(STRAY)], 400, "cannot be read: store bulk")
    yield Refusal(web_with(0), [add()], 400, "leads to no bytes")
    yield Refusal(web_with(StoreError("mirror", "HTTP status 404")), [add()], 400, "HTTP status 404")
    yield Refusal(web_with(StoreUnavailable("mirror", "cannot be reached")), [add()], 400, "cannot be reached")
    yield Refusal(web_with(StoreDenied("mirror", "a URL does not pass filtering")), [add()], 400, "filtering")
    yield Refusal(store_away, [add(STRAY)], 503, "it does not answer")
    yield Refusal(web_with((1 << 40) + 1), [add()], 413, "more than the 1099511627776 bytes allowed")
    yield Refusal(web_with(11), [add(), add(OTHER)], 409, "leads to 10 bytes")
    yield Refusal(in_two_stores, [add(STRAY)], 400, "cannot be read")
    yield Refusal(fetched_by_another, [add(STRAY)], 409, "belongs to an image already")
    # twice
    yield Refusal(queued, [add(), add()], 400, f"has the location {WEB} already")
    yield Refusal(queued, [add(OTHER), add(OTHER, x=1)], 400, "has the location http://example.org/b.img?… already")
    yield Refusal(queued, [replaced(place(), place())], 400, "already")
    yield Refusal(on_the_web, [add(x=1)], 400, "already")
    yield Refusal(on_the_web, [remove(1), add()], 400, "already")
    # the whole list
    yield Refusal(queued, [replaced()], 403, "cannot be replaced by none")
    yield Refusal(in_two_stores, [replaced()], 403, "cannot be replaced by none")
    yield Refusal(in_two_stores, [replaced(place())], 400, "has other locations")
    yield Refusal(on_the_web, [replaced(place())], 400, "has other locations")
    yield Refusal(on_the_web, [replaced(place(), place())], 400, "has other locations")
    # the last one
    yield Refusal(in_one_store, [remove(0)], 403, "has one location only")
    yield Refusal(in_one_store, [remove(7)], 403, "has one location only")
    yield Refusal(in_two_stores, [remove(0), remove(0)], 403, "has one location only")
    yield Refusal(queued, [add(), remove(0)], 403, "has one location only")
    # the image
    yield Refusal(queued, [remove(0)], 409, "in status queued, not active")
    yield Refusal(without_formats, [add()], 400, "'container_format' of image")
    for given, status in (
        (importing, "importing"),
        (uploading, "uploading"),
        *((in_status(name), name) for name in ("deactivated", "saving", "killed", "pending_delete")),
    ):
        for operation in (add(), remove(0), replaced(place())):
            yield Refusal(given, [operation], 409, f"in status {status}")
    for given in (waiting_to_be_copied, being_copied):
        for operation in (add(), remove(0)):
            yield Refusal(given, [operation], 409, "has active task")
    yield Refusal(full, [add()], 413, "10 locations, and 11 are given")
    yield Refusal(queued, [add(f"{WEB}{n}") for n in range(11)], 413, "10 locations")


@pytest.mark.parametrize("row", list(refusals()), ids=lambda row: f"{row.status} {row.says}"[:60])
def test_refusals(house: House, row: Refusal) -> None:
    """Given the condition, then the answer says why not, and image, records and stores are as they were."""
    image = row.given(house)
    before, records, kept = show(house, image), house.rows(t.objects), house.kept()

    answer = patch(house, image, *row.operations)

    assert (answer.status_code, row.says in answer.json["message"]) == (row.status, True), answer.text
    assert "secret" not in answer.text
    assert "signature" not in answer.text
    assert (show(house, image), house.rows(t.objects), house.kept()) == (before, records, kept)


def test_nobody_is_asked_for_what_is_refused_anyway(house: House) -> None:
    """Given an image that takes no location, or a caller who may not, then no URL of his is looked at."""
    web(house).there[WEB] = StoreError("mirror", "asked in vain")
    strangers = House(house.runtime, house.options, lambda *_: PEOPLE["stranger"])
    for image, asked in (
        (in_status("deactivated")(house), house),
        (house.image(visibility="private"), strangers),
        (house.image(visibility="public"), strangers),
    ):
        answer = patch(asked, image, add())
        assert (answer.status_code in (403, 404, 409), "asked" in answer.text) == (True, False), answer.text


@pytest.mark.parametrize("operation", [add(), remove(0), replaced(place()), replaced()])
@pytest.mark.parametrize("direct", [False, True])
def test_without_the_option_nobody_changes_them(tmp_path: Path, operation: Any, direct: bool) -> None:
    service = Service(runtime(tmp_path), ApiOptions(show_image_direct_url=direct))
    answer = patch(service, service.active({"cheap": DATA, "fast": DATA}), operation)
    assert (answer.status_code, "'locations' cannot be set" in answer.text) == (403, True)


@pytest.mark.parametrize("name", ["locations", "direct_url", "location"])
def test_never_set_on_creation(house: House, name: str) -> None:
    """Given the options, then an image is still made without data (http-api §4.1)."""
    assert house.client.simulate_post("/v2/images", json={name: [place()]}).status_code == 403
    assert patch(house, house.image(), v21("add", "/direct_url", value=WEB)).status_code == 403


def test_a_location_quota_below_zero_is_none(tmp_path: Path) -> None:
    wired = runtime(tmp_path)
    free = House(replace(wired, options=replace(wired.options, location_quota=-1)), SHOWN)
    assert patch(free, free.image(), *(add(f"{WEB}{n}") for n in range(12))).status_code == 200


def test_more_than_the_quota_may_stay_but_not_grow(tmp_path: Path) -> None:
    wired = runtime(tmp_path)
    strict = House(replace(wired, options=replace(wired.options, location_quota=2)), SHOWN)
    image = strict.active({"cheap": DATA, "fast": DATA, "bulk": DATA})
    given = show(strict, image)["locations"]

    assert patch(strict, image, replaced(*(at | {"metadata": {"x": 1}} for at in given))).status_code == 200
    assert patch(strict, image, add()).status_code == 413
    assert patch(strict, image, remove(0)).status_code == 200
    assert patch(strict, image, add(), remove(0)).status_code == 200


def test_what_a_project_may_store(tmp_path: Path) -> None:
    """Given a limit, then what is added counts as any other copy does."""
    wired = runtime(tmp_path)
    limited = House(replace(wired, limits=Limits(stored=25)), SHOWN)
    image = limited.image()
    assert patch(limited, image, add(), add(OTHER)).status_code == 200
    answer = patch(limited, image, add(f"{WEB}2"))
    assert (answer.status_code, "it has 20, and 10 more" in answer.text) == (413, True)


# -- who may


@pytest.mark.parametrize(
    ("who", "url", "status"),
    [
        ("owner", WEB, 200),
        ("owner", STRAY, 403),
        ("owner", "file:///etc/passwd", 400),
        ("owner", "memory://bulk/.hidden", 400),
        ("owner", "http://10.0.0.1/", 400),
        ("admin", STRAY, 200),
        ("reader", WEB, 403),
        ("stranger", WEB, 403),
        ("accepted", STRAY, 403),
    ],
)
def test_who_may_name_what(house: House, who: str, url: str, status: int) -> None:
    """Given callers, then the owner names what is on the web, and only services what is in other stores."""
    stray(house)
    image = house.image(owner=OWNER, visibility="public")
    answer = patch(House(house.runtime, house.options, lambda *_: PEOPLE[who]), image, add(url))
    assert answer.status_code == status, answer.text


def test_a_service_beside_a_user_names_anything(house: House) -> None:
    """Given nova with its own token beside its user's, then what it has put into a store becomes the user's image."""
    nova = replace(PEOPLE["owner"], service_roles=frozenset({"service"}))
    asked = House(house.runtime, house.options, lambda *_: nova)
    assert patch(asked, house.image(owner=OWNER), add(stray(house))).status_code == 200


def test_owners_do_not_take_data_away(house: House) -> None:
    """Given the default rules, then that is for administrators, as it is by the other call."""
    image = house.active({"cheap": DATA, "fast": DATA}, owner=OWNER)
    answer = patch(House(house.runtime, house.options, lambda *_: PEOPLE["owner"]), image, remove(0))
    assert (answer.status_code, "policy rule delete_image_location" in answer.text) == (403, True)
