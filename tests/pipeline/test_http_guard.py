"""HttpSource where it may not go: redirects, the guard, proxies and certificates."""

import contextlib
import socket
import ssl
import threading
from dataclasses import replace

import pytest

from pipeline.errors import (
    Interrupted,
    SourceRefused,
    SourceUnreachable,
)
from pipeline.sources import HttpOptions, HttpSource
from tests.certificates import Authority
from tests.pipeline.fetching import BODY, QUICK, Open, failing, fetch
from tests.pipeline.origin import ETAG, Exchange, Origin, cut, moved, ranged, serving, whole

# Redirects and the guard


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int) -> None:
    with serving(moved("elsewhere?x=1", status), whole(b"there")) as origin:
        assert fetch(origin.url("/a/b")) == b"there"
    assert origin.requests[1].target == "/a/elsewhere?x=1"


def test_redirects_are_capped() -> None:
    with serving(moved("/again")) as origin:
        _, error = failing(origin.url())
    assert "redirected more than 5 times" in str(error)
    assert len(origin.requests) == 6


def test_a_redirect_without_target_is_told() -> None:
    with serving(lambda exchange: exchange.head(302, Content_Length=0)) as origin:
        _, error = failing(origin.url())
    assert "answered 302 without a target" in str(error)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "link-local"),
        ("http://10.0.0.1/", "private"),
        ("http://[::1]/", "loopback"),
        ("http://2130706433/", "unusual notation"),
        ("ftp://127.0.0.1/x", "scheme ftp"),
        ("file:///etc/passwd", "scheme file"),
        ("http://[bad/", "malformed"),
        ("http://us:secret@10.0.0.1/", "private"),
    ],
)
def test_a_redirect_to_where_nothing_may_go_is_refused(target: str, reason: str) -> None:
    with serving(moved(target)) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceRefused)
    assert str(error).startswith("Redirect to ")
    assert "does not pass filtering" in str(error)
    assert reason in str(error)
    assert "secret" not in str(error)
    assert len(origin.requests) == 1


def _resolving(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answer each look-up of a name with the next address; literal addresses resolve as ever."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: object, **options: object) -> object:
        if host[0].isdigit():
            return real(host, port, type=socket.SOCK_STREAM)
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1].split()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _resolving(monkeypatch, "127.0.0.1", "10.9.9.9")
    guard = Open()
    with serving(whole(b"x")) as origin:
        assert fetch(origin.url(host="mirror.example"), guard=guard) == b"x"
    assert asked == ["mirror.example"]
    assert guard.addresses == [("mirror.example", "127.0.0.1")]
    assert origin.requests[0].headers["host"] == f"mirror.example:{origin.port}"


def test_one_forbidden_address_of_a_name_spoils_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving(monkeypatch, "127.0.0.1 192.168.1.1")
    with serving(whole(b"x")) as origin:
        _, error = failing(origin.url("/p", host="mirror.example"))
    assert isinstance(error, SourceRefused)
    assert str(error).startswith(f"URI http://mirror.example:{origin.port}/p does not pass filtering: ")
    assert "private" in str(error)
    assert "192.168" not in str(error)
    assert origin.requests == []


def test_a_name_that_turns_to_a_forbidden_address_between_hops_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving(monkeypatch, "127.0.0.1", "10.0.0.1")
    with serving(moved("/again")) as origin:
        _, error = failing(origin.url(host="mirror.example"))
    assert isinstance(error, SourceRefused)
    assert str(error).startswith("Redirect to ")


def test_a_name_that_turns_to_a_forbidden_address_before_a_resume_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving(monkeypatch, "127.0.0.1", "169.254.169.254")
    with serving(cut(BODY, 1000, **ETAG)) as origin:
        got, error = failing(origin.url(host="mirror.example"))
    assert got == BODY[:1000]
    assert isinstance(error, SourceRefused)


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolving(monkeypatch, "127.0.0.2 127.0.0.1")
    with serving(whole(b"x")) as origin:
        assert fetch(origin.url(host="mirror.example")) == b"x"


def test_credentials_stay_on_their_origin() -> None:
    with serving(whole(b"x")) as other, serving(moved("/b"), moved(other.url("/c"))) as first:
        url = f"http://me:pw@127.0.0.1:{first.port}/a"
        assert fetch(url) == b"x"
        assert "authorization" in first.requests[0].headers
        assert "authorization" in first.requests[1].headers
        assert "authorization" not in other.requests[0].headers


def test_credentials_do_not_come_back_after_a_detour() -> None:
    with serving(moved("/b"), whole(b"x")) as first, serving(moved(first.url("/c"))) as other:
        first.scripts[0] = moved(other.url("/b"))
        fetch(f"http://me:pw@127.0.0.1:{first.port}/a")
        assert "authorization" in first.requests[0].headers
        assert "authorization" not in first.requests[1].headers


# Proxies


def test_environment_proxies_are_ignored_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxied(proxy: Origin, options: HttpOptions) -> bytes:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        with serving(whole(b"direct")) as origin:
            return fetch(origin.url("/x", host="127.0.0.1"), options)

    with serving(whole(b"proxied")) as proxy:
        assert proxied(proxy, QUICK) == b"direct"
        assert proxied(proxy, HttpOptions(use_env_proxies=True)) == b"proxied"
    (request,) = proxy.requests
    assert request.target.startswith("http://127.0.0.1:")


def test_a_proxy_is_not_asked_for_what_the_guard_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(whole(b"proxied")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(SourceRefused, match="link-local"):
            fetch("http://169.254.169.254/", HttpOptions(use_env_proxies=True))
    assert proxy.requests == []


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def _tls(authority: Authority, names: list[str]) -> ssl.SSLContext:
    context = authority.context("mirror.example")

    def note(_: ssl.SSLObject, name: str, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    return context


def test_tls_goes_to_the_checked_address_under_the_original_name(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    _resolving(monkeypatch, "127.0.0.1")
    names: list[str] = []
    trusting = replace(QUICK, ca_file=str(authority.file))
    with serving(cut(BODY, 1_500_000, **ETAG), ranged(BODY, **ETAG), tls=_tls(authority, names)) as origin:
        assert fetch(origin.url(host="mirror.example", scheme="https"), trusting) == BODY
    assert names == ["mirror.example", "mirror.example"]


@pytest.mark.parametrize(("host", "trusted"), [("mirror.example", False), ("other.example", True)])
def test_a_certificate_that_does_not_prove_the_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, host: str, trusted: bool
) -> None:
    _resolving(monkeypatch, "127.0.0.1")
    options = replace(QUICK, ca_file=str(authority.file) if trusted else None)
    with serving(whole(b"x"), tls=_tls(authority, [])) as origin:
        _, error = failing(origin.url(host=host, scheme="https"), options)
    assert isinstance(error, SourceUnreachable)
    assert "has no valid certificate" in str(error)
    assert origin.requests == []


def test_an_interrupt_frees_a_reader_that_waits_behind_tls(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    _resolving(monkeypatch, "127.0.0.1")

    def silent(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(BODY))
        exchange.send(BODY[: 1 << 20])
        exchange.silence()

    options = HttpOptions(ca_file=str(authority.file), idle_timeout=60)
    with serving(silent, tls=_tls(authority, [])) as origin:
        source = HttpSource(origin.url(host="mirror.example", scheme="https"), Open(), options)
        with source.open() as chunks:
            next(chunks)
            timer = threading.Timer(0.1, source.interrupt)
            timer.start()
            with pytest.raises(Interrupted):
                list(chunks)
            timer.join()


def test_tls_goes_through_a_proxy_that_only_connects(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    with serving(whole(BODY), tls=_tls(authority, [])) as origin:

        def tunnel(exchange: Exchange) -> None:
            with socket.create_connection(("127.0.0.1", origin.port)) as far:
                exchange.send(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=_pump, args=(far, exchange.socket))
                back.start()
                _pump(exchange.socket, far)
                back.join(10)

        with serving(tunnel) as proxy:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.delenv("no_proxy", raising=False)
            options = replace(QUICK, ca_file=str(authority.file), use_env_proxies=True)
            # The name leads nowhere here: it is the proxy that resolves it.
            assert fetch(f"https://mirror.example:{origin.port}/x", options) == BODY
        assert proxy.requests[0].target == f"mirror.example:{origin.port}"


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
