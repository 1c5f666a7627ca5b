"""Properties that only some may see or change, in both formats of the file (http-api §14.5)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from falcon import testing

from api.context import caller_of
from api.options import ApiOptions
from api.policy import BadPolicy, Policy
from api.protections import BadProtections, Protections, parse
from tests.api.service import URI, Service
from tests.api.test_patches import V20, V21
from tests.api.walks import seen_by

BY_ROLES = """
[^billing_]
create = admin,Biller
read = admin,biller,auditor
update = admin,biller
delete = admin
[^billing_open]
create = @
read = @
update = @
delete = @
[^locked$]
create = @
read = @
update = !
delete = !
[secret]
create = @
read = !
update = @
delete = @
[^blank$]
create =
read = @
update =
delete =
[.*]
create = @
read = @
update = @
delete = @
"""
BY_POLICIES = """
[^billing_]
create = billers
read = auditors
update = billers
delete = context_is_admin
[.*]
create = @
read = @
update = @
delete = @
"""
POLICIES = {"billers": "role:admin or role:biller", "auditors": "rule:billers or role:auditor"}


def guarded(service: Service, tmp_path: Path, by: str) -> Service:
    """The service with the same protections in one of the formats."""
    (tmp_path / "protections.conf").write_text(BY_ROLES if by == "roles" else BY_POLICIES)
    (tmp_path / "policy.json").write_text(json.dumps(POLICIES))
    options = ApiOptions(
        policy_file=str(tmp_path / "policy.json") if by == "policies" else "",
        property_protection_file=str(tmp_path / "protections.conf"),
        property_protection_rule_format=by,
    )
    return Service(service.runtime, options)


def as_(service: Service, *roles: str, service_roles: frozenset[str] = frozenset()) -> testing.TestClient:
    """A client of a member of the project `mine` who has these roles too."""
    who = caller_of("mine", "u", frozenset({"member", "reader", *roles}), "req-1", service_roles=service_roles)
    return seen_by(service, who)


def patch(client: testing.TestClient, image: str, *operations: dict[str, Any], kind: str = V21) -> testing.Result:
    raw = json.dumps(operations)
    return client.simulate_patch(
        f"/v2/images/{image}", body=raw, headers={"Content-Type": kind, "Accept": "text/plain"}
    )


@pytest.fixture(params=["roles", "policies"])
def either(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> Service:
    """A service whose `billing_` properties are protected by roles, and by rules that come to the same."""
    return guarded(service, tmp_path, request.param)


@pytest.fixture
def by_roles(service: Service, tmp_path: Path) -> Service:
    return guarded(service, tmp_path, "roles")


# -- what is not to be read is not there


@pytest.mark.parametrize(("roles", "reads"), [([], False), (["auditor"], True), (["biller"], True), (["admin"], True)])
def test_reading(either: Service, roles: list[str], reads: bool) -> None:
    image = either.image(owner="mine", properties={"billing_code": "42", "note": "n"})
    client = as_(either, *roles)

    for shown in (
        client.simulate_get(f"/v2/images/{image}").json,
        client.simulate_get("/v2/images").json["images"][0],
        patch(client, image).json,
    ):
        assert (shown.get("billing_code"), shown["note"]) == ("42" if reads else None, "n")


@pytest.mark.parametrize(("roles", "found"), [([], 0), (["auditor"], 1)])
def test_no_filter_tells_what_cannot_be_read(either: Service, roles: list[str], found: int) -> None:
    either.image(owner="mine", properties={"billing_code": "42"})

    for query in ("billing_code=42", "billing_code=42&id=in:a,b" if not found else "billing_code=42&status=queued"):
        assert len(as_(either, *roles).simulate_get(f"/v2/images?{query}").json["images"]) == found


def test_no_task_tells_what_cannot_be_read(either: Service) -> None:
    """Given an image that was asked for by a task, then the task does not show what the image does not."""
    asked = {"import_from": URI, "import_from_format": "raw", "image_properties": {"billing_code": "42", "name": "n"}}
    task = as_(either, "admin").simulate_post("/v2/tasks", json={"type": "import", "input": asked}).json
    path = f"/v2/images/{task['image_id']}/tasks"
    assert task["input"] == asked

    for roles, shown in (((), {"name": "n"}), (("auditor",), asked["image_properties"])):
        (told,) = as_(either, *roles).simulate_get(path).json["tasks"]
        assert told["input"] == asked | {"image_properties": shown}


def test_roles_of_services_count(either: Service) -> None:
    image = either.image(owner="mine", properties={"billing_code": "42"})

    shown = as_(either, service_roles=frozenset({"auditor"})).simulate_get(f"/v2/images/{image}").json

    assert shown["billing_code"] == "42"


def test_without_a_file_nothing_is_protected(service: Service) -> None:
    made = as_(service).simulate_post("/v2/images", json={"billing_code": "1"})

    assert made.json["billing_code"] == "1"


def test_the_first_section_that_is_found_decides(by_roles: Service) -> None:
    """Given `billing_open`, which a later section gives to all, and an expression found in a name's middle."""
    made = as_(by_roles).simulate_post("/v2/images", json={"billing_open": "1"}, headers={"Accept": "text/plain"})
    assert made.status_code == 403
    made = as_(by_roles).simulate_post("/v2/images", json={"my_secret_": "1"})
    assert made.status_code == 201
    assert "my_secret_" not in made.json


def test_what_no_section_is_found_in_is_nobodys() -> None:
    protections = parse("[^a$]\ncreate = @\nread = @\nupdate = @\ndelete = @\n", "roles")

    assert protections.permit("read", "a", lambda _: True)
    assert not protections.permit("read", "b", lambda _: True)


# -- making images


@pytest.mark.parametrize(("roles", "status"), [([], 403), (["auditor"], 403), (["biller"], 201), (["admin"], 201)])
def test_creating(either: Service, roles: list[str], status: int) -> None:
    made = as_(either, *roles).simulate_post("/v2/images", json={"billing_code": "1"}, headers={"Accept": "text/plain"})

    assert made.status_code == status
    if status == 403:
        assert made.text == "403 Forbidden\n\nProperty 'billing_code' is protected: you may not create it.\n"
        assert as_(either, "admin").simulate_get("/v2/images").json["images"] == []


# -- changing them

ADD = {"op": "add", "path": "/billing_code", "value": "new"}
REPLACE = {"op": "replace", "path": "/billing_code", "value": "new"}
REMOVE = {"op": "remove", "path": "/billing_code"}


@pytest.mark.parametrize(
    ("operation", "statuses"),
    [
        (ADD, {"": 403, "auditor": 403, "biller": 200, "admin": 200}),
        # What cannot be read is not there to be replaced or removed; what can be read may still be another's to change.
        (REPLACE, {"": 409, "auditor": 403, "biller": 200, "admin": 200}),
        (REMOVE, {"": 409, "auditor": 403, "biller": 403, "admin": 200}),
    ],
)
def test_changing(either: Service, operation: dict[str, Any], statuses: dict[str, int]) -> None:
    for role, status in statuses.items():
        image = either.image(owner="mine", properties={"billing_code": "old", "note": "n"})
        answer = patch(as_(either, role) if role else as_(either), image, operation)
        assert answer.status_code == status, f"{role}: {answer.text}"
        kept = as_(either, "admin").simulate_get(f"/v2/images/{image}").json.get("billing_code")
        assert kept == ("old" if status != 200 else operation.get("value"))


def test_what_is_said_is_what_would_be_said_without_the_property(either: Service) -> None:
    """Given a property that cannot be read, and an image without it, then all answers are the same but for the id."""
    images = [either.image(owner="mine", properties=p) for p in ({"billing_code": "x"}, {})]
    for operation in (ADD, REPLACE, REMOVE):
        said = {patch(as_(either), image, operation).text.replace(image, "ID") for image in images}
        assert len(said) == 1


def test_to_update_what_cannot_be_read_is_to_create_it(by_roles: Service) -> None:
    """Given a property that all may create and none may read, then it is written anew, also in the old dialect."""
    for kind, operation in (
        (V21, {"op": "add", "path": "/secret", "value": "new"}),
        (V20, {"add": "/secret", "value": "new"}),
    ):
        image = by_roles.image(owner="mine", properties={"secret": "old"})
        answer = patch(as_(by_roles), image, operation, kind=kind)
        assert (answer.status_code, "secret" in answer.json) == (200, False)
        with by_roles.catalog.read() as tx:
            assert tx.images.get(image).properties == {"secret": "new"}


def test_changes_leave_alone_what_they_do_not_see(by_roles: Service) -> None:
    image = by_roles.image(owner="mine", properties={"billing_code": "1", "secret": "2", "note": "n"})

    answer = patch(as_(by_roles), image, {"op": "remove", "path": "/note"}, {"op": "add", "path": "/x", "value": "y"})

    assert answer.status_code == 200
    with by_roles.catalog.read() as tx:
        assert tx.images.get(image).properties == {"billing_code": "1", "secret": "2", "x": "y"}


def test_hidden_properties_count_for_the_quota(service: Service, tmp_path: Path) -> None:
    (tmp_path / "protections.conf").write_text(BY_ROLES)
    options = ApiOptions(property_protection_file=str(tmp_path / "protections.conf"), property_quota=2)
    strict = Service(service.runtime, options)
    image = strict.image(owner="mine", properties={"billing_code": "1", "secret": "2"})

    for role, status in ((), 413), (("admin",), 413):
        assert patch(as_(strict, *role), image, {"op": "add", "path": "/x", "value": "y"}).status_code == status
    # To write anew what was there adds nothing
    assert patch(as_(strict), image, {"op": "add", "path": "/secret", "value": "3"}).status_code == 200


@pytest.mark.parametrize("name", ["locked", "blank"])
def test_nobody_is_nobody(by_roles: Service, name: str) -> None:
    image = by_roles.image(owner="mine", properties={name: "old"})
    path = f"/{name}"

    for operation in ({"op": "replace", "path": path, "value": "new"}, {"op": "remove", "path": path}):
        assert patch(as_(by_roles, "admin"), image, operation).status_code == 403


def test_attributes_are_no_properties(service: Service, tmp_path: Path) -> None:
    """Given a file that gives everything to nobody, then what is no custom property is shown and changed as ever."""
    (tmp_path / "protections.conf").write_text("[.*]\ncreate = !\nread = !\nupdate = !\ndelete = !\n")
    closed = Service(service.runtime, ApiOptions(property_protection_file=str(tmp_path / "protections.conf")))

    made = as_(closed).simulate_post("/v2/images", json={"name": "n", "tags": ["t"]})
    changed = patch(as_(closed), made.json["id"], {"op": "replace", "path": "/name", "value": "m"})

    assert (changed.json["name"], changed.json["tags"]) == ("m", ["t"])


# -- the file

WHOLE = "create = @\nread = @\nupdate = @\ndelete = @\n"


@pytest.mark.parametrize(
    ("text", "by", "why"),
    [
        (f"[(]\n{WHOLE}", "roles", "[(] is no regular expression: "),
        ("[a]\ncreate = @\nread = @\nupdate = @\n", "roles", "[a] delete is missing"),
        (f"[a]\n{WHOLE}destroy = @\n", "roles", "[a] destroy is none of create, read, update, delete"),
        (
            "[a]\ncreate = @,!\nread = @\nupdate = @\ndelete = @\n",
            "roles",
            "[a] create cannot be everybody (@) and nobody",
        ),
        ("[a]\ncreate = x,y\nread = @\nupdate = @\ndelete = @\n", "policies", "[a] create must be one rule"),
        (f"[a]\n{WHOLE}[a]\n{WHOLE}", "roles", "already exists"),
        (WHOLE, "roles", "no section headers"),
        ("", "roles", "there is no section in it"),
        (b"\xff", "roles", "is not UTF-8"),
        (None, "roles", "cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_with_it_is_refused_at_the_start(
    service: Service, tmp_path: Path, text: str | bytes | None, by: str, why: str
) -> None:
    file = tmp_path / "protections.conf"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(BadProtections, match=f"^the property protection file {re.escape(str(file))}") as refused:
        Service(service.runtime, ApiOptions(property_protection_file=str(file), property_protection_rule_format=by))

    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rules_that_are_referred_to_must_be_there(service: Service, tmp_path: Path) -> None:
    (tmp_path / "protections.conf").write_text(BY_POLICIES)
    options = ApiOptions(
        property_protection_file=str(tmp_path / "protections.conf"), property_protection_rule_format="policies"
    )

    with pytest.raises(BadPolicy, match="there is no rule 'auditors', to which the protected properties refer"):
        Policy(options)


def test_nothing_is_nothing() -> None:
    assert not Protections()
    assert Protections().permit("read", "x", lambda _: False)
