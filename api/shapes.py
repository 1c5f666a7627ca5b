"""The shapes of bodies and answers that have no schema of Glance's own, and those that have, as components of the
OpenAPI description (`api/openapi.py`).
"""

from collections.abc import Iterable
from typing import Any, Final

from api.locations import DIGITS
from api.options import ApiOptions
from api.patches import OPERATIONS
from api.schemas import MEMBER, TASK, Schema, documents, image_properties
from flows.checksums import IMAGE, SOURCE
from flows.methods import FLOWS

Component = dict[str, Any]

_TEXT: Final = {"type": "string"}
_MAYBE: Final = {"type": ["null", "string"]}
_FLAG: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_PATH: Final = {
    "type": "string",
    "description": "`/` and the name of an attribute or property; behind that of `locations` also a place among them",
    "anyOf": [
        {"enum": ["/name", "/tags", "/visibility", "/min_disk", "/owner", "/os_distro"]},
        {"enum": ["/locations", "/locations/-", "/locations/0"]},
        {"pattern": "^/[^/]+$"},
    ],
}
_OFTEN_ABSENT: Final = frozenset({"direct_url", "stores", "locations"})
_RAW_TIME: Final = {"description": "UTC, without saying so"}
_OF_PROGRESS: Final = {
    "task_id": "The task, as lists of tasks have it",
    "method": "How the data is brought",
    "status": "How far it is: pending, processing, success or failure",
    "phase": "What happens now, in words",
    "message": "How it ended, and why; empty until then",
    "created_at": "When it was asked for",
    "updated_at": "When there was news of it last",
    "step": "The step that is being done",
    "error_code": "Why it failed, in a word that does not change",
    "attempt": "How many times it was begun",
    "cancel_requested": "Whether it was called off",
    "all_stores_must_succeed": "Whether one store that fails makes it fail",
    "bytes_done": "Bytes of the image that have come",
    "bytes_total": "Bytes that will come, if that is known",
    "stores": "Each store that the data goes into",
    "attempts": "Each time it was begun, by which worker, and how that ended",
}


def components(options: ApiOptions) -> dict[str, Component]:
    """Every schema by its name."""
    image, known = _image(options), documents(options)
    return {
        "Image": image,
        "Images": _answer(known["images"], "images", required=("images", "first", "schema")),
        "NewImage": _new_image(options),
        "Member": _object(MEMBER, required=MEMBER),
        "Members": _answer(known["members"], "members", required=("members", "schema")),
        "Invitation": _object({"member": _TEXT | {"minLength": 1, "maxLength": 255}}, required=["member"]),
        "Reply": _object({"status": MEMBER["status"]}, required=["status"]),
        "Task": _object(
            TASK, required="id type status owner created_at updated_at self schema input result message".split()
        ),
        "Tasks": _answer(known["tasks"], "tasks", required=("tasks", "first", "schema")),
        "NewTask": _new_task(),
        "ImageTasks": _object({"tasks": {"type": "array", "items": _raw_task()}}, required=["tasks"]),
        "Patch21": _patch_21(),
        "Patch20": _patch_20(),
        "ImportRequest": _import_request(),
        "ImportProgress": _progress(),
        "ImportMethods": _object({"import-methods": _import_methods()}, required=["import-methods"]),
        "Stores": _stores({}),
        "StoresDetail": _stores({"type": _TEXT, "weight": {"type": "integer"}, "properties": {"type": "object"}}),
        "Locations": {
            "type": "array",
            "items": _object({"url": _TEXT, "metadata": _store_name()}, ["url", "metadata"]),
        },
        "NewLocation": _new_location(),
        "Usage": _object({"usage": {"type": "object", "additionalProperties": _usage()}}, ["usage"]),
        "Versions": _versions(),
        "Schema": _object({"name": _TEXT, "properties": {"type": "object"}}, required=["name", "properties"]),
        "Data": {"type": "string", "format": "binary"},
        "Text": _TEXT,
        "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Refusal": _object(_texts("message code title"), required=["message", "code", "title"]),
    }


def _object(properties: Schema, required: Iterable[str], **rules: object) -> Component:
    return {"type": "object", "properties": dict(properties), "required": list(required), **rules}


def _answer(document: Schema, name: str, *, required: Iterable[str]) -> Component:
    """A page as its schema of Glance's has it; the items of `images`, `members` are by reference."""
    properties = dict(document["properties"])
    if name != "tasks":
        properties[name] = {"type": "array", "items": {"$ref": f"#/components/schemas/{name[:-1].capitalize()}"}}
    return _object(properties, required)


def _image(options: ApiOptions) -> Component:
    properties = image_properties(options)
    always = [name for name, rule in properties.items() if rule.get("is_base", True) and name not in _OFTEN_ABSENT]
    return _object(properties, always, additionalProperties=_TEXT)


def _new_image(options: ApiOptions) -> Component:
    """What a client may say. Names that only the service may use are refused in any case, so they are not listed."""
    said = {name: rule for name, rule in image_properties(options).items() if not rule.get("readOnly")}
    del said["locations"]
    return _object(said, [], additionalProperties=_TEXT)


def _raw_task() -> Component:
    properties = dict(TASK) | {
        **_maybe("owner request_id user_id deleted_at"),
        **dict.fromkeys(("created_at", "updated_at"), _TEXT | _RAW_TIME),
        "expires_at": _MAYBE | _RAW_TIME,
        "deleted": _FLAG,
    }
    del properties["self"], properties["schema"]
    return _object(properties, properties, additionalProperties=False)


def _patch_21() -> Component:
    change = _object({"op": {"enum": list(OPERATIONS)}, "path": _PATH, "value": {}}, ["op", "path"])
    return {"type": "array", "items": change}


def _patch_20() -> Component:
    changes = [_object({op: _PATH, "value": {}}, [op]) for op in OPERATIONS]
    return {"type": "array", "items": {"oneOf": changes}}


def _import_request() -> Component:
    method = {
        "name": {"enum": list(FLOWS), "description": "One of those that `GET /v2/info/import` lists"},
        "uri": _TEXT | {"description": "Where to fetch the data (web-download)"},
        "checksum": _TEXT | {"description": "`algorithm:hex`, or the URL of a list of checksums"},
        "checksum_of": {"enum": [SOURCE, IMAGE], "description": "What the checksum is of"},
    }
    stores = {"type": "array", "items": _TEXT, "minItems": 1, "description": "Where to; the default store without it"}
    return _object(
        {
            "method": _object(method, ["name"]),
            "stores": stores,
            "all_stores": _FLAG | {"default": False, "description": "Into every store that can be written"},
            "all_stores_must_succeed": _FLAG
            | {"default": True, "description": "Whether one store that fails makes the whole import fail"},
        },
        ["method"],
    )


def _new_task() -> Component:
    given = {**_texts("import_from import_from_format"), "image_properties": {"$ref": "#/components/schemas/NewImage"}}
    return _object({"type": {"const": "import"}, "input": _object(given, given)}, ["type", "input"])


def _new_location() -> Component:
    promised = _object(
        {"os_hash_algo": {"enum": list(DIGITS)}, "os_hash_value": {"type": "string", "pattern": "^[0-9a-fA-F]+$"}},
        [],
        additionalProperties=False,
        description="What the data must hash to: both or neither",
    )
    url = _TEXT | {"minLength": 1, "maxLength": 255}
    return _object({"url": url, "validation_data": promised}, ["url"], additionalProperties=False)


def _store_name() -> Component:
    return _object({"store": _TEXT}, ["store"])


def _usage() -> Component:
    return _object({"limit": {"type": "integer", "minimum": -1}, "usage": _COUNT}, ["limit", "usage"])


def _progress() -> Component:
    store = {**_texts("store state"), "bytes_done": _COUNT, **_maybe("error_code reason")}
    attempt = {**_texts("step outcome message started_at"), "number": _COUNT, **_maybe("error_code ended_at")}
    worker = {"worker": _TEXT | {"description": "For administrators only"}}
    told = {
        **_texts("task_id method status phase message created_at updated_at"),
        **_maybe("step error_code"),
        "attempt": _COUNT,
        **dict.fromkeys(("cancel_requested", "all_stores_must_succeed"), _FLAG),
        "bytes_done": _COUNT,
        "bytes_total": {"type": ["null", "integer"]},
        "stores": {"type": "array", "items": _object(store, store)},
        "attempts": {"type": "array", "items": _object(attempt | worker, attempt)},
    }
    return _object({name: rule | {"description": _OF_PROGRESS[name]} for name, rule in told.items()}, told)


def _texts(names: str) -> Component:
    return dict.fromkeys(names.split(), _TEXT)


def _maybe(names: str) -> Component:
    return dict.fromkeys(names.split(), _MAYBE)


def _import_methods() -> Component:
    value = {"type": "array", "items": _TEXT}
    return _object({"description": _TEXT, "type": {"const": "array"}, "value": value}, ["type", "value"])


def _stores(more: Component) -> Component:
    words = {"const": "true", "description": "Only where it is so, and then as a word"}
    store = {"id": _TEXT, "description": _TEXT, "default": words, "read-only": words, **more}
    return _object({"stores": {"type": "array", "items": _object(store, ["id", *more])}}, ["stores"])


def _versions() -> Component:
    link = _object({"rel": {"const": "self"}, "href": _TEXT | {"format": "uri"}}, ["rel", "href"])
    version = _object(
        {"id": _TEXT, "status": {"enum": ["CURRENT", "SUPPORTED"]}, "links": {"type": "array", "items": link}},
        ["id", "status", "links"],
    )
    return _object({"versions": {"type": "array", "items": version}}, ["versions"])
