"""What a list of operations makes of an image's locations, or the refusal that says why not (http-api §4.4). No I/O."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import falcon
import msgspec

from api import rights
from api.context import Context
from api.patches import Operation
from api.schemas import Schema
from api.validation import complaint, require_few
from catalog.images import ImageRecord, Location
from flows.options import ImportOptions
from flows.relocation import Promise, Relocation
from pipeline.uris import mask
from stores.registry import StoreRegistry

LOCATIONS: Final = "locations"
LONGEST_METADATA: Final = 4096
"""Characters of JSON that may be said of one location: every list reads them."""

_RULES: Final = {"add": "set_image_location", "replace": "set_image_location", "remove": "delete_image_location"}
_POSITION = re.compile(r"0|[1-9][0-9]{0,8}")
_PROMISED = ("checksum", "os_hash_algo", "os_hash_value")
_STORE = "store"
"""What is always said of a location, by us."""


def check_location(operation: Operation, schema: Schema) -> None:
    """Raise a 400 for an operation on `locations`, whose schema is given, that makes no sense for any image."""
    if operation.op == "remove":
        return
    one = operation.op == "add"
    wrong = complaint(LOCATIONS, operation.value, schema["items"] if one else schema)
    if wrong:
        raise falcon.HTTPBadRequest(description=wrong)
    for said in _values(operation):
        if len(_encoded(said["metadata"]) or "") > LONGEST_METADATA:
            raise falcon.HTTPBadRequest(
                description=f"'locations.metadata' is longer than {LONGEST_METADATA} characters."
            )


@dataclass(slots=True)
class _Entry:
    """One of the locations as the operations leave them; `at` is where it is if it is there already."""

    url: str
    metadata: str | None
    at: Location | None = None


class Relocations:
    """Judges operations on locations, in the order in which `stores` show them."""

    def __init__(self, options: ImportOptions, stores: StoreRegistry) -> None:
        self._options = options
        self._stores = stores

    def judge(self, operations: Sequence[Operation], image: ImageRecord, who: Context) -> Relocation:
        """Return what becomes of the image's locations by those of the checked operations that are about them.

        Raises a 400, 403, 404, 409 or 413; then nothing of them counts.
        """
        draft = _Draft(image, self._stores)
        for operation in operations:
            if operation.name != LOCATIONS:
                continue
            rights.require(who, "get_image_location", image)
            rights.require(who, _RULES[operation.op], image)
            draft.apply(operation)
        if draft.added:
            require_few(draft.entries, LOCATIONS, self._options.location_quota)
        return Relocation(
            added={entry.url: entry.metadata for entry in draft.added},
            removed=tuple(draft.removed),
            described=draft.described,
            promise=draft.promise(self._options.hashing_algorithm),
        )


class _Draft:
    """The locations of an image as operations leave them, one after the other."""

    def __init__(self, image: ImageRecord, stores: StoreRegistry) -> None:
        self._image = image
        self._status = image.status
        self._promised: dict[str, str] = {}
        self.entries = [_Entry(at.url, at.metadata, at) for at in stores.by_weight(image.locations)]
        self.removed: list[Location] = []

    @property
    def added(self) -> list[_Entry]:
        return [entry for entry in self.entries if entry.at is None]

    @property
    def described(self) -> dict[Location, str | None]:
        """What is said of locations now that was not said of them before."""
        kept = {entry.at: entry.metadata for entry in self.entries if entry.at is not None}
        return {at: said for at, said in kept.items() if said != at.metadata}

    def apply(self, operation: Operation) -> None:
        """Do one operation. Raises a 400, 403 or 409."""
        if operation.op == "remove":
            self._require_status("active")
            self._remove(str(operation.position))
            return
        self._require_status("active", "queued")
        values = list(_values(operation))
        for said in values:
            self._promise(said.get("validation_data", {}))
        if operation.op == "add":
            at = self._position(str(operation.position), last=len(self.entries), end="-")
            self._insert(at, values[0])
        else:
            self._replace(values)
        self._status = "active"

    def promise(self, algorithm: str) -> Promise:
        """What is said of data that nobody has read, for an image that has none yet; the hash must be of `algorithm`.

        Raises a 409.
        """
        new = {name: value for name, value in self._promised.items() if value != getattr(self._image, name)}
        for name in new:
            if getattr(self._image, name) is not None:
                raise falcon.HTTPConflict(description=f"'{name}' of image {self._image.id} is another.")
        if new and self._image.status != "queued":
            raise falcon.HTTPConflict(
                description=f"Image {self._image.id} is in status {self._image.status}, not queued: what its data "
                f"hashes to ({', '.join(new)}) cannot be said any more."
            )
        if new.get("os_hash_algo", algorithm) != algorithm:
            raise falcon.HTTPConflict(description=f"'os_hash_algo' must be {algorithm}, not {new['os_hash_algo']}.")
        for name, digest in (("checksum", "md5"), ("os_hash_value", algorithm)):
            digits = hashlib.new(digest, usedforsecurity=False).digest_size * 2
            if name in new and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", new[name]):
                raise falcon.HTTPConflict(description=f"'{name}' must be {digits} hex digits for {digest}.")
        return Promise(**new)

    def _require_status(self, *statuses: str) -> None:
        if self._status not in statuses:
            raise falcon.HTTPConflict(
                description=f"Image {self._image.id} is in status {self._status}, not {' or '.join(statuses)}: its "
                "locations cannot be changed so."
            )

    def _remove(self, position: str) -> None:
        if len(self.entries) == 1:
            raise falcon.HTTPForbidden(
                description=f"Image {self._image.id} has one location only; to let go of its data, delete the image."
            )
        gone = self.entries.pop(self._position(position, last=len(self.entries) - 1))
        if gone.at is not None:
            self.removed.append(gone.at)

    def _replace(self, values: list[Mapping[str, Any]]) -> None:
        if not values:
            raise falcon.HTTPForbidden(
                description=f"The locations of image {self._image.id} cannot be replaced by none; delete the image."
            )
        if not self.entries:
            for said in values:
                self._insert(len(self.entries), said)
            return
        if sorted(said["url"] for said in values) != sorted(entry.url for entry in self.entries):
            raise falcon.HTTPBadRequest(
                description=f"Image {self._image.id} has other locations; replacing them can only change what is "
                "said of each. They are added and removed one by one."
            )
        metadata = {said["url"]: _encoded(said["metadata"]) for said in values}
        for entry in self.entries:
            entry.metadata = metadata[entry.url]

    def _insert(self, position: int, said: Mapping[str, Any]) -> None:
        if said["url"] in [entry.url for entry in self.entries] + [at.url for at in self.removed]:
            raise falcon.HTTPBadRequest(
                description=f"Image {self._image.id} has the location {mask(said['url'])} already."
            )
        self.entries.insert(position, _Entry(said["url"], _encoded(said["metadata"])))

    def _position(self, position: str, *, last: int, end: str | None = None) -> int:
        """The position up to `last`, which `end` means too. Raises a 400."""
        if position == end:
            return last
        if not _POSITION.fullmatch(position) or int(position) > last:
            raise falcon.HTTPBadRequest(
                description=f"/locations/{position[:20]} is no place among the {len(self.entries)} locations of image "
                f"{self._image.id}."
            )
        return int(position)

    def _promise(self, said: Mapping[str, str]) -> None:
        for name in _PROMISED:
            value = said[name].lower() if name in said else None
            if value is not None and self._promised.setdefault(name, value) != value:
                raise falcon.HTTPConflict(description=f"'validation_data.{name}' is said to be two different things.")


def _values(operation: Operation) -> Iterator[Mapping[str, Any]]:
    """The locations that are said in a checked operation which adds or replaces."""
    values: Any = operation.value
    yield from [values] if operation.op == "add" else values


def _encoded(metadata: Mapping[str, Any]) -> str | None:
    """What is kept of metadata: all but the store, which follows from the URL."""
    said = {name: value for name, value in metadata.items() if name != _STORE}
    return msgspec.json.encode(said).decode() if said else None
