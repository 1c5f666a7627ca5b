"""Reads the options of a `StoreSpec`: typed values, or the texts of a configuration file.

A value that makes no sense is a `StoreMisconfigured` naming the option and never showing a value that may be
secret.
"""

import math
from collections.abc import Mapping

from stores.base import StoreSpec
from stores.errors import StoreMisconfigured

_FLAGS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def text(spec: StoreSpec, name: str, default: str = "") -> str:
    """Return the option `name` without surrounding blanks, `default` when it is absent or empty."""
    value = spec.options.get(name)
    return default if value is None else str(value).strip() or default


def flag(spec: StoreSpec, name: str, default: bool) -> bool:
    """Return the option `name` as yes or no."""
    value = text(spec, name, str(default)).lower()
    if value not in _FLAGS:
        raise StoreMisconfigured(spec.id, f"{name} must be true or false")
    return _FLAGS[value]


def number(spec: StoreSpec, name: str, default: int, *, least: int, base: int = 10) -> int:
    """Return the option `name`, whose digits are of `base`, as a number that is not below `least`."""
    value = text(spec, name)
    if not value:
        return default
    try:
        parsed = int(value, base)
    except ValueError as error:
        kind = "an octal number" if base == 8 else "a whole number"
        raise StoreMisconfigured(spec.id, f"{name} must be {kind}") from error
    if parsed < least:
        raise StoreMisconfigured(spec.id, f"{name} must not be below {least}")
    return parsed


def seconds(spec: StoreSpec, name: str, default: float) -> float:
    """Return the option `name` as a length of time, more than none."""
    try:
        parsed = float(text(spec, name, str(default)))
    except ValueError as error:
        raise StoreMisconfigured(spec.id, f"{name} must be a number of seconds") from error
    if not 0 < parsed < math.inf:
        raise StoreMisconfigured(spec.id, f"{name} must be more than 0")
    return parsed


def pairs(spec: StoreSpec, name: str) -> dict[str, str]:
    """Return the option `name`, a mapping or `key:value,key:value`, as a mapping of texts."""
    value = spec.options.get(name)
    if isinstance(value, Mapping):
        return {str(key): str(entry) for key, entry in value.items()}
    found = {}
    for entry in filter(None, (part.strip() for part in text(spec, name).split(","))):
        key, colon, rest = entry.partition(":")
        if not (key and colon and rest):
            raise StoreMisconfigured(spec.id, f"{name} must be a list of key:value")
        found[key] = rest
    return found
