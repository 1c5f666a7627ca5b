"""What catalogue tests begin with: an image, a task that holds it, and the catalogue around them."""

import uuid
from datetime import UTC, datetime

from sqlalchemy import BigInteger, ColumnElement, literal, select, update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.engine import SECOND, Database
from catalog.errors import Preempted
from catalog.facts import DataFacts
from catalog.fenced import Fenced
from catalog.images import ImageRecord, NewImage
from catalog.leases import Claim
from catalog.preempt import Preemption
from catalog.tasks import NewTask, TaskRecord

FACTS = DataFacts(
    size=7,
    virtual_size=9,
    checksum="c5",
    os_hash_algo="sha512",
    os_hash_value="5a",
    disk_format="raw",
    container_format="bare",
)
"""What is found out about seven bytes."""

LONG = 100_000.0
"""A lease, in seconds, that outlives every test."""


class StoppedClock(Database):
    """It is ten o'clock in the morning of 22 November 2026 until `skew` says otherwise."""

    _TEN = round(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp())

    def now(self) -> ColumnElement[int]:
        """See `Database.now`."""
        return literal(round((self._TEN + self.skew) * SECOND), BigInteger)


def new_image(catalog: Catalog, **columns: object) -> str:
    """An image that may be imported into; returns its id."""
    image_id = str(uuid.uuid4())
    given: dict[str, object] = {"owner": "p", "disk_format": "raw", "container_format": "bare"}
    with catalog.begin() as tx:
        tx.images.create(NewImage(image_id, **(given | columns)))  # type: ignore[arg-type]
    return image_id


def new_task(
    image_id: str, stores: tuple[str, ...] = ("a",), *, must_all: bool = True, host: str | None = None
) -> NewTask:
    """A web download of that image."""
    return NewTask(
        id=str(uuid.uuid4()),
        image_id=image_id,
        flow="web-download",
        stores=stores,
        input={"image_id": image_id},
        source={"uri": "http://h/x"},
        all_stores_must_succeed=must_all,
        owner="p",
        user_id="u",
        request_id="req-1",
        host=host,
    )


def importing(catalog: Catalog, stores: tuple[str, ...] = ("a",), *, must_all: bool = True) -> tuple[str, str]:
    """An image with a fresh task; returns both ids."""
    image_id = new_image(catalog)
    task = new_task(image_id, stores, must_all=must_all)
    catalog.request_import(task)
    return image_id, task.id


def entered(catalog: Catalog, task_id: str, step: int = 0, worker: str = "w") -> Claim:
    """The claim of a worker that begins an attempt now."""
    claim = catalog.lock.enter(task_id, step, worker)
    assert claim is not None
    return claim


def stored(catalog: Catalog, claim: Claim, *stores: str) -> dict[str, str]:
    """Let the attempt have written a whole object to each store; returns store → key."""
    keys = dict.fromkeys(stores, f"{claim.image_id}.{claim.fence}")
    with catalog.fenced(claim) as tx:
        tx.begin_objects(keys)
        for store, key in keys.items():
            tx.object_stored(store, key, FACTS.size)
    return keys


def imported(catalog: Catalog, stores: tuple[str, ...] = ("a",)) -> tuple[str, str]:
    """An active image with data in `stores`, and the task that brought it; returns both ids."""
    image_id, task_id = importing(catalog, stores)
    claim = entered(catalog, task_id)
    keys = stored(catalog, claim, *stores)
    with catalog.fenced(claim) as tx:
        for store, key in keys.items():
            tx.add_location(store, key, f"file:///{store}/{key}")
        tx.activate(FACTS)
        tx.succeed("Copied.", keep_for=60)
    return image_id, task_id


def image_of(catalog: Catalog, image_id: str) -> ImageRecord:
    """The image as it stands now."""
    with catalog.read() as tx:
        return tx.images.get(image_id)


def _undo(tx: Fenced, _task: TaskRecord, why: Preempted) -> None:
    tx.discard_objects()
    tx.settle_targets(None, (why.code, str(why)))
    tx.requeue()


TAKE_OVER = Preemption(_undo, keep_for=60.0)
"""What an import may do to a stale task."""


def take_over(catalog: Catalog, image_id: str, stores: tuple[str, ...] = ("a",)) -> str:
    """Ask for an import that may preempt a stale task; returns the new task's id."""
    task = new_task(image_id, stores)
    catalog.request_import(task, TAKE_OVER)
    return task.id


def age(catalog: Catalog, task_id: str, seconds: int) -> None:
    """Let the task have shown no progress for so long, and nothing else be older."""
    task = t.tasks.c
    with catalog.database.begin() as connection:
        connection.execute(
            update(t.tasks).where(task.id == task_id).values(updated_at=task.updated_at - seconds * SECOND)
        )


def rows_of(catalog: Catalog) -> dict[str, list[str]]:
    """Every row of every table."""
    with catalog.database.read() as connection:
        return {
            name: sorted(repr(row) for row in connection.execute(select(table)))
            for name, table in t.metadata.tables.items()
        }
