"""Which tasks a list shows, in which order, from where on (http-api §7): a query as values, and as SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, false, func, literal, or_, select, true, tuple_

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import BadMarker
from catalog.visibility import EVERYTHING, Viewer

TASK_SORT_KEYS = ("id", "type", "status", "owner", "created_at", "updated_at", "expires_at")
"""Columns of tasks that a list may be sorted by."""


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks to show: at most `limit`, after the task `marker`, by one column. `equal` maps columns to values.

    To `viewer` those are shown that its project has asked for.
    """

    limit: int
    marker: str | None = None
    sort: str = "created_at"
    descending: bool = True
    equal: Mapping[str, str] = field(default_factory=dict)
    viewer: Viewer = EVERYTHING


def remembered(database: Database) -> ColumnElement[bool]:
    """Whether a task is not forgotten yet."""
    return or_(t.tasks.c.expires_at.is_(None), t.tasks.c.expires_at > database.now())


def task_page_of(connection: Connection, database: Database, query: TaskQuery) -> Select[Any]:
    """Return the statement that selects the page's rows of `tasks`. Raises `BadMarker`."""
    task = t.tasks.c
    shown = _shown(query.viewer)
    wanted = [remembered(database), shown, *(task[column] == value for column, value in query.equal.items())]
    # What makes the order total: pages must neither repeat a task nor lose one.
    keys = [_value(query.sort), task.id]
    if query.marker is not None:
        row = connection.execute(select(*keys).where(task.id == query.marker, shown)).first()
        if row is None:
            raise BadMarker(f"Marker {query.marker} names no task.")
        here, marker = tuple_(*keys), tuple_(*map(literal, row))
        wanted.append(here < marker if query.descending else here > marker)
    order = [key.desc() if query.descending else key.asc() for key in keys]
    return select(t.tasks).where(*wanted).order_by(*order).limit(query.limit)


def _shown(viewer: Viewer) -> ColumnElement[bool]:
    if viewer.sees_all:
        return true()
    return t.tasks.c.owner == viewer.project if viewer.project is not None else false()


def _value(column: str) -> ColumnElement[Any]:
    """What to compare: null counts as empty, since SQL could not say what comes after it."""
    empty: Mapping[str, str | int] = {"owner": "", "expires_at": 0}
    return func.coalesce(t.tasks.c[column], empty[column]) if column in empty else t.tasks.c[column]
