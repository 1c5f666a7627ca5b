"""The query of `GET /v2/images` as an `ImageQuery`, and the links between its pages (http-api §1.6, §4.2)."""

import re
from collections.abc import Iterator

from api.context import Context
from api.options import ApiOptions
from api.paging import Parameters, bad, links, number, page_size, parameters_of
from api.rights import may_with_property, viewer
from api.schemas import VISIBILITIES
from api.times import TIMES, span
from catalog.images import ImageRecord
from catalog.listing import SORT_KEYS, ImageQuery, SortKey
from catalog.members import STATUSES

_PATH = "/v2/images"
LISTED = frozenset("name id status container_format disk_format".split())
EQUAL = frozenset("owner checksum os_hash_value os_hash_algo".split())
NUMBERS = frozenset("size min_disk min_ram virtual_size".split())
BOUNDS = {f"{column}_{end}": (column, end) for column in NUMBERS for end in ("min", "max")}
_OPERATORS = frozenset("eq neq in gt gte lt lte".split())
_ITEM = re.compile(r'"((?:[^"]|"")*)"|([^",]*)')
"""One value of `in:`: in quotes, within which two of them are one, or without any."""

_FLAGS = {"true": True, "false": False}
_REFUSED = frozenset({"changes-since"})


class Listing:
    """One request for a list: what to look for, and how its pages are linked."""

    def __init__(self, query_string: str, options: ApiOptions, who: Context) -> None:
        """Read the query. Whatever makes no sense in it is a 400 that names the parameter."""
        self._parameters = parameters_of(query_string)
        self.query = _Reader(options, who).read(self._parameters)

    def links(self, page: list[ImageRecord]) -> dict[str, str]:
        """See `api.paging.links`."""
        return links(_PATH, self._parameters, [image.id for image in page], self.query.limit)


class _Reader:
    """Gathers filters, one parameter after the other; a parameter that comes twice counts as its last value."""

    def __init__(self, options: ApiOptions, who: Context) -> None:
        self._options = options
        self._who = who
        self._one_of: dict[str, tuple[object, ...]] = {}
        self._least: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._outside: dict[str, tuple[int, int]] = {}
        self._properties: dict[str, str] = {}
        self._nothing = False

    def read(self, parameters: Parameters) -> ImageQuery:
        single = dict(parameters)
        limit = page_size(single.pop("limit", None), self._options)
        marker = single.pop("marker", None)
        hidden = _flag("os_hidden", single.pop("os_hidden", "false").lower())
        visibility = single.pop("visibility", None)
        if visibility not in (None, "all", *VISIBILITIES):
            raise bad("visibility", f"must be one of {', '.join(VISIBILITIES)}, all")
        said = single.pop("member_status", "accepted")
        if said not in (*STATUSES, "all"):
            raise bad("member_status", f"must be one of {', '.join(STATUSES)}, all")
        for name, value in single.items():
            if name not in ("sort", "sort_key", "sort_dir", "tag"):
                self._filter(name, value)
        if visibility in VISIBILITIES:
            self._one_of["visibility"] = (visibility,)
        if self._nothing:
            self._one_of["id"] = ()
        return ImageQuery(
            limit=limit,
            marker=marker,
            sort=_sort(parameters),
            one_of=self._one_of,
            least=self._least,
            most=self._most,
            outside=self._outside,
            tags=tuple(value for name, value in parameters if name == "tag"),
            properties=self._properties,
            hidden=hidden,
            viewer=viewer(self._who),
            answers=STATUSES if said == "all" else (said,),
            strangers=visibility is not None,
        )

    def _filter(self, name: str, value: str) -> None:
        if name in _REFUSED:
            raise bad(name, "is no filter of this service")
        if name in LISTED:
            self._one_of[name] = _values(name, value)
        elif name in EQUAL:
            self._one_of[name] = (value,)
        elif name in NUMBERS:
            self._one_of[name] = (number(name, value),)
        elif name == "protected":
            self._one_of[name] = (_flag(name, value),)
        elif name in BOUNDS:
            column, end = BOUNDS[name]
            (self._least if end == "min" else self._most)[column] = number(name, value)
        elif name in TIMES:
            self._filter_time(name, value)
        elif may_with_property(self._who, "read", name):
            self._properties[name] = value
        else:
            # Or its value could be guessed, one request after the other.
            self._nothing = True

    def _filter_time(self, name: str, value: str) -> None:
        at = span(name, value)
        if at.outside and at.least is not None and at.most is not None:
            self._outside[name] = at.least, at.most
            return
        if at.least is not None:
            self._least[name] = at.least
        if at.most is not None:
            self._most[name] = at.most


def _values(name: str, text: str) -> tuple[str, ...]:
    """The values of `a`, `eq:a` or `in:a,"b,c"`. A word before a colon that is no operator belongs to the value."""
    operator, colon, rest = text.partition(":")
    if not colon or operator not in _OPERATORS:
        return (text,)
    if operator == "eq":
        return (rest,)
    if operator != "in":
        raise bad(name, f"does not know the operator {operator}")
    return tuple(_items(name, rest)) if rest else ()


def _items(name: str, text: str) -> Iterator[str]:
    at = 0
    while item := _ITEM.match(text, at):
        quoted, plain = item.groups()
        yield plain if quoted is None else quoted.replace('""', '"')
        if item.end() == len(text):
            return
        if text[item.end()] != ",":
            break
        at = item.end() + 1
    raise bad(name, "has quotes that do not enclose a value")


def _sort(parameters: Parameters) -> tuple[SortKey, ...]:
    given = _all(parameters, "sort")
    keys, directions = _all(parameters, "sort_key"), _all(parameters, "sort_dir")
    if not given:
        return tuple(map(_sort_key, *_paired(keys or ["created_at"], directions)))
    if keys or directions:
        raise bad("sort", "cannot be combined with sort_key or sort_dir")
    parts = [part.strip().partition(":") for text in given for part in text.split(",")]
    return tuple(_sort_key(key, direction or "desc") for key, _, direction in parts)


def _paired(keys: list[str], directions: list[str]) -> tuple[list[str], list[str]]:
    if len(directions) <= 1:
        return keys, (directions or ["desc"]) * len(keys)
    if len(directions) != len(keys):
        raise bad("sort_dir", "must be given once, or once for each sort_key")
    return keys, directions


def _sort_key(key: str, direction: str) -> SortKey:
    if key not in SORT_KEYS:
        raise bad("sort_key", f"must be one of {', '.join(SORT_KEYS)}")
    if direction not in ("asc", "desc"):
        raise bad("sort_dir", "must be asc or desc")
    return SortKey(key, descending=direction == "desc")


def _all(parameters: Parameters, wanted: str) -> list[str]:
    return [value for name, value in parameters if name == wanted]


def _flag(name: str, text: str) -> bool:
    if text not in _FLAGS:
        raise bad(name, "must be true or false")
    return _FLAGS[text]
