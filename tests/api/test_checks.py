"""Compiled rules mean what oslo.policy means by them, and what it would silently take for "nobody" is refused."""

import itertools
import random
from typing import Any

import pytest
from oslo_config import cfg
from oslo_policy import policy

from api.checks import Meaningless, compiled, parsed, references
from api.rules import RULES

CREDENTIALS: list[dict[str, Any]] = [
    {"project_id": project, "user_id": "u", "roles": roles, "is_admin": admin, "system_scope": scope, "deep": deep}
    for project, roles, admin, scope, deep in [
        ("p", ["member", "reader"], False, None, {"list": [{"name": "x"}, {"name": "y"}]}),
        ("q", ["admin"], True, "all", {"list": []}),
        (None, [], False, None, {}),
    ]
]
TARGETS: list[dict[str, Any]] = [
    {"project_id": "p", "visibility": "public", "owner": "p", "role": "Member", "wanted": "y"},
    {"project_id": "q", "visibility": "private", "member_id": "p", "owner": None},
    {},
]
LEAVES = (
    "@",
    "!",
    "role:admin",
    "role:MEMBER",
    "role:%(role)s",
    "project_id:%(project_id)s",
    "project_id:%(member_id)s",
    "project_id:p",
    "user_id:%(owner)s",
    "is_admin:True",
    "system_scope:all",
    "'public':%(visibility)s",
    '"private":%(visibility)s',
    "None:%(owner)s",
    "project_id:%(owner)s",
    "deep.list.name:%(wanted)s",
    "deep.list.name:x",
    "nothing:%(role)s",
    "rule:other",
    "prefix:a-%(role)s-b:c",
)
OTHER = "role:reader and not 'public':%(visibility)s"


def enforcer(rules: dict[str, str]) -> policy.Enforcer:
    """oslo.policy with these rules and no file."""
    conf = cfg.ConfigOpts()
    conf([])
    made = policy.Enforcer(conf, use_conf=False)
    made.set_rules({name: parsed(text) for name, text in rules.items()})
    return made


def expressions() -> list[str]:
    """Every check alone, and many at random with operators and parentheses between."""
    dice = random.Random(7)

    def any_expression(depth: int) -> str:
        if depth == 0:
            return dice.choice(LEAVES)
        parts = [any_expression(depth - 1) for _ in range(dice.randint(2, 3))]
        text = f" {dice.choice(['and', 'or', 'AND'])} ".join(parts)
        return dice.choice([text, f"({text})", f"not ({text})", f"( {text} )"])

    return [*LEAVES, *(f"not {leaf}" for leaf in LEAVES), *(any_expression(dice.randint(1, 3)) for _ in range(150))]


@pytest.mark.parametrize("text", expressions())
def test_they_mean_what_oslo_policy_means(text: str) -> None:
    library = enforcer({"asked": text, "other": OTHER})
    judges: Any = {}
    judges |= {"other": compiled(parsed(OTHER), judges)}
    judge = compiled(parsed(text), judges)

    for target, who in itertools.product(TARGETS, CREDENTIALS):
        assert judge(target, who) == bool(library.enforce("asked", target, dict(who))), (target, who)


@pytest.mark.parametrize("text", ["", "  ", [], [["role:admin"], ["role:member", "project_id:p"]], ["role:admin"]])
def test_rules_of_old_files(text: Any) -> None:
    judge = compiled(parsed(text), {})
    library = enforcer({})

    for who in CREDENTIALS:
        expected = library.enforce(
            policy.RuleDefault("x", text.strip() if isinstance(text, str) else text).check, {}, dict(who)
        )
        assert judge({}, who) == bool(expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("role:admin role:member", "cannot have 'role:member' where it stands"),
        ("role:admin and", "ends too early"),
        ("(role:admin", "ends too early"),
        ("role:admin)", r"cannot have '\)' where it stands"),
        ("and role:admin", "cannot have 'and' where it stands"),
        ("not", "ends too early"),
        ("()", r"cannot have '\)' where it stands"),
        ("admin", "has 'admin', which is no check: a check is written kind:match"),
        ("'a:b'", "which is no check"),
        (":x", "which is no check"),
        ("project_id:%(project_id)", r"cannot have '\)' where it stands"),
        ("project_id:%(project_id)d", "where a value is written"),
        ("project_id:100%", "where a value is written"),
        ("1a:b", "neither a credential nor a literal"),
        ("http://policy.example.org/ask", "this service asks no other service"),
        ([["role:admin", 5]], "has 5, which is no check"),
        ([["admin"]], "has 'admin', which is no check"),
        (True, "is no string"),
        (None, "is no string"),
        ({"a": "b"}, "is no string"),
    ],
)
def test_what_makes_no_sense_is_refused(text: Any, why: str) -> None:
    with pytest.raises(Meaningless, match=why):
        compiled(parsed(text), {})


def test_references() -> None:
    assert set(references(parsed("rule:a or (not rule:b and role:c)"))) == {"a", "b"}


def test_no_default_refers_to_another_rule() -> None:
    """`Rules.is_default` relies on it."""
    assert [name for name, rule in RULES.items() if set(references(rule.check))] == []
