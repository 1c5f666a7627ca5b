"""Which attributes and properties a client may name when it makes or changes an image (http-api §4.1, §4.4)."""

import falcon

from catalog.images import NewImage
from catalog.names import reserved

WRITABLE = frozenset(NewImage.__dataclass_fields__) - {"properties"}
"""Attributes that a client may give to an image that it makes. Any other name is that of a custom property."""

_READ_ONLY = frozenset(
    "status checksum size virtual_size created_at updated_at os_hash_algo os_hash_value "
    "direct_url self file schema".split()
)
_RESERVED = frozenset("location deleted deleted_at".split())
_LONGEST = 255


def require_settable(name: str) -> None:
    """Raise a 403 for what the service alone says: read-only attributes, and reserved names in any spelling."""
    if name in _READ_ONLY:
        raise falcon.HTTPForbidden(description=f"Attribute {name!r} is read-only.")
    if name in _RESERVED or reserved(name):
        raise falcon.HTTPForbidden(description=f"Attribute {name!r} is reserved.")
    if name == "locations":
        raise falcon.HTTPForbidden(description="'locations' cannot be set: where they are shown, a PATCH changes them.")


def name_complaint(name: str) -> str | None:
    """Return what is wrong with the name of a custom property, or None."""
    if not 0 < len(name) <= _LONGEST:
        return f"A property must have a name of 1 to {_LONGEST} characters, not {len(name)}."
    return "The name of a property holds a NUL character." if "\0" in name else None
