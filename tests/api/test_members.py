"""Members of an image: http-api §8 as tables, asked by owner, members, strangers and administrators."""

import json
from typing import Any

import pytest
from falcon import testing

from api.context import caller_of
from api.options import ApiOptions
from tests.api.service import Service, a_member

CALLERS = {
    "admin": caller_of("ops", "root", frozenset({"admin"}), "req-1"),
    **{who: a_member(who) for who in ("owner", "pending", "accepted", "rejected", "stranger")},
}
ANSWERS = ("pending", "accepted", "rejected")


def as_(service: Service, who: str) -> testing.TestClient:
    """A client of the service that this caller uses."""
    return Service(service.runtime, service.options, lambda _req, _id: CALLERS[who]).client


def shared(service: Service, visibility: str = "shared", **columns: Any) -> str:
    """An image of the project `owner`, shared with three others, each of which is named for what it said."""
    image = service.image(owner="owner", visibility=visibility, **columns)
    with service.catalog.begin() as tx:
        for answer in ANSWERS:
            tx.members.add(image, answer)
            tx.members.answer(image, answer, answer)
    return image


def call(service: Service, who: str, method: str, path: str, body: Any = None) -> testing.Result:
    raw = None if body is None else json.dumps(body)
    return as_(service, who).simulate_request(method, path, body=raw, headers={"Accept": "application/json"})


# -- what members look like


def test_sharing_answering_and_taking_back(service: Service) -> None:
    image = service.image(owner="owner")
    path = f"/v2/images/{image}/members"

    # When the owner shares the image
    added = call(service, "owner", "POST", path, {"member": "pending"})
    # Then it is 200, not 201, and the project sees it by its id, though no list shows it yet
    assert added.status_code == 200
    member = added.json
    assert member == {
        "member_id": "pending",
        "image_id": image,
        "status": "pending",
        "created_at": member["created_at"],
        "updated_at": member["created_at"],
        "schema": "/v2/schemas/member",
    }
    assert member["created_at"].endswith("Z")
    assert call(service, "owner", "GET", path).json == {"members": [member], "schema": "/v2/schemas/members"}
    assert call(service, "pending", "GET", f"{path}/pending").json == member
    assert call(service, "pending", "GET", f"/v2/images/{image}").status_code == 200
    assert call(service, "pending", "GET", "/v2/images").json["images"] == []

    # When it accepts, its lists do
    answered = call(service, "pending", "PUT", f"{path}/pending", {"status": "accepted"})
    assert (answered.status_code, answered.json["status"]) == (200, "accepted")
    assert [shown["id"] for shown in call(service, "pending", "GET", "/v2/images").json["images"]] == [image]

    # When the owner takes it back, it is gone, and shared anew it has to be answered anew
    taken = call(service, "owner", "DELETE", f"{path}/pending")
    assert (taken.status_code, taken.content) == (204, b"")
    assert call(service, "pending", "GET", f"/v2/images/{image}").status_code == 404
    assert call(service, "owner", "POST", path, {"member": "pending"}).json["status"] == "pending"


# -- who may do what

NEW, YES = {"member": "new"}, {"status": "accepted"}


@pytest.mark.parametrize(
    ("method", "path", "body", "answers"),
    [
        ("POST", "", NEW, "admin 200, owner 200, accepted 403, stranger 404"),
        ("POST", "", {"member": "pending"}, "admin 409, owner 409, pending 403, stranger 404"),
        ("GET", "", None, "admin 200, owner 200, rejected 200, stranger 404"),
        ("GET", "/pending", None, "admin 200, owner 200, pending 200, accepted 404, stranger 404"),
        ("GET", "/none", None, "admin 404, owner 404, pending 404, stranger 404"),
        ("PUT", "/pending", YES, "admin 200, pending 200, owner 403, accepted 403, stranger 404"),
        ("PUT", "/none", YES, "admin 404, owner 403, pending 403, stranger 404"),
        ("DELETE", "/pending", None, "admin 204, owner 204, pending 403, accepted 403, stranger 404"),
        ("DELETE", "/none", None, "admin 404, owner 404, pending 403, stranger 404"),
    ],
)
def test_who_may_do_what(service: Service, method: str, path: str, body: Any, answers: str) -> None:
    for who, status in (row.split() for row in answers.split(", ")):
        image = shared(service)
        answer = call(service, who, method, f"/v2/images/{image}/members{path}", body)
        assert answer.status_code == int(status), f"{who}: {answer.text}"


@pytest.mark.parametrize(
    ("who", "sees"),
    [("owner", sorted(ANSWERS)), ("admin", sorted(ANSWERS)), *((answer, [answer]) for answer in ANSWERS)],
)
def test_a_member_sees_itself_alone(service: Service, who: str, sees: list[str]) -> None:
    members = call(service, who, "GET", f"/v2/images/{shared(service)}/members").json["members"]

    assert [(member["member_id"], member["status"]) for member in members] == [(name, name) for name in sees]


@pytest.mark.parametrize("visibility", ["public", "private", "community"])
def test_only_shared_images_have_members(service: Service, visibility: str) -> None:
    """Given an image that is no longer shared, then its members have no effect, until it is shared again."""
    image = shared(service, visibility)
    path = f"/v2/images/{image}/members"

    for method, end, body in (
        ("GET", "", None),
        ("POST", "", NEW),
        ("PUT", "/pending", YES),
        ("DELETE", "/pending", None),
    ):
        answer = call(service, "admin", method, path + end, body)
        assert (answer.status_code, "Only shared images have members." in answer.text) == (403, True)
    assert call(service, "owner", "GET", f"{path}/pending").status_code == 404
    hidden = visibility == "private"
    assert call(service, "accepted", "GET", f"/v2/images/{image}").status_code == (404 if hidden else 200)
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql("UPDATE images SET visibility = 'shared'")
    assert call(service, "accepted", "GET", f"/v2/images/{image}").status_code == 200


# -- what is malformed


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        *(("POST", "", body, "member") for body in ({}, {"member_id": "x"}, {"member": ""}, {"member": None})),
        *(("POST", "", body, "member") for body in ({"member": 1}, {"member": "x" * 256}, {"member": "a\0"})),
        *(("POST", "", body, "object") for body in ([], "x", ["member"])),
        *(("PUT", "/pending", body, "status") for body in ({}, {"status": ""}, {"status": "yes"}, {"status": ["x"]})),
        ("PUT", "/pending", [], "object"),
        ("POST", "", None, "Body expected"),
        ("PUT", "/pending", None, "Body expected"),
        ("GET", "", {}, "not expected"),
        ("GET", "/pending", {}, "not expected"),
        ("DELETE", "/pending", {}, "not expected"),
    ],
)
def test_bodies(service: Service, method: str, path: str, body: Any, named: str) -> None:
    image = shared(service)
    before = call(service, "owner", "GET", f"/v2/images/{image}/members").json

    answer = call(service, "admin", method, f"/v2/images/{image}/members{path}", body)

    assert (answer.status_code, named in answer.json["message"]) == (400, True), answer.text
    assert call(service, "owner", "GET", f"/v2/images/{image}/members").json == before


def test_the_quota(service: Service) -> None:
    image = shared(service)
    small = Service(service.runtime, ApiOptions(member_quota=4))
    path = f"/v2/images/{image}/members"

    assert call(small, "owner", "POST", path, {"member": "fourth"}).status_code == 200
    assert call(small, "owner", "POST", path, {"member": "fifth"}).status_code == 413
    # Who is a member already is told so, however full it is
    assert call(small, "owner", "POST", path, {"member": "fourth"}).status_code == 409


# -- lists


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["accepted by", "mine", "open"]),
        ("member_status=pending", ["mine", "open", "pending by"]),
        ("member_status=all", ["accepted by", "mine", "open", "pending by", "rejected by"]),
        ("visibility=shared&member_status=pending", ["mine", "pending by"]),
        ("visibility=shared", ["accepted by", "mine"]),
        ("visibility=private", []),
        ("visibility=public", ["open"]),
        ("visibility=community", ["common"]),
        ("visibility=all", ["accepted by", "common", "mine", "open"]),
        ("owner=owner", ["accepted by", "open"]),
    ],
)
def test_lists(service: Service, query: str, found: list[str]) -> None:
    """The lists of a project that three images are shared with (http-api §14.2)."""
    for answer in ANSWERS:
        image = service.image(owner="owner", name=f"{answer} by")
        with service.catalog.begin() as tx:
            tx.members.add(image, "accepted")
            tx.members.answer(image, "accepted", answer)
    service.image(owner="accepted", name="mine")
    service.image(owner="owner", name="open", visibility="public")
    service.image(owner="owner", name="common", visibility="community")
    service.image(owner="owner", name="closed", visibility="private")
    service.image(owner="owner", name="with nobody")

    wide = Service(service.runtime)
    images = as_(wide, "accepted").simulate_get("/v2/images", query_string=query).json["images"]

    assert sorted(image["name"] for image in images) == found


def test_a_marker_that_is_hidden_is_no_marker(service: Service) -> None:
    hidden, image = service.image(owner="owner"), shared(service)

    for marker, status in ((hidden, 400), ("none", 400), (image, 200)):
        assert call(service, "rejected", "GET", f"/v2/images?marker={marker}").status_code == status
