"""Names of properties that nobody may set, because what they show is told by rows (import-behaviour §3.3 [R])."""

import unicodedata
from urllib.parse import unquote

_NAMESPACE = "os_glance"
_STORES = "stores"
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800")
"""Drawn as nothing, though Unicode counts them among letters and symbols."""


def reserved(name: str) -> bool:
    """Whether `name` spells `stores` or anything that begins with `os_glance`, in whatever way.

    `schema.sql` refuses the exact spelling; a client that reads case, width, accents, blanks or percent signs more
    kindly than SQL does must not be misled either.
    """
    plain = _plain(name)
    return plain == _STORES or plain.startswith(_NAMESPACE)


def _plain(name: str) -> str:
    """The name without percent signs that stand for characters, and without case, width, marks and blanks."""
    while (decoded := unquote(name)) != name:
        name = decoded
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "MCZ" and c not in _BLANK_LETTERS)
