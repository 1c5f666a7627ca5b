"""Who may ask, without Keystone: nobody is asked, or the users of a file are."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import falcon
import pytest
from falcon import testing

from api.app import create_app
from api.context import Context, caller_of, implied
from api.options import ApiOptions
from tests.api.service import Doorbell, Service, runtime
from tests.api.test_users import HASH, SECRET

CHALLENGE = 'Basic realm="tranship", charset="UTF-8"'


def basic(name: str, password: str) -> dict[str, str]:
    """The headers of a client that knows a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def guarded(tmp_path: Path) -> Service:
    """A service with four users: an administrator, a member of each of two projects, and a reader."""
    (tmp_path / "users").write_text(
        f"root:{HASH}:ops:admin\nann:{HASH}:west:member\nbob:{HASH}:east:member\nöla:{HASH}:west:reader\n"
    )
    options = ApiOptions(auth_strategy="http_basic", http_basic_auth_user_file=str(tmp_path / "users"))
    return Service(runtime(tmp_path), options)


def test_users_are_known(guarded: Service) -> None:
    made = guarded.client.simulate_post("/v2/images", json={}, headers=basic("ann", SECRET))

    assert (made.status_code, made.json["owner"]) == (201, "west")
    assert guarded.client.simulate_get("/v2/images", headers=basic("öla", SECRET)).status_code == 200
    detail = "/v2/info/stores/detail"
    assert guarded.client.simulate_get(detail, headers=basic("root", SECRET)).status_code == 200
    assert guarded.client.simulate_get(detail, headers=basic("ann", SECRET)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ann", "guess"),
        basic("nobody", SECRET),
        basic("ANN", SECRET),
        {"Authorization": "Basic"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic " + base64.b64encode(b"ann").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:x").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"ann:\0").decode()},
        {"Authorization": "Bearer " + base64.b64encode(b"ann:x").decode()},
        {"X-Auth-Token": "any"},
    ],
)
def test_all_others_are_not(guarded: Service, headers: dict[str, str]) -> None:
    answer = guarded.client.simulate_get("/v2/images", headers={"Accept": "application/json"} | headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert answer.json["code"] == "401 Unauthorized"


def test_what_is_open_to_everybody(guarded: Service) -> None:
    """Given nobody, then versions and health are answered, and even what is not there is not told of."""
    for path, status in [("/", 300), ("/versions", 200), ("/v2", 300), ("/v2/", 300), ("/healthcheck", 200)]:
        assert guarded.client.simulate_get(path).status_code == status
    for path in ("/v2/nothing", "/v2/images/", "/v2.9/images"):
        assert guarded.client.simulate_get(path).status_code == 401


def test_the_minor_version_in_a_path_is_no_way_around(guarded: Service) -> None:
    assert guarded.client.simulate_get("/v2.13/images").status_code == 401
    assert guarded.client.simulate_get("//v2/images").status_code == 401


def test_a_user_that_is_taken_from_the_file_is_refused_at_once(guarded: Service, tmp_path: Path) -> None:
    assert guarded.client.simulate_get("/v2/images", headers=basic("ann", SECRET)).status_code == 200

    (tmp_path / "users").write_text(f"bob:{HASH}\n")

    assert guarded.client.simulate_get("/v2/images", headers=basic("ann", SECRET)).status_code == 401
    assert guarded.client.simulate_get("/v2/images", headers=basic("bob", SECRET)).status_code == 200


@pytest.mark.parametrize(("file", "why"), [("", "http_basic_auth_user_file must be set"), ("gone", "No such file")])
def test_no_file_no_start(tmp_path: Path, file: str, why: str) -> None:
    path = str(tmp_path / file) if file else ""
    with pytest.raises(ValueError, match=why):
        create_app(
            runtime(tmp_path), Doorbell(), ApiOptions(auth_strategy="http_basic", http_basic_auth_user_file=path)
        )


# -- callers without credentials


@pytest.fixture
def half_open(guarded: Service, tmp_path: Path) -> Service:
    """The same service, where those who show no credentials may look at what is public."""
    path = guarded.options.http_basic_auth_user_file
    options = ApiOptions(auth_strategy="http_basic", http_basic_auth_user_file=path, allow_anonymous_access=True)
    return Service(guarded.runtime, options)


def test_anonymous_callers_look_and_touch_nothing(half_open: Service) -> None:
    client = half_open.client
    public = half_open.image(visibility="public", owner="west")

    assert client.simulate_get(f"/v2/images/{public}").status_code == 200
    for method, path in [("POST", "/v2/images"), ("DELETE", f"/v2/images/{public}"), ("PUT", "/v2/nothing")]:
        refused = client.simulate_request(method, path, headers={"Accept": "text/plain"})
        assert (refused.status_code, refused.text) == (403, "403 Forbidden\n\nRead-only access\n")


def test_wrong_credentials_are_not_none(half_open: Service) -> None:
    for headers in (basic("ann", "guess"), {"X-Auth-Token": "any"}):
        assert half_open.client.simulate_get("/v2/images", headers=headers).status_code == 401


def test_where_nobody_is_asked_nobody_is_anonymous(service: Service) -> None:
    """Given a service that asks for no credentials, then to let callers in without them takes nothing from anybody."""
    options = replace(service.options, allow_anonymous_access=True)

    made = Service(service.runtime, options).client.simulate_post("/v2/images", json={"visibility": "public"})

    assert made.status_code == 201


# -- what a context says


def test_credentials_as_policies_know_them() -> None:
    roles = frozenset({"member", "reader"})
    who = caller_of("p", "u", roles, "req-1", system_scope="all", service_roles=frozenset({"service"}))

    assert who.to_policy_values() == {
        "project_id": "p",
        "user_id": "u",
        "tenant": "p",
        "user": "u",
        "roles": ["member", "reader"],
        "is_admin": False,
        "system_scope": "all",
        "service_roles": ["service"],
    }


@pytest.mark.parametrize(
    ("project", "roles", "expected"),
    [
        ("p", {"admin"}, (True, False)),
        (None, {"admin"}, (True, False)),
        ("p", {"member"}, (False, False)),
        (None, {"member"}, (False, True)),
        ("", set(), (False, True)),
    ],
)
def test_who_owns_nothing_changes_nothing(project: str | None, roles: set[str], expected: tuple[bool, bool]) -> None:
    who = caller_of(project, "u", frozenset(roles), "req-1")

    assert (who.is_admin, who.read_only) == expected


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"admin"}, {"admin", "manager", "member", "reader"}),
        ({"manager"}, {"manager", "member", "reader"}),
        ({"member", "x"}, {"member", "reader", "x"}),
        ({"reader"}, {"reader"}),
        ({"x"}, {"x"}),
        (set(), set()),
    ],
)
def test_roles_imply_others(given: set[str], meant: set[str]) -> None:
    assert implied(frozenset(given)) == meant


def test_the_log_tells_who_changed_something(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="api")

    def strict(_req: falcon.Request, request_id: str) -> Context:
        if _req.method == "PUT":
            raise falcon.HTTPUnauthorized
        return caller_of("west", "ann", frozenset({"member"}), request_id)

    client: Any = testing.TestClient(create_app(service.runtime, Doorbell(), service.options, authenticate=strict))
    client.simulate_get("/v2/images")
    client.simulate_post("/v2/images", json={})
    client.simulate_put("/v2/images/x/file")

    assert [record.message for record in caplog.records] == [
        "POST /v2/images by ann of west: 201",
        "PUT /v2/images/x/file by nobody: 401",
    ]
