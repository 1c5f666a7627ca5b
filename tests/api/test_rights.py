"""Who may do what, on every path of an image: the table of http-api §14 (bug 1884587 among its rows)."""

import json
from dataclasses import replace
from typing import Any

import pytest
from falcon import testing

from api.context import Context
from flows.methods import FLOWS
from tests.api.service import IMPORT, Service
from tests.api.test_patches import V21

CALLERS = {
    "admin": Context("ops", "root", frozenset({"admin"}), True, "req-1"),
    "owner": Context("mine", "me", frozenset({"member"}), False, "req-1"),
    "stranger": Context("yours", "you", frozenset({"member"}), False, "req-1"),
    "nobody": Context(None, None, frozenset(), False, "req-1"),
}


@pytest.fixture
def service(service: Service) -> Service:
    """The service with every import method."""
    options = replace(service.runtime.options, methods=tuple(FLOWS))
    return Service(replace(service.runtime, options=options), service.options)


def seen_by(service: Service, who: str) -> Service:
    """The service as that caller meets it."""
    return Service(service.runtime, service.options, lambda _req, _id: CALLERS[who], doorbell=service.doorbell)


def call(service: Service, method: str, path: str, body: Any = None) -> testing.Result:
    headers = {"PATCH": {"Content-Type": V21}, "PUT": {"Content-Type": "application/octet-stream"}}.get(method, {})
    raw = body if isinstance(body, bytes | None) else json.dumps(body)
    return service.client.simulate_request(method, path, body=raw, headers=headers)


HIDDEN = ("private", "shared")
OPEN = ("community", "public")

DATA = b"data"

Calls = list[tuple[str, str, Any]]
READS: Calls = [("GET", "", None), ("GET", "/file", None), ("GET", "/tasks", None)]
WATCHES: Calls = [("GET", "/import", None)]
CHANGES: Calls = [
    ("PATCH", "", []),
    ("PUT", "/stage", DATA),
    ("POST", "/import", IMPORT),
    ("DELETE", "/import", None),
    ("PUT", "/tags/new", None),
    ("DELETE", "/tags/old", None),
    ("DELETE", "", None),
]
ACTIONS: Calls = [("POST", "/actions/deactivate", None), ("POST", "/actions/reactivate", None)]


@pytest.mark.parametrize(
    ("owner", "visibility", "who", "reads", "changes"),
    [
        *(("mine", visibility, who, True, True) for visibility in (*HIDDEN, *OPEN) for who in ("admin", "owner")),
        *(("mine", visibility, who, False, None) for visibility in HIDDEN for who in ("stranger", "nobody")),
        *(("mine", visibility, who, True, False) for visibility in OPEN for who in ("stranger", "nobody")),
        *((None, "private", who, True, who == "admin") for who in CALLERS),
    ],
)
def test_every_path(
    service: Service, owner: str | None, visibility: str, who: str, reads: bool, changes: bool | None
) -> None:
    for method, path, body in READS + WATCHES + CHANGES + ACTIONS:
        columns = {"owner": owner, "visibility": visibility, "tags": ("old",)}
        has_data = (method, path, body) in ACTIONS
        image = service.active({"cheap": b"x"}, **columns) if has_data else service.image(**columns)
        if path == "/import" and method != "POST":
            service.importing(image)
        before = call(service, "GET", f"/v2/images/{image}").json

        answer = call(seen_by(service, who), method, f"/v2/images/{image}{path}", body)

        said = f"{method} {path}: {answer.status_code} {answer.text}"
        if reads if (method, path, body) in READS else changes:
            assert answer.status_code in (200, 202, 204), said
            continue
        # What is hidden is not found, in the same words as what was never there
        assert answer.status_code == (403 if reads else 404), said
        missing = call(seen_by(service, who), method, f"/v2/images/none{path}", body)
        assert reads or answer.text.replace(image, "none") == missing.text
        assert call(service, "GET", f"/v2/images/{image}").json == before, said
    assert changes or not (service.doorbell.rung or service.doorbell.collected)


def test_bug_1884587_a_stranger_hears_it_before_the_import_begins(service: Service) -> None:
    image = service.image(owner="mine", visibility="public")

    assert call(seen_by(service, "stranger"), "POST", f"/v2/images/{image}/import", IMPORT).status_code == 403
    assert call(service, "GET", f"/v2/images/{image}/tasks").json == {"tasks": []}


def test_who_asked_for_an_import_may_watch_it(service: Service) -> None:
    """Given a task of somebody else's on a public image, then its project may watch it, and its tasks are listed."""
    image = service.image(owner="mine", visibility="public")
    task = service.importing(image)
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql("UPDATE tasks SET owner = 'yours'")

    assert call(seen_by(service, "stranger"), "GET", f"/v2/images/{image}/import").json["task_id"] == task
    for who, listed in {"admin": 1, "owner": 0, "stranger": 1, "nobody": 0}.items():
        assert len(call(seen_by(service, who), "GET", f"/v2/images/{image}/tasks").json["tasks"]) == listed
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql("UPDATE tasks SET owner = NULL")
    assert call(seen_by(service, "nobody"), "GET", f"/v2/images/{image}/tasks").json == {"tasks": []}


@pytest.mark.parametrize(("who", "status"), [("admin", 202), ("owner", 403), ("stranger", 403), ("nobody", 403)])
def test_copying_is_for_administrators(service: Service, who: str, status: int) -> None:
    image = service.active({"cheap": b"x"}, owner="mine", visibility="public")
    body = {"method": {"name": "copy-image"}, "stores": ["bulk"]}

    assert call(seen_by(service, who), "POST", f"/v2/images/{image}/import", body).status_code == status


@pytest.mark.parametrize(
    ("visibility", "who", "status"),
    [("public", "admin", 204), ("public", "owner", 403), ("public", "stranger", 403), ("private", "stranger", 404)],
)
def test_taking_an_image_out_of_a_store_is_for_administrators(
    service: Service, visibility: str, who: str, status: int
) -> None:
    image = service.active({"cheap": b"x", "bulk": b"x"}, owner="mine", visibility=visibility)

    assert call(seen_by(service, who), "DELETE", f"/v2/stores/bulk/{image}").status_code == status
