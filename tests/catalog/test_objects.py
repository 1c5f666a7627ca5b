"""Garbage: deleted at once and again after a grace period, each time by one caller; then forgotten."""

from sqlalchemy import update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.objects import Garbage
from tests.catalog.rows import entered, imported, importing, stored
from tests.catalog.test_tasks import pass_by


def taken(
    catalog: Catalog,
    *,
    again_after: float = 60.0,
    limit: int = 10,
    image_id: str | None = None,
    host: str | None = None,
) -> list[Garbage]:
    """What one collector gets now."""
    return catalog.take_garbage(again_after=again_after, limit=limit, image_id=image_id, host=host)


def discarded(catalog: Catalog) -> tuple[str, str]:
    """One object that became garbage just now: its image, its key."""
    image_id, task_id = importing(catalog)
    claim = entered(catalog, task_id)
    keys = stored(catalog, claim, "a")
    with catalog.fenced(claim) as tx:
        tx.discard_objects()
    return image_id, keys["a"]


def test_only_garbage(catalog: Catalog) -> None:
    """Given objects being written, stored and located, then nobody is told to delete them."""
    imported(catalog)
    _, task_id = importing(catalog)
    stored(catalog, entered(catalog, task_id), "a")
    pass_by(catalog, 1_000_000)
    assert taken(catalog) == []


def test_at_once_again_and_forgotten(catalog: Catalog) -> None:
    """Given garbage with an hour of grace, then it comes at once, every period, a last time, and never again."""
    _, key = discarded(catalog)
    assert taken(catalog) == [Garbage("a", key, last=False)]
    assert taken(catalog) == []
    pass_by(catalog, 61)
    assert taken(catalog) == [Garbage("a", key, last=False)]
    pass_by(catalog, 3600)
    (last,) = taken(catalog)
    assert last == Garbage("a", key, last=True)
    catalog.forget(last)
    catalog.forget(last)
    pass_by(catalog, 1_000_000)
    assert taken(catalog) == []


def test_a_collector_that_died(catalog: Catalog) -> None:
    """Given garbage that was taken and never forgotten, then it comes again, as the last time, until it is."""
    _, key = discarded(catalog)
    pass_by(catalog, 3601)
    for _ in range(3):
        assert taken(catalog) == [Garbage("a", key, last=True)]
        pass_by(catalog, 61)


def test_of_one_image(catalog: Catalog) -> None:
    """Given garbage of two images, when one's is asked for, then the other's stays for later."""
    mine, key = discarded(catalog)
    _, other = discarded(catalog)
    assert taken(catalog, image_id=mine) == [Garbage("a", key, last=False)]
    assert taken(catalog) == [Garbage("a", other, last=False)]


def test_on_one_host(catalog: Catalog) -> None:
    """Given garbage that one host alone can reach, then it is left to that host; all others get the rest."""
    image_id, key = discarded(catalog)
    _, other = discarded(catalog)
    with catalog.begin() as tx:
        tx.connection.execute(update(t.objects).where(t.objects.c.image_id == image_id).values(host="x"))
    assert taken(catalog, host="y") == [Garbage("a", other, last=False)]
    assert taken(catalog, host=None) == []
    assert taken(catalog, host="x") == [Garbage("a", key, last=False)]


def test_in_batches_the_longest_waiting_first(catalog: Catalog) -> None:
    """Given more garbage than a batch, then each object comes once, the oldest first."""
    keys = []
    for _ in range(5):
        keys.append(discarded(catalog)[1])
        pass_by(catalog, 0.01)
    batches = [[garbage.object_key for garbage in taken(catalog, limit=2)] for _ in range(4)]
    assert batches == [keys[:2], keys[2:4], keys[4:], []]


def test_grace_is_per_catalogue(catalog: Catalog) -> None:
    """Given no grace at all, then the first deletion is the last."""
    catalog.grace = 0.0
    _, key = discarded(catalog)
    assert taken(catalog) == [Garbage("a", key, last=True)]


def test_what_is_needed_is_not_forgotten(catalog: Catalog) -> None:
    """Given an object that a location names, when its record is to be dropped by mistake, then it stays."""
    image_id, _ = imported(catalog)
    with catalog.read() as tx:
        (place,) = tx.images.get(image_id).locations
    catalog.forget(Garbage(place.store, place.object_key, last=True))
    catalog.delete_image(image_id)
    assert taken(catalog) == [Garbage(place.store, place.object_key, last=False)]
