"""The rules of the lock, row by row: who gets it, who keeps it, and when it may be taken over (import-behaviour §2.1,
§2.3), on both databases and under both keepers of leases, by a clock that stands still unless it is moved.

How it is taken over is in `test_taking_over.py`; what becomes of the loser, in `tests/workers/test_preempted.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest
from sqlalchemy import delete, insert, update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, LockHeld, LockLost, RuleBroken
from catalog.leases import Claim
from catalog.lock import ImportLock
from catalog.tasks import NewTask
from tests.catalog.at_once import at_once
from tests.catalog.rows import (
    TAKE_OVER,
    entered,
    image_of,
    imported,
    importing,
    new_image,
    new_task,
    rows_of,
    take_over,
)
from tests.catalog.test_tasks import due, pass_by, task_of


@pytest.fixture
def catalog(stopped: Catalog) -> Catalog:
    """Leases never end by themselves, so that only progress counts."""
    return stopped


# -- §2.1


class TestRules:
    """Acquire, hold, release."""

    def test_where(self, catalog: Catalog) -> None:
        """LOCK is the task's id, for whoever may see the image, and no property that anybody could set."""
        image_id, task_id = importing(catalog)
        assert image_of(catalog, image_id).import_task == task_id
        forged = insert(t.image_properties).values(image_id=image_id, name="os_glance_import_task", value="me")
        with pytest.raises(RuleBroken, match="property_not_reserved"), catalog.database.begin() as connection:
            connection.execute(forged)

    def test_acquire(self, catalog: Catalog) -> None:
        """Of many who ask at once, one gets it, and the others hear who did (bug 1884596)."""
        image_id = new_image(catalog)
        said = at_once(*(partial(_asked, catalog, new_task(image_id)) for _ in range(8)))
        (task,) = _tasks(catalog, image_id)
        assert sorted(said) == sorted(["won"] + [task] * 7)

    def test_when(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        """Task row and lock come together (§2.5): nobody sees one without the other, and an error leaves neither."""
        image_id = new_image(catalog)
        task = new_task(image_id)
        seen = []

        def fails(*_: object) -> None:
            seen.append((image_of(catalog, image_id).import_task, _tasks(catalog, image_id)))
            raise Conflict("no lock today")

        with monkeypatch.context() as patch:
            patch.setattr(catalog.lock, "claim", fails)
            with pytest.raises(Conflict):
                catalog.request_import(task)
        assert (seen, _tasks(catalog, image_id)) == ([(None, [])], [])
        assert image_of(catalog, image_id).status == "queued"
        catalog.request_import(task)
        assert (image_of(catalog, image_id).import_task, _tasks(catalog, image_id)) == (task.id, [task.id])

    def test_hold_check(self, catalog: Catalog) -> None:
        """A worker that is not, or no longer, the holder changes nothing: the write itself is refused."""
        image_id, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        for strange in (replace(claim, fence=claim.fence + 1), replace(claim, owner="x"), replace(claim, task_id="x")):
            before = rows_of(catalog)
            with pytest.raises(LockLost), catalog.fenced(strange) as tx:
                tx.requeue()
            assert rows_of(catalog) == before
        assert image_of(catalog, image_id).status == "importing"

    @pytest.mark.parametrize("how", ["success", "failure", "preempted"])
    def test_released(self, catalog: Catalog, how: str) -> None:
        """Whatever ends a task lets go of the image in the same change, and the next may have it at once."""
        image_id, task_id = importing(catalog)
        if how == "preempted":
            pass_by(catalog, 7200)
            take_over(catalog, image_id)
        else:
            with catalog.fenced(entered(catalog, task_id)) as tx:
                tx.requeue()
                if how == "success":
                    tx.succeed("done", keep_for=60)
                else:
                    tx.fail(code="x", message="no", keep_for=60)
            catalog.request_import(new_task(image_id))
        assert not task_of(catalog, task_id).live
        assert image_of(catalog, image_id).import_task not in (None, task_id)

    def test_release_of_another_holder(self, catalog: Catalog) -> None:
        """Who lost the lock does not release that of the one who has it now."""
        image_id, task_id = importing(catalog)
        late = entered(catalog, task_id)
        pass_by(catalog, 3600)
        new = take_over(catalog, image_id)
        with catalog.database.begin() as connection:
            catalog.lock.leave(connection, late, "failed")
            catalog.lock.free(connection, late)
        assert image_of(catalog, image_id).import_task == new

    def test_not_covered(self, catalog: Catalog) -> None:
        """DELETE of the image is not kept waiting by the lock: it goes at once, and the task is told to stop."""
        image_id, task_id = importing(catalog)
        entered(catalog, task_id)
        catalog.delete_image(image_id)
        with catalog.read() as tx:
            assert tx.tasks.stop_requested(task_id) == "the image was deleted"

    def test_data_taken_from_a_store(self, catalog: Catalog) -> None:
        """What a task may be reading or writing is not taken out of a store (§2.5 [R])."""
        image_id, _ = imported(catalog, ("a", "b"))
        copy = replace(new_task(image_id, ("c",)), begins_from="active")
        catalog.request_import(copy)
        with pytest.raises(LockHeld, match=copy.id):
            catalog.withdraw(image_id, "a", due_in=0)


def _asked(catalog: Catalog, task: NewTask) -> str:
    try:
        catalog.request_import(task, TAKE_OVER)
    except LockHeld as held:
        return held.task_id
    return "won"


def _tasks(catalog: Catalog, image_id: str) -> list[str]:
    with catalog.read() as tx:
        return [task.id for task in tx.tasks.of_image(image_id) if task.live]


# -- §2.3: when


def _nobody(_catalog: Catalog, _task_id: str) -> None:
    """Nobody has begun it."""


def _at_work(catalog: Catalog, task_id: str) -> None:
    """A worker is at it, and its lease lives."""
    entered(catalog, task_id)


def _next_step(catalog: Catalog, task_id: str) -> None:
    with catalog.fenced(entered(catalog, task_id)) as tx:
        tx.advance({})


def _handed_back(catalog: Catalog, task_id: str) -> None:
    with catalog.fenced(entered(catalog, task_id)) as tx:
        tx.hand_back("going")


def _next_try(catalog: Catalog, task_id: str) -> None:
    with catalog.fenced(entered(catalog, task_id)) as tx:
        tx.retry_later(300, code="x", message="again")


@dataclass(frozen=True)
class Row:
    """How a task stands, and from how many seconds without progress on it may lose its image."""

    name: str
    stands: Callable[[Catalog, str], None]
    stale: int


STALE = [
    Row("pending", _nobody, 7200),
    Row("processing, at work under a live lease", _at_work, 3600),
    Row("processing, between two steps", _next_step, 3600),
    Row("processing, handed back", _handed_back, 3600),
    Row("processing, waiting for its next try", _next_try, 3600),
]


@pytest.mark.parametrize("row", STALE, ids=lambda row: row.name)
def test_stale_from(catalog: Catalog, row: Row) -> None:
    """Given a task without progress, then one second before its time nothing is changed, and then it gives way."""
    image_id, task_id = importing(catalog)
    row.stands(catalog, task_id)
    pass_by(catalog, row.stale - 1)
    before = rows_of(catalog)
    with pytest.raises(LockHeld) as refused:
        take_over(catalog, image_id)
    assert (refused.value.task_id, refused.value.stale) == (task_id, False)
    assert rows_of(catalog) == before
    pass_by(catalog, 1)
    new = take_over(catalog, image_id)
    assert image_of(catalog, image_id).import_task == new
    assert task_of(catalog, task_id).error_code == "preempted"


@pytest.mark.parametrize("status", ["success", "failure"])
def test_ended_with_the_lock_kept(catalog: Catalog, status: str) -> None:
    """Given a task ended by hand, so that nobody let go of its image, then another has it at once, and its end
    stays.
    """
    image_id, task_id = importing(catalog)
    ended = {"status": status, "expires_at": 1 << 60, "error_code": "x", "message": "by hand"}
    with catalog.database.begin() as connection:
        connection.execute(update(t.tasks).values(**ended))
    new = take_over(catalog, image_id)
    assert image_of(catalog, image_id).import_task == new
    assert (task_of(catalog, task_id).status, task_of(catalog, task_id).message) == (status, "by hand")


def test_no_such_task(catalog: Catalog) -> None:
    """Given a task that holds an image, then no hand removes its row: a lock without its task cannot be (§2.5)."""
    importing(catalog, stores=())
    with pytest.raises(RuleBroken), catalog.database.begin() as connection:
        connection.execute(delete(t.tasks))


def test_thresholds_are_options(stopped: Catalog) -> None:
    """Given other thresholds, then these count (§2.6.2)."""
    lock = ImportLock(stopped.database, stopped.lock.keeper, stale_after=5, stale_pending_after=9)
    catalog = Catalog(stopped.database, lock)
    for stands, stale in ((_nobody, 9), (_at_work, 5)):
        image_id, task_id = importing(catalog)
        stands(catalog, task_id)
        pass_by(catalog, stale - 1)
        with pytest.raises(LockHeld):
            take_over(catalog, image_id)
        pass_by(catalog, 1)
        take_over(catalog, image_id)


Act = Callable[[Catalog, Claim], None]


def _written(write: Callable[..., None]) -> Act:
    def act(catalog: Catalog, claim: Claim) -> None:
        with catalog.fenced(claim) as tx:
            write(tx)

    return act


def _entered_again(catalog: Catalog, claim: Claim) -> None:
    with catalog.database.begin() as connection:
        connection.execute(update(t.image_locks).values(expires_at=0))
    catalog.lock.keeper.drop(claim)
    entered(catalog, claim.task_id)


def _asked_to_stop(catalog: Catalog, claim: Claim) -> None:
    with catalog.begin() as tx:
        assert tx.tasks.cancel(claim.task_id)


def _rung_again(catalog: Catalog, claim: Claim) -> None:
    with catalog.database.begin() as connection:
        connection.execute(update(t.image_locks).values(owner=None, expires_at=None))
    assert due(catalog) == [claim.task_id]
    with catalog.begin() as tx:
        tx.tasks.not_sent(claim.task_id)


PROGRESS: dict[str, Act] = {
    "bytes that move": _written(lambda tx: tx.progress("downloading", 1, None, {"a": 1})),
    "a step that is done": _written(lambda tx: tx.advance({})),
    "a try that failed": _written(lambda tx: tx.retry_later(0, code="x", message="no")),
    "work handed back": _written(lambda tx: tx.hand_back("going")),
    "another attempt": _entered_again,
}
NO_PROGRESS: dict[str, Act] = {
    "a heartbeat": lambda catalog, claim: catalog.lock.renew(claim),
    "another message": _rung_again,
    "a wish to cancel": _asked_to_stop,
}


@pytest.mark.parametrize("what", [*PROGRESS, *NO_PROGRESS])
def test_what_counts_as_progress(catalog: Catalog, what: str) -> None:
    """Given a task that was quiet for nearly an hour, then only what brings it forward gives it another."""
    image_id, task_id = importing(catalog)
    claim = entered(catalog, task_id)
    pass_by(catalog, 3599)
    (PROGRESS | NO_PROGRESS)[what](catalog, claim)
    if what in PROGRESS:
        pass_by(catalog, 3599)
        with pytest.raises(LockHeld):
            take_over(catalog, image_id)
    pass_by(catalog, 1)
    assert image_of(catalog, image_id).import_task == task_id
    take_over(catalog, image_id)


def test_the_loser_is_told_who_and_until_when(catalog: Catalog) -> None:
    """Given a task that waits, is worked on, or fell silent, then who is refused hears its name and both times."""
    lock = ImportLock(catalog.database, catalog.lock.keeper, ttl=60.0)
    brief = Catalog(catalog.database, lock)
    image_id, task_id = importing(brief)

    def refused() -> str:
        with pytest.raises(LockHeld) as held:
            take_over(brief, image_id)
        return str(held.value)

    begins, over = f"Image {image_id} has active task {task_id}; ", ", and without progress it can be taken over from "
    out = f" on. DELETE /v2/images/{image_id}/import calls it off (tranship cancel)."
    assert refused() == f"{begins}it waits for a worker{over}2026-11-22T12:00:00Z{out}"
    pass_by(brief, 1)
    entered(brief, task_id)
    assert refused() == f"{begins}its lease runs until 2026-11-22T10:01:01Z{over}2026-11-22T11:00:01Z{out}"
    pass_by(brief, 60)
    silent = "it waits for a worker"
    if not brief.lock.keeper.kept_in_row:
        silent = "its worker was last heard of at 2026-11-22T10:00:01Z"
    assert refused() == f"{begins}{silent}{over}2026-11-22T11:00:01Z{out}"
