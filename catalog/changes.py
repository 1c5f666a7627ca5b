"""What a user changes of an image: written row by row, so that whoever works on the image loses nothing.

An import writes status, size, hashes, locations and verdicts under its fence; none of them can be named here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import no_image

CHANGEABLE = frozenset(
    "name owner visibility protected os_hidden container_format disk_format min_disk min_ram".split()
)
"""Columns of images that belong to users (http-api §3.1)."""


@dataclass(frozen=True, slots=True)
class ImageChange:
    """The differences to an image as it stands: new values of columns and of properties, names of properties to remove,
    and all tags it shall have, or None to leave them.
    """

    columns: Mapping[str, object] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    tags: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if strange := self.columns.keys() - CHANGEABLE:
            raise ValueError(f"not for users to change: {', '.join(sorted(strange))}")


def write(connection: Connection, database: Database, image_id: str, change: ImageChange) -> None:
    """Write the differences and the time of the change, the image's row first: what follows is then ours to change.

    Raises `NotFound` for a deleted image.
    """
    image = t.images.c
    touched = connection.execute(
        update(t.images)
        .where(image.id == image_id, image.status != "deleted")
        .values(**change.columns, updated_at=database.now())
    )
    if not touched.rowcount:
        raise no_image(image_id)
    prop, tag = t.image_properties.c, t.image_tags.c
    gone = [*change.removed, *change.properties]
    if gone:
        connection.execute(delete(t.image_properties).where(prop.image_id == image_id, prop.name.in_(gone)))
    if change.properties:
        rows = [{"image_id": image_id, "name": name, "value": value} for name, value in change.properties.items()]
        connection.execute(insert(t.image_properties), rows)
    if change.tags is not None:
        connection.execute(delete(t.image_tags).where(tag.image_id == image_id))
    if change.tags:
        rows = [{"image_id": image_id, "tag": word} for word in dict.fromkeys(change.tags)]
        connection.execute(insert(t.image_tags), rows)
