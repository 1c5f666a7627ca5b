"""The failure matrix of import-behaviour §1.6 by the rules of its [R]: what is left after every way that an import can
end, for every method, in the caller's own thread over stores that can be made to fail.

The three tables are the matrix. An import goes to the stores b, c and d; a copy begins from store a. After each row
the invariants hold: what each store lists are the image's locations, staging holds what a staged image owns, the lock
is free, no store is waited for. And where the fault can be mended, the same import then succeeds as it is. The rows of
an image deleted and a worker lost are in tests/workers/test_called_off.py and tests/faults/test_crash_matrix.py.
"""

import gzip
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from catalog.images import ImageRecord
from catalog.tasks import TaskRecord
from flows.flow import ImportRequest
from flows.methods import FLOWS
from flows.options import STAGING_STORE
from flows.submit import Requester, submit
from stores.errors import ObjectNotFound, StoreDenied, StoreFull, StoreUnavailable
from stores.wrappers import Operation, fails
from tests.flows.service import DATA, Service, eager_service

TARGETS = ("b", "c", "d")
GD, WD, CI = "glance-direct", "web-download", "copy-image"
T, F = True, False

BACK = {GD: "uploading", WD: "queued", CI: "active"}
"""Where a failure leaves the image: where the same import can be asked for again."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that gives up at the first failure."""
    impatient: dict[str, Any] = {"max_attempts": 1, "http_resume_attempts": 0, "http_idle_timeout": 3}
    with eager_service(tmp_path / "data", stores=("a", *TARGETS), **impatient) as made:
        yield made


# -- one import of each method


def prepared(service: Service, method: str, data: bytes = DATA, disk_format: str = "raw") -> ImageRecord:
    """An image that the method can begin from, and `data` where it will look for it."""
    if method == CI:
        return service.active("a")
    service.origin.objects["/image"] = data
    image = service.image(disk_format=disk_format)
    if method == GD:
        service.stage(image, data)
    return image


def imported(service: Service, method: str, image: ImageRecord, must_all: bool, **more: Any) -> TaskRecord:
    """Ask for an import to b, c and d; the task as it ended."""
    uri = service.origin.url("/image") if method == WD else None
    request = ImportRequest(method, uri=uri, stores=TARGETS, all_stores_must_succeed=must_all, **more)
    return service.task(submit(service.runtime, service.dispatcher, service.look(image), request, Requester("p")))


def judge(service: Service, image: ImageRecord, method: str, task: TaskRecord, end: "End") -> None:
    """Compare everything that somebody can see with a row of the matrix."""
    now = service.look(image)
    before = ("a",) if method == CI else ()
    assert (task.status, task.error_code) == ("failure" if end.code else "success", end.code), task.message
    assert (now.status, now.failed) == ("active" if end.added else end.back or BACK[method], tuple(end.failed))
    assert sorted(at.store for at in now.locations) == sorted([*before, *end.added])
    assert all(service.read(image, store) == DATA for store in (*before, *end.added))
    assert {target.store: bool(target.reason) for target in task.targets} == {s: s in end.failed for s in TARGETS}
    assert task.message
    service.assert_clean(image)


def mend(service: Service) -> None:
    """Let the world be in order again."""
    for store in service.faulty.values():
        store.hooks.clear()
    service.origin.status = service.origin.break_after = service.origin.stall_after = None
    service.origin.headers.clear()
    service.origin.redirects.clear()


def succeeds_now(service: Service, method: str, image: ImageRecord) -> None:
    """The same import, asked for again once nothing is wrong any more."""
    mend(service)
    judge(service, image, method, imported(service, method, image, T), End("", "bcd", None))


@dataclass(frozen=True)
class End:
    """What is left: `os_glance_failed_import`, the stores that got the image, the task's error (None: it succeeded),
    and the image's status where that is not the one of `BACK`.
    """

    failed: str
    added: str
    code: str | None
    back: str | None = None


# -- the stores: for every method alike

STORES: list[tuple[str, list[tuple[str, Operation]], bool, End]] = [
    # which fail            at which call            must all   FAIL   added  task
    ("none",                [],                          T, End("",    "bcd", None)),
    ("none",                [],                          F, End("",    "bcd", None)),
    ("first, at once",      [("b", "create")],           T, End("b",   "",    "store_full")),
    ("first, at once",      [("b", "create")],           F, End("b",   "cd",  None)),
    ("first, midway",       [("b", "write")],            T, End("b",   "",    "store_full")),
    ("first, midway",       [("b", "write")],            F, End("b",   "cd",  None)),
    ("first, at the end",   [("b", "commit")],           T, End("b",   "",    "store_full")),
    ("first, at the end",   [("b", "commit")],           F, End("b",   "cd",  None)),
    ("middle, at once",     [("c", "create")],           T, End("c",   "",    "store_full")),
    ("middle, at once",     [("c", "create")],           F, End("c",   "bd",  None)),
    ("middle, midway",      [("c", "write")],            T, End("c",   "",    "store_full")),
    ("middle, midway",      [("c", "write")],            F, End("c",   "bd",  None)),
    ("middle, at the end",  [("c", "commit")],           T, End("c",   "",    "store_full")),
    ("middle, at the end",  [("c", "commit")],           F, End("c",   "bd",  None)),
    ("last, at once",       [("d", "create")],           T, End("d",   "",    "store_full")),
    ("last, at once",       [("d", "create")],           F, End("d",   "bc",  None)),
    ("last, midway",        [("d", "write")],            T, End("d",   "",    "store_full")),
    ("last, midway",        [("d", "write")],            F, End("d",   "bc",  None)),
    ("last, at the end",    [("d", "commit")],           T, End("d",   "",    "store_full")),
    ("last, at the end",    [("d", "commit")],           F, End("d",   "bc",  None)),
    ("two, at once",        [("b", "create"), ("d", "create")], T, End("bd", "", "nothing_stored")),
    ("two, at once",        [("b", "create"), ("d", "create")], F, End("bd", "c", None)),
    ("two, one by one",     [("c", "write"), ("d", "commit")],  T, End("c",  "", "store_full")),
    ("two, one by one",     [("c", "write"), ("d", "commit")],  F, End("cd", "b", None)),
    ("all, at once",        [(s, "create") for s in TARGETS],   T, End("bcd", "", "nothing_stored")),
    ("all, at once",        [(s, "create") for s in TARGETS],   F, End("bcd", "", "nothing_stored")),
    ("all, midway",         [(s, "write") for s in TARGETS],    T, End("b", "", "store_full")),
    ("all, midway",         [(s, "write") for s in TARGETS],    F, End("bcd", "", "nothing_stored")),
    ("all, at the end",     [(s, "commit") for s in TARGETS],   T, End("b", "", "store_full")),
    ("all, at the end",     [(s, "commit") for s in TARGETS],   F, End("bcd", "", "nothing_stored")),
]  # fmt: skip


@pytest.mark.parametrize("method", BACK)
@pytest.mark.parametrize(
    ("broken", "must_all", "end"),
    [pytest.param(*row[1:], id=f"{row[0]}, {'must' if row[2] else 'may'}") for row in STORES],
)
def test_stores_fail(
    service: Service, method: str, broken: list[tuple[str, Operation]], must_all: bool, end: End
) -> None:
    """Given stores without room, when the import ends, then exactly those that failed are named, and the others have
    the image or, if all must have it, nothing.
    """
    image = prepared(service, method)
    for store, operation in broken:
        service.fail(store, operation, fails(StoreFull(store, "no space left"), after=1000 * (operation == "write")))

    task = imported(service, method, image, must_all)

    judge(service, image, method, task, end)
    assert all("no space left" in target.reason for target in task.targets if target.reason)
    assert all(f"store {store}" in task.message for store in end.failed)
    if end.code:
        succeeds_now(service, method, image)


# -- the source: whether all must succeed makes no difference

Fault = Callable[[Service, ImageRecord], None]


def _origin(**how: Any) -> Fault:
    def fault(service: Service, _: ImageRecord) -> None:
        for name, value in how.items():
            setattr(service.origin, name, copy(value))

    return fault


def _refuses(store: str, operation: Operation, error: Exception, after: int = 0) -> Fault:
    return lambda service, _: service.fail(store, operation, fails(error, after=after))


def _lost(service: Service, image: ImageRecord) -> None:
    for key in service.staged.keys():  # noqa: SIM118 - a store is no mapping
        service.staged.delete(key)


ELSEWHERE = {"/image": "http://169.254.169.254/latest"}
AWAY = StoreUnavailable(STAGING_STORE, "it does not answer")
DENIED = StoreDenied(STAGING_STORE, "permission denied")

SOURCES: list[tuple[str, str, Fault, str, str, str | None]] = [
    # method, what is wrong, how, the task's error, words of it, the image's status if it is not as ever
    (WD, "HTTP 404", _origin(status=404), "source_http_status", "404", None),
    (WD, "HTTP 503", _origin(status=503), "source_http_status", "503", None),
    (WD, "a short body", _origin(break_after=70000), "source_broken", "70000", None),
    (WD, "silence", _origin(stall_after=1000), "source_stalled", "3 seconds", None),
    (WD, "a refused redirect", _origin(redirects=ELSEWHERE), "source_refused", "does not pass filtering", None),
    (WD, "no end", _origin(headers={"Content-Length": None}), "source_end_unknown", "where its content ends", None),
    (GD, "staging is away", _refuses(STAGING_STORE, "open", AWAY), "source_unreadable", "does not answer", None),
    (GD, "staging goes away", _refuses(STAGING_STORE, "read", AWAY, 200_000), "source_unreadable", "answer", None),
    (GD, "staging refuses", _refuses(STAGING_STORE, "open", DENIED), "source_unreadable", "denied", None),
    (GD, "the staged bytes are lost", _lost, "staged_data_gone", "stage it again", "queued"),
    (CI, "the store is away", _refuses("a", "open", StoreUnavailable("a", "gone fishing")), "source_unreadable",
        "gone fishing", None),
    (CI, "the store goes away", _refuses("a", "read", StoreUnavailable("a", "gone fishing"), 200_000),
        "source_unreadable", "gone fishing", None),
    (CI, "the bytes are lost", _refuses("a", "open", ObjectNotFound("a", "no such object")), "source_unreadable",
        "store a", None),
    (CI, "the bytes are corrupt", lambda service, image: service.tamper(image, "a", DATA[:-1] + b"!"),
        "checksum_mismatch", "store a", None),
]  # fmt: skip


@pytest.mark.parametrize("must_all", [T, F], ids=["must", "may"])
@pytest.mark.parametrize(
    ("method", "fault", "code", "says", "back"), [pytest.param(r[0], *r[2:], id=f"{r[0]}: {r[1]}") for r in SOURCES]
)
def test_the_source_fails(
    service: Service, method: str, fault: Fault, code: str, says: str, back: str | None, must_all: bool
) -> None:
    """Given a source that cannot be read whole, then every requested store has failed, none has a byte, and the image
    is where the import can be asked for again.
    """
    image = prepared(service, method)
    fault(service, image)

    task = imported(service, method, image, must_all)

    for store in service.faulty.values():
        store.hooks.clear()  # the judge reads the stores too
    if "corrupt" in task.message:
        service.tamper(image, "a", DATA)
    judge(service, image, method, task, End("bcd", "", code, back))
    assert says in task.message
    if back is not None:
        service.stage(image)
    succeeds_now(service, method, image)


# -- the content: what is staged or downloaded is looked at before anything is visible

PACKED = gzip.compress(DATA, 1)
WRONG = "sha256:" + 64 * "0"

CONTENTS: list[tuple[str, bytes, str, dict[str, Any], str]] = [
    # what is wrong, the bytes, the declared format, the request, the task's error
    ("cut off while compressed", PACKED[:-20], "raw", {}, "corrupt"),
    ("damaged while compressed", PACKED[:5000] + b"!" + PACKED[5001:], "raw", {}, "corrupt"),
    ("followed by something else", PACKED + b"more", "raw", {}, "corrupt"),
    ("another format", DATA, "qcow2", {}, "format_mismatch"),
    ("another format within", PACKED, "qcow2", {}, "format_mismatch"),
    ("another checksum", DATA, "raw", {"checksum": WRONG}, "checksum_mismatch"),
    ("another checksum within", PACKED, "raw", {"checksum": WRONG, "checksum_of": "image"}, "checksum_mismatch"),
    ("too big within", gzip.compress(bytes(8 << 20), 1), "raw", {}, "too_big"),
]


@pytest.mark.parametrize("must_all", [T, F], ids=["must", "may"])
@pytest.mark.parametrize("method", [GD, WD])
@pytest.mark.parametrize(
    ("data", "disk_format", "asked", "code"), [pytest.param(*row[1:], id=row[0]) for row in CONTENTS]
)
def test_the_content_is_wrong(
    tmp_path: Path, method: str, data: bytes, disk_format: str, asked: dict[str, Any], code: str, must_all: bool
) -> None:
    """Given bytes that may not become this image, then no store ever has one of them, and what is staged stays."""
    with eager_service(tmp_path / "data", stores=("a", *TARGETS), cap=4 << 20, max_attempts=1) as service:
        image = prepared(service, method, data, disk_format)

        task = imported(service, method, image, must_all, **asked)

        judge(service, image, method, task, End("bcd", "", code))


def test_every_method_is_in_the_matrix() -> None:
    """Given the methods there are, then none is left out."""
    assert set(FLOWS) == set(BACK)
