"""Stores to which an operator gave other ids: their images are found, and saved, under the new ones (§3.7)."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from catalog import tables as t
from catalog.errors import CatalogUnavailable
from flows.collect import collect
from stores.base import StoreSpec
from stores.registry import StoreRegistry
from tests.api.service import Service, runtime

DATA = b"0123456789"


def files(directory: Path, **ids: str) -> StoreRegistry:
    """File stores by these ids, in these directories."""
    specs = [
        StoreSpec(id, "file", options={"filesystem_store_datadir": str(directory / name)}) for id, name in ids.items()
    ]
    return StoreRegistry.build(specs, specs[0].id)


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Service]:
    """The service before the ids change: `one` and `two`."""
    made = Service(runtime(tmp_path, files(tmp_path, one="first", two="second")))
    yield made
    made.runtime.close()


def renamed(service: Service, tmp_path: Path, **ids: str) -> Service:
    """The same service with other ids."""
    return Service(replace(service.runtime, stores=files(tmp_path, **ids)), authenticate=service.authenticate)


def stores_on_record(service: Service) -> list[tuple[str, ...]]:
    """The stores of locations, and of objects."""
    with service.catalog.database.read() as connection:
        return [
            tuple(connection.execute(select(c).order_by(c)).scalars()) for c in (t.locations.c.store, t.objects.c.store)
        ]


@contextmanager
def counted(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Notes every transaction that may write."""
    writes: list[str] = []
    database = service.catalog.database
    begin = database.begin

    def counting() -> object:
        writes.append("began")
        return begin()

    with monkeypatch.context() as patch:
        patch.setattr(database, "begin", counting)
        yield writes


def show(service: Service, image: str) -> object:
    return service.client.simulate_get(f"/v2/images/{image}").json["stores"]


def listed(service: Service, image: str) -> object:
    [found] = [i for i in service.client.simulate_get("/v2/images").json["images"] if i["id"] == image]
    return found["stores"]


def download(service: Service, image: str) -> object:
    answer = service.client.simulate_get(f"/v2/images/{image}/file", params={"prefer": "uno"})
    assert (answer.status_code, answer.content) == (200, DATA)
    return show(service, image)


@pytest.mark.parametrize("read", [show, listed, download])
def test_bug_1886374_it_is_learned_by_reading_and_saved_once(
    before: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Service, str], object]
) -> None:
    """Given two stores with new ids, when an image is read, then it has them, and the next reader writes nothing."""
    image = before.active({"one": DATA, "two": DATA})
    after = renamed(before, tmp_path, uno="first", due="second")
    with counted(after, monkeypatch) as writes:
        assert read(after, image) == "due,uno"
        assert writes == ["began"]
        assert read(after, image) == "due,uno"
        assert writes == ["began"]
    assert stores_on_record(after) == [("due", "uno")] * 2


def test_nothing_is_written_where_nothing_is_new(
    before: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the ids that there were, when an image is read, then nobody looks for others."""
    image = before.active({"one": DATA, "two": DATA})
    with counted(before, monkeypatch) as writes:
        monkeypatch.setattr(StoreRegistry, "successor", None)
        assert show(before, image) == listed(before, image) == "one,two"
    assert writes == []


def test_a_reader_need_not_be_allowed_to_write(before: Service, tenant: Service, tmp_path: Path) -> None:
    """Given a caller who may only read, when they read, then the new ids are saved (bug 1932337)."""
    image = before.active({"one": DATA, "two": DATA}, visibility="public")
    after = renamed(replace(before, authenticate=tenant.authenticate), tmp_path, uno="first", two="second")
    assert show(after, image) == "two,uno"
    assert stores_on_record(after)[0] == ("two", "uno")


def test_what_cannot_be_saved_is_shown(
    before: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a database that takes no writes, when an image is read, then it has the new ids all the same."""

    def read_only() -> object:
        raise CatalogUnavailable("the database does not answer")

    image = before.active({"one": DATA})
    after = renamed(before, tmp_path, uno="first")
    with monkeypatch.context() as patch:
        patch.setattr(after.catalog.database, "begin", read_only)
        assert show(after, image) == listed(after, image) == download(after, image) == "uno"
    assert "are not saved: the database does not answer" in caplog.text
    assert stores_on_record(after)[0] == ("one",)


def test_a_store_that_is_gone_is_left_and_told_once(
    before: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a store that was taken out of the configuration, then its id stays, and one line tells it."""
    image = before.active({"one": DATA, "two": DATA})
    after = renamed(before, tmp_path, two="second", uno="elsewhere")
    with counted(after, monkeypatch) as writes, caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert show(after, image) == listed(after, image) == "one,two"
    assert writes == []
    assert [r.getMessage() for r in caplog.records] == [
        "store one is not configured, and no other one keeps its objects where it did"
    ]
    assert after.client.simulate_get(f"/v2/images/{image}/file").content == DATA


def test_ids_that_changed_places_are_what_the_configuration_says(before: Service, tmp_path: Path) -> None:
    """Given two ids that were exchanged, then nothing is guessed: both are configured."""
    image = before.active({"one": DATA})
    after = renamed(before, tmp_path, two="first", one="second")
    assert show(after, image) == "one"


@pytest.mark.parametrize("path", ["/v2/images/{}", "/v2/stores/uno/{}"])
def test_what_is_deleted_under_the_new_id_is_gone(before: Service, tmp_path: Path, path: str) -> None:
    """Given a store with a new id, when the image is deleted, at all or from there, then its bytes are."""
    image = before.active({"one": DATA, "two": DATA})
    after = renamed(before, tmp_path, uno="first", two="second")
    assert after.client.simulate_delete(path.format(image)).status_code == 204
    collect(after.runtime)
    assert [file for file in (tmp_path / "first").rglob("*") if file.is_file()] == []
