"""Members as rows: the projects that a shared image is shared with, and what they say to it (http-api §8)."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from catalog import tables as t
from catalog.engine import Database, broken_rule
from catalog.errors import Duplicate, NotFound

STATUSES = ("pending", "accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Member:
    """One project that an image is shared with; `member` is its id. Times are microseconds."""

    image_id: str
    member: str
    status: str
    created_at: int
    updated_at: int


class Members:
    """The members of images of one database, within one transaction. Whether an image is shared is not asked here."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._database = database

    def of_image(self, image_id: str) -> list[Member]:
        """All members of the image, in the order of their ids."""
        row = t.image_members.c
        found = self._connection.execute(
            select(t.image_members).where(row.image_id == image_id).order_by(row.member)
        ).all()
        return [Member(**member._mapping) for member in found]

    def get(self, image_id: str, member: str) -> Member:
        """One member. Raises `NotFound`."""
        row = t.image_members.c
        found = self._connection.execute(
            select(t.image_members).where(row.image_id == image_id, row.member == member)
        ).first()
        if found is None:
            raise _no_member(image_id, member)
        return Member(**found._mapping)

    def add(self, image_id: str, member: str) -> Member:
        """Share the image with a project, which has yet to answer. Raises `Duplicate`."""
        now = self._connection.execute(select(self._database.now())).scalar_one()
        try:
            self._connection.execute(
                insert(t.image_members).values(
                    image_id=image_id, member=member, status="pending", created_at=now, updated_at=now
                )
            )
        except IntegrityError as error:
            if broken_rule(error) in ("image_members_pkey", "image_members.image_id, image_members.member"):
                raise Duplicate(f"Image {image_id} is already shared with {member}.") from error
            raise
        return self.get(image_id, member)

    def answer(self, image_id: str, member: str, status: str) -> Member:
        """Record what the project says. Raises `NotFound`."""
        row = t.image_members.c
        answered = self._connection.execute(
            update(t.image_members)
            .where(and_(row.image_id == image_id, row.member == member))
            .values(status=status, updated_at=self._database.now())
        )
        if not answered.rowcount:
            raise _no_member(image_id, member)
        return self.get(image_id, member)

    def remove(self, image_id: str, member: str) -> None:
        """Share the image with the project no longer. Raises `NotFound`."""
        row = t.image_members.c
        gone = self._connection.execute(delete(t.image_members).where(row.image_id == image_id, row.member == member))
        if not gone.rowcount:
            raise _no_member(image_id, member)


def _no_member(image_id: str, member: str) -> NotFound:
    return NotFound(f"Image {image_id} is not shared with {member}.")
