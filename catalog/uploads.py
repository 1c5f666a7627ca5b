"""Data that a request uploads for an image, to be imported (http-api §5.3) or as it is (§5.1): a row of `objects` that
no task wrote.

No lock is needed. The row in state `writing` is the fence of its upload: it is made together with the image's change of
status, an image has one at most, and everything later is written only while it is still there. Whoever ends the upload
from outside (the image is deleted, or nothing was heard of it for too long) takes that row away, and the writer, who
writes under a key of its own, notices at its next statement.

Who needs several rows locks them in this order: image_locks, images, tasks, objects. So an image's row, once locked,
keeps what is said here of its uploads and its live task as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import Conflict, NotFound, UploadOver, no_image
from catalog.facts import DataFacts, activate
from catalog.locations import Locations
from catalog.objects import UNCLAIMED, discard
from catalog.records import Location
from catalog.tasks import LIVE

RECEIVING = ("uploading", "saving")
"""Statuses of an image whose data is, or was, received from a request."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload: its image, and where its bytes go. The key is its own, never used before."""

    image_id: str
    store: str
    key: str


@dataclass(frozen=True, slots=True)
class Staged:
    """What waits to be imported: `size` bytes. `host` names the only host that can read them; None for all."""

    store: str
    key: str
    size: int
    host: str | None


class Uploads:
    """The uploads of one database, within one transaction.

    `grace` is how many seconds garbage is looked for again; `keep_for` how many what is staged waits to be imported.
    """

    def __init__(self, connection: Connection, database: Database, *, grace: float, keep_for: float) -> None:
        self._connection = connection
        self._database = database
        self._grace = grace
        self._keep_for = keep_for

    def begin(
        self,
        upload: Upload,
        *,
        host: str | None,
        lease: float,
        status: str = "uploading",
        blamed: Collection[str] = (),
    ) -> bool:
        """Move the queued image to `status` and put the key on record before its first byte.

        What is staged already makes way if its last import failed for one of the reasons (codes) that are `blamed` on
        the bytes: they become garbage in the same moment. True when that was so. Unless it is renewed, the upload is
        given up after `lease` seconds. Raises `Conflict` when the image is in another status, `NotFound` when there is
        none.
        """
        now = self._database.now()
        moved = self._connection.execute(
            update(t.images)
            .where(t.images.c.id == upload.image_id, t.images.c.status == "queued")
            .values(status=status, updated_at=now)
        )
        replaced = not moved.rowcount
        if replaced and not self._make_way(upload.image_id, blamed):
            raise self._not_queued(upload.image_id)
        self._connection.execute(
            insert(t.objects).values(
                store=upload.store,
                object_key=upload.key,
                image_id=upload.image_id,
                host=host,
                state="writing",
                created_at=now,
                kept_until=self._database.after(lease),
            )
        )
        return replaced

    def _make_way(self, image_id: str, blamed: Collection[str]) -> bool:
        """Discard what is staged, if the import that was tried with it last failed for one of these reasons."""
        self._lock(image_id)
        task, obj = t.tasks.c, t.objects.c
        last = (
            select(task.id)
            .where(task.image_id == image_id)
            .order_by(task.created_at.desc(), task.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        # No other import could be asked for since it was staged; one from before is not about these bytes.
        judged = select(task.id).where(
            task.id == last, task.status == "failure", task.error_code.in_(blamed), task.created_at >= obj.created_at
        )
        wrong = and_(_of(image_id), obj.state == "stored", judged.exists())
        if not self._discard(wrong):
            return False
        self._connection.execute(
            update(t.images).where(t.images.c.id == image_id).values(size=None, updated_at=self._database.now())
        )
        return True

    def renew(self, upload: Upload, *, lease: float) -> None:
        """The upload lives: it may be silent for another `lease` seconds. Raises `UploadOver`."""
        renewed = self._connection.execute(
            update(t.objects).where(_writing(upload)).values(kept_until=self._database.after(lease))
        )
        if not renewed.rowcount:
            raise self._over(upload)

    def stored(self, upload: Upload, size: int) -> None:
        """All `size` bytes are durable: they wait to be imported, and are the size of the image.

        Safe twice, for the answer to the first may be lost. Raises `UploadOver`.
        """
        self._lock(upload.image_id)
        kept = self._connection.execute(
            update(t.objects)
            .where(_writing(upload))
            .values(state="stored", size=size, kept_until=self._database.after(self._keep_for))
        )
        if not kept.rowcount:
            if self._state(upload) == "stored":
                return
            raise self._over(upload)
        self._connection.execute(
            update(t.images).where(t.images.c.id == upload.image_id).values(size=size, updated_at=self._database.now())
        )

    def published(self, upload: Upload, url: str, facts: DataFacts) -> None:
        """All bytes are durable, and are the image's data at `url` from now on: saving → active.

        Safe twice, for the answer to the first may be lost. Raises `UploadOver`.
        """
        self._lock(upload.image_id)
        located = self._connection.execute(
            update(t.objects).where(_writing(upload)).values(state="located", size=facts.size, kept_until=None)
        )
        if not located.rowcount:
            if self._state(upload) == "located":
                return
            raise self._over(upload)
        locations = Locations(self._connection, self._database, grace=self._grace)
        locations.insert(upload.image_id, Location(upload.store, upload.key, url))
        activate(self._connection, self._database, upload.image_id, facts, begins_from="saving")

    def failed(self, upload: Upload) -> bool:
        """The upload failed: its bytes are garbage, its image is queued again.

        False when the bytes were reported whole all the same, and stay so: the answer to that report was lost. Raises
        `UploadOver`.
        """
        self._lock(upload.image_id)
        if not self._discard(_writing(upload)):
            if self._state(upload) in ("stored", "located"):
                return False
            raise self._over(upload)
        self._requeue([upload.image_id])
        return True

    def staged(self, image_id: str) -> Staged | None:
        """What is staged for the image, whole; None when nothing is, or not yet."""
        obj = t.objects.c
        row = self._connection.execute(
            select(obj.store, obj.object_key, obj.size, obj.host).where(_of(image_id), obj.state == "stored")
        ).first()
        return Staged(*row) if row else None

    def require_staged(self, image_id: str, key: str) -> None:
        """Raise `Conflict` unless `key` is what is staged for the image, whose row is locked."""
        staged = self.staged(image_id)
        if staged is None or staged.key != key:
            raise Conflict(f"The data that was staged for image {image_id} is there no more; stage it again.")

    def restage(self, image_id: str) -> bool:
        """After a failed import: importing → uploading, if what was staged is still there, to be imported again.

        It waits as long as if it had been staged now. Safe twice. False when nothing is there; the image stays as it
        is.
        """
        self._lock(image_id)
        staged = self.staged(image_id)
        if staged is None:
            return False
        moved = self._connection.execute(
            update(t.images)
            .where(t.images.c.id == image_id, t.images.c.status.in_(("importing", "uploading")))
            .values(status="uploading", size=staged.size, updated_at=self._database.now())
        )
        if not moved.rowcount:
            return False
        self._connection.execute(
            update(t.objects)
            .where(_of(image_id), t.objects.c.state == "stored")
            .values(kept_until=self._database.after(self._keep_for))
        )
        return True

    def discard(self, image_id: str) -> None:
        """Nobody needs what was uploaded for the image any more; its status stays as it is."""
        self._lock(image_id)
        self._discard(_of(image_id))

    def expire(self, *, limit: int) -> list[str]:
        """Give up what has waited for too long (§9 P5): uploads that fell silent, and staged bytes that no live task is
        to import. They become garbage, their images are queued again; at most `limit` of them, by id.

        Images that somebody is busy with are left for the next time.
        """
        obj, image = t.objects.c, t.images.c
        late = and_(obj.task_id.is_(None), obj.state.in_(UNCLAIMED), obj.kept_until <= self._database.now())
        found = self._connection.execute(
            select(image.id)
            .where(image.id.in_(select(obj.image_id).where(late)), ~_awaited(image.id))
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).scalars()
        # Asked again, now that the images are locked: since the statement above began to look, an upload may have been
        # renewed, and an import asked for.
        given_up = self._discard(and_(late, obj.image_id.in_(list(found)), ~_awaited(obj.image_id)))
        self._requeue(given_up)
        return given_up

    def _not_queued(self, image_id: str) -> Conflict | NotFound:
        status = self._connection.execute(
            select(t.images.c.status).where(t.images.c.id == image_id, t.images.c.status != "deleted")
        ).scalar()
        if status is None:
            return no_image(image_id)
        if status not in RECEIVING:
            return Conflict(f"Image {image_id} is in status {status}, not queued: it takes no data.")
        if self.staged(image_id):
            return Conflict(f"Data for image {image_id} is staged already: import it, or delete the image.")
        return Conflict(f"Data for image {image_id} is being received already by another request.")

    def _over(self, upload: Upload) -> UploadOver:
        status = self._connection.execute(select(t.images.c.status).where(t.images.c.id == upload.image_id)).scalar()
        if status == "deleted":
            return UploadOver(f"Image {upload.image_id} was deleted while its data was being received.")
        return UploadOver(f"The upload for image {upload.image_id} was given up: nothing was received for too long.")

    def _state(self, upload: Upload) -> str | None:
        obj = t.objects.c
        row = select(obj.state).where(obj.store == upload.store, obj.object_key == upload.key)
        return self._connection.execute(row).scalar()

    def _lock(self, image_id: str) -> None:
        self._connection.execute(select(t.images.c.id).where(t.images.c.id == image_id).with_for_update())

    def _discard(self, which: ColumnElement[bool]) -> list[str]:
        return discard(self._connection, self._database, which, grace=self._grace)

    def _requeue(self, image_ids: list[str]) -> None:
        self._connection.execute(
            update(t.images)
            .where(t.images.c.id.in_(image_ids), t.images.c.status.in_(RECEIVING))
            .values(status="queued", size=None, virtual_size=None, updated_at=self._database.now())
        )


def _writing(upload: Upload) -> ColumnElement[bool]:
    obj = t.objects.c
    return and_(obj.store == upload.store, obj.object_key == upload.key, obj.state == "writing")


def _of(image_id: str) -> ColumnElement[bool]:
    """What was uploaded for the image and is not its data yet."""
    obj = t.objects.c
    return and_(obj.image_id == image_id, obj.task_id.is_(None), obj.state.in_(UNCLAIMED))


def _awaited(image_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a live task holds the image."""
    return select(t.tasks.c.id).where(t.tasks.c.image_id == image_id, t.tasks.c.status.in_(LIVE)).exists()
