"""What a project may have, as a worker keeps to it: by the limit under which its task was admitted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.errors import LimitsUnknown
from flows.flow import ImportRequest
from flows.location_import import LOCATION_IMPORT
from flows.options import Limits
from flows.submit import Requester, submit
from tests.flows.service import DATA, Service, eager_service

SIZE = len(DATA)


class Silence:
    """Who should say what a project may have, and does not."""

    def of(self, _project: str, /) -> Limits:
        raise LimitsUnknown("It cannot be asked.")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that has nobody to ask for limits; so its worker has not either, whatever its API is given."""
    with eager_service(tmp_path / "data", limits=Silence(), web=True, max_attempts=1) as made:
        yield made


def limited(service: Service, stored: int) -> Service:
    """The same worker, behind an API that knows a limit."""
    return replace(service, runtime=replace(service.runtime, limits=Limits(stored=stored)))


@pytest.mark.parametrize(("limit", "ends"), [(-1, "success"), (2 * SIZE, "success"), (2 * SIZE - 1, "failure")])
def test_what_is_downloaded_has_to_fit_in_every_store(service: Service, limit: int, ends: str) -> None:
    """Given a limit and a length that nobody knew, then two copies just fit, or nothing of them stays."""
    service = limited(service, limit)
    image = service.image()

    task = service.task(service.ask(image, stores=("a", "b")))

    assert task.status == ends
    if ends == "failure":
        assert (task.error_code, f"{limit // 2} bytes allowed" in task.message) == ("too_big", True)
        assert service.look(image).status == "queued"
    service.assert_clean(image)


def test_what_came_before_counts(service: Service) -> None:
    """Given room for one image, then the next fails in the worker, for whose length the API could not know."""
    service = limited(service, SIZE + 10)
    service.ask(service.image())

    task = service.task(service.ask(service.image()))

    assert (task.error_code, "more than the 10 bytes allowed" in task.message) == ("too_big", True)


@pytest.mark.parametrize("read", ["true", "false"])
@pytest.mark.parametrize(("limit", "error"), [(SIZE, None), (SIZE - 1, "too_big")])
def test_what_is_registered_counts_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, error: str | None, read: str
) -> None:
    """Given data that is registered, then it counts, also where it is believed to be what was said of it."""
    monkeypatch.setenv("OS_DEFAULT__DO_SECURE_HASH", read)
    with eager_service(tmp_path / "data", limits=Silence(), web=True, max_attempts=1) as made:
        service = limited(made, limit)
        request = ImportRequest(LOCATION_IMPORT.name, uri=service.origin.url("/image"), body={})

        task = service.task(submit(service.runtime, service.dispatcher, service.image(), request, Requester("p")))

        assert task.error_code == error
        # Of what is too much, not a byte is read
        asked = {headers.get("Range") for _, _, headers in service.origin.asked}
        assert asked == {"bytes=0-0"} or (read == "true" and error is None)


def test_nothing_is_admitted_while_nobody_knows(service: Service) -> None:
    """Given an API that cannot ask, then an import is refused, and nothing of it is on record."""
    image = service.image()

    with pytest.raises(LimitsUnknown):
        service.ask(image)

    assert service.look(image).import_task is None
