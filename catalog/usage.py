"""What a project uses of the service, counted when it is asked for (import-behaviour §1.9)."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from catalog import tables as t
from catalog.records import IMPORTING


@dataclass(frozen=True, slots=True)
class Usage:
    """What the images of one project use: bytes in stores (each copy counts), bytes that are staged or on their way,
    how many images there are, and into how many of them data is being brought.
    """

    stored: int
    staged: int
    images: int
    uploading: int


def usage_of(connection: Connection, project: str) -> Usage:
    """Count for the images that belong to `project`, in one statement."""
    image = t.images.c
    size = func.coalesce(image.size, 0)
    copies = select(func.count()).where(t.locations.c.image_id == image.id).scalar_subquery()
    busy = or_(image.status.in_(("uploading", "importing")), and_(image.status == "active", _is_copied()))
    counted = connection.execute(
        select(
            func.sum(size * copies),
            func.sum(size).filter(busy),
            func.count(),
            func.count().filter(or_(busy, image.status == "saving")),
        ).where(image.owner == project, image.deleted_at.is_(None))
    ).one()
    return Usage(*(int(number or 0) for number in counted))


def _is_copied() -> ColumnElement[bool]:
    """Whether a store still waits for the image's data."""
    target = t.targets.c
    return (
        select(target.store)
        .where(target.image_id == t.images.c.id, t.current_target, target.state.in_(IMPORTING))
        .exists()
    )
