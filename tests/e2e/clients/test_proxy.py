"""The real clients through a real nginx, which has the service below a prefix."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import started
from tests.e2e.clients.job import CLIENTS, DATA, Job
from tests.e2e.clients.terminal import Command
from tests.e2e.cluster import embedded
from tests.servers import LOOPBACK, NginxServer

pytestmark = CLIENTS

_LOCATION = """
    location {prefix}/ {{
        proxy_pass http://127.0.0.1:{port}/;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto {scheme};
        proxy_set_header X-Forwarded-Host {host};
        proxy_set_header X-Forwarded-Prefix {prefix};
        client_max_body_size 0;
    }}
"""
"""`{host}` may be $http_host, or what a terminator of TLS in front of nginx would have said."""

HORIZON = "https://horizon.test"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, source: str) -> Iterator[tuple[Job, str]]:
    """A service that believes its proxy, and where the proxy is: /image is as clients reach it, /tls/image as they
    would through a terminator of TLS.
    """
    sections: dict[str, dict[str, object]] = {
        "tranship": {"trusted_proxies": f"{LOOPBACK}/32"},
        "cors": {"allowed_origin": HORIZON},
    }
    with embedded(tmp_path_factory.mktemp("proxied"), sections) as cluster:
        port = cluster.api.port
        more = _LOCATION.format(prefix="/image", port=port, scheme="$scheme", host="$http_host")
        more += _LOCATION.format(prefix="/tls/image", port=port, scheme="https", host="cloud.test")
        with started(NginxServer(tmp_path_factory.mktemp("empty"), more=more)) as nginx:
            yield Job(cluster, source, Path()), nginx.url


def test_links_begin_as_the_clients_url_does(proxied: tuple[Job, str]) -> None:
    """Given a proxy with a prefix, in front of it perhaps TLS, then versions and locations lead back through it; and
    who is no proxy changes nothing (bug 1823703).
    """
    job, proxy = proxied
    for base, expected in (
        (f"{proxy}/image", f"{proxy}/image"),
        (f"{proxy}/tls/image", "https://cloud.test/tls/image"),
    ):
        document = requests.get(f"{base}/", timeout=30).json()
        assert {link["href"] for one in document["versions"] for link in one["links"]} == {f"{expected}/v2/"}
        made = requests.post(f"{base}/v2/images", json={}, timeout=30)
        image_id = made.json()["id"]
        assert made.headers["Location"] == f"{expected}/v2/images/{image_id}"
        assert made.json()["self"] == f"/v2/images/{image_id}"
        job.cluster.call("DELETE", f"/v2/images/{image_id}", 204)


def test_only_configured_proxies_are_believed(tmp_path: Path) -> None:
    """Given a service that knows of no proxy, then nobody changes its links, not even from its own machine."""
    lies = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test",
        "Script-Name": "/evil",
        "Forwarded": "host=x",
    }
    with embedded(tmp_path) as cluster:
        document = cluster.call("GET", "/", 300, headers=lies).json()
        assert {link["href"] for one in document["versions"] for link in one["links"]} == {f"{cluster.api.url}/v2/"}


def test_a_job_through_the_proxy(proxied: tuple[Job, str], tmp_path: Path) -> None:
    """Given the address of the proxy, whether with /v2 or without, then the clients do their whole work through it."""
    job, proxy = proxied
    home = tmp_path / "home"
    home.mkdir()

    def openstack(suffix: str) -> Command:
        return Command("openstack", ("--os-auth-type", "none", "--os-endpoint", f"{proxy}/image{suffix}"), home)

    glance = Command("glance", ("--os-image-url", f"{proxy}/image", "--os-auth-token", "x"), home, terminal=False)
    formats = ("--disk-format", "raw", "--container-format", "bare")
    image_id = openstack("")("image", "create", *formats, "-f", "json", "p").json["id"]
    glance("image-import", image_id, "--import-method", "web-download", "--uri", job.uri)
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    assert openstack("/v2")("image", "list", "-f", "json").json[0]["Status"] == "active"
    glance("image-download", image_id, "--file", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == DATA
    openstack("/v2")("image", "delete", "p")


def test_a_browser_through_the_proxy(proxied: tuple[Job, str]) -> None:
    """Given Horizon's page, when its browser uploads, then it is allowed to, and reads the answer."""
    _, proxy = proxied
    url = f"{proxy}/image/v2/images"
    asked = {"Origin": HORIZON, "Access-Control-Request-Method": "POST"}
    preflight = requests.options(url, headers=asked | {"Access-Control-Request-Headers": "x-auth-token"}, timeout=30)
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, HORIZON)
    answer = requests.get(url, headers={"Origin": HORIZON}, timeout=30)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, HORIZON)
