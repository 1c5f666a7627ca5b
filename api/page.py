"""The OpenAPI description as one page for people: how to begin, every call with all that it takes and answers and a
command to try, and every body field by field.

It needs nothing but itself: no script, no other host.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from api.shape_table import fields, kind, name_of

_TEMPLATE: Final = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_CREDENTIALS: Final = {"password": "-u USER:PASSWORD", "token": '-H "X-Auth-Token: $OS_TOKEN"'}
_ASKED: Final = {
    "password": "a name and password (HTTP Basic)",
    "token": "a token of Keystone's in <code>X-Auth-Token</code>",
}
_FIRST: Final = (
    "POST /v2/images",
    "PUT /v2/images/{image_id}/file",
    "POST /v2/images/{image_id}/import",
    "GET /v2/images/{image_id}/import",
    "GET /v2/images/{image_id}/file",
)
"""Calls that lead from nothing to an image, in this order."""
_OCTETS: Final = "application/octet-stream"


def page(description: Mapping[str, Any], base: str) -> str:
    """Return the page for the `description` (`api/openapi.py`) of the service that is reached at `base`."""
    schemes, schemas = (description["components"][part] for part in ("securitySchemes", "schemas"))
    groups: dict[str, list[str]] = {tag["name"]: [] for tag in description["tags"]}
    steps: dict[str, str] = {}
    for method, path, call in _calls(description):
        command = escape(_command(method, base + path, call, schemes))
        groups[call["tags"][0]].append(_call(method, path, call, command, schemas))
        steps[f"{method} {path}"] = f"<li>{escape(call['summary'])}\n<pre>{command}</pre></li>"
    shown = {name: calls for name, calls in groups.items() if calls}
    info = description["info"]
    return _TEMPLATE.substitute(
        title=escape(f"{info['title']}: Image API {info['version']}"),
        summary=escape(info["summary"]),
        base=escape(base),
        asked=_asked(schemes),
        contents="\n".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in [*shown, "Bodies"]),
        steps="\n".join(steps[name] for name in _FIRST),
        groups="\n".join(f'<h2 id="{escape(name)}">{escape(name)}</h2>\n{"".join(c)}' for name, c in shown.items()),
        shapes="\n".join(_shape(name, schema) for name, schema in schemas.items()),
    )


def _calls(description: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Method, path and operation of every call."""
    for path, item in description["paths"].items():
        for method, call in item.items():
            yield method.upper(), path, call


def _asked(schemes: Mapping[str, Any]) -> str:
    if not schemes:
        return "Nobody is asked for credentials."
    return f"Calls below <code>/v2</code> need {' or '.join(_ASKED[name] for name in schemes)}."


def _call(method: str, path: str, call: Mapping[str, Any], command: str, schemas: Mapping[str, Any]) -> str:
    parameters = [
        (escape(one["name"]), f"{code(one['description'])} <i>({', '.join([one['in'], *kind(one['schema'])])})</i>")
        for one in call["parameters"]
    ]
    answers = [
        (f'<span class="s{status[0]}">{status}</span>', _answer(one)) for status, one in call["responses"].items()
    ]
    rules = ", ".join(f"<code>{rule}</code>" for rule in call["x-policy-rules"])
    return (
        f'<details class="{method}" id="{call["operationId"]}"><summary><h3><b>{method}</b> '
        f'<span class="path">{escape(path)}</span></h3><span>{escape(call["summary"])}</span></summary>\n'
        f'<div class="inside"><pre>{command}</pre>'
        f"{f'<p>Decided by the rules: {rules}</p>' if rules else ''}"
        f"{table('Parameters', parameters)}{_bodies(call, schemas)}{table('Answers', answers)}</div></details>\n"
    )


def _bodies(call: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """What may be sent: the fields of each kind of body, unless it is just bytes."""
    said = ""
    for media, body in call.get("requestBody", {}).get("content", {}).items():
        name = name_of(body["schema"])
        said += table(f"Body: {_link(name)} <i>({escape(media)})</i>", _rows(schemas[name])) or (
            f"<p>Body: the bytes <i>({escape(media)})</i></p>"
        )
    return said


def _answer(answer: Mapping[str, Any]) -> str:
    """What an answer means, what it brings, and in which headers."""
    bodies = [_link(name_of(one["schema"])) for one in answer.get("content", {}).values()]
    headers = [f"<code>{escape(name)}</code>" for name in answer.get("headers", {})]
    brought = ", ".join([*bodies, *headers])
    return code(answer["description"]) + (f" <i>({brought})</i>" if brought else "")


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    says = table("", _rows(schema)) or f"<p>{escape(', '.join(kind(schema)))}</p>"
    return f'<h3 id="body-{name}">{name}</h3>\n{says}'


def _rows(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for field in fields(schema):
        words = ", ".join(_link(field.shape) if word == field.shape else escape(word) for word in field.kind)
        rows.append((escape(field.name), f"{code(field.says)} <i>({words})</i>"))
    return rows


def _link(shape: str) -> str:
    return f'<a href="#body-{shape}">{shape}</a>'


def table(caption: str, rows: list[tuple[str, str]]) -> str:
    """Rows of HTML, of which the first cells are heads; nothing without rows."""
    if not rows:
        return ""
    body = "".join(f'<tr><th scope="row">{name}</th><td>{says}</td></tr>' for name, says in rows)
    return f"<table>{f'<caption>{caption}</caption>' if caption else ''}{body}</table>"


def code(text: str) -> str:
    """Text as HTML; backquotes are for code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _command(method: str, url: str, call: Mapping[str, Any], schemes: Mapping[str, Any]) -> str:
    """How to try the call with curl; what stands in capitals is to be replaced."""
    bodies: Mapping[str, Any] = call.get("requestBody", {}).get("content", {})
    media = next(iter(bodies), "")
    # curl sends a file as it reads it with -T, which is a PUT; --data would hold it in memory.
    verb = {"GET": "", "HEAD": "--head"}.get(method, "-T FILE" if media == _OCTETS else f"-X {method}")
    words = ["curl", verb]
    if call.get("security") != []:
        words += [_CREDENTIALS[name] for name in schemes]
    if media:
        words.append(f"-H {shlex.quote(f'Content-Type: {media}')}")
    if "example" in bodies.get(media, {}):
        words.append(f"-d {shlex.quote(json.dumps(bodies[media]['example']))}")
    if any(_OCTETS in answer.get("content", {}) for answer in call["responses"].values()):
        words.append("-o FILE")
    words.append(shlex.quote(re.sub(r"{(\w+)}", lambda name: name[1].upper(), url)))
    return " ".join(filter(None, words))
