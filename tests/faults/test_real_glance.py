"""What real Glance does when things break, as it was measured (glance-figures, last paragraph), and what happens here:
recovered, cleaned up, and explained. Each test is named after one of its sentences.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import LockHeld
from flows.methods import FLOWS
from tests.conformance.origin import serving
from tests.faults.test_crash_matrix import DATA as WHOLE
from tests.faults.test_crash_matrix import Fuse, asked, dies, judge, recover, runtime_of
from tests.flows.service import DATA, Service, eager_service, full, load

ALL = ("a", "b", "c")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that gives up at the first failure of a source."""
    with eager_service(tmp_path / "data", max_attempts=1, http_resume_attempts=0, http_idle_timeout=3) as made:
        yield made


@pytest.mark.parametrize("method", FLOWS)
def test_killed_in_an_import_it_stays_importing_for_good(tmp_path: Path, method: str) -> None:
    """Given a worker killed in mid-write, then a new import is told by whom the image is held, and a sweep resumes the
    old one: the image gets its data, and the half-written file goes.
    """
    with serving() as origin:
        origin.objects["/image"] = WHOLE
        settings = load(tmp_path, origin, lease_ttl=30.0, progress_interval=10.0)
        runtime = runtime_of(settings, Fuse(0), breaks=False)
        runtime.catalog.database.create()
        image, task_id = asked(runtime, origin, FLOWS[method])
        runtime.close()
        assert dies(settings, FLOWS[method], task_id, 8, breaks=False)
        assert list((settings.data / "stores").rglob(f"*{image.id}*")), "it was killed with a file half written"
        with pytest.raises(LockHeld, match=task_id), runtime.catalog.begin() as tx:
            runtime.catalog.lock.require_free(tx.connection, image.id)
        recover(settings, runtime, task_id)
        judge(runtime, settings, image, task_id, success=True)


REASONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "HTTP 404": ({"status": 404}, ("404",)),
    "HTTP 503": ({"status": 503}, ("503",)),
    "a body that ends early": ({"break_after": 70000}, ("70000", str(len(DATA)))),
    "a redirect to a forbidden place": ({"redirects": {"/image": "http://169.254.169.254/"}}, ("169.254.169.254",)),
    "a full store": ({}, ("store b", "no room")),
}


@pytest.mark.parametrize("what", REASONS)
def test_every_failure_says_internal_error(service: Service, what: str) -> None:
    """Given a source or a store that fails, then task and store say what happened, in figures."""
    bad, words = REASONS[what]
    for name, value in bad.items():
        setattr(service.origin, name, value)
    if not bad:
        service.fail("b", "write", full("b"))
    image = service.image()

    task = service.task(service.ask(image, stores=ALL))

    assert task.status == "failure"
    assert "Internal Error" not in task.message
    reasons = [target.reason for target in task.targets if target.state == "failed"]
    for text in (task.message, *reasons):
        assert all(word in text for word in words), text
    service.assert_clean(image)


def test_a_silent_source_is_waited_for_without_limit(service: Service) -> None:
    """Given a source that sends a part and then nothing, then the import ends, saying for how long it was silent."""
    service.origin.stall_after = 1000
    image = service.image()

    task = service.task(service.ask(image))

    assert (task.status, task.error_code) == ("failure", "source_stalled")
    assert "3 seconds" in task.message
    assert service.look(image).status == "queued"
    service.assert_clean(image)


def test_a_source_without_length_that_drops_makes_an_active_image(service: Service) -> None:
    """Given a source that does not tell its length and breaks off, then no image becomes active with a part of it."""
    service.origin.headers["Content-Length"] = None
    service.origin.break_after = 70000
    image = service.image()

    task = service.task(service.ask(image))

    assert (task.status, service.look(image).status) == ("failure", "queued")
    assert "where its content ends" in task.message
    service.assert_clean(image)


def test_a_format_mismatch_leaves_the_file_in_the_store(service: Service) -> None:
    """Given content that is not what was declared, then no store has a byte of it, neither before a DELETE nor after,
    and the same image can be imported once the declaration is right.
    """
    image = service.image(disk_format="qcow2")

    task = service.task(service.ask(image, stores=ALL))

    assert (task.status, task.error_code) == ("failure", "format_mismatch")
    assert service.kept() == {"a": [], "b": [], "c": []}
    service.runtime.catalog.delete_image(image.id)
    assert service.kept() == {"a": [], "b": [], "c": []}


def test_the_last_of_three_stores_is_full_and_all_are_named(service: Service) -> None:
    """Given three stores of which the last is full, then it alone is named, and nothing is left in the others."""
    service.fail("c", "write", full("c"))
    image = service.image()

    task = service.task(service.ask(image, stores=ALL))

    assert task.status == "failure"
    assert service.look(image).failed == ("c",)
    assert {target.store: target.state for target in task.targets} == {"a": "undone", "b": "undone", "c": "failed"}
    assert service.kept() == {"a": [], "b": [], "c": []}
    service.assert_clean(image)
