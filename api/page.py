"""The OpenAPI description as one page for people: calls by resource, each with its statuses and a command to try.

It needs nothing but itself: no script, no other host.
"""

import json
import re
import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

_TEMPLATE: Final = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_CREDENTIALS: Final = {"password": "-u USER:PASSWORD", "token": '-H "X-Auth-Token: $OS_TOKEN"'}
_ASKED: Final = {"password": "name and password", "token": "a token of Keystone's (<code>X-Auth-Token</code>)"}


def page(description: Mapping[str, Any], base: str) -> str:
    """Return the page for the `description` (`api/openapi.py`) of the service that is reached at `base`."""
    schemes = description["components"]["securitySchemes"]
    groups: dict[str, list[str]] = {tag["name"]: [] for tag in description["tags"]}
    for path, item in description["paths"].items():
        for method, call in item.items():
            command = _command(method.upper(), base + path, call, schemes)
            groups[call["tags"][0]].append(_call(method.upper(), path, call, command))
    shown = {name: calls for name, calls in groups.items() if calls}
    info = description["info"]
    return _TEMPLATE.substitute(
        title=escape(f"{info['title']}: Image API {info['version']}"),
        summary=escape(info["summary"]),
        base=escape(base),
        asked=" or ".join(_ASKED[name] for name in schemes) or "nobody is asked",
        contents="\n".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in shown),
        groups="\n".join(f'<h2 id="{escape(name)}">{escape(name)}</h2>\n{"".join(c)}' for name, c in shown.items()),
    )


def _call(method: str, path: str, call: Mapping[str, Any], command: str) -> str:
    statuses = " ".join(f'<span class="s{status[0]}">{status}</span>' for status in call["responses"])
    parameters = [(one["name"], f"{one['description']} <i>({one['in']})</i>") for one in call["parameters"]]
    answers = [
        (f'<span class="s{status[0]}">{status}</span>', _words(one)) for status, one in call["responses"].items()
    ]
    return (
        f'<details class="{method}"><summary><b>{method}</b><span class="path">{escape(path)}</span>'
        f'<span>{escape(call["summary"])}</span><span class="codes">{statuses}</span></summary>\n<div class="inside">'
        f"<pre>{escape(command)}</pre>{_table(parameters)}{_table(answers)}</div></details>\n"
    )


def _words(answer: Mapping[str, Any]) -> str:
    """What an answer means, and what it brings."""
    brought = [schema["schema"]["$ref"].rpartition("/")[2] for schema in answer.get("content", {}).values()]
    said: str = answer["description"]
    return said + (f" <i>({', '.join(brought)})</i>" if brought else "")


def _table(rows: list[tuple[str, str]]) -> str:
    """Rows of HTML; backquotes are for code."""
    return f"<table>{''.join(f'<tr><td>{name}</td><td>{_code(says)}</td></tr>' for name, says in rows)}</table>"


def _code(text: str) -> str:
    parts = text.split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _command(method: str, url: str, call: Mapping[str, Any], schemes: Mapping[str, Any]) -> str:
    """How to try the call with curl; what stands in capitals is to be replaced."""
    verb = {"GET": "", "HEAD": "--head"}.get(method, f"-X {method}")
    words = ["curl", verb]
    if call.get("security") != []:
        words += [_CREDENTIALS[name] for name in schemes]
    for media, body in call.get("requestBody", {}).get("content", {}).items():
        words.append(f"-H {shlex.quote(f'Content-Type: {media}')}")
        words.append(f"-d {shlex.quote(json.dumps(body['example']))}" if "example" in body else "--data-binary @FILE")
        break
    words.append(shlex.quote(re.sub(r"{(\w+)}", lambda name: name[1].upper(), url)))
    return " ".join(filter(None, words))
