"""What browsers are told (http-api §1.7, bug 1861334): the same in front of every answer, whoever asks."""

from pathlib import Path

import pytest
from falcon import testing

from api.app import create_app
from api.options import ApiOptions, CorsOptions
from tests.api.service import Doorbell, Service, runtime
from tests.api.test_authentication import basic
from tests.api.test_users import HASH, SECRET

HORIZON = "https://horizon.test"
ALLOWED = "access-control-allow-origin"


def serving(directory: Path, **cors: object) -> Service:
    """A service whose users have passwords, with these options of CORS."""
    (directory / "users").write_text(f"ann:{HASH}:west:admin\n")
    options = ApiOptions(
        auth_strategy="http_basic",
        http_basic_auth_user_file=str(directory / "users"),
        cors=CorsOptions(**({"allowed_origin": (HORIZON,)} | cors)),  # type: ignore[arg-type]
    )
    return Service(runtime(directory), options)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service that Horizon's pages may use."""
    return serving(tmp_path)


def preflight(service: Service, path: str, method: str, *headers: str, origin: str = HORIZON) -> testing.Result:
    """What a browser asks before it lets a script ask."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = ", ".join(headers)
    return service.client.simulate_options(path, headers=asked)


PATHS = ["/", "/versions", "/healthcheck", "/v2/images", "/v2/images/x/file", "/v2/nothing", "/v2.9/images"]


@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_needs_no_credentials(service: Service, path: str) -> None:
    """Given Horizon's upload, when its browser asks first, then Glance's default headers are allowed everywhere."""
    answer = preflight(service, path, "PUT", "x-auth-token", "content-type", "X-OpenStack-Image-Size")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers[ALLOWED] == HORIZON
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert answer.headers["access-control-allow-headers"] == "x-auth-token,content-type,X-OpenStack-Image-Size"
    assert answer.headers["access-control-max-age"] == "3600"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH"])
def test_every_method_of_ours_is_allowed(service: Service, method: str) -> None:
    assert preflight(service, "/v2/images", method).headers[ALLOWED] == HORIZON


@pytest.mark.parametrize(
    ("origin", "method", "header"),
    [
        ("https://evil.test", "GET", "x-auth-token"),
        ("http://horizon.test", "GET", "x-auth-token"),
        (HORIZON, "TRACE", "x-auth-token"),
        (HORIZON, "GET", "X-Unheard-Of"),
    ],
)
def test_what_is_not_allowed_is_200_without_permission(service: Service, origin: str, method: str, header: str) -> None:
    answer = preflight(service, "/v2/images", method, header, origin=origin)

    assert answer.status_code == 200
    assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize(
    ("path", "status"), [("/", 300), ("/versions", 200), ("/healthcheck", 200), ("/v2/images", 401), ("/v2/x", 401)]
)
def test_answers_are_marked_also_refusals(service: Service, path: str, status: int) -> None:
    answer = service.client.simulate_get(path, headers={"Origin": HORIZON})

    assert (answer.status_code, answer.headers[ALLOWED]) == (status, HORIZON)
    assert "X-OpenStack-Request-ID" in answer.headers["access-control-expose-headers"].split(",")
    assert "Origin" in answer.headers["vary"]


def test_a_foreign_origin_gets_the_answer_without_a_mark(service: Service) -> None:
    for headers in ({"Origin": "https://evil.test"}, {}):
        answer = service.client.simulate_get("/v2/images", headers=headers | basic("ann", SECRET))

        assert answer.status_code == 200
        assert [name for name in answer.headers if name.startswith("access-control")] == []
        # A cache must not give this answer to a page that is allowed.
        assert "Origin" in answer.headers["vary"]


def test_what_failed_is_marked_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError

    monkeypatch.setattr(service.catalog, "peek", broken)

    answer = service.client.simulate_get("/v2/images", headers={"Origin": HORIZON} | basic("ann", SECRET))

    assert (answer.status_code, answer.headers[ALLOWED]) == (500, HORIZON)


def test_everybody_may_be_allowed_but_not_with_cookies(tmp_path: Path) -> None:
    service = serving(tmp_path, allowed_origin=("*",), max_age=0, expose_headers=())

    asked = preflight(service, "/v2/images", "GET", origin="https://any.test")
    answer = service.client.simulate_get("/versions", headers={"Origin": "https://any.test"})

    for one in (asked, answer):
        assert one.headers[ALLOWED] == "*"
        assert "access-control-allow-credentials" not in one.headers
    assert "access-control-max-age" not in asked.headers
    assert "access-control-expose-headers" not in answer.headers


def test_without_an_origin_there_is_none_of_it(tmp_path: Path) -> None:
    client = testing.TestClient(create_app(runtime(tmp_path), Doorbell(), ApiOptions()))

    answer = client.simulate_get("/v2/images", headers={"Origin": HORIZON})
    asked = client.simulate_options("/v2/images", headers={"Origin": HORIZON, "Access-Control-Request-Method": "GET"})

    for one in (answer, asked):
        assert [name for name in one.headers if name.startswith("access-control")] == []
        assert "vary" not in one.headers


def test_an_ordinary_options_request_is_no_preflight(service: Service) -> None:
    assert service.client.simulate_options("/v2/images").status_code == 401
    answer = service.client.simulate_options("/v2/images", headers=basic("ann", SECRET))
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (200, {"GET", "POST"})
