"""What a project uses: every copy counts, what is on its way counts apart, and what is gone does not count."""

from dataclasses import replace

from catalog.catalog import Catalog
from catalog.uploads import Upload
from catalog.usage import Usage, usage_of
from tests.catalog.rows import FACTS, entered, imported, importing, new_image, new_task, stored


def used(catalog: Catalog, project: str = "p") -> Usage:
    with catalog.read() as tx:
        return usage_of(tx.connection, project)


def test_nothing(catalog: Catalog) -> None:
    assert used(catalog) == Usage(0, 0, 0, 0)


def test_of_each_kind(catalog: Catalog) -> None:
    """Given images in every state, then each is counted as what it is, and those of others are not."""
    new_image(catalog)
    assert used(catalog) == Usage(stored=0, staged=0, images=1, uploading=0)
    imported(catalog, ("a", "b"))
    assert used(catalog) == Usage(stored=2 * FACTS.size, staged=0, images=2, uploading=0)
    importing(catalog)
    assert used(catalog) == Usage(stored=2 * FACTS.size, staged=0, images=3, uploading=1)
    for n, status in enumerate(("uploading", "saving")):
        upload = Upload(new_image(catalog), "s", f"k{n}")
        with catalog.begin() as tx:
            tx.uploads.begin(upload, host=None, lease=60.0, status=status)
            if status == "uploading":
                tx.uploads.stored(upload, 100)
    assert used(catalog) == Usage(stored=2 * FACTS.size, staged=100, images=5, uploading=3)
    new_image(catalog, owner="q")
    assert used(catalog, "q") == Usage(0, 0, 1, 0)


def test_what_is_copied_is_on_its_way(catalog: Catalog) -> None:
    """Given an active image that is copied, then it counts as on its way until that has ended."""
    image_id, _ = imported(catalog, ("a",))
    task = new_task(image_id, ("b",))
    catalog.request_import(replace(task, flow="copy-image", begins_from="active"))
    assert used(catalog) == Usage(stored=FACTS.size, staged=FACTS.size, images=1, uploading=1)
    claim = entered(catalog, task.id)
    keys = stored(catalog, claim, "b")
    with catalog.fenced(claim) as tx:
        tx.add_location("b", keys["b"], "file:///b/k")
        tx.succeed("", keep_for=60.0)
    assert used(catalog) == Usage(stored=2 * FACTS.size, staged=0, images=1, uploading=0)


def test_what_is_deleted_is_gone(catalog: Catalog) -> None:
    image_id, _ = imported(catalog)
    catalog.delete_image(image_id)
    assert used(catalog) == Usage(0, 0, 0, 0)
