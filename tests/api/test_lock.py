"""Who asks for an image that is being imported, or asks together with others: what the answers say (import-behaviour
§2.1, §2.3, §2.5), on both databases.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from falcon import testing

from flows.methods import FLOWS
from flows.options import ImportOptions
from tests.api.service import URI, Service, runtime
from tests.catalog.at_once import at_once
from tests.catalog.rows import age

ASKING = 10


def staged(service: Service) -> str:
    """An image whose data waits to be imported."""
    image = service.image()
    octets = {"Content-Type": "application/octet-stream"}
    assert service.client.simulate_put(f"/v2/images/{image}/stage", body=b"x", headers=octets).status_code == 204
    return image


PREPARED: dict[str, Callable[[Service], str]] = {
    "queued": Service.image,
    "uploading": staged,
    "active": lambda service: service.active({"cheap": b"x"}),
}
"""How to make an image in the status that a method begins from."""


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service that offers every method."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    wired = replace(runtime(tmp_path, url=url), options=ImportOptions(methods=tuple(FLOWS)))
    yield Service(wired)
    wired.close()


def ask(service: Service, image: str, method: str) -> testing.Result:
    """Ask for an import that suits the method."""
    body = {"method": {"name": method, "uri": URI}, "stores": ["bulk"]}
    return service.client.simulate_post(f"/v2/images/{image}/import", json=body)


def shown(service: Service, image: str) -> str:
    """The task that the image is shown to have."""
    task: str = service.client.simulate_get(f"/v2/images/{image}").json["os_glance_import_task"]
    return task


@pytest.mark.parametrize("method", FLOWS)
def test_bug_1884596_many_ask_at_once(service: Service, method: str) -> None:
    """Given many who want the same import at once, then one is accepted, and the others hear which task it is; so
    again once that task is stale.
    """
    image = PREPARED[FLOWS[method].begins_from](service)
    before = None
    for _ in range(2):
        answers = at_once(*[partial(ask, service, image, method)] * ASKING)
        task = shown(service, image)
        assert sorted(answer.status_code for answer in answers) == [202] + [409] * (ASKING - 1)
        assert sum(f"has active task {task}" in answer.text for answer in answers) == ASKING - 1
        with service.catalog.read() as tx:
            assert [(x.id, x.error_code) for x in tx.tasks.of_image(image) if x.id == before or x.live] == [
                *([(before, "preempted")] if before else []),
                (task, None),
            ]
        before = task
        age(service.catalog, task, 7200)


def test_the_answer_names_the_task_and_until_when(service: Service) -> None:
    """Given an image at work, then the answer tells who has it, until when, and when it could be had."""
    image = service.image()
    service.entered(service.importing(image))
    answer = ask(service, image, "web-download")
    assert answer.status_code == 409
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    said = f"Image {image} has active task {shown(service, image)}; its lease runs until {time}, and without progress "
    assert re.search(said + f"it can be taken over from {time} on\\.", answer.text)


def test_a_wrong_wish_is_told_so_whoever_holds_the_image(service: Service) -> None:
    """Given a stale import, when one into an unknown store is asked for, then that is the answer, and it goes on."""
    image = service.image()
    task = service.importing(image)
    age(service.catalog, task, 7200)
    body = {"method": {"name": "web-download", "uri": URI}, "stores": ["nowhere"]}
    answer = service.client.simulate_post(f"/v2/images/{image}/import", json=body)
    assert (answer.status_code, "nowhere" in answer.text) == (409, True)
    assert shown(service, image) == task


def test_deleting_waits_for_no_lock(service: Service) -> None:
    """Given an image at work, when it is deleted, then it is gone at once."""
    image = service.image()
    service.entered(service.importing(image))
    assert service.client.simulate_delete(f"/v2/images/{image}").status_code == 204
    assert service.client.simulate_get(f"/v2/images/{image}").status_code == 404
