"""Checks a value against the part of JSON schema that our own schemas use, in words that name the field; and quotas."""

import re
from collections.abc import Sized
from typing import Any

import falcon

from api.schemas import Schema

CUSTOM: Schema = {"type": "string"}
"""The schema of a property that no schema names."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def complaint(name: str, value: object, schema: Schema) -> str | None:
    """Return what is wrong with the value of `name`, or None."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return f"{name!r} must be {_words(kinds)}."
    if "enum" in schema and value not in schema["enum"]:
        return f"{name!r} must be one of {_words(schema['enum'])}."
    if isinstance(value, str):
        return _text_complaint(name, value, schema)
    if isinstance(value, list):
        return next((c for item in value if (c := complaint(name, item, schema["items"]))), None)
    if isinstance(value, dict):
        return _object_complaint(name, value, schema)
    if isinstance(value, int):
        return _number_complaint(name, value, schema)
    return None


def _is(value: object, kind: str) -> bool:
    # Python calls a boolean an integer, JSON does not.
    return isinstance(value, _TYPES[kind]) and not (kind == "integer" and isinstance(value, bool))


def _text_complaint(name: str, value: str, schema: Schema) -> str | None:
    if "\0" in value:
        return f"{name!r} holds a NUL character."
    if len(value) < schema.get("minLength", 0):
        return f"{name!r} is shorter than {schema['minLength']} characters."
    if len(value) > schema.get("maxLength", len(value)):
        return f"{name!r} is longer than {schema['maxLength']} characters."
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        return f"{name!r} must look like {schema['pattern']}."
    return None


def _object_complaint(name: str, value: dict[str, Any], schema: Schema) -> str | None:
    known = schema.get("properties", {})
    for member in schema.get("required", ()):
        if member not in value:
            return f"{name!r} has no {member!r}."
    for member, said in value.items():
        if member in known:
            wrong = complaint(f"{name}.{member}", said, known[member])
            if wrong:
                return wrong
        elif schema.get("additionalProperties") is False:
            return f"{name!r} has a member {member!r}, which is not known here."
    return None


def _number_complaint(name: str, value: int, schema: Schema) -> str | None:
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{name!r} must be from {schema['minimum']} to {schema['maximum']}."
    return None


def _words(options: list[Any]) -> str:
    return ", ".join("null" if option is None else str(option) for option in options)


def require_few(items: Sized, what: str, quota: int) -> None:
    """Raise a 413 for more `items` than `quota`; a negative quota is none."""
    if 0 <= quota < len(items):
        raise falcon.HTTPContentTooLarge(description=f"An image may have {quota} {what}, and {len(items)} are given.")
