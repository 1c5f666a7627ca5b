"""The two json-patch dialects of `PATCH /v2/images/{id}` as a list of operations (http-api §4.4)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import falcon

OPERATIONS = ("add", "replace", "remove")
V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"
_LOCATION_PATHS = {"add": 2, "replace": 1, "remove": 2}
"""How many parts the path of an operation on `locations` has; any other attribute is replaced as a whole."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: `op` is add, replace or remove; `name` is that of an attribute or custom property.

    `position` is the part after `/locations/`. With `must_be_new` there is nothing to add where something is. A
    removal has no `value`.
    """

    op: str
    name: str
    value: object = None
    position: str | None = None
    must_be_new: bool = False


_Dialect: TypeAlias = Callable[[Mapping[str, Any]], tuple[str, object, bool]]
"""Reads one element of the body as (operation, path, whether an addition must be new)."""


def dialect(content_type: str | None) -> _Dialect:
    """Return what reads bodies of this `Content-Type`, whose parameters do not matter. Raises a 415 for another."""
    known = _DIALECTS.get((content_type or "").partition(";")[0].strip().lower())
    if known is None:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"The Content-Type of a PATCH must be one of: {', '.join(_DIALECTS)}.",
            headers={"Accept-Patch": ", ".join(_DIALECTS)},
        )
    return known


def parse(read: _Dialect, body: Sequence[object]) -> list[Operation]:
    """Return the operations in `body`. Raises a 400 that says which element is malformed, and how."""
    return [_operation(read, number, element) for number, element in enumerate(body, 1)]


def _operation(read: _Dialect, number: int, element: object) -> Operation:
    try:
        if not isinstance(element, dict):
            raise _Malformed("is not an object")
        op, path, must_be_new = read(element)
        if op != "remove" and "value" not in element:
            raise _Malformed("has no 'value'")
        name, position = _target(op, path)
        return Operation(op, name, None if op == "remove" else element["value"], position, must_be_new)
    except _Malformed as wrong:
        raise falcon.HTTPBadRequest(description=f"Operation {number} of the patch {wrong}.") from None


class _Malformed(Exception):
    """An element is no operation; the text completes 'Operation n of the patch …'."""


def _modern(element: Mapping[str, Any]) -> tuple[str, object, bool]:
    """v2.1: `{"op": "add", "path": "/key", "value": …}`; to add what is there is to replace it."""
    if "op" not in element:
        raise _Malformed("has no 'op'")
    if element["op"] not in OPERATIONS:
        raise _Malformed(f"has an 'op' that is none of: {', '.join(OPERATIONS)}")
    if "path" not in element:
        raise _Malformed("has no 'path'")
    return element["op"], element["path"], False


def _old(element: Mapping[str, Any]) -> tuple[str, object, bool]:
    """v2.0: `{"add": "/key", "value": …}`; what is added must be new."""
    named = [op for op in OPERATIONS if op in element]
    if len(named) != 1:
        raise _Malformed(f"must have exactly one of: {', '.join(OPERATIONS)}")
    return named[0], element[named[0]], named == ["add"]


_DIALECTS: Mapping[str, _Dialect] = {V21: _modern, V20: _old}


def _target(op: str, path: object) -> tuple[str, str | None]:
    """The name and the position that a JSON pointer leads to."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise _Malformed("has a path that does not begin with '/'")
    parts = path[1:].split("/")
    if not all(parts):
        raise _Malformed(f"has an empty part in its path {path!r}")
    if re.search("~(?![01])", path):
        raise _Malformed(f"has a '~' in its path {path!r} that is neither ~0 nor ~1")
    # In this order, as RFC 6901 asks: ~01 is the name ~1.
    name, *rest = (part.replace("~1", "/").replace("~0", "~") for part in parts)
    if len(parts) != (_LOCATION_PATHS[op] if name == "locations" else 1):
        raise _Malformed(f"cannot {op} at the path {path!r}")
    return name, rest[0] if rest else None
