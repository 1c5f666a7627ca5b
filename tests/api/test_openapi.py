"""The OpenAPI description: whole, true, valid, and served to programs and people."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from falcon import testing
from hypothesis import HealthCheck, Phase, given, seed, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from api.app import create_app
from api.calls import CALLS, WORDS
from api.context import Context
from api.errors import STATUSES
from api.openapi import calls_of, describe
from api.options import ApiOptions
from api.page import page
from api.patches import V20, V21
from api.rules import RULES, WITHOUT_RULE
from catalog.errors import NotFound
from flows.methods import FLOWS
from tests.api.house import SHOWN
from tests.api.service import Doorbell, Service, runtime


@pytest.fixture
def told(client: testing.TestClient) -> Any:
    """The description as it is served."""
    return client.simulate_get("/openapi.json").json


def test_every_route_is_described_and_nothing_else(service: Service, told: Any) -> None:
    described = [f"{method.upper()} {path}" for path, item in told["paths"].items() for method in item]

    assert sorted(described) == sorted(calls_of(service.app))
    assert CALLS.keys() == set(described), "api/calls.py describes what is no route"


def test_every_error_of_ours_has_words_and_a_call() -> None:
    assert WORDS.keys() == STATUSES.keys()
    assert {code for call in CALLS.values() for code in call.codes} == {
        *STATUSES.keys() - {"catalog_unavailable"},
    }


def test_what_a_rule_decides_is_said_with_its_name(told: Any) -> None:
    """Given the calls below /v2, then each tells which rules may refuse it, and those without a rule never do so."""
    for path, item in told["paths"].items():
        for method, call in item.items():
            refused = call["responses"].get("403", {"description": ""})["description"]
            named = re.findall(r"`(\w+)`", refused.rpartition("The caller may not: ")[2])
            assert bool(refused) == (f"{method.upper()} {path}" not in WITHOUT_RULE and path.startswith("/v2/"))
            assert set(named) <= RULES.keys()
            assert bool(named) == bool(refused)
    delete = told["paths"]["/v2/images/{image_id}"]["delete"]["responses"]["403"]["description"]
    assert delete == "The image is protected. The caller may not: `delete_image`."


def test_it_is_valid_and_every_operation_has_a_name_of_its_own(told: Any) -> None:
    validate(told)

    calls = [call for item in told["paths"].values() for call in item.values()]
    assert len({call["operationId"] for call in calls}) == len(calls)
    assert all(call["summary"] and call["tags"] and call["responses"] for call in calls)


@pytest.mark.parametrize(
    ("strategy", "schemes"),
    [("none", {}), ("http_basic", {"password": []}), ("keystone", {"token": []})],
)
def test_who_is_asked_for_what(service: Service, strategy: str, schemes: dict[str, list[str]]) -> None:
    """Given a strategy, then its credentials are asked for, and only below /v2; being refused is told of there."""
    told = describe(service.app, ApiOptions(auth_strategy=strategy))

    assert told["security"] == ([schemes] if schemes else [])
    assert told["components"]["securitySchemes"].keys() == schemes.keys()
    for path, item in told["paths"].items():
        for call in item.values():
            assert ("401" in call["responses"]) == (bool(schemes) and path.startswith("/v2/"))
            assert call.get("security") == (None if path.startswith("/v2/") else [])


def test_anonymous_callers_may_be_allowed(service: Service) -> None:
    options = ApiOptions(auth_strategy="keystone", allow_anonymous_access=True)

    assert describe(service.app, options)["security"] == [{"token": []}, {}]


def test_it_is_open_to_everybody_and_may_be_kept(tmp_path: Path) -> None:
    """Given a service that asks who calls, then nobody is asked for what it can do."""
    (tmp_path / "users").write_text("")
    options = ApiOptions(auth_strategy="http_basic", http_basic_auth_user_file=str(tmp_path / "users"))
    client = Service(runtime(tmp_path), options).client

    for path, kind in {"/openapi.json": "application/json", "/docs": "text/html; charset=UTF-8"}.items():
        answer = client.simulate_get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["cache-control"] == "max-age=300"
    assert client.simulate_get("/v2/images").status_code == 401


@pytest.mark.parametrize(
    ("endpoint", "root", "base"),
    [("", "/image", "http://falconframework.org/image"), ("https://cloud.test/image/", "", "https://cloud.test/image")],
)
def test_it_says_where_the_service_is(tmp_path: Path, endpoint: str, root: str, base: str) -> None:
    client = testing.TestClient(create_app(runtime(tmp_path), Doorbell(), ApiOptions(public_endpoint=endpoint)))

    assert client.simulate_get("/openapi.json", root_path=root).json["servers"] == [{"url": base}]
    assert f"curl {base}/v2/images/IMAGE_ID<" in client.simulate_get("/docs", root_path=root).text


class Reader(HTMLParser):
    """Gathers what a page consists of, and refuses tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def read(client: testing.TestClient) -> Reader:
    """The page, taken apart."""
    reader = Reader()
    reader.feed(client.simulate_get("/docs").text)
    assert reader.open == []
    return reader


def test_the_page_shows_every_call_whole(client: testing.TestClient, told: Any) -> None:
    """Given every call, then the page has its rules, parameters, fields of the body, answers, and how to try it."""
    text = client.simulate_get("/docs").text
    shown = dict(re.findall(r'<details class="\w+" id="(\w+)">(.*?)</details>', text, re.DOTALL))
    calls = {call["operationId"]: call for item in told["paths"].values() for call in item.values()}

    assert shown.keys() == calls.keys()
    for name, call in calls.items():
        reader = Reader()
        reader.feed(shown[name])
        assert call["summary"] in reader.texts["span"]
        assert reader.texts["pre"][0].startswith("curl ")
        assert {one["name"] for one in call["parameters"]} <= set(reader.texts.get("th", []))
        assert call["responses"].keys() <= set(reader.texts["span"])
        assert set(call["x-policy-rules"]) <= set(reader.texts.get("code", []))
        for body in call.get("requestBody", {}).get("content", {}).values():
            schema = told["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
            assert schema.get("properties", {}).keys() <= set(reader.texts.get("th", []))


def test_the_page_tells_what_is_inside_of_bodies(read: Reader) -> None:
    heads = read.texts["th"]
    assert {"method.uri", "[].op", "stores[].bytes_done", "input.import_from", "usage.….limit", "…"} <= set(heads)
    assert heads.count("[].value") == 4, "in both dialects, of the call and of the bodies"


def test_the_page_leads_everywhere_and_needs_nothing_else(read: Reader) -> None:
    """Given its links, then each leads into the page or to the description; nothing is fetched from anywhere."""
    names = [attrs["id"] for _, attrs in read.seen if "id" in attrs]
    links = {attrs["href"] for tag, attrs in read.seen if tag == "a"}

    assert len(names) == len(set(names))
    assert links - {"openapi.json"} <= {f"#{name}" for name in names}
    assert {tag for tag, _ in read.seen} & {"script", "img", "link", "iframe", "form", "object"} == set()
    assert {"src", "style", "background"} & {name for _, attrs in read.seen for name in attrs} == set()
    assert "url(" not in "".join(read.texts["style"])
    assert "@import" not in "".join(read.texts["style"])


def test_the_page_can_be_walked_by_ear_and_by_keyboard(read: Reader) -> None:
    """Given a reader that goes from heading to heading, then there is one of each call; tables have heads of rows."""
    tags = [tag for tag, _ in read.seen]
    assert (tags.count("h1"), tags.count("main"), tags.count("header"), tags.count("nav")) == (1, 1, 1, 1)
    assert tags.count("summary") == len(CALLS)
    following = [after for tag, after in pairwise(tags) if tag == "summary"]
    assert set(following) == {"h3"}
    assert tags.count("tr") == tags.count("th")
    assert ("html", {"lang": "en"}) in read.seen


def test_the_page_is_safe_from_what_a_client_says_the_host_is(client: testing.TestClient) -> None:
    page = client.simulate_get("/docs", headers={"Host": "<script>alert(1)</script>"}).text

    assert "<script" not in page


@pytest.mark.parametrize(
    ("strategy", "shown"), [("http_basic", "-u USER:PASSWORD"), ("keystone", '-H "X-Auth-Token: $OS_TOKEN"')]
)
def test_the_page_shows_how_to_say_who_one_is(service: Service, strategy: str, shown: str) -> None:
    reader = Reader()
    reader.feed(page(describe(service.app, ApiOptions(auth_strategy=strategy)), "http://here"))

    commands = set(reader.texts["pre"])
    assert f"curl {shown} http://here/v2/images" in commands
    assert "curl http://here/versions" in commands


schemathesis.serializer.alias([V21, V20], "application/json")

CALLERS = {
    "admin": Context("default", "root", frozenset({"admin", "member", "reader"}), True, "req-1"),
    "owner": Context("default", "me", frozenset({"member", "reader"}), False, "req-1"),
    "invited": Context("friend", "she", frozenset({"member", "reader"}), False, "req-1"),
}
MEMBER = "friend"
CONFORMS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
EXAMPLES = 28
"""Requests for each call, of the kind that is described, and as many of each other kind."""


class World:
    """A service with an image in every state, made anew when a request has changed it."""

    def __init__(self, directory: Path) -> None:
        wired = runtime(directory)
        wired = replace(wired, options=replace(wired.options, methods=tuple(FLOWS)))
        self.who = "admin"
        self.service = Service(wired, SHOWN, authenticate=lambda _req, _id: CALLERS[self.who])
        self._images: dict[str, str] = {}

    def image(self, kind: str) -> str:
        """The id of an image of this kind."""
        known = self._images.get(kind)
        if known is None or not self._is_still(kind, known):
            known = self._images[kind] = self._make(kind)
        return known

    def _is_still(self, kind: str, image_id: str) -> bool:
        try:
            with self.service.catalog.read() as tx:
                return tx.images.get(image_id).status == STATUS_OF[kind]
        except NotFound:
            return False

    def _make(self, kind: str) -> str:
        if kind == "missing":
            return str(uuid.UUID(int=7))
        if kind in ("active", "deactivated"):
            image_id = self.service.active({"fast": b"abc", "cheap": b"abc"}, tags=("x",), visibility="shared")
        else:
            image_id = self.service.image(tags=("x",), visibility="shared", protected=kind == "protected")
        with self.service.catalog.begin() as tx:
            tx.members.add(image_id, MEMBER)
            if kind == "deactivated":
                tx.images.switch(image_id, "deactivated")
        if kind == "importing":
            self.service.entered(self.service.importing(image_id))
        if kind == "uploading":
            headers = {"Content-Type": "application/octet-stream"}
            self.who = "admin"
            sent = self.service.client.simulate_put(f"/v2/images/{image_id}/stage", body=b"abc", headers=headers)
            assert sent.status_code == 204
        return image_id

    def task(self) -> str:
        """The id of a task."""
        with self.service.catalog.read() as tx:
            return tx.tasks.newest(self.image("importing")).id


WHO = ("admin", "admin", "owner", "invited")
STATUS_OF = {
    **{kind: kind for kind in ("queued", "importing", "uploading", "active", "deactivated")},
    "protected": "queued",
    "missing": "",
}
KINDS = tuple(STATUS_OF)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.service.runtime.close()


@cache
def schema_of_all() -> Any:
    """The description of an application that nobody asks; requests go to that of the test."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        wired = runtime(Path(directory))
        told = describe(create_app(wired, Doorbell(), ApiOptions()), ApiOptions())
        wired.close()
    return schemathesis.openapi.from_dict(told)


def place(world: World, case: schemathesis.Case[Any], turn: int) -> None:
    """Let what stands in the path be there, in every fifth turn all but that."""
    known = {
        "image_id": world.image(KINDS[turn % len(KINDS)]),
        "member": MEMBER,
        "tag": "x",
        "store": ("fast", "mirror", "cheap", "bulk")[turn // len(KINDS) % 4],
        "task_id": world.task(),
    }
    if turn % 5 != 4:
        case.path_parameters |= {name: known[name] for name in case.path_parameters or {}}


def chances(call: str) -> list[GenerationMode]:
    """How a call can be asked: as described, and otherwise if there is anything that it takes."""
    takes = CALLS[call].takes or CALLS[call].body
    return [mode for mode in GenerationMode if takes or mode is GenerationMode.POSITIVE]


@pytest.mark.parametrize(
    ("call", "mode"), [(call, mode) for call in CALLS if "/v2/" in call for mode in chances(call)], ids=str
)
def test_whatever_is_asked_it_answers_as_described(world: World, call: str, mode: GenerationMode) -> None:
    """Given images in every state, when anybody sends anything, described or not, then there is no 500, and status,
    type, headers and body are those of the description.
    """
    method, path = call.split()
    operation, example = schema_of_all()[path][method], CALLS[call].example
    turns, seen = count(), set()

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        turn = next(turns)
        place(world, case, turn)
        if mode is GenerationMode.POSITIVE and turn % 2:
            case.headers.clear()
            case.body = example if example and case.media_type != V20 else case.body
        world.who = WHO[turn % len(WHO)]
        answer = case.call(app=world.service.app)
        case.validate_response(answer, checks=CONFORMS)
        seen.add(answer.status_code)

    ask()

    assert mode is GenerationMode.NEGATIVE or any(status < 300 for status in seen), f"{call} was always refused: {seen}"
