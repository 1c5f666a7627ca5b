"""Images as rows: reading them whole, and the changes that the API makes; a worker's are in `catalog/fenced.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from catalog import changes
from catalog import tables as t
from catalog.changes import ImageChange
from catalog.engine import Database, broken_rule
from catalog.errors import Conflict, Duplicate, Protected, no_image
from catalog.facts import DataFacts, activate
from catalog.listing import ImageQuery, page_of
from catalog.objects import discard
from catalog.records import ImageRecord as ImageRecord
from catalog.records import Location as Location
from catalog.records import record, whole
from catalog.tasks import call_off
from catalog.visibility import EVERYTHING, Viewer, may_see


@dataclass(frozen=True, slots=True)
class NewImage:
    """What a user may set when an image is made (http-api §4.1)."""

    id: str
    owner: str | None
    name: str | None = None
    visibility: str = "shared"
    protected: bool = False
    os_hidden: bool = False
    container_format: str | None = None
    disk_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    properties: Mapping[str, str | None] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


class Images:
    """The images of one database, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._database = database

    def get(self, image_id: str, viewer: Viewer = EVERYTHING) -> ImageRecord:
        """One image that is not deleted. Raises `NotFound`, also for one that `viewer` may not see."""
        asked = {"image_id": image_id, "project": viewer.project}
        row = self._connection.execute(_one(viewer.sees_all), asked).first()
        if row is None:
            raise no_image(image_id)
        return record(row)

    def get_to_change(self, image_id: str, viewer: Viewer = EVERYTHING) -> ImageRecord:
        """As `get`, and nobody else changes the image before this transaction ends: what is judged by the answer holds.

        Only the images row is locked, as an update would; who holds the lock of an import is not asked.
        """
        # First locked, then read: a statement that waits for a lock sees what belongs to the image as it was before.
        row = select(t.images.c.id).where(t.images.c.id == image_id).with_for_update(key_share=True)
        self._connection.execute(row)
        return self.get(image_id, viewer)

    def page(self, query: ImageQuery) -> list[ImageRecord]:
        """A page of images. Raises `BadMarker`. One statement, and one to find the marker."""
        return [record(row) for row in page_of(self._connection, query)]

    def create(self, new: NewImage) -> ImageRecord:
        """Insert the image and its (free) lock. Raises `Duplicate`, also for the id of a deleted image."""
        now = self._connection.execute(select(self._database.now())).scalar_one()
        base = {c.name: getattr(new, c.name) for c in t.images.c if hasattr(new, c.name)}
        try:
            self._connection.execute(insert(t.images).values(**base, status="queued", created_at=now, updated_at=now))
        except IntegrityError as error:
            if broken_rule(error) in ("images_pkey", "images.id"):
                raise Duplicate(f"Image ID {new.id} already exists!") from error
            raise
        self._connection.execute(insert(t.image_locks).values(image_id=new.id, fence=0))
        if new.properties:
            rows = [{"image_id": new.id, "name": n, "value": v} for n, v in new.properties.items()]
            self._connection.execute(insert(t.image_properties), rows)
        if new.tags:
            self._connection.execute(insert(t.image_tags), [{"image_id": new.id, "tag": x} for x in set(new.tags)])
        return self.get(new.id)

    def update(self, image_id: str, change: ImageChange) -> ImageRecord:
        """Write what a user changes, and nothing else; the image as it is then. Raises `NotFound`.

        Judge by `get_to_change` in the same transaction: then two changes at once both count, one after the other.
        """
        changes.write(self._connection, self._database, image_id, change)
        return self.get(image_id)

    def activate(self, image_id: str, facts: DataFacts) -> None:
        """queued → active with what is said of data that is there already, after its location was added.

        Raises as `catalog.facts.activate`.
        """
        activate(self._connection, self._database, image_id, facts, begins_from="queued")

    def switch(self, image_id: str, status: str) -> None:
        """active ↔ deactivated. Raises `Conflict` from any other status, `NotFound` for a deleted image."""
        image = t.images.c
        moved = self._connection.execute(
            update(t.images)
            .where(image.id == image_id, image.status.in_(("active", "deactivated")))
            .values(status=status, updated_at=self._database.now())
        )
        if not moved.rowcount:
            raise Conflict(f"Image {image_id} is in status {self.get(image_id).status} and cannot become {status}.")

    def start_import(self, image_id: str, begins_from: str, stores: Sequence[str]) -> None:
        """queued or uploading → importing, in the transaction that makes the task (import-behaviour §1.3 [R]).

        An active image stays active, since data is only added to it. Raises `Conflict` when the image is in another
        status, lacks a format, or is in one of `stores`, and `NotFound` for a deleted image.
        """
        image, place = t.images.c, t.locations.c
        held = select(place.store).where(place.image_id == image_id, place.store.in_(stores))
        moved = self._connection.execute(
            update(t.images)
            .where(
                image.id == image_id,
                image.status == begins_from,
                image.container_format.is_not(None),
                image.disk_format.is_not(None),
                ~held.exists(),
            )
            .values(status="active" if begins_from == "active" else "importing", updated_at=self._database.now())
        )
        if moved.rowcount:
            return
        now = self.get(image_id)
        if now.status != begins_from:
            raise _elsewhere(now, begins_from)
        if now.container_format is None or now.disk_format is None:
            raise Conflict(f"Image {image_id} needs 'container_format' and 'disk_format' set before an import.")
        raise Conflict(f"Image {image_id} is already in one of the stores {', '.join(stores)}.")

    def require_held(self, image_id: str, status: str, stores: Sequence[str]) -> None:
        """Raise `Conflict` unless the image is in this status and in every one of `stores`, `NotFound` if deleted."""
        now = self.get(image_id)
        if now.status != status:
            raise _elsewhere(now, status)
        if gone := set(stores) - {place.store for place in now.locations}:
            raise Conflict(f"Image {image_id} is no longer in {', '.join(sorted(gone))}.")

    def delete(self, image_id: str, *, grace: float) -> None:
        """Delete the image in any state (§1.8): its data becomes garbage, a running import is told to stop.

        `grace` is how long, in seconds, a late writer's object is looked for. Raises `NotFound`, `Protected`.
        """
        now, image = self._database.now(), t.images.c
        deleted = self._connection.execute(
            update(t.images)
            .where(image.id == image_id, image.status != "deleted")
            .values(status="deleted", deleted_at=now, updated_at=now)
            .returning(image.protected)
        ).first()
        if deleted is None:
            raise no_image(image_id)
        if deleted.protected:
            # The transaction that raises is rolled back.
            raise Protected(f"Image {image_id} is protected and cannot be deleted.")
        call_off(self._connection, t.tasks.c.image_id == image_id)
        self._connection.execute(delete(t.locations).where(t.locations.c.image_id == image_id))
        # What a task writes, its worker takes back; what a request has uploaded, nobody else would.
        obj = t.objects.c
        mine = and_(obj.image_id == image_id, or_(obj.state == "located", obj.task_id.is_(None)))
        discard(self._connection, self._database, mine, grace=grace)


def _elsewhere(image: ImageRecord, wanted: str) -> Conflict:
    return Conflict(f"Image {image.id} is in status {image.status}, not {wanted}: it cannot be imported now.")


@cache
def _one(sees_all: bool) -> Select[Any]:
    """The statement for one image, made once for each kind of viewer."""
    here = t.images.c.id == bindparam("image_id")
    return whole(t.images).where(here, t.images.c.deleted_at.is_(None), may_see(sees_all))
