"""Rights that hang on more than who owns an image; every call as everybody is in test_tenancy.py (http-api §14)."""

import json
from dataclasses import replace

import pytest

from flows.methods import FLOWS
from tests.api.service import IMPORT, Service
from tests.api.test_patches import V21
from tests.api.walks import OWNER, PEOPLE, seen_by


@pytest.fixture
def service(service: Service) -> Service:
    """The service with every import method."""
    options = replace(service.runtime.options, methods=tuple(FLOWS))
    return Service(replace(service.runtime, options=options), service.options)


def test_bug_1884587_a_stranger_hears_it_before_the_import_begins(service: Service) -> None:
    image = service.image(owner=OWNER, visibility="public")

    refused = seen_by(service, PEOPLE["stranger"]).simulate_post(f"/v2/images/{image}/import", json=IMPORT)

    assert refused.status_code == 403
    with service.catalog.read() as tx:
        assert tx.tasks.of_image(image) == []


def test_who_asked_for_an_import_may_watch_it(service: Service) -> None:
    """Given a task of somebody else's on a public image, then its project may watch it, and its tasks are listed."""
    image = service.image(owner=OWNER, visibility="public")
    task = service.importing(image, owner="yours")

    watched = seen_by(service, PEOPLE["stranger"]).simulate_get(f"/v2/images/{image}/import")

    assert watched.json["task_id"] == task


def test_to_ask_for_an_import_is_not_to_own_the_image(service: Service) -> None:
    """Given an import of somebody else's that the rules do not allow (any more), then it is not called off either."""
    image = service.image(owner=OWNER, visibility="public")
    service.importing(image, owner="yours")

    for who, status in {"stranger": 403, "accepted": 403, "owner": 202}.items():
        client = seen_by(service, PEOPLE[who])
        assert client.simulate_delete(f"/v2/images/{image}/import").status_code == status


def test_a_task_of_no_project_is_shown_to_administrators(service: Service) -> None:
    image = service.image(owner=OWNER, visibility="public")
    service.importing(image)
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql("UPDATE tasks SET owner = NULL")

    for who, listed in {"admin": 1, "owner": 0, "anonymous": 0}.items():
        client = seen_by(service, PEOPLE[who])
        assert len(client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"]) == listed


@pytest.mark.parametrize(("who", "status"), [("admin", 200), ("owner", 403), ("reader", 403)])
def test_only_administrators_give_images_away(service: Service, who: str, status: int) -> None:
    image = service.image(owner=OWNER)
    patch = json.dumps([{"op": "replace", "path": "/owner", "value": "yours"}])
    client = seen_by(service, PEOPLE[who])

    answer = client.simulate_patch(f"/v2/images/{image}", body=patch, headers={"Content-Type": V21})

    assert answer.status_code == status


@pytest.mark.parametrize("who", ["owner", "stranger"])
def test_nobody_makes_images_for_others(service: Service, who: str) -> None:
    refused = seen_by(service, PEOPLE[who]).simulate_post(
        "/v2/images", json={"owner": "theirs"}, headers={"Accept": "text/plain"}
    )

    assert (refused.status_code, refused.text) == (403, "403 Forbidden\n\n'owner' must be your own project.\n")
