"""How PostgreSQL finds a page among 100,000 images: by indexes alone, and as quickly far back as at the front."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import event

from catalog.catalog import Catalog
from catalog.engine import SECOND, Database
from catalog.images import ImageRecord
from catalog.listing import ImageQuery, SortKey
from catalog.lock import ImportLock
from catalog.visibility import Viewer
from tests.catalog.crowd import BIG, SMALL, fill
from tests.servers import PostgresServer

IMAGES = 100_000
BLOCKS = 10_000
"""Most blocks of 8 KiB that a page may touch, of some 50,000. A page of 25 whole images alone is some 400."""

_MADE = 1_700_000_000 * SECOND
_MINUTE = 60 * SECOND

ADMIN, TENANT, GIANT, NOBODY = Viewer("admins", sees_all=True), Viewer(SMALL), Viewer(BIG), Viewer(None)
LIST = ImageQuery(limit=25, hidden=False, viewer=ADMIN, strangers=False)
"""What `GET /v2/images` asks for."""


def by(column: str, *, descending: bool = True) -> tuple[SortKey, ...]:
    return (SortKey(column, descending),)


def of(**columns: object) -> dict[str, Any]:
    """Filters by equality."""
    return {"one_of": {column: (value,) for column, value in columns.items()}}


EVERYDAY: dict[str, dict[str, Any]] = {
    "nothing": {},
    "name": of(name="image-77"),
    "names": {"one_of": {"name": ("image-77", "image-78")}},
    "name of none": of(name="nobody"),
    "id": of(id="7c3365fe-9d11-4a8b-51ba-6bc78e4d1928"),
    "active": of(status="active"),
    "queued": of(status="queued"),
    "status of none": of(status="uploading"),
    "public": of(visibility="public") | {"strangers": True},
    "private": of(visibility="private") | {"strangers": True},
    "shared": of(visibility="shared") | {"strangers": True},
    "shared, not answered": of(visibility="shared") | {"strangers": True, "answers": ("pending",)},
    "community": of(visibility="community") | {"strangers": True},
    "all": {"strangers": True},
    "owner": of(owner=SMALL),
    "owner of many": of(owner=BIG),
    "owner of none": of(owner="nobody"),
    "tag": {"tags": ("nightly",)},
    "rare tag": {"tags": ("golden",)},
    "tag of none": {"tags": ("nobody",)},
    "tags": {"tags": ("golden", "nightly")},
    "property": {"properties": {"os_distro": "debian"}},
    "rare property": {"properties": {"os_distro": "plan9"}},
    "property of none": {"properties": {"os_distro": "nobody"}},
    "properties": {"properties": {"os_distro": "plan9", "architecture": "x86_64"}},
    "size_min": {"least": {"size": 1 << 30}},
    "rare size_min": {"least": {"size": 1_000_000 * 65536}},
    "rare size_max": {"most": {"size": 10 * 65536}},
    "changed since": {"least": {"updated_at": 1_706_000_000_000_000}},
    "made before": {"most": {"created_at": 1_700_010_000_000_000}},
    "protected": of(protected=True),
    "hidden": {"hidden": True},
    "disk_format": of(disk_format="qcow2"),
    "rare disk_format": of(disk_format="vhd"),
    "disk_format of none": of(disk_format="vdi"),
    "by name": {"sort": by("name")},
    "by name, ascending": {"sort": by("name", descending=False)},
    "by size": {"sort": by("size")},
    "by change": {"sort": by("updated_at")},
    "by age, ascending": {"sort": by("created_at", descending=False)},
    "by status": {"sort": by("status")},
    # Of clients
    "glance image-list": {"limit": 200, "sort": by("name", descending=False)},
    "openstack image list": {"limit": 1000, "strangers": True},
    "Horizon, my images": {"limit": 21} | of(owner=SMALL),
    "Horizon, public ones by name": {"limit": 21, "sort": by("name")} | of(visibility="public") | {"strangers": True},
    "terraform, newest of a name": {"sort": by("created_at"), "tags": ("nightly",)} | of(name="image-77"),
    "active ones of an owner by change": {"sort": by("updated_at")} | of(status="active", owner=SMALL),
}


@pytest.fixture(scope="module")
def crowd(postgres_server: PostgresServer) -> Iterator[Catalog]:
    """A catalogue with a hundred thousand images."""
    url = postgres_server.create_database()
    database = Database(url)
    database.create()
    with database.begin() as connection:
        fill(connection, IMAGES)
    yield Catalog(database, ImportLock(database))
    database.dispose()
    postgres_server.drop_database(url)


@dataclass(frozen=True)
class Plan:
    """What one page took: blocks, and tables that were read from end to end."""

    images: list[ImageRecord]
    blocks: int
    scanned: set[str]
    text: str


def planned(catalog: Catalog, query: ImageQuery) -> Plan:
    """Read a page, and how PostgreSQL did it."""
    said: list[tuple[str, Any]] = []
    with catalog.read() as tx:
        event.listen(tx.connection, "before_cursor_execute", lambda _c, _cursor, *what: said.append(what[:2]))
        images = tx.images.page(query)
        statement, values = said[-1]
        explained = tx.connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
        plan = explained.scalar_one()[0]["Plan"]
    nodes = list(_nodes(plan))
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    return Plan(images, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], scanned, json.dumps(plan, indent=1))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


VIEWERS = {"admin": ADMIN, "tenant": TENANT, "giant": GIANT, "nobody": NOBODY}


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("name", EVERYDAY)
def test_everyday_lists_use_indexes(crowd: Catalog, name: str, viewer: str) -> None:
    """Given a list that clients ask for, whoever looks, then no table is read from end to end, and little of any."""
    plan = planned(crowd, replace(LIST, viewer=VIEWERS[viewer], **EVERYDAY[name]))
    assert not plan.scanned, plan.text
    assert plan.blocks < BLOCKS + 20 * len(plan.images), plan.text


DEEP: dict[str, dict[str, Any]] = {
    "newest": {},
    "oldest": {"sort": by("created_at", descending=False)},
    "name": {"sort": by("name", descending=False)},
    "size": {"sort": by("size")},
    "change": {"sort": by("updated_at")},
    "active": of(status="active"),
    "tag": {"tags": ("nightly",)},
    "property": {"properties": {"architecture": "x86_64"}},
    "own": of(owner=BIG),
}


@pytest.mark.parametrize("viewer", ["admin", "giant"])
@pytest.mark.parametrize("name", DEEP)
def test_paging_stays_flat(crowd: Catalog, name: str, viewer: str) -> None:
    """Given a list of thousands of images, then its 900th page takes no more than its first."""
    query = replace(LIST, limit=5, viewer=VIEWERS[viewer], **DEEP[name])
    blocks = {}
    for page in (1, 100, 900):
        marker = None
        if page > 1:
            with crowd.peek() as tx:
                marker = tx.images.page(replace(query, limit=query.limit * (page - 1)))[-1].id
        plan = planned(crowd, replace(query, marker=marker))
        assert len(plan.images) == query.limit
        assert not plan.scanned, plan.text
        blocks[page] = plan.blocks
    assert max(blocks.values()) < 2 * blocks[1] + 100, blocks
