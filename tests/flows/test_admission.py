"""The checks of import-behaviour §1.2 that need nothing but the request, the image and the configuration: each row of
the two tables below is one request.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from catalog.images import ImageRecord
from flows.admission import choose_stores, require_ready
from flows.errors import BadImportRequest, ImageNotReady, LocationQuota, NotAdmitted, StoreNotConfigured
from flows.flow import ImportRequest
from flows.methods import FLOWS

IDS = ("fast", "cheap", "mirror", "bulk")
"""As configured; `mirror` can only be read, `cheap` is the default."""

WRITABLE = ("fast", "cheap", "bulk")

QUOTA = 3


@dataclass(frozen=True)
class Asked:
    """A request, where the image is already, and the stores that it goes to or why it goes nowhere."""

    rule: str
    request: dict[str, Any] = field(default_factory=dict)
    holding: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    error: type[NotAdmitted] | None = None
    words: str = ""

    def __str__(self) -> str:
        return self.rule


def _is(rule: str, goes_to: tuple[str, ...], holding: tuple[str, ...] = (), **request: Any) -> Asked:
    return Asked(rule, request, holding, goes_to)


def _not(rule: str, error: type[NotAdmitted], words: str, holding: tuple[str, ...] = (), **request: Any) -> Asked:
    return Asked(rule, request, holding, (), error, words)


STORES = [
    # which stores a request means
    _is("no word: the default", ("cheap",)),
    _is("a header", ("bulk",), store_header="bulk"),
    _is("an empty header is none", ("cheap",), store_header=None),
    _is("a list keeps its order", ("bulk", "fast"), stores=("bulk", "fast")),
    _is("all: those that can be written, in the order of the configuration (1881958)", WRITABLE, all_stores=True),
    _is("all: false is no word", ("cheap",), all_stores=False),
    _is("a list beside a header of the same one store", ("fast",), stores=("fast",), store_header="fast"),
    # row 10
    _not("all with a list", BadImportRequest, "'all_stores'", all_stores=True, stores=("fast",)),
    _not("all with an empty list", BadImportRequest, "'all_stores'", all_stores=True, stores=()),
    _not("all with a header", BadImportRequest, "'all_stores'", all_stores=True, store_header="fast"),
    _not("a list with another header", BadImportRequest, "'stores'", stores=("fast",), store_header="bulk"),
    _not("a longer list with a header", BadImportRequest, "'stores'", stores=("fast", "bulk"), store_header="fast"),
    # row 11, and reserved names, which are unknown everywhere (§3.3 [R], 1863879)
    _not("an unknown store", StoreNotConfigured, "moon", stores=("fast", "moon")),
    _not("an unknown store in the header", StoreNotConfigured, "moon", store_header="moon"),
    _not("the staging store", StoreNotConfigured, "os_glance", stores=("os_glance_staging_store",)),
    _not("the tasks store", StoreNotConfigured, "os_glance", store_header="os_glance_tasks_store"),
    _not("another spelling", StoreNotConfigured, "Fast", stores=("Fast",)),
    _not("an empty name", StoreNotConfigured, "Store ", stores=("",)),
    # malformed, [R]
    _not("an unknown store in the header", StoreNotConfigured, "x-image-meta-store header", store_header="moon"),
    _not("a header with a store to read", BadImportRequest, "x-image-meta-store header is read", store_header="mirror"),
    _not("no word, where it is", BadImportRequest, "Store cheap, which is the default,", ("cheap",)),
    _not("an empty list", BadImportRequest, "empty", stores=()),
    _not("a store twice", BadImportRequest, "more than once", stores=("fast", "fast")),
    _not("a store that can only be read", BadImportRequest, "read-only", stores=("fast", "mirror")),
    _not("such a store in the header", BadImportRequest, "read-only", store_header="mirror"),
    # rows 12 and 13: where the image is already
    _is("all: but where it is", ("fast", "bulk"), ("cheap",), all_stores=True),
    _is("all: it is everywhere", (), WRITABLE, all_stores=True),
    _is("all: it is also in a store that can only be read", ("fast", "bulk"), ("cheap",), all_stores=True),
    _is("another store", ("fast",), ("cheap",), stores=("fast",)),
    _not("a list with a store where it is", BadImportRequest, "holds the image", ("bulk",), stores=("fast", "bulk")),
    _not("the default, where it is", BadImportRequest, "holds the image", ("cheap",)),
    _not("a header of a store where it is", BadImportRequest, "holds the image", ("fast",), store_header="fast"),
    # the location quota, before anything is begun (§10 [R])
    _not("one place too many", LocationQuota, "3 stores", ("w", "x"), stores=("fast", "bulk")),
    _not("all, with other places", LocationQuota, "3 stores", ("mirror",), all_stores=True),
    _is("as many as may be", ("fast", "bulk"), ("w",), stores=("fast", "bulk")),
]  # fmt: skip


@pytest.mark.parametrize("asked", STORES, ids=str)
def test_stores_of_a_request(asked: Asked) -> None:
    """Given a request, then it goes to these stores, or is refused with this class and naming this."""
    request = ImportRequest("any", **asked.request)

    def choose() -> tuple[str, ...]:
        return choose_stores(request, ids=IDS, writable=WRITABLE, default="cheap", quota=QUOTA, holding=asked.holding)

    if asked.error is None:
        assert choose() == asked.stores
        return
    with pytest.raises(asked.error, match=asked.words) as refusal:
        choose()
    assert type(refusal.value) is asked.error


def test_each_place_counts_for_the_quota() -> None:
    """Given an image that is published at two URLs of one store, then these are two of its places."""
    request, holding = ImportRequest("any", stores=("cheap",)), ("mirror", "mirror")

    def chosen(quota: int) -> tuple[str, ...]:
        return choose_stores(request, ids=IDS, writable=WRITABLE, default="cheap", quota=quota, holding=holding)

    assert chosen(3) == ("cheap",)
    with pytest.raises(LocationQuota, match="it would be in 3"):
        chosen(2)


def test_a_negative_quota_is_none() -> None:
    """Given no quota, then every store may be asked for."""
    request = ImportRequest("any", all_stores=True)

    assert choose_stores(request, ids=IDS, writable=WRITABLE, default="cheap", quota=-1) == WRITABLE


def test_nothing_can_be_written() -> None:
    """Given only stores that can be read, then all of them is none, which is a mistake and no success."""
    with pytest.raises(BadImportRequest, match="written"):
        choose_stores(ImportRequest("any", all_stores=True), ids=("mirror",), writable=(), default="mirror", quota=-1)


# -- rows 4 to 6: the image

STATUSES = ("queued", "saving", "uploading", "importing", "active", "deactivated", "killed", "pending_delete")

BEGINS_FROM = {"glance-direct": "uploading", "web-download": "queued", "copy-image": "active"}


def _image(status: str, **formats: str | None) -> ImageRecord:
    given: dict[str, Any] = dict.fromkeys(ImageRecord.__dataclass_fields__)
    return ImageRecord(
        **(given | {"id": "i", "status": status, "disk_format": "raw", "container_format": "bare"} | formats)
    )


def _ready(method: str, status: str, **formats: str | None) -> None:
    image = _image(status, **formats)
    require_ready(FLOWS[method], image, image.status)


def test_every_method_says_what_it_begins_from() -> None:
    """Given the methods there are, then the table knows them."""
    assert {name: flow.begins_from for name, flow in FLOWS.items()} == BEGINS_FROM


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("method", BEGINS_FROM)
def test_status_of_the_image(method: str, status: str) -> None:
    """Given an image in this status, then exactly one status is right for the method; the others are 409 and named."""
    if status == BEGINS_FROM[method]:
        return _ready(method, status)
    with pytest.raises(ImageNotReady, match=f"{status}.*{BEGINS_FROM[method]}"):
        _ready(method, status)
    return None


@pytest.mark.parametrize("missing", ["container_format", "disk_format"])
@pytest.mark.parametrize("method", BEGINS_FROM)
def test_formats_of_the_image(method: str, missing: str) -> None:
    """Given an image without a format, then it is named; the container is asked for first."""
    ready = BEGINS_FROM[method]
    with pytest.raises(ImageNotReady, match=missing):
        _ready(method, ready, **{missing: None})
    with pytest.raises(ImageNotReady, match="container_format"):
        _ready(method, ready, container_format=None, disk_format=None)
