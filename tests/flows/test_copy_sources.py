"""What copy-image reads: copies that are gone, break off or are corrupt (import-behaviour §1.7 [R]; issue: a corrupt
source is never multiplied).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from catalog import tables as t
from catalog.images import ImageRecord
from flows.methods import FLOWS
from stores.base import CHUNK
from stores.errors import StoreUnavailable
from stores.wrappers import Call, fails
from tests.flows.copying import DATA, bad, copying, facts, stores
from tests.flows.service import Service, eager_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Four stores, of which b is the best to read from."""
    with copying(tmp_path / "data") as made:
        yield made


@pytest.mark.parametrize("at", [0, CHUNK, 3 * CHUNK])
def test_the_next_copy_goes_on_where_the_best_one_stopped(service: Service, at: int) -> None:
    image = service.active("a", "b")
    service.fail("b", "read", fails(StoreUnavailable("b", "it broke off"), after=at))
    task = service.copy(image, "c")
    assert task.status == "success"
    assert task.message == "Copied 3 MiB to c. Trouble while reading: store b: it broke off."
    assert service.read(image, "c") == DATA


def test_a_location_in_a_store_that_is_no_longer_configured_is_passed_by(service: Service) -> None:
    image = service.active("b")
    with service.runtime.catalog.database.begin() as connection:
        place = {"image_id": image.id, "store": "gone", "object_key": "k", "url": "u", "created_at": 1}
        connection.execute(t.locations.insert().values(**place))
    task = service.copy(service.look(image), "c")
    assert task.status == "success"
    assert "store gone: it is not configured" in task.message


@dataclass(frozen=True)
class Sources:
    """Copies in a, b (the best) and c: `ok`, `bad` (a wrong byte at the end), `short`, `gone`, `away`, or `breaks`:
    goes away after the first MiB. `says` are words of the message.
    """

    a: str
    b: str
    c: str
    status: str
    says: tuple[str, ...]
    passes: int
    code: str | None = None


CORRUPT = "The copy in store {} is corrupt. The sha512 of its bytes is "
SOURCES = {
    "the best is corrupt": Sources("ok", "bad", "ok", "success", (CORRUPT.format("b"), " instead of "), 2),
    "two are corrupt": Sources("bad", "bad", "ok", "success", (CORRUPT.format("b"), CORRUPT.format("a")), 3),
    "all are corrupt": Sources(
        "bad", "bad", "bad", "failure", tuple(CORRUPT.format(s) for s in "abc"), 3, "checksum_mismatch"
    ),
    "another is corrupt, and nobody notices": Sources("bad", "ok", "bad", "success", (), 1),
    "corrupt behind one that broke": Sources("bad", "breaks", "ok", "success", ("store b", CORRUPT.format("a")), 4),
    "corrupt, but for the start": Sources(
        "ok", "bad-breaks", "ok", "success", ("The copy in store b gave wrong bytes: it should be looked at.",), 3
    ),
    "nothing but bad ones": Sources(
        "bad", "breaks", "gone", "failure", (CORRUPT.format("a"), "store b: ", "store c: "), 4, "source_unreadable"
    ),
    "gone": Sources("gone", "gone", "ok", "success", ("store a: there is no", "store b: there is no"), 1),
    "gone everywhere": Sources("gone", "gone", "gone", "failure", ("store a", "store b", "store c"), 1,
                               "source_unreadable"),
    "short": Sources("ok", "short", "ok", "success", ("store b: the object has 3145732 instead of 3145733",), 1),
    "away": Sources("away", "away", "gone", "failure", ("store a: it is away", "store c: there"), 1,
                    "source_unreadable"),
}  # fmt: skip


def spoil(service: Service, image: ImageRecord, store: str, how: str) -> None:
    away = StoreUnavailable(store, "it is away")
    if how == "bad":
        service.tamper(image, store, bad(DATA, len(DATA) - 1))
    elif how == "bad-breaks":
        service.tamper(image, store, bad(DATA, 0))
    elif how == "short":
        service.tamper(image, store, DATA[:-1])
    elif how == "gone":
        service.memory[store].delete(service.key(image, store))
    if how == "away":
        service.fail(store, "open", fails(away))
    elif how.endswith("breaks"):
        service.fail(store, "read", fails(away, after=CHUNK))


@pytest.mark.parametrize("case", SOURCES)
def test_a_corrupt_copy_is_never_multiplied_and_is_named(service: Service, case: str) -> None:
    """Given copies of which some are bad, when the image is copied, then the new copy is right or there is none."""
    row = SOURCES[case]
    image = service.active("a", "b", "c")
    for store in "abc":
        spoil(service, image, store, getattr(row, store))
    passes: list[str] = []

    def note(call: Call, go: Callable[[], Any]) -> Any:
        passes.append(call.key)
        return go()

    service.fail("d", "create", note)
    task = service.copy(image, "d")
    service.faulty["d"].hooks.clear()
    now = service.look(image)
    assert (task.status, task.error_code, len(passes)) == (row.status, row.code, row.passes), task.message
    for words in row.says:
        assert words in task.message
    for store in "abc":
        named = CORRUPT.format(store) in task.message
        assert named == (CORRUPT.format(store) in row.says)
    assert (now.status, facts(now)) == ("active", facts(image))
    if row.status == "success":
        assert service.read(image, "d") == DATA
        assert now.failed == ()
    else:
        assert (stores(now), now.failed) == (["a", "b", "c"], ("d",))
        assert service.kept()["d"] == []
    assert (now.import_task, now.importing_to) == (None, ())


def test_trouble_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    """Given an only copy whose store is away for a moment, when the attempt fails, then a later one succeeds."""
    with eager_service(tmp_path / "data", max_attempts=2) as service:
        image = service.active("a")
        service.fail("a", "open", fails(StoreUnavailable("a", "it is away")))
        task = service.copy(image, "b")
        assert (task.status, task.attempt) == ("processing", 1)
        assert task.message == "No copy could be read any further than 0 of 1048576 bytes: store a: it is away"
        assert service.look(image).status == "active"
        service.faulty["a"].hooks.clear()
        service.dispatcher.send(FLOWS[task.flow], task.id)
        assert service.task(task.id).status == "success"
        service.assert_clean(image)


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"os_hash_algo": None, "os_hash_value": None}, None),
        ({"os_hash_algo": "none-such"}, None),
        ({"os_hash_algo": None, "os_hash_value": None, "checksum": None}, "only its size was compared"),
    ],
    ids=["md5", "an unknown algorithm", "nothing"],
)
def test_it_compares_with_what_is_known(service: Service, columns: dict[str, Any], note: str | None) -> None:
    """Given an image of which less is known than an import finds out, when it is copied, then what there is is used."""
    image = service.active("a")
    with service.runtime.catalog.database.begin() as connection:
        connection.execute(update(t.images).where(t.images.c.id == image.id).values(**columns))
    image = service.look(image)
    first = service.copy(image, "b")
    service.tamper(image, "a", bad(DATA, 7))
    service.memory["b"].delete(service.key(image, "b"))
    second = service.copy(image, "c")
    assert first.status == "success"
    assert (note in first.message) if note else ("compared" not in first.message)
    assert second.status == ("success" if note else "failure")
    if not note:
        assert (
            f"The md5 of its bytes is {hashlib.md5(bad(DATA, 7)).hexdigest()} instead of {image.checksum}"
            in second.message
        )
    assert facts(service.look(image)) == facts(image)


def test_an_image_of_no_bytes(service: Service) -> None:
    """Given an image without a byte, when it is copied, then so is the copy; and a hash that is not its own ends it."""
    service.origin.objects["/image"] = b""
    image = service.active("a")
    assert image.status == "active"
    assert service.copy(image, "b").status == "success"
    assert service.read(image, "b") == b""
    with service.runtime.catalog.database.begin() as connection:
        connection.execute(update(t.images).where(t.images.c.id == image.id).values(os_hash_value="00"))
    assert service.copy(service.look(image), "c").error_code == "checksum_mismatch"
