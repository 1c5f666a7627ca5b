"""`DELETE /v2/stores/{store}/{image}`: import-behaviour §3.6, row by row, and what happens between its two halves.

The first row of §3.6, 404 in a deployment of one store, cannot occur: stores always have ids here (`api/info.py`), so
that the only store of a deployment holds the last copy (403).
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import falcon
import pytest

from api.context import Context
from catalog import tables as t
from catalog.errors import CatalogUnavailable
from catalog.objects import Garbage
from flows.collect import collect
from flows.locations import HANDS_OFF, remove
from stores.base import StoreSpec
from stores.errors import (
    ObjectInUse,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
)
from stores.registry import StoreRegistry
from stores.wrappers import Call, Hook, fails, loses_answer
from tests.api.house import NAMES, House
from tests.api.service import Service, a_member, runtime

DATA = b"0123456789"
ABSENT = "00000000-0000-4000-8000-000000000000"
PUBLISHED = "http://example.org/x.img"


# -- what is given: each takes a house with an image in `fast` and `cheap`, and returns the image's id


def in_two_stores(house: House) -> str:
    return house.active({"fast": DATA, "cheap": DATA})


def nothing(_house: House) -> str:
    return ABSENT


def deleted(house: House) -> str:
    image = in_two_stores(house)
    house.catalog.delete_image(image)
    collect(house.runtime)
    return image


def in_status(status: str) -> Callable[[House], str]:
    def given(house: House) -> str:
        if status == "deactivated":
            image = in_two_stores(house)
            house.change(status=status)
            return image
        image = house.image()
        if status == "importing":
            house.importing(image)
        return image

    return given


def in_one_store(house: House) -> str:
    return house.active({"cheap": DATA})


def taken_from_fast(house: House) -> str:
    image = house.active(dict.fromkeys(NAMES, DATA))
    assert house.delete("fast", image).status_code == 204
    return image


def being_copied(house: House) -> str:
    image = in_two_stores(house)
    house.entered(house.importing(image, ["bulk"], begins_from="active"))
    return image


def waiting_to_be_copied(house: House) -> str:
    image = in_two_stores(house)
    house.importing(image, ["bulk"], begins_from="active")
    return image


def lost_by_the_backend(house: House) -> str:
    image = in_two_stores(house)
    house.faulty("fast").inner.delete(house.key(image, "fast"))
    return image


def deletion(hook: Hook) -> Callable[[House], str]:
    """Deletions in `fast` go through `hook`."""

    def given(house: House) -> str:
        house.faulty("fast").hooks["delete"] = hook
        return in_two_stores(house)

    return given


def broken(error: Exception) -> Callable[[House], str]:
    """Nothing can be asked of `fast`."""

    def given(house: House) -> str:
        house.faulty("fast").hooks["stat"] = fails(error)
        return deletion(fails(error))(house)

    return given


away = broken(StoreUnavailable("fast", "it does not answer"))


def published_elsewhere(house: House) -> str:
    image = in_one_store(house)
    with house.catalog.database.begin() as connection:
        row = {"image_id": image, "store": "mirror", "object_key": PUBLISHED, "url": PUBLISHED, "created_at": 1}
        connection.execute(t.locations.insert().values(row))
    return image


@dataclass(frozen=True)
class Row:
    """A row of §3.6: the condition, which store is named, the status, words of the answer, and which stores show."""

    condition: str
    given: Callable[[House], str]
    status: int
    says: str = ""
    store: str = "fast"
    shown: str | None = None
    member: bool = False


BOTH = "cheap,fast"
TABLE = [
    Row("store not configured", in_two_stores, 409, "store moon: it is not configured", store="moon", shown=BOTH),
    Row("store reserved", in_two_stores, 409, "not configured", store="os_glance_staging_store", shown=BOTH),
    Row("store not configured, nor image known", nothing, 409, store="moon"),
    Row("image unknown", nothing, 404, ABSENT),
    Row("image deleted", deleted, 404),
    Row("image unknown to a member", nothing, 404, member=True),
    Row("not an administrator", in_two_stores, 403, "policy rule delete_image_location", member=True, shown=BOTH),
    Row("not an administrator, nor active", in_status("queued"), 403, member=True),
    Row("queued", in_status("queued"), 409, "is in status queued"),
    Row("importing", in_status("importing"), 409, "is in status importing"),
    Row("deactivated", in_status("deactivated"), 409, "is in status deactivated", shown=BOTH),
    Row("the last location", in_one_store, 403, "in one store only", store="cheap", shown="cheap"),
    Row("the last location is elsewhere", in_one_store, 403, "in one store only", shown="cheap"),
    Row("not in the store", in_two_stores, 404, "is not in store bulk", store="bulk", shown=BOTH),
    Row("no longer in the store", taken_from_fast, 404, "is not in store fast", shown="bulk,cheap"),
    Row("being copied", being_copied, 409, "has active task", shown=BOTH),
    Row("to be copied", waiting_to_be_copied, 409, "it waits for a worker", shown=BOTH),
    Row("being copied, and not in the store", being_copied, 404, store="bulk", shown=BOTH),
    Row(
        "data in use",
        deletion(fails(ObjectInUse("fast", "a volume was cloned from it"))),
        409,
        "store fast: a volume was cloned from it",
        shown=BOTH,
    ),
    Row("data already gone", lost_by_the_backend, 204, shown="cheap"),
    Row("backend says 404 or 410", deletion(loses_answer(ObjectNotFound("fast", "410"))), 204, shown="cheap"),
    Row("the backend's answer is lost", deletion(loses_answer(StoreUnavailable("fast", "x"))), 204, shown="cheap"),
    Row("read-only store", published_elsewhere, 204, store="mirror", shown="cheap"),
    Row("backend away", away, 500, "stays where it is: store fast: it does not answer", shown=BOTH),
    Row("backend refuses", deletion(fails(StoreDenied("fast", "keep out"))), 500, "keep out", shown=BOTH),
    Row("backend misconfigured", deletion(fails(StoreMisconfigured("fast", "no bucket"))), 500, "bucket", shown=BOTH),
    Row("backend fails", deletion(fails(StoreError("fast", "HTTP status 418"))), 500, "status 418", shown=BOTH),
    Row("driver has a bug", deletion(fails(ZeroDivisionError("secret"))), 500, "finds the reason", shown=BOTH),
    Row("driver has bugs everywhere", broken(ZeroDivisionError("secret")), 500, "finds the reason", shown=BOTH),
    Row("done", in_two_stores, 204, shown="cheap"),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.condition)
def test_the_table(house: House, row: Row) -> None:
    """Given the condition, when the image is deleted from the store, then the code is that of §3.6, and the listing of
    each store equals the locations.
    """
    image = row.given(house)
    asked = as_member(house) if row.member else house
    answer = asked.delete(row.store, image)

    assert (answer.status_code, row.says in answer.text, "secret" in answer.text) == (row.status, True, False)
    assert answer.status_code != 204 or answer.content == b""
    if row.shown is not None:
        assert ",".join(sorted(house.stores_of(image).split(","))) == row.shown
        assert house.client.simulate_get(f"/v2/images/{image}/file").content == DATA
    assert house.kept() == {place for place in house.located() if place[0] != "mirror"}


def as_member(house: House) -> House:
    """The same house as one who is no administrator sees it."""

    def member(_req: falcon.Request, request_id: str) -> Context:
        return a_member("default", request_id)

    return House(house.runtime, house.options, member)


def test_nothing_is_left_on_record(house: House) -> None:
    """Given a deletion that went well, then nobody has anything to collect, now or later."""
    image = in_two_stores(house)
    assert house.delete("fast", image).status_code == 204
    assert {row.store for row in house.rows(t.objects)} == {"cheap"}


def test_two_stores_of_three(house: House) -> None:
    """Given an image in three stores, when it is deleted from each in turn, then the last one keeps it."""
    image = house.active(dict.fromkeys(NAMES, DATA))
    assert [house.delete(store, image).status_code for store in NAMES] == [204, 204, 403]
    assert house.stores_of(image) == "bulk"


@pytest.mark.parametrize(("method", "body", "status"), [("DELETE", b"{}", 400), ("GET", b"", 405)])
def test_what_is_no_such_request(house: House, method: str, body: bytes, status: int) -> None:
    """Given a body, or another method, then nothing is deleted."""
    image = in_two_stores(house)
    assert house.client.simulate_request(method, f"/v2/stores/fast/{image}", body=body).status_code == status
    assert house.stores_of(image) == "cheap,fast"


# -- between the record and the bytes


class Died(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("hook", [fails(Died()), loses_answer(Died())], ids=["before", "after"])
def test_a_process_that_dies_with_the_bytes_in_hand(house: House, hook: Hook) -> None:
    """Given a process that dies before its deletion, or after it, then the sweeper ends what it began."""
    image = deletion(hook)(house)
    with pytest.raises(Died):
        remove(house.runtime, image, "fast")
    house.faulty("fast").hooks.clear()
    assert house.stores_of(image) == "cheap"
    assert house.collect_after(HANDS_OFF - 5) == 0, "the process may be alive"
    assert house.collect_after(10) == 1
    assert house.kept() == house.located()
    house.collect_after(3600)
    assert {row.store for row in house.rows(t.objects)} == {"cheap"}


def test_a_deletion_whose_answer_was_lost_is_made_sure_of(house: House) -> None:
    """Given a deletion that reported a failure and had done its work, then the sweeper deletes once more."""
    image = deletion(loses_answer(StoreUnavailable("fast", "it broke off")))(house)
    assert house.delete("fast", image).status_code == 204
    house.faulty("fast").hooks.clear()
    assert house.collect_after(HANDS_OFF + 1) == 1


def meanwhile(house: House, act: Callable[[], object]) -> Hook:
    """A deletion that fails after `act`; what `act` deletes itself goes well."""

    def hook(_call: Call, _go: Callable[[], Any]) -> Any:
        house.faulty("fast").hooks.clear()
        act()
        raise StoreUnavailable("fast", "it broke off")

    return hook


def test_a_collector_that_comes_after_a_long_time(house: House) -> None:
    """Given a deletion that hangs for longer than it may, when it fails at last, then it is too late to put back what
    a collector has deleted.
    """
    image = deletion(meanwhile(house, lambda: house.collect_after(HANDS_OFF + 1)))(house)
    assert house.delete("fast", image).status_code == 204
    assert house.stores_of(image) == "cheap"
    assert house.kept() == house.located()


def test_an_image_deleted_meanwhile(house: House) -> None:
    """Given an image that is deleted while its deletion from a store fails, then no byte of it stays."""
    image = in_two_stores(house)
    house.faulty("fast").hooks["delete"] = meanwhile(house, lambda: house.catalog.delete_image(image))
    assert house.delete("fast", image).status_code == 204
    assert house.collect_after(HANDS_OFF + 1) == 2
    assert (house.kept(), house.located()) == (set(), set())


def test_a_database_that_is_away_at_the_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given bytes that are gone, when that cannot be noted, then the answer is the same: the sweeper notes it."""

    def away(_garbage: Garbage) -> None:
        raise CatalogUnavailable("the database does not answer")

    image = in_two_stores(house)
    with monkeypatch.context() as patch:
        patch.setattr(house.catalog, "forget", away)
        assert house.delete("fast", image).status_code == 204
    assert house.collect_after(3601) == 1
    assert {row.store for row in house.rows(t.objects)} == {"cheap"}


# -- the same over real files


FILES = ("here", "there")


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Service, str, Path]]:
    """A service over two file stores, an image in both, and where its data is in `here`."""
    options = {name: {"filesystem_store_datadir": str(tmp_path / name)} for name in FILES}
    specs = [StoreSpec(name, "file", options=options[name]) for name in FILES]
    made = Service(runtime(tmp_path, StoreRegistry.build(specs, "here")))
    image = made.active(dict.fromkeys(FILES, DATA))
    yield made, image, tmp_path / "here" / made.key(image, "here")
    made.runtime.close()


def busy(path: Path, **_: object) -> None:
    """What the kernel says to who unlinks a mount point."""
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


@pytest.mark.parametrize(
    ("given", "status", "shown"),
    [
        ("in order", 204, "there"),
        ("file gone", 204, "there"),
        ("file in use", 409, "here,there"),
        ("directory gone", 500, "here,there"),
    ],
)
def test_real_files(
    files: tuple[Service, str, Path], monkeypatch: pytest.MonkeyPatch, given: str, status: int, shown: str
) -> None:
    """Given real files, then deleting one is answered as its state demands, and the other is never touched."""
    service, image, path = files
    if given == "file gone":
        path.unlink()
    elif given == "file in use":
        monkeypatch.setattr(Path, "unlink", busy)
    elif given == "directory gone":
        path.parent.rename(path.parent.with_name("unmounted"))

    answer = service.client.simulate_delete(f"/v2/stores/here/{image}")

    assert answer.status_code == status
    assert service.client.simulate_get(f"/v2/images/{image}").json["stores"] == shown
    assert service.client.simulate_get(f"/v2/images/{image}/file").content == DATA
    assert path.exists() == (given == "file in use")
    assert str(path.parent) not in answer.text
