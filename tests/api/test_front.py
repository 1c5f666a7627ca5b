"""Before an endpoint sees a request: versions, request ids, forms of errors, health."""

import re
from pathlib import Path

import pytest
from falcon import inspect, testing

from api.app import create_app
from api.options import ApiOptions
from api.versions import COLLECTIONS
from flows.traces import RequestIds
from tests.api.service import Doorbell, Service, runtime

NEW_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 300), ("/versions", 200), ("/versions/", 200), ("/v2", 300), ("/v2/", 300), ("/v2.9/", 300)]
    + [(path, 300) for path in ("/v1", "/v3/images", "/foo", "/v2.16/images", "/v2.99/images", "/v2/v2", "/imagesque")]
    + [(path, 200) for path in ("/v2/versions", "/v2/v2/versions")],
)
def test_versions_document(client: testing.TestClient, path: str, status: int) -> None:
    answer = client.simulate_get(path, host="images.test", port=9292)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    versions = answer.json["versions"]
    assert [v["id"] for v in versions if v["status"] == "CURRENT"] == ["v2.17"]
    assert {"v2.0", "v2.6", "v2.12", "v2.13"} <= {v["id"] for v in versions}
    assert {link["href"] for v in versions for link in v["links"]} == {"http://images.test:9292/v2/"}


def test_a_minor_version_in_the_path_is_an_advertisement(service: Service, client: testing.TestClient) -> None:
    image = service.image()

    assert client.simulate_get(f"/v2.9/images/{image}").json["id"] == image
    assert client.simulate_get(f"//v2/images/{image}").json["id"] == image


def test_a_version_that_a_client_leaves_out_or_says_twice(service: Service, client: testing.TestClient) -> None:
    """Given an endpoint with or without /v2, then what clients make of it is understood; the answer is the same."""
    image = service.image()

    for path in ("/images", "/v2/v2/images", "/v2/v2.9/images"):
        assert client.simulate_get(path).json == client.simulate_get("/v2/images").json
        assert client.simulate_get(f"{path}/{image}").json["self"] == f"/v2/images/{image}"
        assert client.simulate_get(f"{path}/").status_code == 404


def test_the_names_that_need_no_version_are_those_of_the_routes(service: Service) -> None:
    paths = [route.path for route in inspect.inspect_routes(service.app)]

    assert {path.split("/")[2] for path in paths if path.startswith("/v2/")} == COLLECTIONS


@pytest.mark.parametrize(
    ("endpoint", "root", "base"),
    [("", "/image", "http://falconframework.org/image"), ("https://cloud.test/image/", "", "https://cloud.test/image")],
)
def test_links_keep_the_prefix_of_a_proxy(tmp_path: Path, endpoint: str, root: str, base: str) -> None:
    client = testing.TestClient(create_app(runtime(tmp_path), Doorbell(), ApiOptions(public_endpoint=endpoint)))

    href = client.simulate_get("/", root_path=root).json["versions"][0]["links"][0]["href"]
    made = client.simulate_post("/v2/images", root_path=root, json={})

    assert href == f"{base}/v2/"
    assert made.headers["location"] == f"{base}/v2/images/{made.json['id']}"


def test_an_unknown_auth_strategy_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"auth_strategy is 'ldap'; there are: none, http_basic, keystone"):
        create_app(runtime(tmp_path), Doorbell(), ApiOptions(auth_strategy="ldap"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        *(("req-abc", "req-abc"), ("abc", "req-abc"), (" abc ", "req-abc"), ("x" * 64, "req-" + "x" * 64)),
        *(("", None), ("req-", None), ("a b", None), ("a;\x7f", None)),
    ],
)
def test_request_id(client: testing.TestClient, given: str, shown: str | None) -> None:
    answer = client.simulate_get("/v2/images/none", headers={"X-OpenStack-Request-ID": given})

    request_id = answer.headers["x-openstack-request-id"]
    assert request_id == shown if shown else NEW_ID.fullmatch(request_id)


@pytest.mark.parametrize("given", ["abc", "x" * 64])
def test_a_request_id_that_was_answered_is_one_to_ask_with(client: testing.TestClient, given: str) -> None:
    """Given the id of an answer, which clients send with the next page, then it is that of the next answer too."""
    headers = {"X-OpenStack-Request-ID": given}
    for _ in range(2):
        answer = client.simulate_get("/v2/images", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["x-openstack-request-id"] == f"req-{given}"
        headers = {"X-OpenStack-Request-ID": answer.headers["x-openstack-request-id"]}


@pytest.mark.parametrize("given", ["x" * 65, "req-" + "x" * 65])
def test_an_overlong_request_id_is_431(client: testing.TestClient, given: str) -> None:
    answer = client.simulate_get("/v2/images", headers={"X-OpenStack-Request-ID": given})

    assert answer.status_code == 431
    assert "64 characters" in answer.text
    assert NEW_ID.fullmatch(answer.headers["x-openstack-request-id"])


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PUT", "/v2/images/x", 405, {"GET", "PATCH", "DELETE"}),
        ("HEAD", "/v2/images/x", 405, {"GET", "PATCH", "DELETE"}),
        ("HEAD", "/v2/images/x/file", 405, {"GET", "PUT"}),
        ("PUT", "/v2/images", 405, {"GET", "POST"}),
        ("DELETE", "/v2/info/import", 405, {"GET"}),
        ("GET", "/v2/images/", 404, None),
        ("DELETE", "/v2/images/", 404, None),
        ("GET", f"/v2/images/{'a' * 37}", 404, None),
        ("GET", "/v2/images/a%20name", 404, None),
        ("GET", "/v2/nothing", 404, None),
        ("GET", "/v2/images/a%00", 400, None),
    ],
)
def test_what_is_not_there(
    client: testing.TestClient, method: str, path: str, status: int, allow: set[str] | None
) -> None:
    answer = client.simulate_request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert "x-openstack-request-id" in answer.headers
    if allow:
        assert set(answer.headers["allow"].split(", ")) - {"OPTIONS"} == allow


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_an_unknown_verb_is_501(client: testing.TestClient) -> None:
    assert client.simulate_request("BREW", "/v2/images").status_code == 501


HTML, JSON, TEXT = "text/html; charset=UTF-8", "application/json", "text/plain; charset=UTF-8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", HTML),
        ("text/html", HTML),
        ("text/html,application/xhtml+xml,*/*;q=0.8", HTML),
        ("application/json, */*", HTML),
        ("application/json", JSON),
        ("application/json; charset=utf-8, text/plain", JSON),
        ("application/json, */*;q=0.5", JSON),
        # openstacksdk's, which would show nobody a plain text; Glance sends one
        ("", HTML),
        (" ", HTML),
        ("image/png", TEXT),
        ("application/octet-stream", TEXT),
        ("nonsense", TEXT),
    ],
)
def test_error_bodies_follow_accept(client: testing.TestClient, accept: str, form: str) -> None:
    answer = client.simulate_get("/v2/images/<id>", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (404, form)
    if form == JSON:
        assert answer.json == {
            "message": "No image found with ID <id>",
            "code": "404 Not Found",
            "title": "Not Found",
        }
    elif form == TEXT:
        assert answer.text == "404 Not Found\n\nNo image found with ID <id>\n"
    else:
        assert "<title>404 Not Found</title>" in answer.text
        assert "No image found with ID &lt;id&gt;<br /><br />" in answer.text


def test_no_accept_header_means_html(client: testing.TestClient) -> None:
    assert client.simulate_get("/v2/images/none").headers["content-type"] == HTML


def test_a_path_that_is_no_utf8_is_400(service: Service) -> None:
    # Given the byte FF as a server hands it on (the test client would replace it)
    environ = testing.create_environ("/v2/images/x") | {"PATH_INFO": "/v2/images/\xff"}
    seen = testing.StartResponseMock()

    service.app(environ, seen)

    assert seen.status == "400 Bad Request"


def test_what_nobody_foresaw_is_500_with_an_id_and_no_trace(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a catalogue that breaks in a way of its own
    def broken() -> None:
        raise RuntimeError("the secret is swordfish")

    monkeypatch.setattr(service.catalog, "peek", broken)
    caplog.handler.addFilter(RequestIds())

    # When it is asked
    answer = service.client.simulate_get("/v2/images", headers={"X-OpenStack-Request-ID": "req-7"})

    # Then the user gets a number to ask about, and the operator the rest
    assert answer.status_code == 500
    assert answer.headers["x-openstack-request-id"] == "req-7"
    assert "req-7" in answer.text
    assert "swordfish" not in answer.text
    assert "swordfish" in caplog.text
    assert [vars(record)["request"] for record in caplog.records] == ["req-7 "]


def test_a_database_that_is_away_is_503(service: Service, tmp_path: Path) -> None:
    service.catalog.database.dispose()
    for file in tmp_path.glob("service.db*"):
        file.unlink()
    (tmp_path / "service.db").mkdir()

    answer = service.client.simulate_get("/v2/images")

    assert answer.status_code == 503
    assert "the database does not answer" in answer.text


def test_healthcheck(tmp_path: Path) -> None:
    # Given a service with a file that takes it out of service
    switch = tmp_path / "disabled"
    options = ApiOptions(healthcheck_disable_file=str(switch))
    client = testing.TestClient(create_app(runtime(tmp_path), Doorbell(), options))

    # Then it is well while the file is absent
    well = client.simulate_get("/healthcheck")
    assert (well.status_code, well.text) == (200, "OK")
    assert (client.simulate_head("/healthcheck").status_code, client.simulate_head("/healthcheck").text) == (200, "")

    # And not any more once it is there
    switch.touch()
    disabled = client.simulate_get("/healthcheck")
    assert (disabled.status_code, disabled.text) == (503, "DISABLED BY FILE")
    assert client.simulate_head("/healthcheck").status_code == 503
