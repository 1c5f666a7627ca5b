"""Parameters and headers of calls, for the OpenAPI description (`api/openapi.py`)."""

from collections.abc import Mapping
from typing import Any, Final

from api.context import REQUEST_ID
from api.imports import STORE_HEADER
from api.listing import BOUNDS, EQUAL, LISTED, NUMBERS
from api.received import SIZE
from api.schemas import VISIBILITIES
from api.task_listing import CHOICES
from api.task_listing import EQUAL as TASK_EQUAL
from api.times import TIMES
from catalog.listing import SORT_KEYS
from catalog.members import STATUSES

Parameter = dict[str, Any]

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1}
_DIRECTION: Final = {"enum": ["asc", "desc"]}
_TRUTH: Final = {"enum": ["true", "false"]}

IN_PATHS: Final[Mapping[str, str]] = {
    "image_id": "The id of an image",
    "member": "The id of a project",
    "tag": "A word, percent-encoded",
    "store": "The id of a store",
    "task_id": "The id of a task",
}
"""What stands in the path of a call."""


def in_path(name: str) -> Parameter:
    """A part of the path."""
    return _parameter("path", name, IN_PATHS[name], {"type": "string", "minLength": 1}, required=True)


def _parameter(where: str, name: str, says: str, schema: Mapping[str, Any], **rules: Any) -> Parameter:
    return {"in": where, "name": name, "description": says, "schema": schema, **rules}


def _query(name: str, says: str, schema: Mapping[str, Any] = _TEXT, **rules: Any) -> Parameter:
    return _parameter("query", name, says, schema, **rules)


def _repeated(name: str, says: str, item: Mapping[str, Any]) -> Parameter:
    return _query(name, says, {"type": "array", "items": item}, style="form", explode=True)


def _filters() -> list[Parameter]:
    listed = [_query(name, "This value, or one of `in:a,b`") for name in sorted(LISTED)]
    equal = [_query(name, "This value") for name in sorted(EQUAL)]
    numbers = [_query(name, "This number", _WHOLE) for name in sorted(NUMBERS)]
    bounds = [_query(name, f"The {'least' if end == 'min' else 'most'}", _WHOLE) for name, (_, end) in BOUNDS.items()]
    others = _query(
        "properties",
        "Any other name is that of a custom property, which has this value",
        {"type": "object", "additionalProperties": _TEXT},
        style="form",
        explode=True,
    )
    return [
        _query("visibility", "Of this visibility", {"enum": [*VISIBILITIES, "all"]}),
        _query("member_status", "Of what is shared: what the caller's project said", {"enum": [*STATUSES, "all"]}),
        _query("os_hidden", "Hidden images, and no others", {"type": "string", "pattern": "^([Tt]rue|[Ff]alse)$"}),
        _query("protected", "Whether they are protected", _TRUTH),
        _repeated("tag", "With this tag; all of them if there are several", _TEXT),
        *listed,
        *equal,
        *numbers,
        *bounds,
        *(_query(name, "`gte:2026-11-22T10:00:00Z`, or `gt`, `lt`, `lte`, `eq`, `neq`") for name in sorted(TIMES)),
        others,
    ]


def _task_filters() -> list[Parameter]:
    choices = [_query(name, "One of these", {"enum": list(values)}) for name, values in CHOICES.items()]
    return [*choices, *(_query(name, "This value") for name in TASK_EQUAL)]


PARAMETERS: Final[Mapping[str, list[Parameter]]] = {
    "limit": [
        _query("limit", "How many at most; the service has a limit of its own", {"type": "integer", "minimum": 0})
    ],
    "marker": [_query("marker", "The id of the last one of the page before")],
    "sort_key": [_repeated("sort_key", "What to sort by", {"enum": list(SORT_KEYS)})],
    "sort_dir": [_repeated("sort_dir", "In which direction: once, or for each key", _DIRECTION)],
    "sort": [_query("sort", "Both in one: `name:asc,size:desc`")],
    "filters": _filters(),
    "tasks": _task_filters(),
    "prefer": [_query("prefer", "Stores to try first, with commas between")],
    "Range": [_parameter("header", "Range", "`bytes=a-b`, `a-` or `-n`", _TEXT)],
    STORE_HEADER: [
        _parameter("header", STORE_HEADER, "The store that takes the data, where the body names none", _TEXT)
    ],
    SIZE: [_parameter("header", SIZE, "How many bytes will come", {"type": "string", "pattern": r"^\d{1,19}$"})],
    REQUEST_ID: [_parameter("header", REQUEST_ID, "A name for this request, told in answers and logs", _TEXT)],
}
"""What a call may take beside its path, by the name that `api/calls.py` uses."""

HEADERS: Final[Mapping[str, Parameter]] = {
    "Location": {"description": "The URL of what was made", "schema": _TEXT},
    "OpenStack-image-import-methods": {"description": "The methods that are offered", "schema": _TEXT},
    "OpenStack-image-store-ids": {"description": "The stores", "schema": _TEXT},
    "Content-MD5": {"description": "MD5 of the whole data, in hex", "schema": _TEXT},
    "Content-Range": {"description": "`bytes a-b/size`", "schema": _TEXT},
    REQUEST_ID: {"description": "The name of the request", "schema": _TEXT},
}
"""Headers of answers."""
