"""Which images a list shows, in which order, from where on: a query as values, and as SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, literal, or_, select, tuple_

from catalog import tables as t
from catalog.errors import BadMarker
from catalog.records import whole

SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
"""Columns of images that a list may be sorted by."""

_EMPTY: Mapping[str, str | int] = {"name": "", "container_format": "", "disk_format": "", "size": 0}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column to sort by."""

    column: str
    descending: bool = True


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """Which images to show: at most `limit`, after the image `marker`, by `sort` (by default the newest first).

    `one_of` maps a column of images to the values it may have; `least` and `most` bound a numeric column, inclusively.
    An image has all of `tags`, and of each of `properties` the given value. `hidden` None shows hidden ones too.
    `community_of` leaves out the community images of every other project.
    """

    limit: int
    marker: str | None = None
    sort: tuple[SortKey, ...] = ()
    one_of: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    hidden: bool | None = None
    community_of: str | None = None


def page_of(connection: Connection, query: ImageQuery) -> Select[Any]:
    """Return the statement that selects the page's images as `catalog.records.record` reads them.

    Raises `BadMarker`.
    """
    keys = _complete(query.sort)
    wanted = _wanted(query)
    if query.marker is not None:
        wanted.append(_after(connection, query.marker, keys))
    page = select(t.images).where(*wanted).order_by(*_order(t.images, keys)).limit(query.limit).subquery("page")
    # Only what is on the page is read whole, and its order is said again, for no subquery promises to keep one.
    return whole(page).order_by(*_order(page, keys))


def _complete(sort: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """Add what makes the order total: pages must neither repeat an image nor lose one."""
    named = {key.column for key in sort}
    descending = sort[-1].descending if sort else True
    return sort + tuple(SortKey(column, descending) for column in ("created_at", "id") if column not in named)


def _order(images: FromClause, keys: tuple[SortKey, ...]) -> list[ColumnElement[Any]]:
    return [_value(key, images).desc() if key.descending else _value(key, images).asc() for key in keys]


def _value(key: SortKey, images: FromClause = t.images) -> ColumnElement[Any]:
    """What to compare: null counts as empty, since SQL could not say what comes after it."""
    column = images.c[key.column]
    return func.coalesce(column, _EMPTY[key.column]) if key.column in _EMPTY else column


def _after(connection: Connection, marker: str, keys: tuple[SortKey, ...]) -> ColumnElement[bool]:
    row = connection.execute(
        select(*map(_value, keys)).where(t.images.c.id == marker, t.images.c.status != "deleted")
    ).first()
    if row is None:
        raise BadMarker(f"Marker {marker} names no image.")
    if len({key.descending for key in keys}) == 1:
        # One comparison of rows, by which a database finds the start of the page in an index.
        columns, values = tuple_(*map(_value, keys)), tuple_(*map(literal, row))
        return columns < values if keys[0].descending else columns > values
    cases, equal = [], list[ColumnElement[bool]]()
    for key, value in zip(keys, row, strict=True):
        column = _value(key)
        cases.append(and_(*equal, column < value if key.descending else column > value))
        equal.append(column == value)
    # Implied by the cases, and said again for the sake of an index.
    first = _value(keys[0])
    return and_(first <= row[0] if keys[0].descending else first >= row[0], or_(*cases))


def _wanted(query: ImageQuery) -> list[ColumnElement[bool]]:
    image = t.images.c
    wanted: list[ColumnElement[bool]] = [image.status.not_in(("deleted", "killed"))]
    wanted += [image[column].in_(values) for column, values in query.one_of.items()]
    wanted += [image[column] >= value for column, value in query.least.items()]
    wanted += [image[column] <= value for column, value in query.most.items()]
    if query.hidden is not None:
        wanted.append(image.os_hidden.is_(query.hidden))
    if query.community_of is not None:
        wanted.append(or_(image.visibility != "community", image.owner == query.community_of))
    tag, prop = t.image_tags.c, t.image_properties.c
    for word in query.tags:
        wanted.append(select(tag.tag).where(tag.image_id == image.id, tag.tag == word).exists())
    for name, value in query.properties.items():
        has = select(prop.name).where(prop.image_id == image.id, prop.name == name, prop.value == value)
        wanted.append(has.exists())
    return wanted
