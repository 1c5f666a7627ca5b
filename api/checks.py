"""Rules in the language of oslo.policy, made into functions that are cheap to ask.

The library parses them. It would also judge by them, but looks up the signature of every part of a rule each time,
which costs more than reading an image; so the parsed rule is walked once, here. What it means stays the same, which
`tests/api/test_checks.py` shows by asking both.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from oslo_policy import _checks, policy

# No kind of check comes from a plugin. The library would look for some in every package that is installed, and keep
# what it finds in a cache in the home directory.
_checks.extension_checks = {}

Values: TypeAlias = Mapping[str, Any]

Judge: TypeAlias = Callable[[Values, Values], bool]
"""Whether what is to be touched (first) may be touched by who has these credentials (second)."""

Text: TypeAlias = str | Sequence[Any]
"""A rule as a file may have it: in words, or as the lists of lists of old policy.json files."""

_REMOTE = ("http", "https")
"""Kinds of checks that ask another service; a list of images would ask it once for each."""


class Meaningless(ValueError):
    """A rule cannot be understood; the text completes "rule …"."""


def parsed(text: Text) -> Any:
    """Return the tree that oslo.policy makes of `text`. Raises `Meaningless` for what it would take for "nobody"."""
    if isinstance(text, str):
        _require_expression(list(_tokens(text)))
    elif not isinstance(text, list):
        raise Meaningless("is no string")
    for word in _leaves(text):
        _require_check(word)
    return policy.RuleDefault("", text.strip() if isinstance(text, str) else cast(str, text)).check


def compiled(check: Any, rules: Mapping[str, Judge]) -> Judge:
    """Return the function that judges as `check` does; what it refers to is looked up in `rules` when it is asked.

    Raises `Meaningless`.
    """
    parts = [compiled(part, rules) for part in getattr(check, "rules", ())]
    if isinstance(check, policy.AndCheck):
        return lambda target, who: all(part(target, who) for part in parts)
    if isinstance(check, policy.OrCheck):
        return lambda target, who: any(part(target, who) for part in parts)
    if isinstance(check, policy.NotCheck):
        inner = compiled(check.rule, rules)
        return lambda target, who: not inner(target, who)
    if isinstance(check, policy.RuleCheck):
        name = check.match
        return lambda target, who: rules[name](target, who)
    if isinstance(check, policy.Check):
        return _role(check.match) if check.kind == "role" else _equal(check.kind, check.match)
    answer = str(check) == "@"
    return lambda _target, _who: answer


def references(check: Any) -> Iterator[str]:
    """The names of the rules that `check` refers to."""
    return (one.match for one in _singles(check) if isinstance(one, policy.RuleCheck))


def roles(check: Any) -> Iterator[str]:
    """The roles that `check` itself asks for, in lower case; not those that a target would name."""
    asked = (one.match for one in _singles(check) if isinstance(one, policy.Check) and one.kind == "role")
    return (role.lower() for role in asked if "%" not in role)


def _singles(check: Any) -> Iterator[Any]:
    """What `check` is made of by and, or and not."""
    parts = [check.rule] if isinstance(check, policy.NotCheck) else getattr(check, "rules", None)
    if parts is None:
        yield check
    else:
        for part in parts:
            yield from _singles(part)


def _role(match: str) -> Judge:
    """Whether one of the roles, which are in lower case, is `match`."""
    filled = _filled(match)

    def judge(target: Values, who: Values) -> bool:
        role = filled(target)
        return role is not None and role.lower() in who["roles"]

    return judge


def _equal(kind: str, match: str) -> Judge:
    """Whether `match` is what `kind` says: a literal, or the credential of that name."""
    filled = _filled(match)
    try:
        literal = str(ast.literal_eval(kind))
    except ValueError:
        path = kind.split(".")
        return lambda target, who: (value := filled(target)) is not None and _found(who, path, value)
    except SyntaxError as error:
        raise Meaningless(f"has a check of {kind!r}, which is neither a credential nor a literal") from error
    return lambda target, _who: filled(target) == literal


def _found(value: Any, path: Sequence[str], wanted: str) -> bool:
    """Whether `wanted` stands at the end of the path; on the way, every element of a list is tried."""
    if not path:
        return wanted == str(value)
    if not isinstance(value, Mapping) or path[0] not in value:
        return False
    value = value[path[0]]
    below = value if isinstance(value, list) else [value]
    return any(_found(one, path[1:], wanted) for one in below)


def _filled(match: str) -> Callable[[Values], str | None]:
    """Return what puts a target's values into `match`, or None where the target has no such value."""
    if "%" not in match:
        return lambda _target: match
    try:
        match % _Anything()
    except (TypeError, ValueError) as error:
        raise Meaningless(f"has {match!r}, where a value is written %(name)s") from error

    def fill(target: Values) -> str | None:
        try:
            return match % target
        except KeyError:
            return None

    return fill


class _Anything(dict[str, str]):
    """A target that has whatever it is asked for."""

    def __missing__(self, _key: str) -> str:
        return ""


def _require_expression(tokens: Sequence[str]) -> None:
    """Raise `Meaningless` unless checks, operators and parentheses stand as they must."""
    depth, complete = 0, not tokens
    for token in tokens:
        operator = token.lower() in ("and", "or", ")")
        if operator != complete or (token == ")" and not depth):
            raise Meaningless(f"cannot have {token!r} where it stands")
        depth += {"(": 1, ")": -1}.get(token, 0)
        complete = token == ")" or not (operator or token.lower() in ("(", "not"))
    if depth or not complete:
        raise Meaningless("ends too early")


def _leaves(text: Text) -> Iterator[Any]:
    """The single checks of a rule."""
    if isinstance(text, str):
        yield from (token for token in _tokens(text) if token.lower() not in ("and", "or", "not", "(", ")"))
    else:
        for inner in text:
            yield from inner if isinstance(inner, list) else [inner]


def _require_check(word: Any) -> None:
    if word in ("@", "!"):
        return
    kind, colon, _ = word.partition(":") if isinstance(word, str) else ("", "", "")
    quoted = colon and word[0] == word[-1] and word[0] in "\"'"
    if not kind or not colon or quoted:
        raise Meaningless(f"has {word!r}, which is no check: a check is written kind:match")
    if kind in _REMOTE:
        raise Meaningless(f"has {word!r}, and this service asks no other service")


def _tokens(text: str) -> Iterator[str]:
    """The words of a rule; parentheses are words too, but for those within `%(name)s`."""
    for word in text.split():
        inner = word.lstrip("(")
        core = inner.rstrip(")")
        yield from "(" * (len(word) - len(inner))
        if core:
            yield core
        yield from ")" * (len(inner) - len(core))
