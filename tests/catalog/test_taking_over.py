"""How an import takes an image over from a stale task, and who wins what when several come at once (import-behaviour
§2.3 to §2.6), on both databases and under both keepers of leases.
"""

from dataclasses import replace
from functools import partial

import fakeredis
import pytest
from sqlalchemy import update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, LockHeld, LockLost, NotFound, RuleBroken
from catalog.fenced import Fenced
from catalog.leases import Claim
from catalog.preempt import Preemption
from catalog.tasks import NewTask
from tests.catalog.at_once import Beside, at_once
from tests.catalog.rows import (
    FACTS,
    TAKE_OVER,
    age,
    entered,
    image_of,
    imported,
    importing,
    new_task,
    rows_of,
    stored,
    take_over,
)
from tests.catalog.test_fenced import objects_of
from tests.catalog.test_tasks import due, pass_by, task_of

HOUR = 3600


@pytest.fixture
def catalog(stopped: Catalog) -> Catalog:
    """Leases never end by themselves, so that only progress counts."""
    return stopped


def stale(catalog: Catalog, stores: tuple[str, ...] = ("a", "b")) -> tuple[str, Claim]:
    """An image whose worker has written to `stores` and then nothing for an hour, under a lease that lives."""
    image_id, task_id = importing(catalog, stores)
    claim = entered(catalog, task_id)
    stored(catalog, claim, *stores)
    age(catalog, task_id, HOUR)
    return image_id, claim


class TestTheThief:
    """What the new import finds, and what it leaves of the old one (§2.3)."""

    def test_the_old_task_is_over(self, catalog: Catalog) -> None:
        """Given a stale task, then it failed, saying why and for whom, and nothing more will be done for it."""
        image_id, claim = stale(catalog)
        new = take_over(catalog, image_id)
        old = task_of(catalog, claim.task_id)
        assert (old.status, old.error_code) == ("failure", "preempted")
        assert old.message == f"Expired lock preempted by task {new}: no progress since 2026-11-22T09:00:00Z."
        assert old.expires_at is not None
        with catalog.read() as tx:
            (attempt,) = tx.tasks.attempts(old.id)
        assert (attempt.outcome, attempt.error_code, attempt.message) == ("lost", "preempted", old.message)
        assert catalog.lock.enter(old.id, 0, "w") is None
        pass_by(catalog, 61)
        assert due(catalog) == [new]

    def test_the_image_is_the_new_ones(self, catalog: Catalog) -> None:
        """Given a stale task, then image, lock and lists are as if only the new one had been asked for."""
        image_id, claim = stale(catalog, ("a", "b"))
        new = take_over(catalog, image_id, ("b", "c"))
        image = image_of(catalog, image_id)
        assert (image.status, image.import_task) == ("importing", new)
        assert (image.importing_to, image.failed) == (("b", "c"), ())
        assert {state for state, _ in objects_of(catalog, image_id).values()} == {"garbage"}
        assert [x.state for x in task_of(catalog, claim.task_id).targets] == ["failed", "failed"]
        assert (task_of(catalog, new).status, task_of(catalog, new).attempt) == ("pending", 0)

    def test_only_its_own_stores_leave_the_lists(self, catalog: Catalog) -> None:
        """Given a store that failed in an earlier import, when a stale one for others is preempted, then it stays
        named, and a store that failed in the stale one does not.
        """
        image_id, task_id = importing(catalog, ("z",))
        with catalog.fenced(entered(catalog, task_id)) as tx:
            TAKE_OVER.undo(tx, task_of(catalog, task_id), Conflict("full"))  # type: ignore[arg-type]
            tx.fail(code="x", message="full", keep_for=60)
        second = new_task(image_id, ("a", "b"))
        catalog.request_import(second)
        with catalog.fenced(entered(catalog, second.id)) as tx:
            tx.set_target("a", "failed", code="store_full", reason="no room")
        pass_by(catalog, HOUR)
        take_over(catalog, image_id, ("c",))
        assert (image_of(catalog, image_id).importing_to, image_of(catalog, image_id).failed) == (("c",), ("z",))

    def test_the_fence_grows(self, catalog: Catalog) -> None:
        """Given a worker under a fence, then the next one's is higher, and what the first writes is under its own
        key.
        """
        image_id, claim = stale(catalog)
        taker = entered(catalog, take_over(catalog, image_id), worker=claim.owner)
        assert taker.fence > claim.fence
        assert stored(catalog, taker, "a")["a"] != f"{image_id}.{claim.fence}"
        with pytest.raises(LockLost):
            catalog.lock.renew(claim)
        catalog.lock.renew(taker)

    def test_its_lease_holds_up_nobody(self, catalog: Catalog) -> None:
        """Given a lease that lives, wherever it is kept, then it ends with its task, and nothing renews it."""
        image_id, claim = stale(catalog)
        assert catalog.lock.keeper.alive(image_id, claim.fence)
        new = take_over(catalog, image_id)
        assert not catalog.lock.keeper.alive(image_id, claim.fence)
        assert not catalog.lock.busy(new)
        with pytest.raises(LockLost):
            catalog.lock.renew(claim)
        with catalog.read() as tx, pytest.raises(LockLost):
            catalog.lock.require(tx.connection, claim)
        assert not catalog.lock.keeper.alive(image_id, claim.fence)
        assert catalog.lock.keeper.alive(image_id, entered(catalog, new).fence)

    def test_not_without_being_told_how(self, catalog: Catalog) -> None:
        """Given a stale task, when somebody only wants the image free, then he hears who holds it."""
        image_id, claim = stale(catalog)
        with pytest.raises(LockHeld, match=claim.task_id) as held:
            catalog.request_import(new_task(image_id))
        assert held.value.stale

    def test_a_copy_leaves_the_image_active(self, catalog: Catalog) -> None:
        """Given a stale copy, then the image stays active, and of its data only what the copy wrote goes."""
        image_id, _ = imported(catalog, ("a", "b"))
        places = image_of(catalog, image_id).locations
        first = new_copy(image_id, "c")
        catalog.request_import(first)
        stored(catalog, entered(catalog, first.id), "c")
        pass_by(catalog, HOUR)
        second = new_copy(image_id, "c")
        catalog.request_import(second, TAKE_OVER)
        image = image_of(catalog, image_id)
        assert (image.status, image.locations, image.import_task) == ("active", places, second.id)
        assert [store for (store, _), (state, _) in objects_of(catalog, image_id).items() if state == "garbage"] == [
            "c"
        ]

    @pytest.mark.parametrize("what", ["wrong status", "a rule", "the undo", "deleted"])
    def test_all_or_nothing(self, catalog: Catalog, what: str) -> None:
        """Given a new import that cannot be recorded, then the stale task has lost nothing, not even its worker."""
        image_id, claim = stale(catalog)
        task = new_task(image_id, ("c", "c")) if what == "a rule" else new_task(image_id)
        if what == "wrong status":
            task = new_copy(image_id, "c")
        if what == "deleted":
            catalog.delete_image(image_id)
        how = Preemption(_refuse, 60) if what == "the undo" else TAKE_OVER
        before = rows_of(catalog)
        with pytest.raises((Conflict, RuleBroken, NotFound)):
            catalog.request_import(task, how)
        assert rows_of(catalog) == before
        catalog.lock.renew(claim)


def new_copy(image_id: str, store: str) -> NewTask:
    """A task that begins from an active image and leaves it so."""
    return replace(new_task(image_id, (store,)), begins_from="active")


def _refuse(_tx: Fenced, _task: object, _why: object) -> None:
    raise Conflict("the undo fails")


class TestMany:
    """Several at once, and in the middle of each other (§2.5)."""

    def test_one_thief_wins(self, catalog: Catalog) -> None:
        """Given a stale task and many who want its image, then one gets it, and the others hear that it did."""

        def steal(task: NewTask) -> str:
            try:
                catalog.request_import(task, TAKE_OVER)
            except LockHeld as held:
                return held.task_id
            return "won"

        for _ in range(3):
            image_id, claim = stale(catalog)
            wishes = [new_task(image_id) for _ in range(8)]
            said = at_once(*(partial(steal, wish) for wish in wishes))
            with catalog.read() as tx:
                old, new = sorted(tx.tasks.of_image(image_id), key=lambda task: task.live)
            assert sorted(said) == sorted(["won"] + [new.id] * 7)
            assert (old.id, old.message.split()[5]) == (claim.task_id, f"{new.id}:")

    def test_progress_in_the_last_moment(self, postgres: Catalog, beside: Beside) -> None:
        """Given a worker that writes progress as somebody asks, then it keeps the image, and that one hears so."""
        image_id, task_id = importing(postgres)
        claim = entered(postgres, task_id)
        age(postgres, task_id, HOUR)
        with postgres.fenced(claim) as tx:
            tx.progress("downloading", 1, None, {})
            asking = beside(lambda: take_over(postgres, image_id))
        with pytest.raises(LockHeld, match=task_id):
            asking.result()
        postgres.lock.renew(claim)

    def test_progress_a_moment_too_late(self, postgres: Catalog, beside: Beside) -> None:
        """Given a new import in mid-commit, when the old worker writes, then it waits, and is refused."""
        image_id, task_id = importing(postgres)
        claim = entered(postgres, task_id)
        age(postgres, task_id, HOUR)
        task = new_task(image_id)

        def write() -> None:
            with postgres.fenced(claim) as tx:
                tx.progress("downloading", 1, None, {})

        writing = []

        def undo(tx: Fenced, old: object, why: object) -> None:
            writing.append(beside(write))
            TAKE_OVER.undo(tx, old, why)  # type: ignore[arg-type]

        postgres.request_import(task, Preemption(undo, 60))
        with pytest.raises(LockLost):
            writing[0].result()
        assert task_of(postgres, task_id).error_code == "preempted"
        assert image_of(postgres, image_id).import_task == task.id

    def test_a_worker_that_comes_as_somebody_asks(self, catalog: Catalog) -> None:
        """Given a pending task that is stale, when a worker and an import come at once, then one of them has it."""
        for _ in range(5):
            image_id, task_id = importing(catalog)
            age(catalog, task_id, 2 * HOUR)
            entering, asking = at_once(
                partial(catalog.lock.enter, task_id, 0, "w"), partial(_outcome, catalog, image_id)
            )
            assert (entering is None) == (asking != task_id)
            assert task_of(catalog, task_id).live == (asking == task_id)
            assert image_of(catalog, image_id).import_task == asking

    def test_a_new_import_and_a_deletion(self, catalog: Catalog) -> None:
        """Given a stale task, when its image is taken over and deleted at once, then whoever is at it is told to
        stop.
        """
        for _ in range(5):
            image_id, _ = stale(catalog)
            at_once(partial(_outcome, catalog, image_id), partial(catalog.delete_image, image_id))
            with catalog.read() as tx:
                assert all(task.cancel_requested for task in tx.tasks.of_image(image_id) if task.live)
                assert sum(task.live for task in tx.tasks.of_image(image_id)) == 1

    def test_a_copy_and_a_deletion(self, postgres: Catalog, beside: Beside) -> None:
        """Given an image about to be deleted, when a copy would preempt another one, then it waits, and neither of the
        two is thrown out by the database for waiting in a circle.
        """
        image_id, _ = imported(postgres)
        old = new_copy(image_id, "b")
        postgres.request_import(old)
        age(postgres, old.id, 2 * HOUR)
        leaves_the_image = Preemption(lambda tx, _task, _why: tx.discard_objects(), keep_for=60.0)
        with postgres.begin() as tx:
            tx.images.get_to_change(image_id)
            asking = beside(lambda: postgres.request_import(new_copy(image_id, "c"), leaves_the_image))
            tx.images.delete(image_id, grace=60)
        with pytest.raises(NotFound):
            asking.result()
        assert task_of(postgres, old.id).cancel_requested


def _outcome(catalog: Catalog, image_id: str) -> str | None:
    """Who has the image after it was asked for; None when it was gone."""
    try:
        return take_over(catalog, image_id)
    except LockHeld as held:
        return held.task_id
    except NotFound:
        return None


class TestTheLoser:
    """What the old worker can still do: nothing (§2.4, §2.5); every write is tried in `test_fenced.py`."""

    def test_its_failure_does_not_overwrite_why(self, catalog: Catalog) -> None:
        """Given a worker that fails after it was shut out, then the task says by whom, and the image is the other's."""
        image_id, claim = stale(catalog)
        new = take_over(catalog, image_id)
        with pytest.raises(LockLost), catalog.fenced(claim) as tx:
            tx.fail(code="source_broken", message="too late", keep_for=60)
        assert task_of(catalog, claim.task_id).error_code == "preempted"
        assert image_of(catalog, image_id).import_task == new

    def test_its_rollback_touches_nothing(self, catalog: Catalog) -> None:
        """Given a worker that rolls back after the new import is done, then the image stays active and whole."""
        image_id, claim = stale(catalog)
        taker = entered(catalog, take_over(catalog, image_id))
        keys = stored(catalog, taker, "a")
        with catalog.fenced(taker) as tx:
            tx.add_location("a", keys["a"], "file:///a")
            tx.activate(FACTS)
            tx.succeed("Copied.", keep_for=60)
        before = rows_of(catalog)
        with pytest.raises(LockLost), catalog.fenced(claim) as tx:
            TAKE_OVER.undo(tx, task_of(catalog, claim.task_id), Conflict("late"))  # type: ignore[arg-type]
        assert rows_of(catalog) == before

    def test_failure_and_release_are_seen_together(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given somebody who looks while an image changes hands, then the old task holds it and lives, or neither."""
        image_id, claim = stale(catalog)
        seen = []

        def looking(*anything: object) -> None:
            seen.append((image_of(catalog, image_id).import_task, task_of(catalog, claim.task_id).status))
            free(*anything)  # type: ignore[arg-type]

        free = catalog.lock.free
        monkeypatch.setattr(catalog.lock, "free", looking)
        new = take_over(catalog, image_id)
        seen.append((image_of(catalog, image_id).import_task, task_of(catalog, claim.task_id).status))
        assert seen == [(claim.task_id, "processing"), (new, "failure")]


class TestRedisLost:
    """Without Redis there are neither two holders, nor is an image blocked for ever (§2.6.3)."""

    @pytest.fixture
    def redis_server(self) -> fakeredis.FakeServer:
        """Only leases in Redis can be lost with it."""
        return fakeredis.FakeServer()

    @pytest.mark.parametrize("back", [False, True], ids=["for good", "and back"])
    def test_down(self, catalog: Catalog, redis_server: fakeredis.FakeServer, back: bool) -> None:
        """Given Redis down, then a stale task gives way all the same; when it is back with the old lease in it, that
        is worth nothing.
        """
        image_id, claim = stale(catalog)
        redis_server.connected = False
        new = take_over(catalog, image_id)
        redis_server.connected = back
        taker = entered(catalog, new)
        with catalog.read() as tx, pytest.raises(LockLost):
            catalog.lock.require(tx.connection, claim)
        with pytest.raises(LockLost), catalog.fenced(claim) as fenced:
            fenced.advance({})
        with catalog.fenced(taker) as fenced:
            fenced.advance({})

    def test_emptied(self, catalog: Catalog, redis_server: fakeredis.FakeServer) -> None:
        """Given Redis emptied, then the old worker does not put its lease back once its image is another's."""
        image_id, claim = stale(catalog)
        fakeredis.FakeRedis(server=redis_server).flushall()
        new = take_over(catalog, image_id)
        with pytest.raises(LockLost):
            catalog.lock.renew(claim)
        assert entered(catalog, new).fence == claim.fence + 2


def test_doubled_messages(catalog: Catalog) -> None:
    """Given messages for old and new task that come twice, then one worker works, for the new one (§2.6.4)."""
    image_id, claim = stale(catalog)
    new = take_over(catalog, image_id)
    heard = [claim.task_id, new, new, claim.task_id]
    assert [catalog.lock.enter(task_id, 0, "w") is not None for task_id in heard] == [False, True, False, False]


def test_user_changes_are_neither_kept_waiting_nor_lost(catalog: Catalog) -> None:
    """Given a worker and a thief, when a user renames the image in between, then lock and name are both as last
    written.
    """
    image_id, _ = stale(catalog)
    with catalog.database.begin() as connection:
        connection.execute(update(t.images).where(t.images.c.id == image_id).values(name="mine"))
    new = take_over(catalog, image_id)
    assert (image_of(catalog, image_id).name, image_of(catalog, image_id).import_task) == ("mine", new)
