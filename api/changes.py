"""What a list of operations makes of an image, or the refusal that names the attribute (http-api §4.4). No I/O."""

from collections.abc import Sequence
from typing import Any

import falcon

from api import rights
from api.context import Context
from api.names import name_complaint, require_settable
from api.options import ApiOptions
from api.patches import Operation
from api.relocation import LOCATIONS, check_location
from api.schemas import image_properties
from api.validation import CUSTOM, complaint, require_few
from catalog.changes import CHANGEABLE, ImageChange
from catalog.images import ImageRecord

_FORMATS = ("container_format", "disk_format")
_FORMATS_OPEN = ("queued", "uploading", "importing")
"""Statuses in which nothing has been published under the declared formats."""


class Changes:
    """Judges operations by the rules of `options`, first by themselves, then by the image as it stands."""

    def __init__(self, options: ApiOptions) -> None:
        self._options = options
        self._schema = image_properties(options)

    def check(self, operations: Sequence[Operation]) -> None:
        """Raise a 403 for a name that nobody may set, a 400 for a malformed name or value."""
        for operation in operations:
            name = operation.name
            if name == LOCATIONS and self._options.show_multiple_locations:
                check_location(operation, self._schema[LOCATIONS])
                continue
            if name == "id":
                raise falcon.HTTPForbidden(description="Attribute 'id' is read-only.")
            require_settable(name)
            if operation.op == "remove":
                continue
            wrong = complaint(name, operation.value, self._schema.get(name, CUSTOM)) or name_complaint(name)
            if wrong:
                raise falcon.HTTPBadRequest(description=wrong)

    def judge(self, operations: Sequence[Operation], image: ImageRecord, who: Context) -> ImageChange:
        """Return what is to be written for the checked operations, applied in order, that `who` asks for; what they
        make of its locations is for `Relocations` to say.

        Raises a 403, 409 or 413; then nothing of them counts.
        """
        draft = _Draft(rights.as_seen(who, image), who)
        for operation in operations:
            if operation.name == LOCATIONS:
                continue
            _require_permitted(operation, image, who)
            draft.apply(operation)
        change = draft.change()
        _require_open_formats(change, image)
        if draft.properties.keys() - image.properties.keys():
            kept = image.properties.keys() - change.removed
            require_few(kept | draft.properties.keys(), "properties", self._options.property_quota)
        require_few(change.tags or (), "tags", self._options.tag_quota)
        return change


class _Draft:
    """An image as the operations of `who` leave it, one after the other. What `who` does not see is not there."""

    def __init__(self, image: ImageRecord, who: Context) -> None:
        self._image = image
        self._who = who
        self._base: dict[str, Any] = {name: getattr(image, name) for name in (*CHANGEABLE, "tags")}
        self.properties = dict(image.properties)

    def apply(self, operation: Operation) -> None:
        """Do one operation. Raises a 403 or 409."""
        op, name = operation.op, operation.name
        known = name in self._base or name in self.properties
        if op == "remove" and name in self._base:
            raise falcon.HTTPForbidden(description=f"Attribute {name!r} cannot be removed.")
        if op != "add" and not known:
            raise falcon.HTTPConflict(description=f"Property {name!r} does not exist.")
        if operation.must_be_new and known:
            raise falcon.HTTPConflict(description=f"Property {name!r} is already there.")
        if op == "remove":
            rights.require_property(self._who, "delete", name)
            del self.properties[name]
        elif name in self._base:
            self._base[name] = operation.value
        else:
            rights.require_property(self._who, "update" if known else "create", name)
            # Checked: the schema of a custom property allows a string, at most null beside it.
            self.properties[name] = operation.value  # type: ignore[assignment]

    def change(self) -> ImageChange:
        """The differences between the image and this draft of it."""
        old = self._image.properties
        tags = tuple(dict.fromkeys(self._base["tags"]))
        return ImageChange(
            columns={name: self._base[name] for name in CHANGEABLE if self._base[name] != getattr(self._image, name)},
            properties={n: v for n, v in self.properties.items() if n not in old or old[n] != v},
            removed=frozenset(old.keys() - self.properties.keys()),
            tags=tags if set(tags) != set(self._image.tags) else None,
        )


def _require_permitted(operation: Operation, image: ImageRecord, who: Context) -> None:
    if operation.op == "remove":
        return
    if operation.name == "owner":
        rights.require_may_give_away(who)
    if operation.name == "visibility":
        rights.require_may_show(who, image, str(operation.value))


def _require_open_formats(change: ImageChange, image: ImageRecord) -> None:
    for name in _FORMATS:
        if name not in change.columns:
            continue
        if image.status not in _FORMATS_OPEN:
            raise falcon.HTTPForbidden(
                description=f"{name!r} of image {image.id} can no longer be changed: its status is {image.status}."
            )
        if image.status == "importing" and change.columns[name] is None:
            raise falcon.HTTPForbidden(description=f"{name!r} is needed by the import of image {image.id}.")
