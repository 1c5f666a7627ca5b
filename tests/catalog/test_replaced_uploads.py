"""Uploads in place of what an import has found to be wrong: when, and what becomes of what was there."""

import pytest

from catalog.catalog import Catalog
from catalog.errors import Conflict
from catalog.uploads import Staged, Upload
from tests.catalog.rows import entered, new_image
from tests.catalog.test_uploads import LEASE, SIZE, STAGING, begun, shown, staged, state, what_is_staged, wish


def tried(catalog: Catalog, image_id: str, upload: Upload, code: str) -> None:
    """An import of what is staged that failed for this reason."""
    task = wish(image_id, upload)
    catalog.request_import(task)
    with catalog.fenced(entered(catalog, task.id)) as tx:
        assert tx.restage()
        tx.fail(code=code, message="no", keep_for=60)


BLAMED = ("wrong_bytes", "odd_bytes")


class TestReplaced:
    """What an import has found to be wrong makes way for another upload."""

    @pytest.mark.parametrize("code", BLAMED)
    def test_after_a_verdict_on_the_bytes(self, catalog: Catalog, code: str) -> None:
        """Given an import that failed for its bytes, when others come, then these are garbage in the same moment."""
        image_id = new_image(catalog)
        wrong = staged(catalog, image_id)
        tried(catalog, image_id, wrong, code)
        right = begun(catalog, image_id, blamed=BLAMED)
        assert (shown(catalog, image_id), state(catalog, wrong), state(catalog, right)) == (
            ("uploading", None),
            "garbage",
            "writing",
        )
        with catalog.begin() as tx:
            tx.uploads.stored(right, SIZE + 1)
        assert shown(catalog, image_id) == ("uploading", SIZE + 1)
        assert what_is_staged(catalog, image_id) == Staged(STAGING, right.key, SIZE + 1, None)

    def test_it_is_said_whether(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        uploads = [Upload(image_id, STAGING, f"{image_id}.{n}") for n in range(2)]
        with catalog.begin() as tx:
            assert not tx.uploads.begin(uploads[0], host=None, lease=LEASE, blamed=BLAMED)
            tx.uploads.stored(uploads[0], SIZE)
        tried(catalog, image_id, uploads[0], BLAMED[0])
        with catalog.begin() as tx:
            assert tx.uploads.begin(uploads[1], host=None, lease=LEASE, blamed=BLAMED)

    @pytest.mark.parametrize("codes", [[], ["full"], [BLAMED[0], "full"]], ids=["untried", "innocent", "not the last"])
    def test_not_without_one(self, catalog: Catalog, codes: list[str]) -> None:
        """Given bytes whose last import did not fail for them, then they stay."""
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        for code in codes:
            tried(catalog, image_id, upload, code)
        with pytest.raises(Conflict, match="is staged already: import it, or delete the image"):
            begun(catalog, image_id, blamed=BLAMED)
        assert (shown(catalog, image_id), state(catalog, upload)) == (("uploading", SIZE), "stored")

    def test_not_for_what_was_wrong_before(self, catalog: Catalog) -> None:
        """Given bytes that took the place of wrong ones, then they must be tried before they can be replaced."""
        image_id = new_image(catalog)
        tried(catalog, image_id, staged(catalog, image_id), BLAMED[0])
        staged(catalog, image_id, blamed=BLAMED)
        with pytest.raises(Conflict, match="is staged already"):
            begun(catalog, image_id, blamed=BLAMED)

    def test_not_while_they_are_tried_again(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        upload = staged(catalog, image_id)
        tried(catalog, image_id, upload, BLAMED[0])
        catalog.request_import(wish(image_id, upload))
        with pytest.raises(Conflict, match="in status importing"):
            begun(catalog, image_id, blamed=BLAMED)
        assert state(catalog, upload) == "stored"

    def test_not_while_others_come(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        tried(catalog, image_id, staged(catalog, image_id), BLAMED[0])
        begun(catalog, image_id, blamed=BLAMED)
        with pytest.raises(Conflict, match="is being received already"):
            begun(catalog, image_id, blamed=BLAMED)

    def test_others_that_fail_leave_nothing(self, catalog: Catalog) -> None:
        image_id = new_image(catalog)
        wrong = staged(catalog, image_id)
        tried(catalog, image_id, wrong, BLAMED[0])
        right = begun(catalog, image_id, blamed=BLAMED)
        with catalog.begin() as tx:
            assert tx.uploads.failed(right)
        assert (shown(catalog, image_id), state(catalog, wrong), state(catalog, right)) == (
            ("queued", None),
            "garbage",
            "garbage",
        )
