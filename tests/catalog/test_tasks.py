"""Tasks as the API and the sweeper see them: shown, found when due, cancelled."""

from itertools import pairwise

import pytest

from catalog.catalog import Catalog
from catalog.errors import NotFound
from catalog.tasks import WAITING, TaskRecord
from tests.catalog.rows import entered, importing, new_image, new_task


def task_of(catalog: Catalog, task_id: str) -> TaskRecord:
    """The task as it stands now."""
    with catalog.read() as tx:
        return tx.tasks.get(task_id)


def due(catalog: Catalog, *, resend_after: float = 60.0, limit: int = 10) -> list[str]:
    """The ids that a sweep would ring for; they are marked as sent."""
    with catalog.begin() as tx:
        return [task.id for task in tx.tasks.due(resend_after=resend_after, limit=limit)]


def pass_by(catalog: Catalog, seconds: float) -> None:
    """Let the database's clock go on."""
    catalog.database.skew += seconds


class TestShowing:
    """`Tasks.get`, `of_image`, `attempts`."""

    def test_as_it_was_asked_for(self, catalog: Catalog) -> None:
        """Given a wish, then its task shows the input, keeps the source for the worker, and is pending at step 0."""
        image_id, task_id = importing(catalog, ("b", "a"))
        task = task_of(catalog, task_id)
        assert (task.image_id, task.type, task.flow) == (image_id, "api_image_import", "web-download")
        assert (task.status, task.live, task.step, task.attempt) == ("pending", True, 0, 0)
        assert (task.input, task.source, task.facts, task.result) == (
            {"image_id": image_id},
            {"uri": "http://h/x"},
            {},
            None,
        )
        assert (task.owner, task.user_id, task.request_id) == ("p", "u", "req-1")
        assert (task.message, task.error_code, task.cancel_requested) == ("", None, False)
        assert [(x.store, x.state, x.bytes_done, x.reason) for x in task.targets] == [
            ("b", "pending", 0, ""),
            ("a", "pending", 0, ""),
        ]

    @pytest.mark.parametrize("host", [None, "x.y-1"])
    def test_waiting(self, catalog: Catalog, host: str | None) -> None:
        """Given a task that nobody works on, before and after an attempt, then its phase says so, and not on which
        host: users read it.
        """
        task = new_task(new_image(catalog), host=host)
        catalog.request_import(task)
        assert (task_of(catalog, task.id).host, task_of(catalog, task.id).phase) == (host, WAITING)
        claim = entered(catalog, task.id)
        with catalog.fenced(claim) as tx:
            tx.progress("downloading", 1, None, {})
        with catalog.fenced(claim) as tx:
            tx.hand_back("going")
        assert task_of(catalog, task.id).phase == WAITING

    def test_unknown(self, catalog: Catalog) -> None:
        """Given no such task, then asking for it says so; its image has none."""
        with catalog.read() as tx:
            for ask in (tx.tasks.get, tx.tasks.stop_requested):
                with pytest.raises(NotFound, match="nobody"):
                    ask("nobody")
            assert tx.tasks.of_image("nobody") == []
            assert tx.tasks.attempts("nobody") == []

    def test_oldest_first_until_forgotten(self, catalog: Catalog) -> None:
        """Given tasks one after another, then all are shown, each until its time is over; a live one always."""
        image_id = new_image(catalog)
        ids = []
        for keep_for in (100.0, 200.0):
            task = new_task(image_id)
            catalog.request_import(task)
            ids.append(task.id)
            with catalog.fenced(entered(catalog, task.id)) as fenced:
                fenced.requeue()
                fenced.fail(code="x", message="no", keep_for=keep_for)
            pass_by(catalog, 1)
        live = new_task(image_id)
        catalog.request_import(live)
        shown = []
        for seconds in (0, 110, 110, 1_000_000):
            pass_by(catalog, seconds)
            with catalog.read() as tx:
                shown.append([task.id for task in tx.tasks.of_image(image_id)])
        assert shown == [[*ids, live.id], [ids[1], live.id], [live.id], [live.id]]

    def test_attempts_in_order(self, catalog: Catalog) -> None:
        """Given attempts that ended in different ways, then each tells who, which step, which try, and how."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id, worker="one")) as tx:
            tx.retry_later(0, code="http", message="HTTP 503")
        entered(catalog, task_id, worker="two")
        pass_by(catalog, 61)
        with catalog.fenced(entered(catalog, task_id, worker="three")) as tx:
            tx.hand_back("going")
        with catalog.fenced(entered(catalog, task_id, worker="four")) as tx:
            tx.advance({})
        entered(catalog, task_id, 1, worker="five")
        with catalog.read() as reading:
            found = reading.tasks.attempts(task_id)
        assert [(a.fence, a.worker, a.step, a.number, a.outcome, a.message) for a in found] == [
            (1, "one", 0, 1, "retry", "HTTP 503"),
            (2, "two", 0, 2, "lost", "the worker fell silent"),
            (3, "three", 0, 3, "handed_back", "going"),
            (4, "four", 0, 3, "done", ""),
            (5, "five", 1, 1, "running", ""),
        ]
        assert [a.ended_at is None for a in found] == [False, False, False, False, True]


class TestDue:
    """`Tasks.due`: which tasks nobody works on, each rung for once a period."""

    def test_a_lost_message(self, catalog: Catalog) -> None:
        """Given a message that nobody heard, when a period has passed, then the task is due, once a period."""
        _, task_id = importing(catalog)
        assert due(catalog) == []
        pass_by(catalog, 60)
        assert due(catalog) == [task_id]
        assert due(catalog) == []
        pass_by(catalog, 59)
        assert due(catalog) == []
        pass_by(catalog, 1)
        assert due(catalog) == [task_id]

    def test_messages_for_who_waits_long_are_few(self, catalog: Catalog) -> None:
        """Given a task that nobody takes for a day (its host is gone, or all are busy), then what a broker keeps for it
        does not pile up, and a message that was lost is still missed before long.
        """
        importing(catalog)
        rung = []
        for minute in range(1, 24 * 60 + 1):
            pass_by(catalog, 60.0)
            if due(catalog, resend_after=59.0):
                rung.append(minute)
        assert len(rung) < 200
        assert rung[:4] == [1, 2, 3, 4]
        assert max(after - before for before, after in pairwise([*rung, 24 * 60])) <= 16

    def test_a_message_never_sent(self, catalog: Catalog) -> None:
        """Given a broker that was away, when that is noted, then the task is due at once."""
        _, task_id = importing(catalog)
        with catalog.begin() as tx:
            tx.tasks.not_sent(task_id)
        assert due(catalog) == [task_id]

    def test_not_while_somebody_works(self, catalog: Catalog) -> None:
        """Given a worker that renews, then the task is not due however old it is; once it is silent, it is."""
        _, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        for _ in range(5):
            pass_by(catalog, 50)
            catalog.lock.renew(claim)
        assert due(catalog) == []
        pass_by(catalog, 61)
        assert due(catalog) == [task_id]

    def test_a_later_try(self, catalog: Catalog) -> None:
        """Given a try that waits for its time, then nobody gets in before, and it is due at that time at once."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.retry_later(300, code="http", message="HTTP 503")
        pass_by(catalog, 299)
        assert due(catalog) == []
        assert catalog.lock.enter(task_id, 0, "w") is None
        pass_by(catalog, 1)
        assert due(catalog) == [task_id]
        assert entered(catalog, task_id).attempt == 2

    def test_a_chain_that_broke_off(self, catalog: Catalog) -> None:
        """Given a step done and nobody at the next, when a period has passed, then the task is due where it stands."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.advance({})
        assert due(catalog) == []
        pass_by(catalog, 60)
        with catalog.begin() as asking:
            assert [(x.id, x.step) for x in asking.tasks.due(resend_after=60, limit=10)] == [(task_id, 1)]

    def test_never_once_ended(self, catalog: Catalog) -> None:
        """Given a finished task, then it is never due again."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.requeue()
            tx.fail(code="x", message="no", keep_for=1)
        pass_by(catalog, 1_000_000)
        assert due(catalog) == []
        assert catalog.lock.enter(task_id, 0, "w") is None

    def test_the_oldest_first(self, catalog: Catalog) -> None:
        """Given more due tasks than a batch, then the oldest come first and the others with the next batch."""
        made = []
        for _ in range(5):
            made.append(importing(catalog)[1])
            pass_by(catalog, 0.01)
        pass_by(catalog, 60)
        assert sorted(due(catalog, limit=2)) == sorted(made[:2])
        assert sorted(due(catalog, limit=2)) == sorted(made[2:4])
        assert due(catalog, limit=2) == made[4:]


class TestCancelling:
    """`Tasks.cancel`, `stop_requested`."""

    def test_of_a_task_that_waits(self, catalog: Catalog) -> None:
        """Given a try that waits for minutes, when the task is cancelled, then a worker may come at once to end it."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.retry_later(300, code="http", message="HTTP 503")
        with catalog.begin() as asking:
            assert asking.tasks.stop_requested(task_id) is None
            assert asking.tasks.cancel(task_id) is True
            assert asking.tasks.stop_requested(task_id) == "the import was cancelled"
        assert due(catalog) == [task_id]
        entered(catalog, task_id)

    def test_just_before_a_retry_is_noted(self, catalog: Catalog) -> None:
        """Given a cancel that comes as an attempt fails, then the next, which ends the task, need not wait."""
        _, task_id = importing(catalog)
        claim = entered(catalog, task_id)
        with catalog.begin() as asking:
            assert asking.tasks.cancel(task_id)
        with catalog.fenced(claim) as tx:
            tx.retry_later(300, code="http", message="HTTP 503")
        assert task_of(catalog, task_id).next_attempt_at is None
        assert due(catalog) == [task_id]
        entered(catalog, task_id)

    def test_of_a_task_that_ended(self, catalog: Catalog) -> None:
        """Given a finished or unknown task, then there is nothing to cancel, and nothing changes."""
        _, task_id = importing(catalog)
        with catalog.fenced(entered(catalog, task_id)) as tx:
            tx.requeue()
            tx.fail(code="x", message="no", keep_for=60)
        before = task_of(catalog, task_id)
        with catalog.begin() as asking:
            assert asking.tasks.cancel(task_id) is False
            assert asking.tasks.cancel("nobody") is False
        assert task_of(catalog, task_id) == before
