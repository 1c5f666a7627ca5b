"""The rules in effect: the defaults of `api/rules.py`, and what a policy file says instead of some of them (§14.4).

Nothing here knows images or callers. What they may do with each other is asked in `api/rights.py`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_policy import policy

from api.checks import Judge, Meaningless, Text, Values, compiled, parsed, references, roles
from api.files import Watched, text_of
from api.options import ApiOptions
from api.protections import Protections
from api.rules import NOT_HERE, RULES

log = logging.getLogger(__name__)


class BadPolicy(ValueError):
    """A policy file cannot be used; the text names it, and the rule."""


@dataclass(frozen=True, slots=True)
class RuleInEffect:
    """A rule as people see it: its name, what it says, and whether a file says so."""

    name: str
    check: str
    overridden: bool


class Rules:
    """Rules as they stand at one moment. A request is judged by the same ones from its beginning to its end."""

    def __init__(self, overrides: Mapping[str, Text] | None = None, protections: Protections | None = None) -> None:
        """Raises `BadPolicy` for what cannot be understood, and for a rule that nobody would ever ask for."""
        checks = {name: rule.check for name, rule in RULES.items()}
        self.protections = protections or Protections()
        overrides = overrides or {}
        self._overridden = frozenset(overrides)
        for name, text in overrides.items():
            try:
                checks[name] = parsed(text)
            except Meaningless as error:
                if name not in NOT_HERE:
                    raise BadPolicy(f"rule {name!r} {error}") from error
        idle = _idle(checks, self.protections.policies)
        helping = {name for rule in idle for name in references(checks.pop(rule))}
        _require_known(checks, self.protections.policies, helping)
        _require_acyclic(checks)
        self._texts = {name: str(check) for name, check in checks.items()}
        self.roles = self.protections.roles.union(*map(roles, checks.values()))
        """Every role that a rule or a protected property asks for."""
        self._judges: dict[str, Judge] = {}
        for name, check in checks.items():
            try:
                self._judges[name] = compiled(check, self._judges)
            except Meaningless as error:
                raise BadPolicy(f"rule {name!r} {error}") from error

    def allows(self, rule: str, target: Values, who: Values) -> bool:
        """Whether who has these credentials may do to the target what the rule is about."""
        return self._judges[rule](target, who)

    def is_default(self, rule: str) -> bool:
        """Whether the rule is the one of this service. No default refers to another rule."""
        return rule not in self._overridden

    def in_effect(self) -> list[RuleInEffect]:
        """Every rule: ours first, and then those that a file has added for its own use."""
        return [RuleInEffect(name, text, name in self._overridden) for name, text in self._texts.items()]


class Policy:
    """The rules of a service: `rules()` are those of now, for its policy file is read again whenever it has changed."""

    def __init__(self, options: ApiOptions) -> None:
        """Raises `BadPolicy`, or `BadProtections`."""
        self._protections = Protections.of(options)
        if options.policy_file:
            self.rules: Callable[[], Rules] = Watched(options.policy_file, self._read).now
        else:
            unchanging = self._with({}) if self._protections else DEFAULTS
            self.rules = lambda: unchanging

    def _read(self, path: Path) -> Rules:
        text = text_of(path, "the policy file", BadPolicy)
        try:
            said = policy.parse_file_contents(text)
        except ValueError as error:
            raise BadPolicy(
                f"the policy file {path} is neither YAML nor JSON: {' '.join(str(error).split())}"
            ) from error
        if not isinstance(said, dict) or not all(isinstance(name, str) for name in said):
            raise BadPolicy(f"the policy file {path} is no mapping of names to rules")
        try:
            rules = self._with(said)
        except BadPolicy as error:
            raise BadPolicy(f"the policy file {path}: {error}") from error
        if idle := sorted(said.keys() - {rule.name for rule in rules.in_effect()}):
            log.info("%s: nothing here asks for %s", path, ", ".join(idle))
        return rules

    def _with(self, overrides: Mapping[str, Text]) -> Rules:
        return Rules(overrides, self._protections)


def _idle(checks: Mapping[str, Any], wanted: frozenset[str]) -> set[str]:
    """Glance's rules for what is not here, but for those that a rule of ours or a protected property refers to."""
    idle = set(NOT_HERE & checks.keys())
    asked = [*wanted, *(name for rule in checks.keys() - idle for name in references(checks[rule]))]
    while asked:
        name = asked.pop()
        if name in idle:
            idle.remove(name)
            asked += references(checks[name])
    return idle


def _require_known(checks: Mapping[str, Any], wanted: frozenset[str], helping: set[str]) -> None:
    """Raise `BadPolicy` for a rule that is not there, and for one that nobody asks for: most likely misspelt.

    `helping` are those that rules for what is not here refer to.
    """
    asked = {name: where for where, check in checks.items() for name in references(check)}
    for name, where in asked.items():
        if name not in checks:
            raise BadPolicy(f"rule {where!r} refers to a rule {name!r}, which is not there")
    for name in sorted(wanted):
        if name not in checks:
            raise BadPolicy(f"there is no rule {name!r}, to which the protected properties refer")
    for name in checks:
        if name not in RULES and name not in asked and name not in wanted | helping:
            raise BadPolicy(f"rule {name!r} is none of this service's, and no other rule refers to it")


def _require_acyclic(checks: Mapping[str, Any]) -> None:
    """Raise `BadPolicy` for a rule that refers to itself, however far around."""
    sound: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise BadPolicy(f"rule {name!r} refers to itself: {' → '.join((*above[above.index(name) :], name))}")
        if name not in sound:
            for other in references(checks[name]):
                visit(other, (*above, name))
            sound.add(name)

    for name in checks:
        visit(name, ())


DEFAULTS = Rules()
"""What holds where there is no policy file."""
