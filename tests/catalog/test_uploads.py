"""Uploads: who may send data for an image, until when it is waited for, and what becomes of it."""

import uuid
from dataclasses import replace

import pytest
from sqlalchemy import select

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, FormatChanged, LockHeld, NotFound, UploadOver
from catalog.objects import Garbage
from catalog.tasks import NewTask
from catalog.uploads import Staged, Upload
from tests.catalog.rows import FACTS, entered, image_of, imported, importing, new_image, new_task
from tests.catalog.test_tasks import pass_by

STAGING = "staging"
LEASE = 60.0
KEPT = 48 * 3600.0
SIZE = 7


def begun(catalog: Catalog, image_id: str, **more: object) -> Upload:
    """An upload that has begun just now."""
    upload = Upload(image_id, STAGING, f"{image_id}.{uuid.uuid4().hex[:8]}")
    with catalog.begin() as tx:
        tx.uploads.begin(upload, **({"host": None, "lease": LEASE} | more))  # type: ignore[arg-type]
    return upload


def staged(catalog: Catalog, image_id: str, **more: object) -> Upload:
    """An upload that is whole."""
    upload = begun(catalog, image_id, **more)
    with catalog.begin() as tx:
        tx.uploads.stored(upload, SIZE)
    return upload


def wish(image_id: str, upload: Upload) -> NewTask:
    """An import of what was staged."""
    return replace(new_task(image_id), flow="glance-direct", begins_from="uploading", upload=upload.key, source={})


def what_is_staged(catalog: Catalog, image_id: str) -> Staged | None:
    with catalog.read() as tx:
        return tx.uploads.staged(image_id)


def state(catalog: Catalog, upload: Upload) -> str | None:
    """The state of the upload's object; None when there is none."""
    obj = t.objects.c
    with catalog.database.read() as connection:
        found: str | None = connection.execute(
            select(obj.state).where(obj.store == upload.store, obj.object_key == upload.key)
        ).scalar()
    return found


def shown(catalog: Catalog, image_id: str) -> tuple[str, int | None]:
    """Status and size."""
    image = image_of(catalog, image_id)
    return image.status, image.size


class TestOfOneImage:
    """`begin`, `renew`, `stored`, `failed`."""

    def test_from_queued_to_staged(self, catalog: Catalog) -> None:
        """Given a queued image without formats, when data is uploaded for it, then it is uploading, with its size."""
        image_id = new_image(catalog, disk_format=None, container_format=None)
        upload = begun(catalog, image_id, host="h1")
        assert (shown(catalog, image_id), what_is_staged(catalog, image_id)) == (("uploading", None), None)
        with catalog.begin() as tx:
            tx.uploads.renew(upload, lease=LEASE)
            tx.uploads.stored(upload, SIZE)
        assert shown(catalog, image_id) == ("uploading", SIZE)
        assert what_is_staged(catalog, image_id) == Staged(STAGING, upload.key, SIZE, "h1")

    def test_an_empty_one(self, catalog: Catalog) -> None:
        """Given no byte at all, then that is what is staged."""
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        with catalog.begin() as tx:
            tx.uploads.stored(upload, 0)
        assert shown(catalog, image_id) == ("uploading", 0)

    def test_what_fails_can_be_tried_again(self, catalog: Catalog) -> None:
        """Given an upload that fails, then its bytes are garbage, and the image takes another."""
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        with catalog.begin() as tx:
            assert tx.uploads.failed(upload)
        assert (shown(catalog, image_id), state(catalog, upload)) == (("queued", None), "garbage")
        again = staged(catalog, image_id)
        assert what_is_staged(catalog, image_id) == Staged(STAGING, again.key, SIZE, None)

    def test_what_is_stored_does_not_fail_any_more(self, catalog: Catalog) -> None:
        """Given an upload reported stored, whose writer never heard so, when it says it failed, then it is kept."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        with catalog.begin() as tx:
            assert not tx.uploads.failed(upload)
        assert (shown(catalog, image_id), state(catalog, upload)) == (("uploading", SIZE), "stored")

    def test_one_at_a_time(self, catalog: Catalog) -> None:
        """Given an image that has data, or gets some, then another upload hears why not, and changes nothing."""
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        with pytest.raises(Conflict, match=f"Data for image {image_id} is being received already by another request"):
            begun(catalog, image_id)
        with catalog.begin() as tx:
            tx.uploads.stored(upload, SIZE)
        with pytest.raises(Conflict, match=f"Data for image {image_id} is staged already: import it, or delete"):
            begun(catalog, image_id)
        assert shown(catalog, image_id) == ("uploading", SIZE)
        for other, status in ((importing(catalog)[0], "importing"), (imported(catalog)[0], "active")):
            with pytest.raises(Conflict, match=f"in status {status}, not queued"):
                begun(catalog, other)

    def test_no_image(self, catalog: Catalog) -> None:
        """Given no image, or a deleted one, then there is nothing to upload for."""
        deleted = new_image(catalog)
        catalog.delete_image(deleted)
        for image_id in ("nobody", deleted):
            with pytest.raises(NotFound, match=f"No image found with ID {image_id}"):
                begun(catalog, image_id)


class TestPublished:
    """An upload that is the image's data as it is: from queued by saving to active."""

    URL = "file:///s/k"

    def publish(self, catalog: Catalog, upload: Upload, **facts: object) -> None:
        with catalog.begin() as tx:
            tx.uploads.published(upload, self.URL, replace(FACTS, **facts))  # type: ignore[arg-type]

    def test_from_queued_to_active(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        upload = begun(catalog, image_id, status="saving")
        assert shown(catalog, image_id) == ("saving", None)
        self.publish(catalog, upload)
        image = image_of(catalog, image_id)
        assert (image.status, image.size, image.checksum) == ("active", FACTS.size, FACTS.checksum)
        assert [(at.store, at.object_key, at.url) for at in image.locations] == [(STAGING, upload.key, self.URL)]
        assert (state(catalog, upload), what_is_staged(catalog, image_id)) == ("located", None)

    def test_what_is_published_does_not_fail_any_more(self, catalog: Catalog) -> None:
        """Given a writer who never heard that it is published, when it says it failed, or its time is over, then the
        image stays active.
        """
        image_id = new_image(catalog)
        upload = begun(catalog, image_id, status="saving")
        self.publish(catalog, upload)
        with catalog.begin() as tx:
            assert not tx.uploads.failed(upload)
            tx.uploads.discard(image_id)
        pass_by(catalog, LEASE + 1)
        assert catalog.expire_uploads(limit=9) == []
        assert (shown(catalog, image_id), state(catalog, upload)) == (("active", FACTS.size), "located")

    def test_only_once(self, catalog: Catalog) -> None:
        """Given an upload that is over, then it cannot be published; one that is published already is so."""
        ended = [new_image(catalog) for _ in range(3)]
        uploads = [begun(catalog, image_id, status="saving") for image_id in ended]
        self.publish(catalog, uploads[0])
        with catalog.begin() as tx:
            tx.uploads.failed(uploads[1])
        catalog.delete_image(ended[2])
        before = image_of(catalog, ended[0])
        self.publish(catalog, uploads[0])
        assert image_of(catalog, ended[0]) == before
        for upload in uploads[1:]:
            with pytest.raises(UploadOver):
                self.publish(catalog, upload)
        assert [state(catalog, upload) for upload in uploads] == ["located", "garbage", "garbage"]

    def test_as_something_else(self, catalog: Catalog) -> None:
        """Given other formats than were inspected, then it is not published."""
        image_id = new_image(catalog)
        upload = begun(catalog, image_id, status="saving")
        with pytest.raises(FormatChanged):
            self.publish(catalog, upload, disk_format="qcow2")
        assert (shown(catalog, image_id), state(catalog, upload)) == (("saving", None), "writing")

    def test_one_that_falls_silent(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        upload = begun(catalog, image_id, status="saving")
        pass_by(catalog, LEASE + 1)
        assert catalog.expire_uploads(limit=9) == [image_id]
        assert (shown(catalog, image_id), state(catalog, upload)) == (("queued", None), "garbage")


class TestDeleting:
    """An image deleted while data is there, or on its way."""

    def test_while_it_is_received(self, catalog: Catalog) -> None:
        """Given an upload under way, when the image is deleted, then whatever its writer says next, it is over."""
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        catalog.delete_image(image_id)
        for _ in range(2):
            with pytest.raises(UploadOver, match=f"Image {image_id} was deleted"), catalog.begin() as tx:
                tx.uploads.renew(upload, lease=LEASE)
            with pytest.raises(UploadOver, match=f"Image {image_id} was deleted"), catalog.begin() as tx:
                tx.uploads.stored(upload, SIZE)
            with pytest.raises(UploadOver, match=f"Image {image_id} was deleted"), catalog.begin() as tx:
                tx.uploads.failed(upload)
        assert catalog.take_garbage(again_after=60, limit=9) == [Garbage(STAGING, upload.key, last=False)]

    @pytest.mark.parametrize("wanted", [False, True], ids=["waiting", "being imported"])
    def test_when_it_is_staged(self, catalog: Catalog, wanted: bool) -> None:
        """Given staged bytes, also of an import under way, when the image is deleted, then they go."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        if wanted:
            catalog.request_import(wish(image_id, upload))
        catalog.delete_image(image_id)
        assert (state(catalog, upload), what_is_staged(catalog, image_id)) == ("garbage", None)


class TestExpiring:
    """`Catalog.expire_uploads`: nobody is left with an image that takes no data."""

    def test_a_writer_that_died(self, catalog: Catalog) -> None:
        """Given an upload that nobody renews, when its lease is over, then the image is queued again and bytes go."""
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        pass_by(catalog, LEASE - 1)
        with catalog.begin() as tx:
            tx.uploads.renew(upload, lease=LEASE)
        pass_by(catalog, LEASE - 1)
        assert catalog.expire_uploads(limit=9) == []
        pass_by(catalog, 2)
        assert catalog.expire_uploads(limit=9) == [image_id]
        assert catalog.expire_uploads(limit=9) == []
        assert (shown(catalog, image_id), state(catalog, upload)) == (("queued", None), "garbage")
        with pytest.raises(UploadOver, match="was given up: nothing was received for too long"), catalog.begin() as tx:
            tx.uploads.stored(upload, SIZE)
        assert shown(catalog, image_id) == ("queued", None)

    def test_while_data_is_saved(self, catalog: Catalog) -> None:
        """Given an upload that was to make the image active at once, when its writer dies, then it is queued too."""
        image_id = new_image(catalog)
        begun(catalog, image_id, status="saving")
        pass_by(catalog, LEASE + 1)
        assert catalog.expire_uploads(limit=9) == [image_id]
        assert shown(catalog, image_id) == ("queued", None)

    def test_staged_and_forgotten(self, catalog: Catalog) -> None:
        """Given staged bytes that nobody imports, then they are kept for their time, and go after it."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        pass_by(catalog, KEPT - 1)
        assert catalog.expire_uploads(limit=9) == []
        pass_by(catalog, 2)
        assert catalog.expire_uploads(limit=9) == [image_id]
        assert (shown(catalog, image_id), state(catalog, upload)) == (("queued", None), "garbage")

    def test_not_while_a_task_wants_them(self, catalog: Catalog) -> None:
        """Given an import that takes longer, then its staged bytes are kept; after it, their time begins anew."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        task = wish(image_id, upload)
        catalog.request_import(task)
        pass_by(catalog, 10 * KEPT)
        assert catalog.expire_uploads(limit=9) == []
        with catalog.fenced(entered(catalog, task.id)) as tx:
            assert tx.restage()
            assert tx.restage(), "twice is once"
            tx.fail(code="x", message="no", keep_for=60)
        assert shown(catalog, image_id) == ("uploading", SIZE)
        pass_by(catalog, KEPT - 1)
        assert catalog.expire_uploads(limit=9) == []
        pass_by(catalog, 2)
        assert catalog.expire_uploads(limit=9) == [image_id]

    def test_in_batches(self, catalog: Catalog) -> None:
        """Given more of them than a batch, then each is given up once."""
        wanted = set()
        for _ in range(5):
            image_id = new_image(catalog)
            begun(catalog, image_id)
            wanted.add(image_id)
        pass_by(catalog, LEASE + 1)
        batches = [catalog.expire_uploads(limit=2) for _ in range(4)]
        assert [len(batch) for batch in batches] == [2, 2, 1, 0]
        assert {image_id for batch in batches for image_id in batch} == wanted


class TestImporting:
    """`Catalog.request_import` of what is staged, and what a worker makes of it."""

    def test_asked_for(self, catalog: Catalog) -> None:
        """Given staged bytes, when their import is asked for, then the image is importing, and holds them."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        catalog.request_import(wish(image_id, upload))
        assert shown(catalog, image_id) == ("importing", SIZE)
        assert what_is_staged(catalog, image_id) == Staged(STAGING, upload.key, SIZE, None)
        with pytest.raises(LockHeld):
            catalog.request_import(wish(image_id, upload))

    def test_gone_since(self, catalog: Catalog) -> None:
        """Given staged bytes that went, or were staged anew, since somebody looked, then nothing is recorded."""
        image_id = new_image(catalog)
        first = staged(catalog, image_id)
        pass_by(catalog, KEPT + 1)
        catalog.expire_uploads(limit=9)
        with pytest.raises(Conflict, match="in status queued, not uploading"):
            catalog.request_import(wish(image_id, first))
        begun(catalog, image_id)
        with pytest.raises(Conflict, match=f"staged for image {image_id} is there no more; stage it again"):
            catalog.request_import(wish(image_id, first))
        with catalog.read() as tx:
            assert tx.tasks.of_image(image_id) == []
        assert image_of(catalog, image_id).status == "uploading"

    def test_lost(self, catalog: Catalog) -> None:
        """Given an import whose staged bytes turn out to be lost, then there is nothing to go back to."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        task = wish(image_id, upload)
        catalog.request_import(task)
        with catalog.fenced(entered(catalog, task.id)) as tx:
            tx.discard_upload()
            assert not tx.restage()
            tx.requeue()
            tx.fail(code="x", message="no", keep_for=60)
        assert (shown(catalog, image_id), state(catalog, upload)) == (("queued", None), "garbage")

    def test_an_image_that_moved_on_does_not_come_back(self, catalog: Catalog) -> None:
        """Given an image deleted in mid-import, when its task is undone, then it stays deleted."""
        image_id = new_image(catalog)
        task = wish(image_id, staged(catalog, image_id))
        catalog.request_import(task)
        claim = entered(catalog, task.id)
        catalog.delete_image(image_id)
        with catalog.fenced(claim) as tx:
            assert not tx.restage()
        with pytest.raises(NotFound):
            image_of(catalog, image_id)
