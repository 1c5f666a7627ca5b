"""Stores over the web obey the rules of downloading, at every request that they make."""

import socket
from collections.abc import Iterator

import pytest

from flows.guard import guard_web_stores
from flows.policy import UriPolicy, UriRules
from stores.errors import StoreDenied, StoreUnavailable
from stores.http import HttpOptions, HttpStore
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from tests.conformance.origin import Origin, serving

DATA = b"twelve bytes"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as origin:
        origin.objects["/image"] = DATA
        yield origin


def guarded(origin: Origin, **rules: object) -> HttpStore:
    """A store that may use the origin's port, and whatever else `rules` say."""
    store = HttpStore("web", HttpOptions(timeouts=(5, 5)))
    given = {"allowed_ports": (80, 443, origin.port)} | rules
    guard_web_stores(StoreRegistry([MemoryStore("m"), store], "m"), UriPolicy(UriRules(**given)))  # type: ignore[arg-type]
    return store


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name lead to these addresses."""

    def look_up(_host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_an_address_that_the_operator_opens(origin: Origin) -> None:
    store = guarded(origin, allowed_networks=("127.0.0.0/8",))
    assert store.stat(origin.url("/image")).size == len(DATA)
    with store.open(origin.url("/image"), 7) as reader:
        assert b"".join(reader) == DATA[7:]


def test_any_other_private_address(origin: Origin) -> None:
    """Given a URL that is private, when it is opened, then nothing is asked for; the text names no URL."""
    store = guarded(origin)
    for call in (store.stat, store.open):
        with pytest.raises(StoreDenied, match="a loopback address") as refused:
            call(origin.url("/image"))
        assert str(origin.port) not in str(refused.value)
    assert origin.asked == []


def test_a_redirect_elsewhere(origin: Origin) -> None:
    """Given an open server that redirects to a private one, then the redirect is not followed."""
    origin.redirects["/image"] = "http://169.254.169.254/latest"
    store = guarded(origin, allowed_networks=("127.0.0.0/8",))
    with pytest.raises(StoreDenied, match="a link-local address"):
        store.stat(origin.url("/image"))
    assert len(origin.asked) == 1


def test_a_name_that_leads_elsewhere(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a name that leads to a private address today, then it is not connected to, whatever else it leads to."""
    store = guarded(origin)
    leads_to(monkeypatch, "203.0.114.7", "127.0.0.1")
    with pytest.raises(StoreDenied, match="a loopback address"):
        store.stat(f"http://images.example.org:{origin.port}/image")
    assert origin.asked == []


def test_a_name_is_connected_to_where_it_was_judged(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a name, then the address that was judged is connected to, and the server still hears the name."""
    store = guarded(origin, allowed_networks=("127.0.0.0/8",))
    leads_to(monkeypatch, "127.0.0.1")
    assert store.stat(f"http://images.example.org:{origin.port}/image").size == len(DATA)
    assert origin.asked[0][2]["Host"] == f"images.example.org:{origin.port}"


def test_nobody_there(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an address where nobody listens, or a name that leads nowhere, then the store is away for now."""
    store = guarded(origin, allowed_networks=("127.0.0.0/8",))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    other = guarded(Origin(port=port), allowed_networks=("127.0.0.0/8",))
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        other.stat(f"http://127.0.0.1:{port}/image")

    def nowhere(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.stat(f"http://images.example.org:{origin.port}/image")


def test_a_url_that_rules_forbid(origin: Origin) -> None:
    store = guarded(origin, allowed_hosts=("mirror.example.org",))
    with pytest.raises(StoreDenied, match=r"host 127\.0\.0\.1 is not allowed"):
        store.stat(origin.url("/image"))
