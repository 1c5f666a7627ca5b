"""Two at once: requests, workers, sweepers, collectors and deletions that meet on one image."""

from collections import Counter
from functools import partial

import pytest
from sqlalchemy import select, update

from catalog import tables as t
from catalog.catalog import Catalog
from catalog.errors import Conflict, LockLost, NotFound
from catalog.lock import ImportLock
from catalog.tasks import NewTask
from tests.catalog.at_once import Beside, at_once
from tests.catalog.rows import FACTS, entered, image_of, imported, importing, new_image, new_task, stored
from tests.servers import wait_until


class TestEntering:
    """Workers that hear the same message."""

    @pytest.mark.parametrize("how", ["done", "later", "cancelled"])
    def test_the_task_is_judged_as_it_stands(self, postgres: Catalog, beside: Beside, how: str) -> None:
        """Given a worker that waited for another's whole attempt, when it is let in, then it sees what that did.

        PostgreSQL re-reads only the row that was waited for, so a condition on the task in the same statement would be
        judged by how the task stood before: the step would run twice, or too early.
        """
        _, task_id = importing(postgres)
        lock = t.image_locks
        changes: dict[str, dict[str, object]] = {
            "done": {"step": 1},
            "later": {"next_attempt_at": 1 << 60},
            "cancelled": {"status": "failure", "expires_at": 1, "error_code": "x", "message": "no"},
        }
        with postgres.database.begin() as other:
            other.execute(update(lock).values(fence=lock.c.fence + 1))
            entering = beside(lambda: postgres.lock.enter(task_id, 0, "late"))
            other.execute(update(t.tasks).values(**changes[how]))
        assert entering.result() is None
        with postgres.read() as tx:
            assert tx.tasks.attempts(task_id) == []
            assert tx.tasks.get(task_id).attempt == 0
        with postgres.database.read() as connection:
            assert connection.execute(select(lock.c.fence, lock.c.owner)).one() == (1, None)

    def test_an_expired_lease_is_taken_by_one(self, catalog: Catalog) -> None:
        """Given a worker that died, when many hear of its task at once, then one takes over."""
        for _ in range(5):
            _, task_id = importing(catalog)
            entered(catalog, task_id, worker="dead")
            catalog.database.skew += 61
            claims = at_once(*(partial(catalog.lock.enter, task_id, 0, f"w{n}") for n in range(8)))
            assert sum(claim is not None for claim in claims) == 1

    def test_a_holder_in_mid_commit(self, postgres: Catalog, beside: Beside) -> None:
        """Given a holder whose lease runs out in mid commit, when another comes, then it waits for how that ended."""
        image_id, task_id = importing(postgres)
        brief = Catalog(postgres.database, ImportLock(postgres.database, ttl=1.0))
        first = entered(brief, task_id)
        with brief.fenced(first) as tx:
            assert wait_until(lambda: not brief.lock.keeper.alive(image_id, first.fence), 10)
            entering = beside(lambda: postgres.lock.enter(task_id, 0, "second"))
            tx.advance({"who": "first"})
        assert entering.result() is None
        with postgres.read() as reading:
            assert reading.tasks.get(task_id).facts == {"who": "first"}
            assert [a.outcome for a in reading.tasks.attempts(task_id)] == ["done"]
        with pytest.raises(LockLost):
            brief.lock.renew(first)


class TestAsking:
    """Users that want the same image."""

    def test_asking_and_deleting(self, catalog: Catalog) -> None:
        """Given a request and a deletion at once, then either there is no task, or it is told to stop."""

        def ask(task: NewTask) -> bool:
            try:
                catalog.request_import(task)
            except NotFound:
                return False
            return True

        def delete(image_id: str) -> bool:
            catalog.delete_image(image_id)
            return True

        for _ in range(12):
            image_id = new_image(catalog)
            asked, _deleted = at_once(partial(ask, new_task(image_id)), partial(delete, image_id))
            with catalog.read() as tx:
                assert [task.cancel_requested for task in tx.tasks.of_image(image_id)] == [True] * asked

    def test_freed_while_claiming(self, postgres: Catalog, beside: Beside) -> None:
        """Given an image freed in the moment that it is asked for, then who asks holds it, or hears who does."""
        image_id, task_id = importing(postgres)
        claim = entered(postgres, task_id)
        again = new_task(image_id)
        with postgres.fenced(claim) as tx:
            tx.requeue()
            asking = beside(lambda: postgres.request_import(again))
            tx.fail(code="x", message="no", keep_for=60)
        asking.result()
        assert image_of(postgres, image_id).import_task == again.id


class TestDeleting:
    """Deletions that meet a worker."""

    def test_a_location_in_mid_commit(self, postgres: Catalog, beside: Beside) -> None:
        """Given a copy about to be added to an active image, when that is deleted, then nothing of it outlives it."""
        image_id, _ = imported(postgres)
        copy = new_task(image_id, ("b",))
        with postgres.begin() as asking:
            asking.tasks.create(copy)
            postgres.lock.claim(asking.connection, image_id, copy.id)
        claim = entered(postgres, copy.id)
        keys = stored(postgres, claim, "b")
        with postgres.fenced(claim) as tx:
            tx.add_location("b", keys["b"], "file:///b")
            deleting = beside(lambda: postgres.delete_image(image_id))
        deleting.result()
        with postgres.database.read() as connection:
            assert connection.execute(select(t.locations)).all() == []
            assert set(connection.execute(select(t.objects.c.state)).scalars()) == {"garbage"}

    def test_whatever_the_worker_does(self, catalog: Catalog) -> None:
        """Given imports in every phase, when their images are deleted, then nobody hangs, and all bytes are garbage."""

        def work(task_id: str) -> str:
            claim = catalog.lock.enter(task_id, 0, "w")
            assert claim is not None
            try:
                keys = stored(catalog, claim, "a", "b")
                for done in range(3):
                    with catalog.fenced(claim) as tx:
                        tx.progress("downloading", done, 3, {"b": done, "a": done})
                with catalog.fenced(claim) as tx:
                    for store, key in keys.items():
                        tx.add_location(store, key, f"file:///{key}")
                    tx.activate(FACTS)
                    tx.succeed("Copied.", keep_for=60)
            except Conflict:
                with catalog.fenced(claim) as tx:
                    tx.discard_objects()
                    tx.settle_targets(None, ("cancelled", "deleted"))
                    tx.requeue()
                    tx.fail(code="cancelled", message="deleted", keep_for=60)
                return "failure"
            return "success"

        def delete(image_id: str) -> str:
            catalog.delete_image(image_id)
            return "deleted"

        def sweep() -> str:
            with catalog.begin() as tx:
                tx.tasks.due(resend_after=0, limit=100)
            return "swept"

        for _ in range(10):
            image_id, task_id = importing(catalog, ("a", "b"))
            said = at_once(partial(work, task_id), partial(delete, image_id), sweep)
            with catalog.read() as tx:
                assert tx.tasks.get(task_id).status == said[0]
                states = tx.connection.execute(
                    select(t.objects.c.state).where(t.objects.c.image_id == image_id)
                ).scalars()
                assert set(states) == {"garbage"}
                places = select(t.locations).where(t.locations.c.image_id == image_id)
                assert tx.connection.execute(places).all() == []


class TestSharing:
    """Any number of sweepers and collectors may run."""

    def test_each_task_is_rung_for_once(self, catalog: Catalog) -> None:
        """Given lost messages, when many sweep at once, then each task is due for one of them, and none for nobody."""
        wanted = {importing(catalog)[1] for _ in range(30)}
        catalog.database.skew = 61

        def sweep() -> list[str]:
            mine = []
            for _ in range(8):
                with catalog.begin() as tx:
                    mine += [task.id for task in tx.tasks.due(resend_after=60, limit=5)]
            return mine

        rung = Counter(task_id for mine in at_once(*[sweep] * 6) for task_id in mine)
        assert rung == Counter(wanted)

    def test_each_object_is_given_once(self, catalog: Catalog) -> None:
        """Given garbage, when many collect at once, then each object is given to one of them."""
        wanted = set()
        for _ in range(12):
            image_id, _ = imported(catalog, ("a", "b"))
            wanted |= {(place.store, place.object_key) for place in image_of(catalog, image_id).locations}
            catalog.delete_image(image_id)

        def collect() -> list[tuple[str, str]]:
            mine = []
            for _ in range(8):
                mine += [(g.store, g.object_key) for g in catalog.take_garbage(again_after=600, limit=4)]
            return mine

        given = Counter(item for mine in at_once(*[collect] * 6) for item in mine)
        assert given == Counter(wanted)

    def test_one_held_row_holds_up_nobody(self, postgres: Catalog) -> None:
        """Given a task and an object that somebody has locked, then sweeping and collecting pass over them at once."""
        _, held_task = importing(postgres)
        _, free_task = importing(postgres)
        gone = [imported(postgres)[0] for _ in range(2)]
        for image_id in gone:
            postgres.delete_image(image_id)
        postgres.database.skew = 61
        with postgres.database.begin() as holder:
            holder.execute(select(t.tasks).where(t.tasks.c.id == held_task).with_for_update())
            holder.execute(select(t.objects).where(t.objects.c.image_id == gone[0]).with_for_update())
            with postgres.begin() as tx:
                assert [task.id for task in tx.tasks.due(resend_after=60, limit=10)] == [free_task]
            assert len(postgres.take_garbage(again_after=60, limit=10)) == 1
