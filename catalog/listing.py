"""Which images a list shows, in which order, from where on: a query as values, and as SQL."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CursorResult,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
    union_all,
)

from catalog import tables as t
from catalog.errors import BadMarker
from catalog.records import whole
from catalog.visibility import EVERYTHING, VISIBILITIES, Listed, Scope, Viewer, listed, may_see

SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
"""Columns of images that a list may be sorted by."""

_FORMS = 256
"""Statements to keep; clients ask a handful of them again and again."""

_APART = 4
"""Tags, and properties, that each lead to images by an index. A database weighs all that lead to them against each
other, which takes it minutes when there are hundreds; so what is asked for beside these is looked up for each image
that they have led to.
"""

_EMPTY: Mapping[str, ColumnElement[Any]] = {
    "name": literal_column("''", Text),
    "container_format": literal_column("''", Text),
    "disk_format": literal_column("''", Text),
    "size": literal_column("0", BigInteger),
}
"""Written out, not a parameter: so do both databases recognise the expressions that are indexed."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column to sort by."""

    column: str
    descending: bool = True


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """Which images to show: at most `limit`, after the image `marker`, by `sort` (by default the newest first).

    `one_of` maps a column of images to the values it may have; `least` and `most` bound a numeric column, inclusively,
    and what is `outside` lies before the first or behind the second of two bounds.
    An image has all of `tags`, and of each of `properties` the given value. `hidden` None shows hidden ones too.
    `viewer` gets those that lists show to it: with `answers`, what its project said to images shared with it; with
    `strangers`, community images of other projects too.
    """

    limit: int
    marker: str | None = None
    sort: tuple[SortKey, ...] = ()
    one_of: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    outside: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    hidden: bool | None = None
    viewer: Viewer = EVERYTHING
    answers: tuple[str, ...] = ("accepted",)
    strangers: bool = True


def page_of(connection: Connection, query: ImageQuery) -> CursorResult[Any]:
    """The page's images in order, as `catalog.records.record` reads them. Raises `BadMarker`."""
    form = _Form.of(query)
    values = _values(query)
    if query.marker is not None:
        values |= _place(connection, query, form)
    return connection.execute(_statement(form), values)


@dataclass(frozen=True, slots=True)
class _Form:
    """A query without its values: all of one form share one statement, since to build it costs more than to run it."""

    keys: tuple[SortKey, ...]
    after: bool
    one_of: tuple[str, ...]
    least: tuple[str, ...]
    most: tuple[str, ...]
    outside: tuple[str, ...]
    tags: int
    more_tags: bool
    properties: int
    more_properties: bool
    hidden: bool | None
    scope: Scope

    @classmethod
    def of(cls, query: ImageQuery) -> Self:
        return cls(
            keys=_complete(query.sort),
            after=query.marker is not None,
            one_of=tuple(query.one_of),
            least=tuple(query.least),
            most=tuple(query.most),
            outside=tuple(query.outside),
            tags=min(len(_distinct(query.tags)), _APART),
            more_tags=len(_distinct(query.tags)) > _APART,
            properties=min(len(query.properties), _APART),
            more_properties=len(query.properties) > _APART,
            hidden=query.hidden,
            scope=_scope(query),
        )


def _scope(query: ImageQuery) -> Scope:
    """Leave out what the filters leave out: to find that nothing meets two conditions takes a database long."""
    own, among = query.viewer.project, query.one_of.get("visibility", VISIBILITIES)
    owners = query.one_of.get("owner")
    return Scope(
        sees_all=query.viewer.sees_all,
        strangers=query.strangers,
        among=tuple(word for word in VISIBILITIES if word in among),
        own=owners is None or own in owners,
        others=owners is None or any(owner != own for owner in owners),
    )


def _complete(sort: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """Add what makes the order total: pages must neither repeat an image nor lose one. A key counts once."""
    descending = sort[-1].descending if sort else True
    keys: dict[str, SortKey] = {}
    for key in (*sort, SortKey("created_at", descending), SortKey("id", descending)):
        keys.setdefault(key.column, key)
    return tuple(keys.values())


def _distinct(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _values(query: ImageQuery) -> dict[str, object]:
    """What the parameters of the form's statement stand for."""
    values: dict[str, object] = {"limit": query.limit, "project": query.viewer.project, "answers": query.answers}
    values |= {f"{column}_in": wanted for column, wanted in query.one_of.items()}
    values |= {f"{column}_min": bound for column, bound in query.least.items()}
    values |= {f"{column}_max": bound for column, bound in query.most.items()}
    for column, (first, last) in query.outside.items():
        values |= {f"{column}_first": first, f"{column}_last": last}
    tags, properties = _distinct(query.tags), list(query.properties.items())
    values |= {f"tag_{number}": word for number, word in enumerate(tags[:_APART])}
    for number, (name, value) in enumerate(properties[:_APART]):
        values |= {f"name_{number}": name, f"value_{number}": value}
    for kind, more in (("tags", tags[_APART:]), ("properties", properties[_APART:])):
        values |= {f"more_{kind}": more, f"number_of_{kind}": len(more)}
    return values


def _place(connection: Connection, query: ImageQuery, form: _Form) -> dict[str, object]:
    """Where the marker stands in the order."""
    asked = {"marker": query.marker, "project": query.viewer.project}
    row = connection.execute(_marker(form.keys, form.scope.sees_all), asked).first()
    if row is None:
        raise BadMarker(f"Marker {query.marker} names no image.")
    return {f"after_{number}": value for number, value in enumerate(row)}


@lru_cache(_FORMS)
def _marker(keys: tuple[SortKey, ...], sees_all: bool) -> Select[Any]:
    image = t.images.c
    return select(*map(_value, keys)).where(
        image.id == bindparam("marker"), image.deleted_at.is_(None), may_see(sees_all)
    )


@lru_cache(_FORMS)
def _statement(form: _Form) -> Select[Any]:
    wanted = _wanted(form)
    parts = [_part(part, wanted, form.keys) for part in listed(form.scope)]
    page = parts[0]
    if len(parts) > 1:
        page = _first(union_all(*(select(part.subquery()) for part in parts)).subquery("parts"), form.keys)
    # Only what is on the page is read whole, and its order is said again, for no subquery promises to keep one.
    rows = page.subquery("page")
    return whole(rows).order_by(*_order(rows, form.keys))


def _part(part: Listed, wanted: Sequence[ColumnElement[bool]], keys: tuple[SortKey, ...]) -> Select[Any]:
    if part.few:
        # An offset, even of nothing, keeps databases from looking at the order before they have found the rows.
        return _first(select(t.images).where(*wanted, part.condition).offset(0).subquery("few"), keys)
    return _first(t.images, keys, *wanted, part.condition)


def _first(images: FromClause, keys: tuple[SortKey, ...], *wanted: ColumnElement[bool]) -> Select[Any]:
    """As many as fit on a page."""
    return select(images).where(*wanted).order_by(*_order(images, keys)).limit(bindparam("limit", type_=BigInteger))


def _order(images: FromClause, keys: tuple[SortKey, ...]) -> list[ColumnElement[Any]]:
    return [_value(key, images).desc() if key.descending else _value(key, images).asc() for key in keys]


def _value(key: SortKey, images: FromClause = t.images) -> ColumnElement[Any]:
    return _filled(images, key.column)


def _filled(images: FromClause, column: str) -> ColumnElement[Any]:
    """What to compare: null counts as empty, since SQL could not say what comes after it. So is it in indexes."""
    return func.coalesce(images.c[column], _EMPTY[column]) if column in _EMPTY else images.c[column]


def _after(keys: tuple[SortKey, ...]) -> ColumnElement[bool]:
    columns = [_value(key) for key in keys]
    places = [bindparam(f"after_{number}", type_=column.type) for number, column in enumerate(columns)]
    if len({key.descending for key in keys}) == 1:
        # One comparison of rows, by which a database finds the start of the page in an index.
        here, there = tuple_(*columns), tuple_(*places)
        return here < there if keys[0].descending else here > there
    cases, equal = [], list[ColumnElement[bool]]()
    for key, column, place in zip(keys, columns, places, strict=True):
        cases.append(and_(*equal, column < place if key.descending else column > place))
        equal.append(column == place)
    # Implied by the cases, and said again for the sake of an index.
    first = columns[0] <= places[0] if keys[0].descending else columns[0] >= places[0]
    return and_(first, or_(*cases))


def _wanted(form: _Form) -> list[ColumnElement[bool]]:
    image = t.images.c
    wanted: list[ColumnElement[bool]] = [image.deleted_at.is_(None), image.status != "killed"]
    for column in form.one_of:
        wanted += [value.in_(bindparam(f"{column}_in", expanding=True)) for value in _indexed(column)]
    for column in form.least:
        wanted += [value >= bindparam(f"{column}_min") for value in _indexed(column)]
    for column in form.most:
        wanted += [value <= bindparam(f"{column}_max") for value in _indexed(column)]
    for column in form.outside:
        first, last = (bindparam(f"{column}_{end}", type_=BigInteger) for end in ("first", "last"))
        wanted.append(or_(image[column] < first, image[column] > last))
    if form.hidden is not None:
        wanted.append(image.os_hidden if form.hidden else not_(image.os_hidden))
    wanted += [*_tagged(form), *_described(form)]
    if form.after:
        wanted.append(_after(form.keys))
    return wanted


def _tagged(form: _Form) -> Iterator[ColumnElement[bool]]:
    """Whether an image has each of the tags."""
    tag = t.image_tags.c
    for number in range(form.tags):
        yield t.images.c.id.in_(select(tag.image_id).where(tag.tag == bindparam(f"tag_{number}")))
    if form.more_tags:
        yield _has_all("tags", tag.image_id, tag.tag)


def _described(form: _Form) -> Iterator[ColumnElement[bool]]:
    """Whether an image has each of the properties."""
    prop = t.image_properties.c
    for number in range(form.properties):
        name, value = bindparam(f"name_{number}", type_=Text), bindparam(f"value_{number}", type_=Text)
        has = and_(prop.name == name, prop.value == value, _beginning(prop.value) == _beginning(value))
        yield t.images.c.id.in_(select(prop.image_id).where(has))
    if form.more_properties:
        yield _has_all("properties", prop.image_id, tuple_(prop.name, prop.value))


def _has_all(kind: str, image_id: ColumnElement[Any], what: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether as many rows of the image are among the rest of this kind as there are of them: none is there twice."""
    wanted = what.in_(bindparam(f"more_{kind}", expanding=True))
    found = select(func.count()).where(image_id == t.images.c.id, wanted).correlate(t.images).scalar_subquery()
    return found == bindparam(f"number_of_{kind}", type_=BigInteger)


def _indexed(column: str) -> list[ColumnElement[Any]]:
    """The column, and what is indexed of it: a filter on the column holds for both, and the second is found quickly."""
    return [t.images.c[column], *([_filled(t.images, column)] if column in _EMPTY else [])]


def _beginning(value: ColumnElement[Any]) -> ColumnElement[str]:
    """What is indexed of the value of a property, which may be too long for an index."""
    return func.substr(value, literal_column("1"), literal_column("100"))
