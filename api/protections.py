"""Properties that only some may see or change: a file of regular expressions, in both of Glance's formats (§14.5).

```ini
[^billing_]
create = admin,biller
read = admin,biller,member
update = admin
delete = !
```
The first section found in the name of a property (`search`, not `match`) decides; a property that none is found in is
nobody's. The words are roles, or `@` for everybody, or `!` for nobody; with the format `policies`, one rule.
"""

import configparser
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from api.files import text_of
from api.options import PROTECTION_FORMATS, ApiOptions

OPERATIONS: Final = ("create", "read", "update", "delete")

Asked = Callable[[str], bool]
"""Whether the caller has a role, or is allowed by a rule."""

_REMEMBERED = 4096

_Section = tuple[re.Pattern[str], Mapping[str, frozenset[str]]]


class BadProtections(ValueError):
    """The file cannot be used; the text names it, the section and the operation."""


class Protections:
    """Who may do what to which property; everybody everything without sections."""

    def __init__(self, sections: Sequence[_Section] = (), by: str = PROTECTION_FORMATS[0]) -> None:
        """`sections` give the words of each operation; `by` is one of `PROTECTION_FORMATS`."""
        self._sections = tuple(sections)
        self.by_policies = by != PROTECTION_FORMATS[0]
        self._first = lru_cache(_REMEMBERED)(self._search)

    @classmethod
    def of(cls, options: ApiOptions) -> "Protections":
        """Those of the file that `options` name, or none. Raises `BadProtections`."""
        if not options.property_protection_file:
            return cls()
        path = Path(options.property_protection_file)
        text = text_of(path, "the property protection file", BadProtections)
        try:
            return parse(text, options.property_protection_rule_format)
        except ValueError as error:
            raise BadProtections(f"the property protection file {path}: {error}") from error

    def __bool__(self) -> bool:
        return bool(self._sections)

    @property
    def policies(self) -> frozenset[str]:
        """The rules that are referred to."""
        return self._words() if self.by_policies else frozenset()

    @property
    def roles(self) -> frozenset[str]:
        """The roles that are referred to."""
        return frozenset() if self.by_policies else self._words()

    def _words(self) -> frozenset[str]:
        words = [word for _, permitted in self._sections for word in permitted.values()]
        return frozenset().union(*words) - {"@", "!"}

    def permit(self, operation: str, name: str, asked: Asked) -> bool:
        """Whether the caller may do the operation to the property `name`."""
        if not self._sections:
            return True
        words = self._first(operation, name)
        return "@" in words or ("!" not in words and any(map(asked, words)))

    def _search(self, operation: str, name: str) -> frozenset[str]:
        for expression, permitted in self._sections:
            if expression.search(name):
                return permitted[operation]
        return frozenset()


def parse(text: str, by: str) -> Protections:
    """Read the sections of a file. Raises `ValueError` that names the section."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not parser.sections():
        raise ValueError("there is no section in it")
    return Protections([(_expression(name), _permitted(parser[name], by)) for name in parser.sections()], by)


def _expression(name: str) -> re.Pattern[str]:
    try:
        return re.compile(name)
    except re.error as error:
        raise ValueError(f"[{name}] is no regular expression: {error}") from error


def _permitted(section: configparser.SectionProxy, by: str) -> Mapping[str, frozenset[str]]:
    if strange := sorted(set(section) - set(OPERATIONS)):
        raise ValueError(f"[{section.name}] {strange[0]} is none of {', '.join(OPERATIONS)}")
    return {operation: _words(section, operation, by) for operation in OPERATIONS}


def _words(section: configparser.SectionProxy, operation: str, by: str) -> frozenset[str]:
    where = f"[{section.name}] {operation}"
    if operation not in section:
        raise ValueError(f"{where} is missing; ! is nobody")
    words = frozenset(word.strip() for word in section[operation].split(",") if word.strip())
    if {"@", "!"} <= words:
        raise ValueError(f"{where} cannot be everybody (@) and nobody (!)")
    if by != PROTECTION_FORMATS[0]:
        if len(words) > 1:
            raise ValueError(f"{where} must be one rule; rules are combined in the policy file")
        return words
    return frozenset(word.lower() for word in words)
