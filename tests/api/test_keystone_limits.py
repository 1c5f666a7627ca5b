"""What a project may have, by the unified limits of a real Keystone."""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import falcon
import pytest
from keystoneauth1.adapter import Adapter

import settings
from api.context import Context
from api.keystone_limits import KeystoneLimits
from api.options import ApiOptions
from flows.errors import LimitsUnknown
from flows.limits import limits_of
from tests.api.sending import put
from tests.api.service import IMPORT, Service, a_member, ask, runtime
from tests.servers import KeystoneServer, Port

pytestmark = pytest.mark.e2e

PASSWORD = "swordfish"
READER = "limits-reader"
MIB = 1 << 20
REGISTERED = {"image_size_total": 4, "image_stage_total": 3, "image_count_total": 2, "image_count_uploading": -1}
NOWHERE = "http://images.test"

Options = Callable[..., ApiOptions]


@pytest.fixture(scope="module")
def projects(keystone_server: KeystoneServer) -> dict[str, str]:
    """The project `small` has a limit of its own, `plain` has none; there are other limits in other regions."""
    found = {name: keystone_server.create_project(f"limits-{name}") for name in ("small", "plain")}
    found |= {"one": keystone_server.create_image_endpoint(NOWHERE, "limits-one")}
    found |= {"other": keystone_server.create_image_endpoint(NOWHERE, "limits-other")}
    found |= {"bare": keystone_server.create_image_endpoint(NOWHERE, None)}
    keystone_server.register_limits("limits-one", **REGISTERED)
    keystone_server.register_limits("limits-other", image_count_total=77)
    keystone_server.register_limits(None, image_count_total=88)
    keystone_server.limit(found["small"], "limits-one", image_count_total=1, image_stage_total=0)
    keystone_server.create_system_user(READER, PASSWORD, "reader")
    return found


@pytest.fixture
def options(tmp_path: Path, keystone_server: KeystoneServer, projects: dict[str, str]) -> Options:
    """Reads a configuration as operators write it; what is given is in `[oslo_limit]`, or missing there for None."""

    def read(*, cache_time: float = 60.0, **more: object) -> ApiOptions:
        section = keystone_server.limits_section(READER, PASSWORD, endpoint_id=projects["one"]) | more
        lines = ["[DEFAULT]", "use_keystone_limits = true", "user_storage_quota = 1B"]
        lines += ["[tranship]", "image_count_total = 0", f"keystone_limits_cache_time = {cache_time}", "[oslo_limit]"]
        lines += [f"{name} = {value}" for name, value in section.items() if value is not None]
        path = tmp_path / "limits.conf"
        path.write_text("\n".join(lines))
        return settings.load([str(path)], data=str(tmp_path)).api

    return read


@pytest.fixture
def service(tmp_path: Path, options: Options) -> Iterator[Callable[..., Service]]:
    """Makes the service as the members of a project see it, with such options."""
    wired = runtime(tmp_path)

    def make(project: str, **more: Any) -> Service:
        def member(_req: falcon.Request, request_id: str) -> Context:
            return a_member(project, request_id)

        given = replace(options(**more), default_project=project)
        return Service(
            replace(wired, options=replace(wired.options, methods=("glance-direct", "web-download"))), given, member
        )

    yield make
    wired.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Keystone is asked for, as it is asked."""
    paths: list[str] = []
    get = Adapter.get

    def recorded(self: Adapter, url: str, **more: Any) -> Any:
        paths.append(url)
        return get(self, url, **more)

    monkeypatch.setattr(Adapter, "get", recorded)
    return paths


# -- what holds


def test_what_keystone_says_holds(service: Callable[..., Service], projects: dict[str, str]) -> None:
    """Given registered limits, and one of a project's own, then these hold, and the operator's own options do not."""
    plain, small = (service(projects[name]) for name in ("plain", "small"))

    codes = [plain.client.simulate_post("/v2/images", json={}).status_code for _ in range(3)]
    assert codes == [201, 201, 413]
    codes = [small.client.simulate_post("/v2/images", json={}).status_code for _ in range(2)]
    assert codes == [201, 413]


def test_usage_is_told_in_glances_units(service: Callable[..., Service], projects: dict[str, str]) -> None:
    plain = service(projects["plain"])
    plain.active({"cheap": b"x" * MIB, "fast": b"x" * MIB}, owner=projects["plain"])

    assert plain.client.simulate_get("/v2/info/usage").json == {
        "usage": {
            "image_size_total": {"limit": 4, "usage": 2},
            "image_stage_total": {"limit": 3, "usage": 0},
            "image_count_total": {"limit": 2, "usage": 1},
            "image_count_uploading": {"limit": -1, "usage": 0},
        }
    }


def test_bytes_are_limited_wherever_they_come_in(service: Callable[..., Service], projects: dict[str, str]) -> None:
    """Given 4 MiB to store and 3 MiB to stage, then uploads and staged data end there."""
    plain = service(projects["plain"])
    first, second = (plain.image(owner=projects["plain"]) for _ in range(2))

    assert put(plain, first, b"x" * (4 * MIB + 1), to="file").status_code == 413
    assert put(plain, first, b"x" * 4 * MIB, to="file").status_code == 204
    assert put(plain, second, b"x" * (3 * MIB + 1)).status_code == 413
    assert put(plain, second, b"x", to="file").status_code == 413
    assert put(plain, second, b"x").status_code == 204


@pytest.mark.parametrize(
    ("named", "images"),
    [
        ({"endpoint_id": "other"}, 77),
        ({"endpoint_id": "bare"}, 88),
        ({"endpoint_id": None, "endpoint_service_type": "image", "endpoint_region_name": "limits-other"}, 77),
        (
            {
                "endpoint_id": None,
                "endpoint_service_name": "tranship",
                "endpoint_region_name": "limits-other",
                "endpoint_interface": "publicURL",
            },
            77,
        ),
    ],
)
def test_limits_are_of_a_service_in_a_region(
    options: Options, projects: dict[str, str], named: dict[str, str | None], images: int
) -> None:
    """Given limits in several regions, then those of the endpoint's hold, and what is not registered is not allowed."""
    if named.get("endpoint_id"):
        named = {"endpoint_id": projects[str(named["endpoint_id"])]}

    limits = KeystoneLimits(options(**named)).of(projects["small"])

    assert limits == limits_of({"image_count_total": images})
    assert (limits.stored, limits.staged, limits.images, limits.uploading) == (0, 0, images, 0)


# -- how often Keystone is asked


def test_what_was_said_is_remembered(options: Options, projects: dict[str, str], asked: list[str]) -> None:
    """Given many requests, then Keystone is asked once in a while, for each project alone, and forgets no change."""
    now = 100.0
    limits = KeystoneLimits(options(), clock=lambda: now)
    for _ in range(5):
        assert limits.of(projects["small"]).images == 1
    assert asked[-3:] == [f"/endpoints/{projects['one']}", "/registered_limits", "/limits"]
    once = len(asked)
    assert limits.of(projects["plain"]).images == 2
    assert asked[once:] == ["/limits"]
    now = 161.0
    limits.of(projects["small"])
    assert asked[once + 1 :] == ["/registered_limits", "/limits"]


def test_what_is_remembered_is_bounded(options: Options, asked: list[str]) -> None:
    limits = KeystoneLimits(options(), clock=lambda: 100.0, most=2)
    for project in ("a", "b", "c", "c", "b"):
        limits.of(project)
    assert asked.count("/limits") == 3
    limits.of("a")
    assert asked.count("/limits") == 4


# -- when Keystone cannot say


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a Keystone that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v3"


def test_keystone_is_away(service: Callable[..., Service], projects: dict[str, str], silent: str) -> None:
    """Given a Keystone that nobody reaches, or that hangs, then what needs limits is refused with its name, nothing is
    begun, and all else goes on.
    """
    port = Port()
    for url in (f"http://127.0.0.1:{port.number}/v3", silent):
        away = service(projects["plain"], auth_url=url, timeout=0.5)
        image = away.image(owner=projects["plain"])
        answers = [
            away.client.simulate_post("/v2/images", json={}, headers={"Accept": "application/json"}),
            put(away, image, b"x", {"Accept": "application/json"}, to="file"),
            ask(away, image, IMPORT, Accept="application/json"),
            away.client.simulate_get("/v2/info/usage", headers={"Accept": "application/json"}),
        ]
        assert [answer.status_code for answer in answers] == [503] * 4
        assert all("Keystone, which says what a project may have" in json.dumps(answer.json) for answer in answers)
        shown = away.client.simulate_get(f"/v2/images/{image}").json
        assert (shown["status"], shown["size"]) == ("queued", None)
    port.close()


def test_nobody_waits_for_ever(options: Options) -> None:
    given = options(timeout=None)
    KeystoneLimits(given)
    assert given.configuration.oslo_limit.timeout == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "Unauthorized"),
        ({"endpoint_id": "nonsense"}, "NotFound"),
        ({"endpoint_id": "../limits?x"}, "NotFound"),
        ({"endpoint_id": None, "endpoint_service_type": "nonsense"}, "describes 0 services"),
        ({"endpoint_id": None, "endpoint_service_type": "image"}, "describes 3 endpoints"),
        ({"region_name": "moon"}, "EndpointNotFound"),
    ],
)
def test_what_only_keystone_can_tell_is_told_to_the_log(
    options: Options, change: dict[str, object], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = KeystoneLimits(options(**change))
    with pytest.raises(LimitsUnknown):
        limits.of("any")
    (told,) = [record.message for record in caplog.records if record.name == "api.keystone_limits"]
    assert said in told
    assert PASSWORD not in told


def test_who_sees_one_project_only_is_not_believed(
    options: Options, keystone_server: KeystoneServer, projects: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Given a user whom Keystone shows no other project's limits, then that is no reason to take them for none."""
    keystone_server.create_user("narrow", PASSWORD, projects["plain"], "member")
    scope = {"username": "narrow", "system_scope": None, "project_id": projects["plain"]}
    with pytest.raises(LimitsUnknown):
        KeystoneLimits(options(**scope)).of(projects["small"])
    assert "system_scope = all" in caplog.text
    # An administrator sees them all
    scope = {"username": keystone_server.admin, "password": keystone_server.password, "system_scope": None}
    scope |= {"project_name": "admin", "project_domain_id": "default"}
    assert KeystoneLimits(options(**scope)).of(projects["small"]).images == 1


@pytest.mark.parametrize(
    "said", [{"model": {"name": "strict_two_level"}}, {}, [], {"model": None}, ValueError, AttributeError]
)
def test_answers_that_cannot_be_used(options: Options, monkeypatch: pytest.MonkeyPatch, said: Any) -> None:
    """Given another model of limits than flat, or an answer that is none, then nothing is made of it."""

    class Answer:
        def json(self) -> Any:
            if isinstance(said, type):
                raise said
            return said

    monkeypatch.setattr(Adapter, "get", lambda *_, **__: Answer())
    with pytest.raises(LimitsUnknown):
        KeystoneLimits(options()).of("any")


def test_what_is_not_registered_is_told_to_the_log(
    options: Options, projects: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    KeystoneLimits(options(endpoint_id=projects["other"])).of("any")
    assert "no registered limit image_size_total for this service" in caplog.text
    assert "image_count_total" not in caplog.text


# -- what is refused at the start


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auth_type": None}, "auth_type must be set"),
        ({"auth_type": "nonsense"}, "nonsense could not be found"),
        ({"auth_url": None}, "auth_url"),
        ({"timeout": "soon"}, r"timeout from .*limits\.conf is not valid"),
        ({"password": "pass$word"}, "a \\$ is written as \\$\\$"),
        ({"endpoint_id": None}, "endpoint_id must be set"),
    ],
)
def test_a_section_that_makes_no_sense(options: Options, change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        KeystoneLimits(options(**change))
    assert "[oslo_limit]" in str(refused.value)
    assert "word" not in str(refused.value).replace("password", "")
