"""Every rule of `schema.sql` and of the guards, on both databases: what it refuses, by the rule's own name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, delete, insert, select, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import RuleBroken

ROOT = Path(__file__).parents[2]

DEFAULTS: dict[str, dict[str, object]] = {
    "images": {
        "id": "i",
        "status": "queued",
        "visibility": "shared",
        "protected": False,
        "os_hidden": False,
        "min_disk": 0,
        "min_ram": 0,
        "created_at": 1,
        "updated_at": 1,
    },
    "image_properties": {"image_id": "i", "name": "n", "value": "v"},
    "image_tags": {"image_id": "i", "tag": "x"},
    "image_members": {"image_id": "i", "member": "p", "status": "pending", "created_at": 1, "updated_at": 1},
    "locations": {"image_id": "i", "store": "a", "object_key": "k", "url": "file:///k", "created_at": 1},
    "tasks": {
        "id": "t",
        "image_id": "i",
        "type": "api_image_import",
        "flow": "f",
        "step": 0,
        "status": "pending",
        "input": "{}",
        "source": "",
        "facts": "{}",
        "message": "",
        "all_stores_must_succeed": True,
        "cancel_requested": False,
        "phase": "",
        "bytes_done": 0,
        "attempt": 0,
        "created_at": 1,
        "updated_at": 1,
    },
    "targets": {
        "task_id": "t",
        "image_id": "i",
        "store": "a",
        "position": 0,
        "state": "pending",
        "current": True,
        "bytes_done": 0,
        "reason": "",
        "updated_at": 1,
    },
    "image_locks": {"image_id": "i", "fence": 3},
    "attempts": {
        "image_id": "i",
        "fence": 1,
        "task_id": "t",
        "step": 0,
        "number": 1,
        "worker": "w",
        "outcome": "running",
        "message": "",
        "started_at": 1,
    },
    "objects": {"store": "a", "object_key": "k", "image_id": "i", "task_id": "t", "state": "writing", "created_at": 1},
}

Change = Callable[[Connection], None]


def add(table: Table, **columns: object) -> Change:
    """Insert a row that is fine but for `columns`."""
    return lambda connection: _run(connection, insert(table).values(**(DEFAULTS[table.name] | columns)))


def put(table: Table, **columns: object) -> Change:
    """Change every row of the table."""
    return lambda connection: _run(connection, update(table).values(**columns))


def drop(table: Table) -> Change:
    """Delete every row of the table, in one statement."""
    return lambda connection: _run(connection, delete(table))


def _run(connection: Connection, statement: Any) -> None:
    connection.execute(statement)


IMAGE = add(t.images, container_format="bare", disk_format="raw")
TASK = add(t.tasks)
LOCK = add(t.image_locks)
ACTIVE = (IMAGE, add(t.locations), put(t.images, status="active", size=1))
FINISHED = put(t.tasks, status="success", expires_at=9)


@dataclass(frozen=True)
class Refused:
    """After `given` (which is allowed), `when` breaks `rule`; SQLite names a key by its columns: `or_key`."""

    rule: str
    when: Change
    given: tuple[Change, ...] = ()
    or_key: str = ""
    what: str = field(default="", kw_only=True)


REFUSED = [
    Refused("image_status", add(t.images, status="lost")),
    Refused("image_visibility", add(t.images, visibility="everyone")),
    Refused("image_queued_has_no_size", add(t.images, size=1)),
    Refused("image_queued_has_no_size", add(t.images, virtual_size=1), what="virtual"),
    Refused("image_queued_has_no_size", put(t.images, status="queued"), (*ACTIVE,), what="back with data"),
    Refused("image_with_data_has_formats", add(t.images, status="saving")),
    Refused("image_with_data_has_formats", put(t.images, status="importing"), (add(t.images),), what="importing"),
    Refused("image_with_data_has_formats", put(t.images, disk_format=None), ACTIVE, what="format taken away"),
    Refused("image_active_is_whole", put(t.images, status="active"), (IMAGE, add(t.locations))),
    Refused("image_deleted_at", put(t.images, status="deleted"), (IMAGE,)),
    Refused("image_deleted_at", put(t.images, deleted_at=1), (IMAGE,), what="alive with a date"),
    Refused("image_numbers", add(t.images, min_disk=-1)),
    Refused("image_numbers", add(t.images, min_ram=-1), what="ram"),
    Refused("image_numbers", put(t.images, size=-1), ACTIVE, what="size"),
    Refused("images_pkey", IMAGE, (IMAGE,), "images.id"),
    Refused("property_not_reserved", add(t.image_properties, name="os_glance_import_task"), (IMAGE,)),
    Refused("property_not_reserved", add(t.image_properties, name="os_glancexyz"), (IMAGE,), what="no underscore"),
    Refused("property_not_reserved", add(t.image_properties, name="stores"), (IMAGE,), what="stores"),
    Refused(
        "property_not_reserved",
        put(t.image_properties, name="stores"),
        (IMAGE, add(t.image_properties)),
        what="renamed",
    ),
    Refused(
        "image_properties_pkey",
        add(t.image_properties),
        (IMAGE, add(t.image_properties)),
        "image_properties.image_id, image_properties.name",
    ),
    Refused("image_tags_pkey", add(t.image_tags), (IMAGE, add(t.image_tags)), "image_tags.image_id, image_tags.tag"),
    Refused("member_status", add(t.image_members, status="perhaps"), (IMAGE,)),
    Refused(
        "image_members_pkey",
        add(t.image_members, status="accepted"),
        (IMAGE, add(t.image_members)),
        "image_members.image_id, image_members.member",
    ),
    Refused(
        "location_object_used_once",
        add(t.locations, image_id="j"),
        (IMAGE, add(t.images, id="j"), add(t.locations)),
        "locations.store, locations.object_key",
    ),
    Refused("task_status", add(t.tasks, status="waiting"), (IMAGE,)),
    Refused("task_numbers", add(t.tasks, step=-1), (IMAGE,)),
    Refused("task_numbers", add(t.tasks, attempt=-1), (IMAGE,), what="attempt"),
    Refused("task_numbers", add(t.tasks, bytes_done=-1), (IMAGE,), what="done"),
    Refused("task_numbers", add(t.tasks, bytes_total=-1), (IMAGE,), what="total"),
    Refused("task_end", add(t.tasks, status="success"), (IMAGE,)),
    Refused("task_end", add(t.tasks, expires_at=9), (IMAGE,), what="alive with an end"),
    Refused("task_failure_has_reason", add(t.tasks, status="failure", expires_at=9, message="no"), (IMAGE,)),
    Refused(
        "task_failure_has_reason",
        add(t.tasks, status="failure", expires_at=9, error_code="x"),
        (IMAGE,),
        what="no text",
    ),
    Refused("one_live_task_per_image", add(t.tasks, id="u"), (IMAGE, TASK), "tasks.image_id"),
    Refused(
        "one_live_task_per_image",
        add(t.tasks, id="u", status="processing"),
        (IMAGE, TASK),
        "tasks.image_id",
        what="processing",
    ),
    Refused("target_state", add(t.targets, state="lost"), (IMAGE, TASK)),
    Refused("target_failure_has_reason", add(t.targets, state="failed", reason="no"), (IMAGE, TASK)),
    Refused("target_failure_has_reason", add(t.targets, state="failed", error_code="x"), (IMAGE, TASK), what="no text"),
    Refused(
        "targets_pkey", add(t.targets, current=False), (IMAGE, TASK, add(t.targets)), "targets.task_id, targets.store"
    ),
    Refused(
        "one_current_target_per_store",
        add(t.targets, task_id="u"),
        (IMAGE, TASK, FINISHED, add(t.targets), add(t.tasks, id="u")),
        "targets.image_id, targets.store",
    ),
    Refused("lock_fence", add(t.image_locks, fence=-1), (IMAGE,)),
    Refused("lock_owner_works_for_holder", put(t.image_locks, owner="w", expires_at=9), (IMAGE, LOCK)),
    Refused(
        "lock_lease_has_end",
        put(t.image_locks, os_glance_import_task="t", acquired_at=1, owner="w"),
        (IMAGE, TASK, LOCK),
    ),
    Refused("lock_lease_has_end", put(t.image_locks, expires_at=9), (IMAGE, LOCK), what="end without owner"),
    Refused("lock_holder_since", put(t.image_locks, os_glance_import_task="t"), (IMAGE, TASK, LOCK)),
    Refused("image_locks_pkey", LOCK, (IMAGE, LOCK), "image_locks.image_id"),
    Refused("attempt_outcome", add(t.attempts, outcome="lucky", ended_at=9), (IMAGE, TASK)),
    Refused("attempt_end", add(t.attempts, outcome="done"), (IMAGE, TASK)),
    Refused("attempt_end", add(t.attempts, ended_at=9), (IMAGE, TASK), what="running with an end"),
    Refused(
        "attempts_pkey",
        add(t.attempts),
        (IMAGE, TASK, add(t.attempts, outcome="lost", ended_at=2)),
        "attempts.image_id, attempts.fence",
    ),
    Refused(
        "one_running_attempt_per_image", add(t.attempts, fence=2), (IMAGE, TASK, add(t.attempts)), "attempts.image_id"
    ),
    Refused("object_state", add(t.objects, state="lost"), (IMAGE, TASK)),
    Refused("object_garbage_is_collected", add(t.objects, state="garbage", collect_at=1), (IMAGE, TASK)),
    Refused(
        "object_garbage_is_collected", add(t.objects, collect_at=1, forget_at=1), (IMAGE, TASK), what="not garbage"
    ),
    Refused("object_upload_ends", add(t.objects, task_id=None), (IMAGE,)),
    Refused("object_upload_ends", add(t.objects, task_id=None, state="stored"), (IMAGE,), what="stored"),
    Refused(
        "one_upload_per_image",
        add(t.objects, task_id=None, kept_until=1, object_key="l"),
        (IMAGE, add(t.objects, task_id=None, kept_until=1, state="stored")),
        "objects.image_id",
    ),
    Refused("objects_pkey", add(t.objects), (IMAGE, TASK, add(t.objects)), "objects.store, objects.object_key"),
    # guards
    Refused("fence_never_lowered", put(t.image_locks, fence=2), (IMAGE, LOCK)),
    Refused("lock_row_outlives_holders", drop(t.image_locks), (IMAGE, LOCK)),
    Refused("active_image_has_location", put(t.images, status="active", size=1), (IMAGE,)),
    Refused("active_image_has_location", put(t.images, status="deactivated", size=1), (IMAGE,), what="deactivated"),
    Refused(
        "image_begins_without_data", add(t.images, status="active", size=1, container_format="bare", disk_format="raw")
    ),
    Refused("last_location_stays", drop(t.locations), ACTIVE),
    Refused("last_location_stays", drop(t.locations), (*ACTIVE, add(t.locations, store="b")), what="both at once"),
    Refused(
        "last_location_stays", drop(t.locations), (*ACTIVE, put(t.images, status="deactivated")), what="deactivated"
    ),
    Refused(
        "deleted_image_stays_so",
        put(t.images, status="queued", deleted_at=None),
        (IMAGE, put(t.images, status="deleted", deleted_at=1)),
    ),
    Refused("finished_task_stays_so", put(t.tasks, status="processing", expires_at=None), (IMAGE, TASK, FINISHED)),
    Refused(
        "finished_task_stays_so",
        put(t.tasks, status="failure", error_code="x", message="no"),
        (IMAGE, TASK, FINISHED),
        what="success to failure",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.rule}-{case.what}" if case.what else case.rule)
def test_refused(database: Database, case: Refused) -> None:
    """Given rows that are fine, when a change breaks one rule, then that rule refuses it and nothing is changed."""
    with database.begin() as connection:
        for change in case.given:
            change(connection)
    before = _all_rows(database)
    with pytest.raises(RuleBroken) as refusal, database.begin() as connection:
        case.when(connection)
    assert refusal.value.rule == (case.or_key if case.or_key and database.dialect == "sqlite" else case.rule)
    assert _all_rows(database) == before


def _all_rows(database: Database) -> dict[str, Sequence[Any]]:
    with database.read() as connection:
        return {name: connection.execute(select(table)).all() for name, table in t.metadata.tables.items()}


def test_every_rule_is_tried() -> None:
    """Given every rule that schema.sql and the guards name, then the table above has a case for it."""
    schema = (ROOT / "schema.sql").read_text()
    guards = (ROOT / "catalog" / "guards_sqlite.sql").read_text()
    named = re.findall(r"CONSTRAINT (\w+)|CREATE UNIQUE INDEX (\w+)|CREATE TRIGGER (\w+)", schema + guards)
    assert {name for names in named for name in names if name} <= {case.rule for case in REFUSED}


REFERENCES = [
    ("image_properties", "image_id", ()),
    ("image_tags", "image_id", ()),
    ("image_members", "image_id", ()),
    ("locations", "image_id", ()),
    ("tasks", "image_id", ()),
    ("targets", "image_id", (IMAGE, TASK)),
    ("image_locks", "image_id", ()),
    ("attempts", "image_id", (IMAGE, TASK)),
    ("attempts", "task_id", (IMAGE,)),
    ("objects", "image_id", (IMAGE, TASK)),
]


@pytest.mark.parametrize(
    ("table", "column", "given"), REFERENCES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_unknown_references_are_refused(database: Database, table: str, column: str, given: tuple[Change, ...]) -> None:
    """Given a row that names an image or a task that is not there, then it is refused: SQLite does enforce it."""
    with database.begin() as connection:
        for change in given:
            change(connection)
    with pytest.raises(RuleBroken, match=r"FOREIGN KEY|_fkey"), database.begin() as connection:
        add(t.metadata.tables[table], **{column: "nobody"})(connection)


@pytest.mark.parametrize("table", ["images", "tasks"])
def test_referenced_rows_stay(database: Database, table: str) -> None:
    """Given an image that rows refer to, or a task that holds one, when it is deleted, then it is refused."""
    holding = put(t.image_locks, os_glance_import_task=DEFAULTS["tasks"]["id"], acquired_at=1)
    with database.begin() as connection:
        for change in (IMAGE, TASK, LOCK, holding):
            change(connection)
    with pytest.raises(RuleBroken), database.begin() as connection:
        drop(t.metadata.tables[table])(connection)


ALLOWED: dict[str, tuple[Change, ...]] = {
    "a second task after the first": (IMAGE, TASK, FINISHED, add(t.tasks, id="u")),
    "an older verdict beside the current": (
        IMAGE,
        TASK,
        FINISHED,
        add(t.targets, current=False),
        add(t.tasks, id="u"),
        add(t.targets, task_id="u"),
    ),
    "a fence that stays or grows": (IMAGE, LOCK, put(t.image_locks, fence=3), put(t.image_locks, fence=4)),
    "all but the last location removed": (
        *ACTIVE,
        add(t.locations, store="b"),
        lambda connection: _run(connection, delete(t.locations).where(t.locations.c.store == "b")),
    ),
    "locations of a deleted image removed": (*ACTIVE, put(t.images, status="deleted", deleted_at=1), drop(t.locations)),
    "deactivated and back": (*ACTIVE, put(t.images, status="deactivated"), put(t.images, status="active")),
    "a property whose name only resembles": (IMAGE, add(t.image_properties, name="os_glanc"), add(t.image_tags)),
    "one task on each of two images": (IMAGE, TASK, add(t.images, id="j"), add(t.tasks, id="u", image_id="j")),
    "an attempt after the first ended": (
        IMAGE,
        TASK,
        add(t.attempts, outcome="lost", ended_at=2),
        add(t.attempts, fence=2),
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_allowed(database: Database, case: str) -> None:
    """Given what the rules must not stand in the way of, then it is done."""
    with database.begin() as connection:
        for change in ALLOWED[case]:
            change(connection)
    assert any(_all_rows(database).values())
