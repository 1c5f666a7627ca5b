"""What is known of an image's data, and how an image becomes active with it."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import CatalogError, Conflict, FormatChanged


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of an image's data once every byte was seen: bytes, hex digests, and the formats it was inspected
    as. Without a hash nobody has seen the bytes.
    """

    size: int
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    disk_format: str
    container_format: str


def activate(connection: Connection, database: Database, image_id: str, facts: DataFacts, *, begins_from: str) -> None:
    """`begins_from` → active with what is known of the data.

    Raises `Conflict` when the image moved on (deleted), `FormatChanged` when its formats are no longer those that the
    data was inspected as. The guard in the database refuses an active image without a location, whoever asks.
    """
    image = t.images.c
    moved = connection.execute(
        update(t.images)
        .where(image.id == image_id, image.status == begins_from)
        .where(image.disk_format == facts.disk_format, image.container_format == facts.container_format)
        .values(
            status="active",
            size=facts.size,
            virtual_size=facts.virtual_size,
            checksum=facts.checksum,
            os_hash_algo=facts.os_hash_algo,
            os_hash_value=facts.os_hash_value,
            updated_at=database.now(),
        )
    )
    if not moved.rowcount:
        raise _why_not(connection, image_id, facts, begins_from)


def _why_not(connection: Connection, image_id: str, facts: DataFacts, begins_from: str) -> CatalogError:
    image = t.images.c
    now = connection.execute(
        select(image.status, image.disk_format, image.container_format).where(image.id == image_id)
    ).one()
    if now.status != begins_from:
        return Conflict(f"Image {image_id} is in status {now.status}, no longer {begins_from}.")
    return FormatChanged(
        f"Image {image_id} was changed to disk_format {now.disk_format} in container_format "
        f"{now.container_format} while its data was inspected as {facts.disk_format} in {facts.container_format}; "
        "it can be imported again."
    )
