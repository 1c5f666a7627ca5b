"""Every call that there is, with the rule that decides about it, and everybody who may make it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from falcon import inspect, testing

from api.context import Context, caller_of, implied
from api.rules import IMAGE
from tests.api.service import IMPORT, URI, Service, a_member
from tests.api.test_patches import V21

OWNER = "mine"
ANSWERS = ("pending", "accepted", "rejected")
MEMBER = frozenset({"member"})

PEOPLE: Mapping[str, Context] = {
    "owner": a_member(OWNER),
    "reader": caller_of(OWNER, "looker", frozenset({"reader"}), "req-1"),
    **{answer: a_member(answer) for answer in ANSWERS},
    "stranger": a_member("yours"),
    "admin": caller_of("ops", "root", implied(frozenset({"admin"})), "req-1"),
    "service": caller_of("services", "nova", frozenset({"service", "reader"}), "req-1"),
    "anonymous": Context(None, None, frozenset({"reader"}), False, "req-1", read_only=True),
}
"""Who there is: those of the owner's project, of projects that an image is shared with (named for their answers), of
another one, of none.
"""

OWNERS = frozenset({"owner", "admin"})
USERS = frozenset({*OWNERS, *ANSWERS, "stranger"})
"""Who is a member of some project."""
ADMIN = frozenset({"admin"})
SERVICES = frozenset({"admin", "service"})
EVERYBODY = frozenset(PEOPLE)
VISIBILITIES = ("private", "shared", "community", "public")


def sees(who: str, visibility: str) -> bool:
    """Whether an image of that visibility is there for `who` (§14.1)."""
    if visibility in ("community", "public") or who in ("owner", "reader", "admin"):
        return True
    return visibility == "shared" and who in ANSWERS


@dataclass(frozen=True)
class Call:
    """A call to an image in `status`, which `rule` allows to `allowed`; `members` is for what shared images have."""

    method: str
    path: str
    rule: str
    allowed: frozenset[str]
    success: int
    body: Any = None
    status: str = "queued"
    kind: str = ""
    members: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        """Method and route, without a query."""
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    def at(self, image: str) -> str:
        """The path, for one image."""
        return self.path.format(image_id=image, store="bulk", tag="old", member="accepted", task_id="none")

    def make(self, client: testing.TestClient, image: str, **headers: str) -> testing.Result:
        """Ask."""
        raw = self.body if isinstance(self.body, bytes | None) else json.dumps(self.body)
        kind = {"Content-Type": self.kind} if self.kind else {}
        return client.simulate_request(self.method, self.at(image), body=raw, headers={**kind, **headers})


_COPY = {"method": {"name": "copy-image"}, "stores": ["fast"]}
_VISIBLE = [{"op": "replace", "path": "/visibility", "value": "public"}]
_COMMUNAL = [{"op": "replace", "path": "/visibility", "value": "community"}]
_ADDED = [{"op": "add", "path": "/locations/-", "value": {"url": URI, "metadata": {}}}]
_TAKEN = [{"op": "remove", "path": "/locations/1"}]
_STREAM = "application/octet-stream"
_TASK = {"import_from": URI, "import_from_format": "raw", "image_properties": {}}

WALKS = (
    Call("GET", IMAGE, "get_image", EVERYBODY, 200),
    Call("GET", f"{IMAGE}/tasks", "get_image", EVERYBODY, 200),
    Call("GET", f"{IMAGE}/import", "get_image", OWNERS | {"reader"}, 200, status="importing"),
    Call("GET", f"{IMAGE}/file", "download_image", USERS, 200, status="active"),
    Call("GET", f"{IMAGE}/file?prefer=bulk", "download_from_store", USERS, 200, status="active"),
    Call("GET", f"{IMAGE}/locations", "fetch_image_location", SERVICES, 200, status="active"),
    Call("POST", f"{IMAGE}/locations", "add_image_location", OWNERS | SERVICES, 202, {"url": URI}),
    Call("PUT", f"{IMAGE}/file", "upload_image", OWNERS, 204, b"data", kind=_STREAM),
    Call("PATCH", IMAGE, "modify_image", OWNERS, 200, [], kind=V21),
    Call("PATCH", IMAGE, "publicize_image", ADMIN, 200, _VISIBLE, kind=V21),
    Call("PATCH", IMAGE, "communitize_image", OWNERS, 200, _COMMUNAL, kind=V21),
    Call("PATCH", IMAGE, "get_image_location", OWNERS, 200, _ADDED, kind=V21),
    Call("PATCH", IMAGE, "set_image_location", OWNERS, 200, _ADDED, kind=V21),
    Call("PATCH", IMAGE, "delete_image_location", ADMIN, 200, _TAKEN, status="active", kind=V21),
    Call("PUT", f"{IMAGE}/stage", "modify_image", OWNERS, 204, b"data", kind=_STREAM),
    Call("POST", f"{IMAGE}/import", "modify_image", OWNERS, 202, IMPORT),
    Call("POST", f"{IMAGE}/import", "copy_image", ADMIN, 202, _COPY, status="active"),
    Call("DELETE", f"{IMAGE}/import", "modify_image", OWNERS, 202, status="importing"),
    Call("PUT", f"{IMAGE}/tags/{{tag}}", "modify_image", OWNERS, 204),
    Call("DELETE", f"{IMAGE}/tags/{{tag}}", "modify_image", OWNERS, 204),
    Call("POST", f"{IMAGE}/actions/deactivate", "deactivate", OWNERS, 204, status="active"),
    Call("POST", f"{IMAGE}/actions/reactivate", "reactivate", OWNERS, 204, status="active"),
    Call("DELETE", IMAGE, "delete_image", OWNERS, 204),
    Call("DELETE", "/v2/stores/{store}/{image_id}", "delete_image_location", ADMIN, 204, status="active"),
    Call("DELETE", "/v2/stores/{store}/{image_id}", "get_image_location", ADMIN, 204, status="active"),
    Call("GET", f"{IMAGE}/members", "get_members", OWNERS | {"reader", *ANSWERS}, 200, members=True),
    Call("GET", f"{IMAGE}/members/{{member}}", "get_member", OWNERS | {"reader", "accepted"}, 200, members=True),
    Call("POST", f"{IMAGE}/members", "add_member", OWNERS, 200, {"member": "new"}, members=True),
    Call(
        "PUT",
        f"{IMAGE}/members/{{member}}",
        "modify_member",
        ADMIN | {"accepted"},
        200,
        {"status": "pending"},
        members=True,
    ),
    Call("DELETE", f"{IMAGE}/members/{{member}}", "delete_member", OWNERS, 204, members=True),
)
"""Calls to an image, each by its rule; a call that several rules decide about is here with each of them."""

AT_LARGE = (
    Call("GET", "/v2/images", "get_images", EVERYBODY, 200),
    Call("POST", "/v2/images", "add_image", USERS, 201, {}),
    Call("POST", "/v2/images", "publicize_image", ADMIN, 201, {"visibility": "public"}),
    Call("POST", "/v2/images", "communitize_image", USERS, 201, {"visibility": "community"}),
    Call("GET", "/v2/info/stores/detail", "stores_info_detail", SERVICES, 200),
    Call("GET", "/v2/tasks", "tasks_api_access", ADMIN, 200),
    Call("POST", "/v2/tasks", "tasks_api_access", ADMIN, 201, {"type": "import", "input": _TASK}),
    Call("GET", "/v2/tasks/{task_id}", "tasks_api_access", ADMIN, 404),
)
"""Calls to no image that exists, and to a task that does not."""


def routes(service: Service) -> set[str]:
    """Method and path of every call that the application answers."""
    found = set()
    for route in inspect.inspect_routes(service.app):
        found |= {f"{method.method} {route.path}" for method in route.methods if not method.internal}
    return found - {f"OPTIONS {route.path}" for route in inspect.inspect_routes(service.app)}


def seen_by(service: Service, who: Context) -> testing.TestClient:
    """A client of the service, which shows locations, that this caller uses."""
    options = replace(service.options, show_multiple_locations=True, show_image_direct_url=True)
    return Service(service.runtime, options, lambda *_: who, doorbell=service.doorbell).client


def an_image(service: Service, call: Call, visibility: str) -> str:
    """An image of `OWNER` as the call needs it, whose members have all given their answers. Returns its id."""
    columns: dict[str, Any] = {"owner": OWNER, "visibility": visibility, "tags": ("old",)}
    if call.status == "active":
        image = service.active({"cheap": b"data", "bulk": b"data"}, **columns)
    else:
        image = service.image(**columns)
    if call.status == "importing":
        service.importing(image, owner=OWNER)
    with service.catalog.begin() as tx:
        for answer in ANSWERS:
            tx.members.add(image, answer)
            tx.members.answer(image, answer, answer)
    return image
