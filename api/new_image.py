"""The body of `POST /v2/images` as a `NewImage`, or the refusal that names the field (http-api §4.1)."""

import uuid
from collections.abc import Mapping
from typing import Any

import falcon

from api.context import Context
from api.options import ApiOptions
from api.schemas import image_properties
from api.validation import complaint
from catalog.images import NewImage

READ_ONLY = frozenset("status checksum size virtual_size created_at updated_at os_hash_algo os_hash_value".split())
RESERVED = frozenset("direct_url self file schema stores location locations deleted deleted_at".split())
_WRITABLE = frozenset(NewImage.__dataclass_fields__) - {"properties"}
_CUSTOM = {"type": "string"}
_LONGEST_NAME = 255


class NewImageReader:
    """Reads bodies by the rules of `options`."""

    def __init__(self, options: ApiOptions) -> None:
        self._options = options
        self._schema = image_properties(options)

    def read(self, body: Mapping[str, Any], who: Context) -> NewImage:
        """Return what `who` asks to be made; 403, 400 and 413 in the order that Glance checks them."""
        for name in body:
            _require_settable(name)
        for name, value in body.items():
            wrong = complaint(name, value, self._schema.get(name, _CUSTOM)) or _name_complaint(name)
            if wrong:
                raise falcon.HTTPBadRequest(description=wrong)
        base = {name: value for name, value in body.items() if name in _WRITABLE}
        base.setdefault("id", str(uuid.uuid4()))
        base.setdefault("owner", who.project)
        base["tags"] = tuple(dict.fromkeys(body.get("tags", ())))
        new = NewImage(**base, properties={name: body[name] for name in body if name not in _WRITABLE})
        _require_permitted(new, who)
        _require_few(new.properties, "properties", self._options.property_quota)
        _require_few(new.tags, "tags", self._options.tag_quota)
        return new


def _require_settable(name: str) -> None:
    if name in READ_ONLY:
        raise falcon.HTTPForbidden(description=f"Attribute {name!r} is read-only.")
    if name in RESERVED or name.startswith("os_glance"):
        raise falcon.HTTPForbidden(description=f"Attribute {name!r} is reserved.")


def _name_complaint(name: str) -> str | None:
    if not 0 < len(name) <= _LONGEST_NAME:
        return f"A property must have a name of 1 to {_LONGEST_NAME} characters, not {len(name)}."
    return "The name of a property holds a NUL character." if "\0" in name else None


def _require_permitted(new: NewImage, who: Context) -> None:
    if who.is_admin:
        return
    if new.owner != who.project:
        raise falcon.HTTPForbidden(description="'owner' must be your own project.")
    if new.visibility == "public":
        raise falcon.HTTPForbidden(description="'visibility' public is for administrators.")


def _require_few(items: Mapping[str, object] | tuple[str, ...], what: str, quota: int) -> None:
    if 0 <= quota < len(items):
        raise falcon.HTTPContentTooLarge(description=f"An image may have {quota} {what}, and {len(items)} are given.")
