"""Links behind proxies: those that are configured are believed, and nobody else (http-api §2, bug 1823703)."""

from pathlib import Path

import pytest
from falcon import testing

from api.app import create_app
from api.options import ApiOptions
from tests.api.service import Doorbell, runtime

PROXY = "10.0.0.1"
STRANGER = "192.0.2.7"


@pytest.fixture
def client(tmp_path: Path) -> testing.TestClient:
    """A client of a service that believes two networks."""
    options = ApiOptions(trusted_proxies=("10.0.0.0/24", "fd00::/8"))
    return testing.TestClient(create_app(runtime(tmp_path), Doorbell(), options))


def links(client: testing.TestClient, peer: str, *, root: str = "", **headers: str) -> str:
    """What links begin with, in the document of versions and in a Location alike."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = {"remote_addr": peer, "headers": named, "host": "inside", "port": 9292, "root_path": root}
    document = client.simulate_get("/", **asked).json
    (href,) = {link["href"] for version in document["versions"] for link in version["links"]}
    made = client.simulate_post("/v2/images", json={}, **asked)
    base = made.headers["location"].removesuffix(f"/v2/images/{made.json['id']}")
    assert href == f"{base}/v2/"
    # Paths in bodies stay as they are: clients put them behind the endpoint that they know.
    assert made.json["self"] == f"/v2/images/{made.json['id']}"
    return base


INSIDE = "http://inside:9292"


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({}, INSIDE),
        ({"X_Forwarded_Proto": "https"}, "https://inside:9292"),
        ({"X_Forwarded_Proto": "HTTPS", "X_Forwarded_Host": "cloud.test"}, "https://cloud.test"),
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "cloud.test:443"}, "https://cloud.test"),
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "cloud.test:8443"}, "https://cloud.test:8443"),
        ({"X_Forwarded_Host": "cloud.test", "X_Forwarded_Port": "8080"}, "http://cloud.test:8080"),
        ({"X_Forwarded_Host": "[fd00::5]", "X_Forwarded_Port": "80"}, "http://[fd00::5]"),
        ({"X_Forwarded_Prefix": "/image"}, f"{INSIDE}/image"),
        ({"X_Forwarded_Prefix": "/a/image/"}, f"{INSIDE}/a/image"),
        ({"Forwarded": 'for=1.2.3.4;proto=https;host="cloud.test:8443"'}, "https://cloud.test:8443"),
        # One that writes both knows what it does; one that writes only the first passes on what a client wrote.
        ({"X_Forwarded_Proto": "https", "Forwarded": "host=evil.test"}, "https://inside:9292"),
    ],
)
def test_a_trusted_proxy_is_believed(client: testing.TestClient, headers: dict[str, str], base: str) -> None:
    assert links(client, PROXY, **headers) == base
    assert links(client, f"::ffff:{PROXY}", **headers) == base
    assert links(client, "fd00::1", **headers) == base
    # And nobody else is
    assert links(client, STRANGER, **headers) == INSIDE
    assert links(client, "", **headers) == INSIDE


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_Proto": "gopher"},
        {"X_Forwarded_Host": "a b"},
        {"X_Forwarded_Host": 'x"><script>'},
        {"X_Forwarded_Host": "evil.test/path"},
        {"X_Forwarded_Host": "cloud.test:65536"},
        {"X_Forwarded_Port": "many"},
        {"X_Forwarded_Port": "65536"},
        {"X_Forwarded_Port": "0"},
        {"X_Forwarded_Prefix": "no-slash"},
        {"X_Forwarded_Prefix": "//evil.test"},
        {"X_Forwarded_Prefix": "/a?b"},
        {"X_Forwarded_Prefix": "/"},
        {"Forwarded": 'host="'},
        {"Forwarded": "by=1.2.3.4"},
    ],
)
def test_what_makes_no_sense_changes_nothing(client: testing.TestClient, headers: dict[str, str]) -> None:
    assert links(client, PROXY, **headers) == INSIDE


@pytest.mark.parametrize(
    ("seen", "hosts", "base"),
    [
        # The client has written something, and the proxy has appended what it saw.
        ("1.2.3.4", "evil.test, cloud.test", "http://cloud.test"),
        ("10.0.0.9, 1.2.3.4", "evil.test, cloud.test", "http://cloud.test"),
        # Two proxies: the outer one knows what the client has used.
        ("1.2.3.4, 10.0.0.9", "cloud.test, inner.test", "http://cloud.test"),
        ("6.6.6.6, 1.2.3.4, 10.0.0.9", "evil.test, cloud.test, inner.test", "http://cloud.test"),
        # The inner one passes on what the outer one said.
        ("1.2.3.4, 10.0.0.9", "cloud.test", "http://cloud.test"),
        ("1.2.3.4, [fd00::9]:4711", "cloud.test, inner.test", "http://cloud.test"),
        ("unknown", "evil.test, cloud.test", "http://cloud.test"),
        ("", "evil.test, cloud.test", "http://cloud.test"),
    ],
)
def test_of_a_chain_the_outermost_counts(client: testing.TestClient, seen: str, hosts: str, base: str) -> None:
    assert links(client, PROXY, X_Forwarded_For=seen, X_Forwarded_Host=hosts) == base

    addresses, names = ([item.strip() for item in text.split(",")] for text in (seen, hosts))
    if len(addresses) == len(names):
        pairs = zip(addresses, names, strict=True)
        said = ", ".join(f'for="{address or "unknown"}";host={name}' for address, name in pairs)
        assert links(client, PROXY, Forwarded=said) == base


def test_a_prefix_of_the_servers_own_is_kept(client: testing.TestClient) -> None:
    assert links(client, PROXY, root="/mounted", X_Forwarded_Proto="https") == "https://inside:9292/mounted"
    assert links(client, STRANGER, root="/mounted", X_Forwarded_Prefix="/evil") == f"{INSIDE}/mounted"


def test_the_configured_endpoint_wins(tmp_path: Path) -> None:
    options = ApiOptions(trusted_proxies=("10.0.0.0/8",), public_endpoint="https://cloud.test/image/")
    client = testing.TestClient(create_app(runtime(tmp_path), Doorbell(), options))

    assert links(client, PROXY, X_Forwarded_Host="other.test") == "https://cloud.test/image"


def test_by_default_nobody_is_believed(tmp_path: Path) -> None:
    client = testing.TestClient(create_app(runtime(tmp_path), Doorbell(), ApiOptions()))

    for peer in ("127.0.0.1", PROXY):
        assert links(client, peer, X_Forwarded_Host="evil.test", X_Forwarded_Proto="https") == INSIDE
