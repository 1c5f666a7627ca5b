"""Two at once: uploads, cleaners, imports and deletions that meet on one image."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import CatalogError, Conflict, UploadOver
from catalog.tasks import NewTask
from catalog.uploads import Upload
from tests.catalog.at_once import Beside, at_once
from tests.catalog.rows import entered, image_of, new_image
from tests.catalog.test_replaced_uploads import BLAMED, tried
from tests.catalog.test_tasks import pass_by
from tests.catalog.test_uploads import KEPT, LEASE, SIZE, begun, shown, staged, state, what_is_staged, wish


def said(act: Callable[[], object]) -> str:
    """How the act ended: `done`, or the code of what it raised."""
    try:
        act()
    except CatalogError as error:
        return error.code
    return "done"


def store(catalog: Catalog, upload: Upload) -> None:
    """Report the upload whole."""
    with catalog.begin() as tx:
        tx.uploads.stored(upload, SIZE)


def imported_in_vain(catalog: Catalog, task: NewTask) -> None:
    """Ask for an import, fail, and undo it."""
    catalog.request_import(task)
    with catalog.fenced(entered(catalog, task.id)) as tx:
        if not tx.restage():
            tx.discard_upload()
            tx.requeue()
        tx.fail(code="x", message="no", keep_for=60)


def test_one_of_many_stages(catalog: Catalog) -> None:
    """Given many that stage for one image, then one does, and the others are told of it."""
    for _ in range(5):
        image_id = new_image(catalog)
        ends = at_once(*[partial(said, partial(begun, catalog, image_id))] * 6)
        assert Counter(ends) == {"done": 1, "conflict": 5}


def test_the_last_byte_and_a_deletion(catalog: Catalog) -> None:
    """Given an upload that ends while its image is deleted, then either is first, and its bytes go in any case."""
    for _ in range(10):
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        ending, deleting = partial(store, catalog, upload), partial(catalog.delete_image, image_id)
        ends = at_once(partial(said, ending), partial(said, deleting))
        assert (ends[0] in ("done", "upload_over"), ends[1]) == (True, "done")
        assert state(catalog, upload) == "garbage"


def test_the_last_byte_and_the_cleaner(catalog: Catalog) -> None:
    """Given an upload that ends when its time is over, then it is whole, or given up, and its image accordingly."""
    for _ in range(10):
        image_id = new_image(catalog)
        upload = begun(catalog, image_id)
        pass_by(catalog, LEASE + 1)
        ending, cleaning = partial(store, catalog, upload), partial(catalog.expire_uploads, limit=9)
        ends = at_once(partial(said, ending), partial(said, cleaning))
        seen = (shown(catalog, image_id), state(catalog, upload))
        assert (ends[0], *seen) in (
            ("done", ("uploading", SIZE), "stored"),
            ("upload_over", ("queued", None), "garbage"),
        )


def test_an_import_and_the_cleaner(catalog: Catalog) -> None:
    """Given an import asked for when the time of the staged bytes is over, then it has them, or there is no import."""
    for _ in range(10):
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        pass_by(catalog, KEPT + 1)
        asking = partial(catalog.request_import, wish(image_id, upload))
        ends = at_once(partial(said, asking), partial(said, partial(catalog.expire_uploads, limit=9)))
        with catalog.read() as tx:
            tasks = len(tx.tasks.of_image(image_id))
        seen = (image_of(catalog, image_id).status, state(catalog, upload), tasks)
        assert (ends[0], *seen) in (("done", "importing", "stored", 1), ("conflict", "queued", "garbage", 0))


def test_one_of_many_replaces(catalog: Catalog) -> None:
    """Given many that would replace what an import has found to be wrong, or import it again, then one does so."""
    for _ in range(5):
        image_id = new_image(catalog)
        wrong = staged(catalog, image_id)
        tried(catalog, image_id, wrong, BLAMED[0])
        replacing = partial(said, partial(begun, catalog, image_id, blamed=BLAMED))
        trying = partial(said, partial(catalog.request_import, wish(image_id, wrong)))
        ends = at_once(*[replacing] * 4, trying)
        assert Counter(ends) == {"done": 1, "conflict": 4}
        imported = ends[-1] == "done"
        assert image_of(catalog, image_id).status == ("importing" if imported else "uploading")
        assert state(catalog, wrong) == ("stored" if imported else "garbage")


def test_all_of_them_at_once(catalog: Catalog) -> None:
    """Given whatever may meet on one image that is being deleted, then nobody hangs, and no bytes are left."""
    for _ in range(10):
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        acts: list[Callable[[], object]] = [
            partial(imported_in_vain, catalog, wish(image_id, upload)),
            partial(catalog.delete_image, image_id),
            partial(begun, catalog, image_id),
            partial(catalog.expire_uploads, limit=9),
        ]
        ends = at_once(*(partial(said, act) for act in acts))
        assert not {"catalog_unavailable", "rule_broken"} & set(ends)
        assert (what_is_staged(catalog, image_id), state(catalog, upload)) == (None, "garbage")


class TestInOneOrder:
    """On PostgreSQL, where statements really run side by side."""

    def test_asked_for_in_mid_cleaning(self, postgres: Catalog, beside: Beside) -> None:
        """Given a cleaner about to give bytes up, when their import is asked for, then it waits, and finds none."""
        image_id = new_image(postgres)
        upload = staged(postgres, image_id)
        pass_by(postgres, KEPT + 1)
        with postgres.begin() as tx:
            assert tx.uploads.expire(limit=9) == [image_id]
            asking = beside(lambda: postgres.request_import(wish(image_id, upload)))
        with pytest.raises(Conflict, match="in status queued"):
            asking.result()

    def test_cleaning_passes_over_what_is_in_use(self, postgres: Catalog) -> None:
        """Given an import being recorded, when a cleaner comes by, then it neither waits nor takes the bytes."""
        held, free = new_image(postgres), new_image(postgres)
        upload = staged(postgres, held)
        staged(postgres, free)
        pass_by(postgres, KEPT + 1)
        task = wish(held, upload)
        with postgres.begin() as tx:
            postgres.lock.require_free(tx.connection, held)
            tx.images.start_import(held, "uploading", ())
            tx.uploads.require_staged(held, upload.key)
            assert postgres.expire_uploads(limit=9) == [free]
            tx.tasks.create(task)
            postgres.lock.claim(tx.connection, held, task.id)
        assert postgres.expire_uploads(limit=9) == []
        assert state(postgres, upload) == "stored"

    def test_renewed_in_mid_cleaning(self, postgres: Catalog, beside: Beside) -> None:
        """Given a writer that renews in the moment that it is taken for dead, then the renewal counts."""
        image_id = new_image(postgres)
        upload = begun(postgres, image_id)
        pass_by(postgres, LEASE + 1)
        with postgres.begin() as tx:
            tx.uploads.renew(upload, lease=LEASE)
            cleaning = beside(lambda: postgres.expire_uploads(limit=9))
        assert cleaning.result() == []
        assert (shown(postgres, image_id), state(postgres, upload)) == (("uploading", None), "writing")

    def test_deleted_in_mid_undo(self, postgres: Catalog, beside: Beside) -> None:
        """Given a failed import that is being undone, when its image is deleted, then its staged bytes go too."""
        image_id = new_image(postgres)
        upload = staged(postgres, image_id)
        task = wish(image_id, upload)
        postgres.request_import(task)
        with postgres.fenced(entered(postgres, task.id)) as tx:
            assert tx.restage()
            deleting = beside(lambda: postgres.delete_image(image_id))
            tx.fail(code="x", message="no", keep_for=60)
        deleting.result()
        assert state(postgres, upload) == "garbage"

    def test_stored_in_mid_deletion(self, postgres: Catalog, beside: Beside) -> None:
        """Given a deletion about to be recorded, when the last byte comes, then its writer waits, and hears of it."""
        image_id = new_image(postgres)
        upload = begun(postgres, image_id)
        with postgres.begin() as tx:
            tx.images.delete(image_id, grace=60)
            ending = beside(lambda: store(postgres, upload))
        with pytest.raises(UploadOver, match="was deleted"):
            ending.result()
        with postgres.database.read() as connection:
            assert connection.execute(select(t.objects.c.state)).scalars().all() == ["garbage"]
