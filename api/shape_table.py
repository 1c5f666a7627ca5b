"""JSON schemas as a list of fields, for people (`api/page.py`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body: its name with those of the fields around it, what it means, and what it may be.

    `shape` is the component that tells what is inside, if it is one; it stands among the words of `kind` too.
    """

    name: str
    says: str
    kind: list[str]
    shape: str = ""


def fields(schema: Schema, within: str = "") -> Iterator[Field]:
    """Every field of a body, with those inside it: `a.b` is `b` in the object `a`, `a[].b` in each of a list."""
    choices = schema.get("oneOf", [schema])
    required = set.intersection(*(set(choice.get("required", ())) for choice in choices))
    for name, rule in {name: rule for one in choices for name, rule in one.get("properties", {}).items()}.items():
        yield from _field(f"{within}{name}", rule, ["required"] if name in required else [])
    if (others := schema.get("additionalProperties")) and schema["type"] == "object":
        yield from _field(f"{within}…", others, ["any other name"])
    if "items" in schema and name_of(schema["items"]) == "":
        yield from fields(schema["items"], f"{within}[].")


def _field(name: str, rule: Schema, need: list[str]) -> Iterator[Field]:
    shape = name_of(rule) or name_of(rule.get("items", {}))
    yield Field(name, rule.get("description", ""), [*need, *kind(rule)], shape)
    yield from fields(rule, name if "items" in rule else f"{name}.")


def name_of(schema: Schema) -> str:
    """The component that a schema refers to; empty when it says all itself."""
    reference: str = schema.get("$ref", "")
    return reference.rpartition("/")[2]


def kind(schema: Schema) -> list[str]:
    """What a value may be, in words."""
    if shape := name_of(schema):
        return [shape]
    words = []
    types = schema.get("type", [])
    if types == "array":
        words += ["list of", *kind(schema["items"])] if name_of(schema["items"]) else ["list"]
    elif types:
        words.append(" or ".join([types] if isinstance(types, str) else reversed(types)))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        words.append(f"one of: {' '.join(str(value) for value in values if value is not None)}")
    if "default" in schema:
        words.append(f"without it: {str(schema['default']).lower()}")
    return words or ["anything"]
