"""An image with all that belongs to it, read by one statement: so it is of one moment, without a transaction.

Each kind of rows that belong to an image comes in one column, as a JSON array with an array for each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, FromClause, Row, Select, Table, Text, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from catalog import tables as t

IMPORTING = ("pending", "copying")
"""States of a target to which the data is still to come."""


@dataclass(frozen=True, slots=True)
class Location:
    """One place that holds an image's data. `metadata` is what users have said of it: a JSON object, or None."""

    store: str
    object_key: str
    url: str
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A snapshot of one image. Times are microseconds; sizes are bytes.

    `importing_to` and `failed` are the stores behind `os_glance_importing_to_stores` and `os_glance_failed_import`,
    sorted; both are None until the first import, and never again.
    """

    id: str
    status: str
    name: str | None
    owner: str | None
    visibility: str
    protected: bool
    os_hidden: bool
    container_format: str | None
    disk_format: str | None
    min_disk: int
    min_ram: int
    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    properties: Mapping[str, str | None]
    tags: tuple[str, ...]
    locations: tuple[Location, ...]
    import_task: str | None
    importing_to: tuple[str, ...] | None
    failed: tuple[str, ...] | None


class _AsJson(FunctionElement[str]):
    """The given columns of all rows as the text of a JSON array of arrays. Of no rows it may also be null."""

    type = Text()
    inherit_cache = True


@compiles(_AsJson, "postgresql")
def _as_json_postgresql(element: _AsJson, compiler: Any, **kw: Any) -> str:
    return f"CAST(json_agg(json_build_array({compiler.process(element.clauses, **kw)})) AS TEXT)"


@compiles(_AsJson, "sqlite")
def _as_json_sqlite(element: _AsJson, compiler: Any, **kw: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **kw)}))"


def whole(images: FromClause) -> Select[Any]:
    """Select those rows of `images` with what belongs to them, in the form that `record` reads."""
    return select(
        *(images.c[column.name] for column in t.images.c),
        _of(images, t.image_properties, "name value"),
        _of(images, t.image_tags, "tag"),
        _of(images, t.locations, "created_at store object_key url metadata"),
        _of(images, t.targets, "store state", t.current_target),
        select(t.image_locks.c.os_glance_import_task).where(t.image_locks.c.image_id == images.c.id).scalar_subquery(),
    )


def _of(images: FromClause, table: Table, columns: str, *which: ColumnElement[bool]) -> ColumnElement[str]:
    rows = _AsJson(*(table.c[name] for name in columns.split()))
    return select(rows).where(table.c.image_id == images.c.id, *which).scalar_subquery()


def record(row: Row[Any]) -> ImageRecord:
    """The image in a row of what `whole` selects."""
    properties, tags, locations, targets, import_task = row[len(_COLUMNS) :]
    verdicts = sorted(_rows(targets))
    return ImageRecord(
        **dict(zip(_COLUMNS, row, strict=False)),
        properties=dict(_rows(properties)),
        tags=tuple(sorted(tag for (tag,) in _rows(tags))),
        locations=tuple(Location(*place) for _, *place in sorted(_rows(locations))),
        import_task=import_task,
        importing_to=tuple(store for store, state in verdicts if state in IMPORTING) if verdicts else None,
        failed=tuple(store for store, state in verdicts if state == "failed") if verdicts else None,
    )


_COLUMNS = [column.name for column in t.images.c]


_decode = msgspec.json.Decoder(list[list[Any]]).decode


def _rows(text: str | None) -> list[list[Any]]:
    return _decode(text) if text else []
