"""What every lease keeper over every database must keep: `LockContract` (architecture §9)."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.catalog import Catalog
from catalog.engine import Database
from catalog.errors import LockHeld, LockLost
from catalog.leases import Claim, LeaseKeeper
from catalog.lock import ImportLock
from tests.catalog.rows import importing, new_image, new_task

THREADS = 16
ROUNDS = 12
SHORT = 0.3


class LockContract:
    """Inherit and provide the fixtures `database` and `keeper`: a factory, since each process has its own keeper."""

    @pytest.fixture
    def catalog(self, database: Database, keeper: Callable[[], LeaseKeeper]) -> Catalog:
        """A catalogue whose leases outlast the test."""
        return Catalog(database, ImportLock(database, keeper(), ttl=60.0))

    @pytest.fixture
    def brief(self, database: Database, keeper: Callable[[], LeaseKeeper]) -> Catalog:
        """A catalogue whose leases end while one watches."""
        return Catalog(database, ImportLock(database, keeper(), ttl=SHORT))

    def test_one_winner_and_a_growing_fence(
        self, database: Database, keeper: Callable[[], LeaseKeeper], catalog: Catalog
    ) -> None:
        """Given many workers that hear the same doorbell, when they all enter at once, then one does, round after
        round.
        """
        _, task_id = importing(catalog)
        locks = [ImportLock(database, keeper(), ttl=60.0) for _ in range(THREADS)]
        last = 0
        with ThreadPoolExecutor(THREADS) as pool:
            for _round in range(ROUNDS):
                gate = threading.Barrier(THREADS)

                def enter(number: int, gate: threading.Barrier = gate) -> tuple[int, Claim | None]:
                    gate.wait()
                    return number, locks[number].enter(task_id, 0, f"worker-{number}")

                winners = [(n, claim) for n, claim in pool.map(enter, range(THREADS)) if claim is not None]
                assert len(winners) == 1
                number, claim = winners[0]
                assert claim.fence > last
                last = claim.fence
                with Catalog(database, locks[number]).fenced(claim) as tx:
                    tx.hand_back("next round")
                locks[number].keeper.drop(claim)

    def test_one_requester_wins(self, catalog: Catalog) -> None:
        """Given an image, when many ask to import it at once, then one task is recorded and the others hear who holds
        it.
        """
        image_id = new_image(catalog)

        def ask(_: int) -> str:
            try:
                catalog.request_import(new_task(image_id))
            except LockHeld as held:
                return held.task_id
            return "won"

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(ask, range(THREADS)))
        with catalog.read() as tx:
            (task,) = tx.tasks.of_image(image_id)
        assert sorted(answers) == sorted(["won"] + [task.id] * (THREADS - 1))

    def test_a_live_lease_shuts_others_out(self, catalog: Catalog) -> None:
        """Given an attempt at work, when another enters, then it gets nothing and the first can still write."""
        image_id, task_id = importing(catalog)
        claim = catalog.lock.enter(task_id, 0, "first")
        assert claim is not None
        assert catalog.lock.keeper.alive(image_id, claim.fence)
        assert catalog.lock.enter(task_id, 0, "second") is None
        catalog.lock.renew(claim)
        with catalog.fenced(claim) as tx:
            tx.set_target("a", "copying")

    def test_an_expired_holder_changes_nothing(self, brief: Catalog) -> None:
        """Given a lease that ran out, when its holder renews or commits, then nothing is changed and it hears so."""
        image_id, task_id = importing(brief)
        claim = brief.lock.enter(task_id, 0, "slow")
        assert claim is not None
        self._outlive(brief, claim)
        with pytest.raises(LockLost):
            brief.lock.renew(claim)
        with pytest.raises(LockLost), brief.fenced(claim) as tx:
            tx.set_target("a", "done")
        with brief.read() as reading:
            assert [t.state for t in reading.tasks.get(task_id).targets] == ["pending"]
            assert reading.images.get(image_id).importing_to == ("a",)

    def test_stolen_then_returned(
        self, database: Database, keeper: Callable[[], LeaseKeeper], brief: Catalog, catalog: Catalog
    ) -> None:
        """Given a worker that slept past its lease, when another took over, then only the other's writes count.

        Both have one name, as two threads of one worker have: the fence alone tells them apart.
        """
        _, task_id = importing(brief)
        sleeper = brief.lock.enter(task_id, 0, "w")
        assert sleeper is not None
        self._outlive(brief, sleeper)
        taker = catalog.lock.enter(task_id, 0, "w")
        assert taker is not None
        assert taker.fence > sleeper.fence
        assert taker.attempt == 2
        with pytest.raises(LockLost), brief.fenced(sleeper) as tx:
            tx.succeed("never", keep_for=1)
        with pytest.raises(LockLost):
            brief.lock.renew(sleeper)
        with catalog.fenced(taker) as tx:
            tx.advance({"who": "taker"})
        with catalog.read() as reading:
            assert reading.tasks.get(task_id).facts == {"who": "taker"}
            assert [a.outcome for a in reading.tasks.attempts(task_id)] == ["lost", "done"]

    def test_renewing_keeps_it(self, brief: Catalog) -> None:
        """Given a short lease, when it is renewed often enough, then it outlasts many lengths of it."""
        for _ in range(20):
            _, task_id = importing(brief)
            claim = brief.lock.enter(task_id, 0, "diligent")
            if claim and self._outlasts(brief, claim):
                return
        raise AssertionError("this machine was never quick enough to renew a lease in time")

    @staticmethod
    def _outlasts(brief: Catalog, claim: Claim) -> bool:
        """Whether the claim was kept for four lengths of the lease; no, where the machine itself slept for long."""
        began = last = time.monotonic()
        while last < began + 4 * SHORT:
            now = time.monotonic()
            try:
                brief.lock.renew(claim)
                kept = brief.lock.enter(claim.task_id, 0, "other") is None
                kept = kept and brief.lock.keeper.alive(claim.image_id, claim.fence)
            except LockLost:
                kept = False
            if time.monotonic() - last > SHORT / 2:
                return False
            assert kept
            last = now
            time.sleep(SHORT / 10)
        return True

    def test_leaving_lets_the_next_step_in(self, catalog: Catalog) -> None:
        """Given a step that is done, when the next is entered, then it gets a higher fence, and the old one is
        worthless.
        """
        image_id, task_id = importing(catalog)
        first = catalog.lock.enter(task_id, 0, "w")
        assert first is not None
        with catalog.fenced(first) as tx:
            tx.advance({})
        catalog.lock.keeper.drop(first)
        assert not catalog.lock.keeper.alive(image_id, first.fence)
        assert catalog.lock.enter(task_id, 0, "w") is None
        second = catalog.lock.enter(task_id, 1, "w")
        assert second is not None
        assert (second.fence, second.attempt) == (first.fence + 1, 1)
        with pytest.raises(LockLost), catalog.fenced(first) as tx:
            tx.fail(code="late", message="late", keep_for=1)

    def test_freeing_keeps_the_fence(self, catalog: Catalog) -> None:
        """Given a task that ended, when the image is imported again, then the fence goes on where it was."""
        image_id, task_id = importing(catalog)
        claim = catalog.lock.enter(task_id, 0, "w")
        assert claim is not None
        with catalog.fenced(claim) as tx:
            tx.requeue()
            tx.fail(code="x", message="no", keep_for=60)
        catalog.lock.keeper.drop(claim)
        with pytest.raises(LockLost), catalog.fenced(claim) as tx:
            tx.set_target("a", "done")
        again = new_task(image_id)
        catalog.request_import(again)
        assert catalog.lock.enter(task_id, 0, "w") is None
        next_claim = catalog.lock.enter(again.id, 0, "w")
        assert next_claim is not None
        assert next_claim.fence == claim.fence + 1

    @staticmethod
    def _outlive(catalog: Catalog, claim: Claim) -> None:
        deadline = time.monotonic() + 20
        while catalog.lock.keeper.alive(claim.image_id, claim.fence):
            assert time.monotonic() < deadline
            time.sleep(SHORT / 20)
        # The row of an external keeper lives by the database's clock; let that pass too.
        while time.monotonic() < deadline:
            try:
                catalog.lock.renew(claim)
            except LockLost:
                return
            time.sleep(SHORT * 1.2)
        raise AssertionError("the lease never ended")
