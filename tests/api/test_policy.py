"""The rules: every route has one that it obeys, a policy file only overrides, and what is wrong with it is said."""

import dataclasses
import json
import logging
import re
import timeit
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from api import rights
from api.context import Context, caller_of, implied, judged
from api.options import ApiOptions
from api.policy import DEFAULTS, BadPolicy, Policy, Rules
from api.rules import NOT_HERE, RULES, WITHOUT_RULE, list_rules
from catalog.images import ImageRecord
from flows.methods import FLOWS
from tests.api.service import Service, a_member
from tests.api.walks import AT_LARGE, OWNER, PEOPLE, VISIBILITIES, WALKS, Call, an_image, routes, seen_by

CALLS = (*WALKS, *AT_LARGE)


@pytest.fixture
def service(service: Service) -> Service:
    """The service with every import method."""
    options = dataclasses.replace(service.runtime.options, methods=tuple(FLOWS))
    return Service(dataclasses.replace(service.runtime, options=options), ApiOptions())


def under(service: Service, path: Path, rules: Mapping[str, Any]) -> Service:
    """The service with a policy file of these rules."""
    path.write_text(json.dumps(rules))
    return Service(
        service.runtime, dataclasses.replace(service.options, policy_file=str(path)), doorbell=service.doorbell
    )


# -- every route has a rule


def test_every_route_has_a_rule_or_needs_none(service: Service) -> None:
    """Given all routes and methods of the application, then a rule names each, or the short list of those without."""
    named = {f"{o['method']} {o['path']}" for rule in RULES.values() for o in getattr(rule, "operations", ())}

    assert named | WITHOUT_RULE == routes(service)
    assert not named & WITHOUT_RULE


def test_every_rule_of_every_route_is_tried_here() -> None:
    """Given what the rules say they decide about, then the tables of calls have each pair, and no other."""
    said = {
        (name, f"{o['method']} {o['path']}") for name, rule in RULES.items() for o in getattr(rule, "operations", ())
    }

    assert {(call.rule, call.operation) for call in CALLS} == said


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.operation} {call.rule}")
def test_a_rule_that_allows_nobody_is_obeyed(service: Service, tmp_path: Path, call: Call) -> None:
    """Given the rule of a call turned off, then even the administrator is refused: 404 if it is the one for seeing."""
    closed = under(service, tmp_path / "policy.json", {call.rule: "!"})
    image = an_image(service, call, "shared") if call in WALKS else ""
    assert call.make(seen_by(closed, PEOPLE["admin"]), image).status_code == (
        404 if call.rule in ("get_image", "get_member") else 403
    )
    # And it was this rule: without the file the same call is answered
    assert call.make(seen_by(service, PEOPLE["admin"]), image).status_code == call.success


@pytest.mark.parametrize("call", WALKS, ids=lambda call: f"{call.operation} {call.rule}")
def test_a_rule_that_allows_everybody_shows_nothing_that_is_hidden(
    service: Service, tmp_path: Path, call: Call
) -> None:
    """Given a careless `@`, then who may not see an image still hears that there is none (§14.1 comes first)."""
    careless = under(service, tmp_path / "policy.json", {call.rule: "@"})
    image = an_image(service, call, "private")

    assert call.make(seen_by(careless, PEOPLE["stranger"]), image).status_code == 404


# -- what files are for


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_copying_public_images_for_everybody(service: Service, tmp_path: Path, visibility: str) -> None:
    """Given the rule that operators write for it, then members of any project copy public images, and no others.

    The image stays its owner's, the task is the asker's (import-behaviour §6).
    """
    open_ = under(service, tmp_path / "policy.yaml", {"copy_image": "role:admin or 'public':%(visibility)s"})
    copy = next(call for call in WALKS if call.rule == "copy_image")
    image = an_image(service, copy, visibility)

    answer = copy.make(seen_by(open_, PEOPLE["stranger"]), image)

    assert answer.status_code == {"public": 202, "community": 403}.get(visibility, 404)
    if visibility == "public":
        with service.catalog.read() as tx:
            (task,) = (task for task in tx.tasks.of_image(image) if task.flow == "copy-image")
            assert (task.owner, tx.images.get(image).owner) == ("yours", OWNER)
        # And who asked for it calls it off
        assert seen_by(open_, PEOPLE["accepted"]).simulate_delete(f"/v2/images/{image}/import").status_code == 403
        assert seen_by(open_, PEOPLE["stranger"]).simulate_delete(f"/v2/images/{image}/import").status_code == 202


def test_get_image_holds_in_lists_too(service: Service, tmp_path: Path) -> None:
    rules = {"get_image": "role:admin or (role:reader and not 'secret':%(os_distro)s)"}
    strict = under(service, tmp_path / "policy.json", rules)
    shown = service.image(owner=OWNER)
    hidden = service.image(owner=OWNER, properties={"os_distro": "secret"})

    for who, wanted in {"owner": [shown], "admin": [hidden, shown]}.items():
        client = seen_by(strict, PEOPLE[who])
        assert [image["id"] for image in client.simulate_get("/v2/images").json["images"]] == wanted
    assert seen_by(strict, PEOPLE["owner"]).simulate_get(f"/v2/images/{hidden}").status_code == 404


def test_what_images_are_asked_about(service: Service, tmp_path: Path) -> None:
    """Given rules about anything of an image, also its properties, then they are found under Glance's names."""
    checks = (
        "project_id:%(owner)s and project_id:%(project_id)s and tenant:%(owner)s and user_id:%(author)s and "
        "'shared':%(visibility)s and 'queued':%(status)s and 'raw':%(disk_format)s and not project_id:%(member_id)s"
    )
    strict = under(service, tmp_path / "policy.json", {"delete_image": checks})

    for author, status in {"somebody": 204, "else": 403}.items():
        image = service.image(owner=OWNER, properties={"author": author})
        assert seen_by(strict, PEOPLE["owner"]).simulate_delete(f"/v2/images/{image}").status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"disk_format": "raw", "approved": "yes"}, 201),
        ({"disk_format": "iso", "approved": "yes"}, 403),
        ({"approved": "no"}, 403),
        ({"approved": "yes", "owner": "theirs"}, 403),
        ({"approved": "yes", "visibility": "community", "name": "open"}, 201),
        ({"approved": "yes", "visibility": "community", "name": "closed"}, 403),
    ],
)
def test_what_images_are_asked_about_that_are_to_be_made(
    service: Service, tmp_path: Path, body: dict[str, str], status: int
) -> None:
    """Given rules about attributes and properties, then they hold for an image that does not exist yet too; and it
    would be the project's that is to own it.
    """
    rules = {
        "add_image": "project_id:%(project_id)s and not 'iso':%(disk_format)s and 'yes':%(approved)s",
        "communitize_image": "tenant:%(tenant)s and 'open':%(name)s and not project_id:%(member_id)s",
    }
    strict = under(service, tmp_path / "policy.json", rules)

    assert seen_by(strict, a_member("mine")).simulate_post("/v2/images", json=body).status_code == status


@pytest.mark.parametrize("answer", ["pending", "accepted", "rejected"])
def test_members_are_known_to_rules(service: Service, tmp_path: Path, answer: str) -> None:
    open_ = under(service, tmp_path / "policy.json", {"modify_image": "project_id:%(member_id)s"})
    tag = next(call for call in WALKS if call.operation.startswith("PUT") and "{tag}" in call.path)

    for visibility, status in {"shared": 204, "public": 403}.items():
        image = an_image(service, tag, visibility)
        assert tag.make(seen_by(open_, PEOPLE[answer]), image).status_code == status
    assert tag.make(seen_by(open_, PEOPLE["owner"]), an_image(service, tag, "shared")).status_code == 403


def test_nobody_is_the_owner_of_what_has_none(service: Service, tmp_path: Path) -> None:
    """Given a rule without roles, then to be in no project is not to be in that of an image without one."""
    open_ = under(service, tmp_path / "policy.json", {"get_image_location": "project_id:%(project_id)s"})
    looking = caller_of(None, "u", frozenset({"reader"}), "req-1")
    image = service.image(owner=None, visibility="public")

    with open_.catalog.read() as tx:
        record = tx.images.get(image)
    assert not rights.may(judged(looking, Policy(open_.options).rules()), "get_image_location", record)


def test_service_roles_count_for_locations_alone() -> None:
    """Given a user's request with a service's token beside it, then its roles open the locations API (§1.2)."""
    columns: dict[str, Any] = dict.fromkeys(ImageRecord.__dataclass_fields__)
    image = ImageRecord(**columns | {"id": "i", "owner": OWNER, "visibility": "public", "properties": {}})
    user = dataclasses.replace(a_member("yours"), service_roles=frozenset({"service", "admin"}))

    assert rights.may(user, "add_image_location", image)
    assert rights.may(user, "fetch_image_location", image)
    assert not rights.may(a_member("yours"), "fetch_image_location", image)
    assert not rights.may(user, "modify_image", image)


# -- who is an administrator


def test_another_rule_for_administrators(service: Service, tmp_path: Path) -> None:
    """Given `context_is_admin` for another role, then that role sees everything; the old one only what rules allow."""
    strict = under(service, tmp_path / "policy.json", {"context_is_admin": "role:boss"})
    image = service.image(owner=OWNER, visibility="private")
    boss = caller_of(None, "b", frozenset({"boss", "reader"}), "req-1")

    assert boss.read_only
    assert seen_by(strict, PEOPLE["admin"]).simulate_get(f"/v2/images/{image}").status_code == 404
    assert [
        one["id"] for one in seen_by(strict, boss).simulate_get("/v2/images?visibility=private").json["images"]
    ] == []
    allowed = under(service, tmp_path / "both.json", {"context_is_admin": "role:boss", "get_image": "is_admin:True"})
    assert seen_by(allowed, boss).simulate_get(f"/v2/images/{image}").status_code == 200
    assert seen_by(allowed, boss).simulate_put(f"/v2/images/{image}/tags/x").status_code == 403


@pytest.mark.parametrize(
    ("rule", "who", "expected"),
    [
        ("role:admin", caller_of(None, "u", frozenset({"admin"}), "r"), (True, False)),
        ("role:boss", caller_of(None, "u", frozenset({"admin"}), "r"), (False, True)),
        ("role:boss", caller_of(None, "u", frozenset({"boss"}), "r"), (True, False)),
        ("project_id:ops", caller_of("ops", "u", frozenset(), "r"), (True, False)),
        ("system_scope:all", caller_of(None, "u", frozenset(), "r", system_scope="all"), (True, False)),
        ("@", PEOPLE["anonymous"], (False, True)),
    ],
)
def test_who_is_an_administrator(rule: str, who: Context, expected: tuple[bool, bool]) -> None:
    known = judged(who, Rules({"context_is_admin": rule}))

    assert (known.is_admin, known.read_only) == expected


# -- the file


def test_defaults_are_what_is_not_in_the_file(tmp_path: Path) -> None:
    """Given a file in YAML that changes two rules and adds one to refer to, then all others are as they were."""
    file = tmp_path / "policy.yaml"
    file.write_text(
        '# ours\n"is_ours": "project_id:%(project_id)s"\n"delete_image": "rule:is_ours"\n"get_images": ""\n'
    )
    rules = Policy(ApiOptions(policy_file=str(file))).rules()

    shown = {rule.name: rule for rule in rules.in_effect()}

    assert shown.keys() == RULES.keys() | {"is_ours"}
    assert {name for name, rule in shown.items() if rule.overridden} == {"is_ours", "delete_image", "get_images"}
    assert (shown["delete_image"].check, shown["get_images"].check) == ("rule:is_ours", "@")
    assert {n: r.check for n, r in shown.items() if not r.overridden}.items() <= {
        r.name: r.check for r in DEFAULTS.in_effect()
    }.items()
    assert rules.allows("delete_image", {"project_id": "p"}, {"project_id": "p", "roles": []})


def test_an_empty_file_overrides_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("# nothing yet\n")

    assert Policy(ApiOptions(policy_file=str(tmp_path / "policy.yaml"))).rules().in_effect() == DEFAULTS.in_effect()


def test_a_file_for_glance_is_understood(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Given rules of Glance's that nothing here asks for, then they are left alone, and that is said."""
    caplog.set_level(logging.INFO, logger="api")
    (tmp_path / "policy.yaml").write_text("\n".join(f'"{name}": "rule:metadef_admin"' for name in sorted(NOT_HERE)))

    rules = Policy(ApiOptions(policy_file=str(tmp_path / "policy.yaml"))).rules()

    assert rules.in_effect() == DEFAULTS.in_effect()
    assert "nothing here asks for add_metadef_namespace, " in caplog.text


def test_rules_of_glances_count_where_others_refer_to_them(tmp_path: Path) -> None:
    """Given a file in which rules for what is not here refer to a rule of the operator's own, and one of ours refers to
    one of them, then the file is understood as it is meant.
    """
    file = tmp_path / "policy.yaml"
    file.write_text(
        "is_boss: role:boss\ncache_image: rule:is_boss\nget_task: rule:nowhere\nget_tasks: oops\n"
        "metadef_admin: rule:is_writer\nis_writer: role:writer\nmodify_image: rule:metadef_admin\n"
    )

    rules = Policy(ApiOptions(policy_file=str(file))).rules()

    assert rules.allows("modify_image", {}, {"roles": ["writer"]})
    assert not rules.allows("modify_image", {}, {"roles": ["member", "boss"]})
    shown = {rule.name for rule in rules.in_effect()} - RULES.keys()
    assert shown == {"is_boss", "is_writer", "metadef_admin"}


def test_the_examples_for_operators_work(tmp_path: Path) -> None:
    """Given the files that docs/operations.md shows, then they are understood."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (rules,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (protections,) = re.findall(r"```ini\n(\[\^billing_\].*?)```", page, re.DOTALL)
    (tmp_path / "policy.yaml").write_text(rules)
    (tmp_path / "protections.conf").write_text(protections)

    made = Policy(
        ApiOptions(
            policy_file=str(tmp_path / "policy.yaml"), property_protection_file=str(tmp_path / "protections.conf")
        )
    ).rules()

    assert made.allows("copy_image", {"visibility": "public"}, a_member("p").to_policy_values())
    assert made.protections.permit("read", "billing_code", {"auditor"}.__contains__)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"modify_image: "role:admin"', "is neither YAML nor JSON: "),
        ('["role:admin"]', "is no mapping of names to rules"),
        ("role:admin", "is no mapping of names to rules"),
        ("5: role:admin", "is no mapping of names to rules"),
        ('{"modify_image": "role:admin or"}', "rule 'modify_image' ends too early"),
        ('{"modify_image": "admin"}', "rule 'modify_image' has 'admin', which is no check"),
        ('{"modify_image": "project_id:%(owner)d"}', "rule 'modify_image' has 'project_id:%(owner)d'"),
        ('{"modify_imgae": "role:admin"}', "rule 'modify_imgae' is none of this service's"),
        ('{"modify_image": "rule:owner"}', "rule 'modify_image' refers to a rule 'owner', which is not there"),
        ('{"modify_image": "rule:get_task"}', "rule 'modify_image' refers to a rule 'get_task', which is not there"),
        ('{"modify_image": "rule:get_task", "get_task": "rule:x"}', "rule 'get_task' refers to a rule 'x'"),
        ('{"a": "rule:b", "b": "role:x or rule:a"}', "rule 'a' refers to itself: a → b → a"),
        ('{"delete_image": "not rule:delete_image"}', "refers to itself: delete_image → delete_image"),
        ("modify_image:", "rule 'modify_image' is no string"),
        (b"\xff", "is not UTF-8"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_with_a_file_is_refused_at_the_start(
    service: Service, tmp_path: Path, text: str | bytes | None, why: str
) -> None:
    file = tmp_path / "policy.yaml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(BadPolicy, match=f"^the policy file {re.escape(str(file))}.*") as refused:
        Service(service.runtime, ApiOptions(policy_file=str(file)))

    assert why.replace("'project_id:%(owner)d'", "'%(owner)d'") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_changes_is_read_again(service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "policy.json"
    open_ = under(service, file, {"get_images": "!"})
    client = seen_by(open_, PEOPLE["owner"])
    assert client.simulate_get("/v2/images").status_code == 403

    # When it changes, then that holds at once
    file.write_text('{"get_images": ""}')
    assert client.simulate_get("/v2/images").status_code == 200

    # When what is written cannot be understood, or is gone, then the log says so once, and the rules stay as they were
    file.write_text('{"get_images": "oops"}')
    assert [client.simulate_get("/v2/images").status_code for _ in range(2)] == [200, 200]
    file.unlink()
    assert [client.simulate_get("/v2/images").status_code for _ in range(2)] == [200, 200]
    told = [record.message for record in caplog.records if "it stays as it was" in record.message]
    assert len(told) == 2
    assert "rule 'get_images' has 'oops'" in told[0]
    assert "cannot be read" in told[1]

    # When it is mended, then it counts again
    file.write_text('{"get_images": "!"}')
    assert client.simulate_get("/v2/images").status_code == 403


def test_a_request_is_judged_by_the_same_rules_from_beginning_to_end(tmp_path: Path) -> None:
    """Given a caller, then its rules are those of when it came, whatever is written to the file meanwhile."""
    file = tmp_path / "policy.json"
    file.write_text('{"get_images": "!"}')
    policy = Policy(ApiOptions(policy_file=str(file)))
    who = judged(a_member("p"), policy.rules())

    file.write_text("{}")

    assert policy.rules().is_default("get_images")
    assert not who.rules.is_default("get_images")


def test_a_sample_file_can_be_made() -> None:
    """Given what oslo.policy's tools ask for, then every rule is there, described, with the calls it is about."""
    assert [rule.name for rule in list_rules()] == list(RULES)
    assert all(rule.description.endswith(".") for rule in list_rules())


def test_rules_stay_cheap() -> None:
    """Given the costliest default, then asking it takes a small part of what reading an image costs."""
    target, who = {"visibility": "public"}, caller_of("p", "u", implied(frozenset({"member"})), "r").to_policy_values()

    taken = min(timeit.repeat(lambda: DEFAULTS.allows("download_image", target, who), number=1000, repeat=5)) / 1000

    assert taken < 50e-6
