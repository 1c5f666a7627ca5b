"""Nobody sees, changes or learns the existence of what is not theirs: every route, as everybody (http-api §14)."""

import re
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from api.options import ApiOptions
from flows.methods import FLOWS
from flows.options import Limits
from tests.api.service import Service
from tests.api.walks import (
    ANSWERS,
    AT_LARGE,
    OWNER,
    PEOPLE,
    VISIBILITIES,
    WALKS,
    Call,
    an_image,
    routes,
    seen_by,
    sees,
)

FORMS = ("application/json", "text/html", "")


@pytest.fixture
def service(service: Service) -> Service:
    """The service with every import method."""
    options = replace(service.runtime.options, methods=tuple(FLOWS))
    return Service(replace(service.runtime, options=options), ApiOptions(limit_param_default=100))


def expected(call: Call, who: str, visibility: str) -> int:
    """The status that the tables of §14 ask for."""
    if PEOPLE[who].read_only and not call.reads:
        return 403
    if not sees(who, visibility):
        return 404
    allowed = who in call.allowed and (visibility == "shared" or not call.members)
    # To be shown a member is the one thing that is never forbidden, but not found.
    return call.success if allowed else 404 if call.operation.startswith("GET") and "{member}" in call.path else 403


def state(service: Service, image: str) -> Any:
    """What the administrator sees of the image."""
    admin = seen_by(service, PEOPLE["admin"])
    return [admin.simulate_get(f"/v2/images/{image}{end}").text for end in ("", "/tasks", "/members")]


def answered(result: testing.Result, image: str) -> tuple[Any, ...]:
    """Everything of an answer that somebody may compare, without the ids of the image and of the request."""
    said = {name: value for name, value in result.headers.items() if name != "x-openstack-request-id"}
    headers = sorted((name, value.replace(image, "ID")) for name, value in said.items())
    return result.status_code, headers, result.text.replace(image, "ID")


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("call", WALKS, ids=lambda call: f"{call.operation} {call.rule}")
def test_every_call_as_everybody(service: Service, call: Call, visibility: str) -> None:
    refused = [who for who in PEOPLE if expected(call, who, visibility) >= 400]
    image, unknown = an_image(service, call, visibility), str(uuid.uuid4())
    before = state(service, image)
    for who in refused:
        client = seen_by(service, PEOPLE[who])
        # When somebody asks who may not, it is told no, or that there is no such image
        answer = call.make(client, image)
        assert answer.status_code == expected(call, who, visibility), f"{who}: {answer.text}"
        if not sees(who, visibility):
            # Then in nothing does the answer differ from that for an image that is not there
            for form in FORMS:
                given = [answered(call.make(client, one, Accept=form), one) for one in (image, unknown)]
                assert given[0] == given[1], who
    # And nothing has happened
    assert state(service, image) == before
    assert [*service.doorbell.rung, *service.doorbell.collected] == []
    for who in PEOPLE.keys() - set(refused):
        image = an_image(service, call, visibility)
        answer = call.make(seen_by(service, PEOPLE[who]), image)
        assert answer.status_code == call.success, f"{who}: {answer.text}"


@pytest.mark.parametrize("call", AT_LARGE, ids=lambda call: f"{call.operation} {call.rule}")
def test_calls_to_no_image(service: Service, call: Call) -> None:
    for who, caller in PEOPLE.items():
        answer = call.make(seen_by(service, caller), "")
        assert answer.status_code == (call.success if who in call.allowed else 403), f"{who}: {answer.text}"


def test_without_credentials_nothing_is_answered(service: Service, tmp_path: Any) -> None:
    """Given nobody, then every route answers 401, in the same words whatever there is behind it."""
    (tmp_path / "users").write_text("")
    options = ApiOptions(auth_strategy="http_basic", http_basic_auth_user_file=str(tmp_path / "users"))
    guarded = Service(service.runtime, options)
    image, unknown = service.image(visibility="public"), str(uuid.uuid4())

    for operation in sorted(one for one in routes(guarded) if "/v2/" in one):
        method, path = operation.split()
        said = set()
        for one in (image, unknown):
            at = path.format(image_id=one, store="bulk", tag="old", member="accepted", task_id="none")
            answer = guarded.client.simulate_request(method, at)
            said.add((answer.status_code, answer.text))
        assert [status for status, _ in said] == [401], operation


# -- lists


@pytest.fixture
def crowd(service: Service) -> dict[str, str]:
    """One image of each visibility, with its members; by visibility."""
    return {visibility: an_image(service, WALKS[0], visibility) for visibility in VISIBILITIES}


LISTS = {
    "": {"owner": "private shared community public", "accepted": "shared public", "admin": "private shared public"},
    "visibility=private": {"owner": "private", "admin": "private"},
    "visibility=shared": {"owner": "shared", "accepted": "shared", "admin": "shared"},
    "visibility=shared&member_status=all": dict.fromkeys(("owner", "admin", *ANSWERS), "shared"),
    "visibility=community": dict.fromkeys(PEOPLE, "community"),
    "visibility=public": dict.fromkeys(PEOPLE, "public"),
    "visibility=all": {
        "owner": "private shared community public",
        "accepted": "shared community public",
        "admin": "private shared community public",
    },
}
"""Query → who → what is listed; who is not named gets what is open to all by that query."""


@pytest.mark.parametrize("query", LISTS)
@pytest.mark.parametrize("who", PEOPLE)
def test_lists(service: Service, crowd: dict[str, str], query: str, who: str) -> None:
    open_to_all = {"": "public", "visibility=all": "community public"}.get(query, "")
    row = LISTS[query]
    wanted = row.get("owner" if who == "reader" else who, open_to_all).split()

    listed = seen_by(service, PEOPLE[who]).simulate_get(f"/v2/images?{query}").json

    assert sorted(image["id"] for image in listed["images"]) == sorted(crowd[name] for name in wanted)
    hidden = {crowd[name] for name in VISIBILITIES if name not in wanted}
    assert not hidden & set(re.findall(r"[0-9a-f-]{36}", str(listed)))


@pytest.mark.parametrize("who", ["stranger", "anonymous", "service", "pending"])
@pytest.mark.parametrize(
    "query", ["name=secret", "id={}", "id=in:{}", "owner=mine", "tag=old", "sort_key=name&name=secret", "size_min=0"]
)
def test_no_filter_finds_what_is_hidden(service: Service, who: str, query: str) -> None:
    image = service.image(owner=OWNER, visibility="private", name="secret", tags=("old",))

    listed = seen_by(service, PEOPLE[who]).simulate_get(f"/v2/images?{query.format(image)}").json

    assert listed["images"] == []


@pytest.mark.parametrize("who", ["stranger", "anonymous", "service"])
def test_a_hidden_image_is_no_marker(service: Service, crowd: dict[str, str], who: str) -> None:
    client, unknown = seen_by(service, PEOPLE[who]), str(uuid.uuid4())

    given = [
        answered(client.simulate_get("/v2/images", query_string=f"marker={one}"), one)
        for one in (crowd["private"], unknown)
    ]

    assert given[0] == given[1]
    assert given[0][0] == 400


# -- what belongs to whom within an image that is seen


def test_tasks_are_shown_to_whose_they_are(service: Service) -> None:
    """Given imports of a public image by its owner and by another project, then each sees its own, none that is not."""
    image = service.image(owner=OWNER, visibility="public")
    theirs = service.importing(image, owner="yours")

    for who, tasks in {"owner": [], "reader": [], "stranger": [theirs], "admin": [theirs], "anonymous": []}.items():
        client = seen_by(service, PEOPLE[who])
        assert [task["id"] for task in client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"]] == tasks, who
    assert seen_by(service, PEOPLE["stranger"]).simulate_get(f"/v2/images/{image}/import").status_code == 200
    assert seen_by(service, PEOPLE["accepted"]).simulate_get(f"/v2/images/{image}/import").status_code == 403


def test_the_tasks_api_opened_to_all_shows_each_its_own(service: Service, tmp_path: Path) -> None:
    """Given a rule that lets everybody use it, then tasks of other projects are still not there, nor markers."""
    (tmp_path / "policy.json").write_text('{"tasks_api_access": "@"}')
    open_ = Service(service.runtime, ApiOptions(policy_file=str(tmp_path / "policy.json")))
    task, unknown = service.importing(service.image(owner=OWNER), owner=OWNER), str(uuid.uuid4())
    nobodys = service.importing(service.image(owner=OWNER), owner=OWNER)
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE tasks SET owner = NULL WHERE id = '{nobodys}'")

    for who, tasks in {"owner": {task}, "reader": {task}, "admin": {task, nobodys}}.items():
        assert {one["id"] for one in seen_by(open_, PEOPLE[who]).simulate_get("/v2/tasks").json["tasks"]} == tasks
        assert seen_by(open_, PEOPLE[who]).simulate_get(f"/v2/tasks/{task}").json["id"] == task
    for who in ("stranger", "service", "accepted", "anonymous"):
        client = seen_by(open_, PEOPLE[who])
        assert client.simulate_get("/v2/tasks").json["tasks"] == []
        for query in ("/v2/tasks/{}", "/v2/tasks?marker={}"):
            given = [answered(client.simulate_get(query.format(one)), one) for one in (task, unknown)]
            assert given[0] == given[1]
            assert given[0][0] in (400, 404)


def test_what_a_project_uses_is_told_to_itself(service: Service) -> None:
    """Given limits and one image, then its project hears of it, and no other learns how much there is."""
    limited = Service(replace(service.runtime, limits=Limits(images=10)))
    limited.image(owner=OWNER, visibility="public")

    for who, caller in PEOPLE.items():
        shown = seen_by(limited, caller).simulate_get("/v2/info/usage").json["usage"]
        assert shown.get("image_count_total", {}).get("usage", 0) == (1 if caller.project == OWNER else 0), who


def test_workers_and_hosts_are_shown_to_administrators(service: Service) -> None:
    image = service.image(owner=OWNER)
    service.entered(service.importing(image, owner=OWNER, host="there"))

    texts = {
        who: seen_by(service, PEOPLE[who]).simulate_get(f"/v2/images/{image}/import").text
        for who in ("owner", "reader", "admin")
    }

    assert {who for who, text in texts.items() if "worker-1" in text} == {"admin"}
    assert not any("there" in texts[who] for who in ("owner", "reader"))


def test_images_without_an_owner_are_nobodys(service: Service) -> None:
    """Given images of no project, then only administrators change them, and those that look open are seen."""
    for visibility in VISIBILITIES:
        image = service.image(owner=None, visibility=visibility)
        for who, caller in PEOPLE.items():
            client = seen_by(service, caller)
            seen = 200 if who == "admin" or visibility != "private" else 404
            assert client.simulate_get(f"/v2/images/{image}").status_code == seen
            if who != "admin":
                changed = client.simulate_put(f"/v2/images/{image}/tags/x").status_code
                assert changed == (403 if seen == 200 or caller.read_only else 404)


def test_a_taken_id_is_a_conflict(service: Service) -> None:
    """Given the id of somebody else's hidden image, then it cannot be taken again, and no more than that is said."""
    image = service.image(owner=OWNER, visibility="private", name="secret")

    refused = seen_by(service, PEOPLE["stranger"]).simulate_post(
        "/v2/images", json={"id": image}, headers={"Accept": "text/plain"}
    )

    assert (refused.status_code, refused.text) == (409, f"409 Conflict\n\nImage ID {image} already exists!\n")
    assert "location" not in refused.headers
