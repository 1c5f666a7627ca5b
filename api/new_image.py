"""The body of `POST /v2/images` as a `NewImage`, or the refusal that names the field (http-api §4.1)."""

import uuid
from collections.abc import Mapping
from typing import Any

import falcon

from api import rights
from api.context import Context
from api.names import WRITABLE, name_complaint, require_settable
from api.options import ApiOptions
from api.schemas import image_properties
from api.validation import CUSTOM, complaint, require_few
from catalog.images import NewImage


class NewImageReader:
    """Reads bodies by the rules of `options`."""

    def __init__(self, options: ApiOptions) -> None:
        self._options = options
        self._schema = image_properties(options)

    def read(self, body: Mapping[str, Any], who: Context) -> NewImage:
        """Return what `who` asks to be made; 403, 400 and 413 in the order that Glance checks them."""
        for name in body:
            require_settable(name)
        for name, value in body.items():
            wrong = complaint(name, value, self._schema.get(name, CUSTOM)) or name_complaint(name)
            if wrong:
                raise falcon.HTTPBadRequest(description=wrong)
        base = {name: value for name, value in body.items() if name in WRITABLE}
        base.setdefault("id", str(uuid.uuid4()))
        base.setdefault("owner", who.project)
        base["tags"] = tuple(dict.fromkeys(body.get("tags", ())))
        new = NewImage(**base, properties={name: body[name] for name in body if name not in WRITABLE})
        rights.require_may_add(who, new)
        require_few(new.properties, "properties", self._options.property_quota)
        require_few(new.tags, "tags", self._options.tag_quota)
        return new
