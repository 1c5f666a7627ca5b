"""Where an S3 store finds its server, and whom it trusts: ways to address a bucket, https, authorities of one's own."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stores.base import StoreSpec
from stores.errors import StoreUnavailable
from stores.s3 import S3Store
from stores.s3_options import Patience, S3Options
from tests.certificates import Authority
from tests.conformance.store_contract import KEY, TEXT, assert_nothing_at, content, write
from tests.servers import LOOPBACK, SwiftServer
from tests.stores.s3_gate import Gate, gate_before

BRIEF = Patience(attempts=2, first=0.001, longest=0.01, complete=0.01)

Make = Callable[..., S3Store]


@pytest.fixture(autouse=True)
def _localhost_has_subdomains(monkeypatch: pytest.MonkeyPatch) -> None:
    """As RFC 6761 wants it, and not every resolver does."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve(LOOPBACK if str(host).endswith(".localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def make(swift_server: SwiftServer, s3_bucket: str) -> Make:
    """Makes a store with options of its section changed."""

    def make(**section: str) -> S3Store:
        given = swift_server.options(s3_bucket) | section
        return S3Store("s3", replace(S3Options.from_spec(StoreSpec("s3", "s3", options=given)), patience=BRIEF))

    return make


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def gate(swift_server: SwiftServer) -> Iterator[Gate]:
    with gate_before(swift_server.url) as gate:
        yield gate


def assert_works(store: S3Store) -> None:
    """Every kind of request, one after the other."""
    store.probe()
    write(store, KEY, TEXT)
    assert store.stat(KEY).size == len(TEXT)
    assert content(store, KEY, 3) == TEXT[3:]
    store.delete(KEY)
    assert_nothing_at(store, KEY)


class TestAddressing:
    @pytest.mark.parametrize("style", ["path", "auto", ""])
    def test_a_bucket_in_the_path(self, make: Make, gate: Gate, s3_bucket: str, style: str) -> None:
        """Given a server at an address, which can have no subdomains: `auto` knows that too."""
        assert_works(make(s3_store_host=gate.url, s3_store_bucket_url_format=style))
        assert {asked.host for asked in gate.asked} == {LOOPBACK}
        assert all(asked.path.startswith(f"/{s3_bucket}") for asked in gate.asked)

    def test_a_bucket_in_the_host(self, make: Make, gate: Gate, swift_server: SwiftServer, s3_bucket: str) -> None:
        """Given a server that takes what is before its domain for a bucket."""
        host = gate.url.replace(LOOPBACK, swift_server.domain)
        assert_works(make(s3_store_host=host, s3_store_bucket_url_format="virtual"))
        assert {asked.host for asked in gate.asked} == {f"{s3_bucket}.{swift_server.domain}"}
        assert not any(asked.path.startswith(f"/{s3_bucket}") for asked in gate.asked)

    def test_the_location_is_the_same_either_way(self, make: Make) -> None:
        path, virtual = (make(s3_store_bucket_url_format=style).url(KEY) for style in ("path", "virtual"))
        assert path == virtual


class TestHttps:
    def test_an_authority_of_ones_own(self, make: Make, swift_server: SwiftServer, authority: Authority) -> None:
        with gate_before(swift_server.url, tls=authority.context(LOOPBACK)) as gate:
            assert_works(make(s3_store_host=gate.url, s3_store_cacert=str(authority.file)))
            assert gate.url.startswith("https://")

    def test_a_bucket_in_the_host(
        self, make: Make, swift_server: SwiftServer, s3_bucket: str, authority: Authority
    ) -> None:
        domain = swift_server.domain
        with gate_before(swift_server.url, tls=authority.context(f"*.{domain}")) as gate:
            host = gate.url.replace(LOOPBACK, domain)
            certified = {"s3_store_cacert": str(authority.file), "s3_store_bucket_url_format": "virtual"}
            assert_works(make(s3_store_host=host, **certified))
            assert {asked.host for asked in gate.asked} == {f"{s3_bucket}.{domain}"}

    @pytest.mark.parametrize("trusted", ["nobody", "another authority"])
    def test_a_server_that_nobody_trusted_vouches_for(
        self, make: Make, swift_server: SwiftServer, authority: Authority, tmp_path: Path, trusted: str
    ) -> None:
        file = str(Authority(tmp_path, "other").file) if trusted != "nobody" else ""
        with gate_before(swift_server.url, tls=authority.context(LOOPBACK)) as gate:
            assert_refused(make(s3_store_host=gate.url, s3_store_cacert=file), "no authority in s3_store_cacert")
            assert gate.asked == []

    def test_a_certificate_of_another_host(self, make: Make, swift_server: SwiftServer, authority: Authority) -> None:
        with gate_before(swift_server.url, tls=authority.context("other.example")) as gate:
            store = make(s3_store_host=gate.url, s3_store_cacert=str(authority.file))
            assert_refused(store, "of another host than s3_store_host names")
            assert gate.asked == []

    def test_a_server_without_tls(self, make: Make, swift_server: SwiftServer) -> None:
        store = make(s3_store_host=swift_server.url.replace("http:", "https:"))
        assert_refused(store, "does not speak TLS as https in s3_store_host asks for")


def assert_refused(store: S3Store, why: str) -> None:
    """Every call says why, without an address, and that it may be so for the moment only."""
    for call in (store.stat, store.open, store.create, store.delete):
        with pytest.raises(StoreUnavailable, match=why) as caught:
            call(KEY)
        assert LOOPBACK not in str(caught.value)
    with pytest.raises(StoreUnavailable, match=why):
        store.probe()
