"""What the queries of lists have in common, and the links between pages (http-api §1.6)."""

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

import falcon

from api.options import ApiOptions

Parameters = list[tuple[str, str]]

_LARGEST = (1 << 63) - 1
_DIGITS = len(str(_LARGEST))


def parameters_of(query_string: str) -> Parameters:
    """The parameters of a query, in order. Raises a 400 for what is no text."""
    try:
        parameters = parse_qsl(query_string, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise falcon.HTTPBadRequest(description="The query is not UTF-8, or has too many parameters.") from error
    if any("\0" in text for pair in parameters for text in pair):
        raise falcon.HTTPBadRequest(description="The query holds a NUL character.")
    return parameters


def number(name: str, text: str) -> int:
    """The value of a parameter that counts. Raises a 400."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text) <= _LARGEST):
        raise bad(name, "must be a whole number that is not negative")
    return int(text)


def page_size(text: str | None, options: ApiOptions) -> int:
    """How many a page shows at most: the value of `limit`, if it is given. However much it says, it is capped."""
    if text is not None and text.isascii() and text.isdecimal() and len(text.lstrip("0")) >= _DIGITS:
        return options.api_limit_max
    return min(options.limit_param_default if text is None else number("limit", text), options.api_limit_max)


def bad(name: str, what: str) -> falcon.HTTPBadRequest:
    """The 400 for a parameter."""
    return falcon.HTTPBadRequest(description=f"Query parameter {name!r} {what}.")


def links(path: str, parameters: Parameters, page: list[str], limit: int) -> dict[str, str]:
    """`first`, and `next` when the page, of these ids, is full; all else but the marker is kept, also repeated."""
    kept = [(name, value) for name, value in parameters if name != "marker"]
    found = {"first": _link(path, kept)}
    if page and len(page) == limit:
        found["next"] = _link(path, [*kept, ("marker", page[-1])])
    return found


def _link(path: str, parameters: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(parameters))
    return f"{path}?{query}" if query else path
