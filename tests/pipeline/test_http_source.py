"""HttpSource against a server that breaks in every way a server can."""

import contextlib
import random
import socket
import ssl
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.policy import UriPolicy, UriRules
from pipeline.errors import (
    Interrupted,
    SourceAnswered,
    SourceBroken,
    SourceError,
    SourceRefused,
    SourceStalled,
    SourceUnreachable,
)
from pipeline.sources import HttpOptions, HttpSource
from pipeline.uris import CheckedUri
from tests.pipeline.origin import ETAG, Exchange, Origin, Script, cut, moved, ranged, serving, whole

BODY = random.Random(1).randbytes(3_000_000)
QUICK = HttpOptions(connect_timeout=5, idle_timeout=20, backoff_base=0.01, backoff_cap=0.02, resume_attempts=3)


class Open:
    """A guard that lets loopback pass on any port, and remembers the addresses it was asked about."""

    def __init__(self, *refused_hosts: str) -> None:
        ports = tuple(range(1, 65536))
        self._policy = UriPolicy(
            UriRules(allowed_ports=ports, allowed_networks=("127.0.0.0/8",), disallowed_hosts=refused_hosts)
        )
        self.addresses: list[tuple[str, str]] = []

    def check_uri(self, uri: str) -> CheckedUri:
        return self._policy.check_uri(uri)

    def check_address(self, host: str, ip: str) -> None:
        self.addresses.append((host, ip))
        self._policy.check_address(host, ip)


def fetch(url: str, options: HttpOptions = QUICK, guard: Open | None = None) -> bytes:
    source = HttpSource(url, guard or Open(), options)
    with source.open() as chunks:
        return b"".join(chunks)


def failing(url: str, options: HttpOptions = QUICK, guard: Open | None = None) -> tuple[bytes, SourceError]:
    """Read until the error; return what came before it, and it."""
    got: list[bytes] = []
    with pytest.raises(SourceError) as caught, HttpSource(url, guard or Open(), options).open() as chunks:
        got.extend(chunks)
    return b"".join(got), caught.value


# Plain answers


def test_a_body_with_a_length_comes_whole_in_chunks_of_about_a_mebibyte() -> None:
    with serving(whole(BODY)) as origin:
        source = HttpSource(origin.url("/a/disk.img?sig=secret"), Open(), QUICK)
        with source.open() as chunks:
            sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == len(BODY) == source.length == source.received
    assert source.end_vouched
    assert max(sizes) < 1.5 * (1 << 20)
    assert source.label == origin.url("/a/disk.img?…")


def test_the_user_agent_names_this_version() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert HttpOptions().user_agent == f"{project['name']}/{project['version']}"


def test_what_is_asked_is_honest_and_identity() -> None:
    with serving(whole(b"x")) as origin:
        fetch(origin.url("/p?q=1"))
    (request,) = origin.requests
    assert request.target == "/p?q=1"
    assert request.headers["user-agent"].startswith("tranship/")
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers


def test_a_chunked_body_is_vouched_for_by_its_chunks() -> None:
    def chunked(exchange: Exchange) -> None:
        exchange.head(Transfer_Encoding="chunked")
        exchange.send(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")

    with serving(chunked) as origin:
        source = HttpSource(origin.url(), Open(), QUICK)
        with source.open() as chunks:
            assert b"".join(chunks) == b"hello world"
    assert source.length is None
    assert source.end_vouched


def test_a_body_that_just_stops_is_not_vouched_for() -> None:
    def endless(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(b"some")

    with serving(endless) as origin:
        source = HttpSource(origin.url(), Open(), QUICK)
        with source.open() as chunks:
            assert b"".join(chunks) == b"some"
    assert source.length is None
    assert not source.end_vouched


def test_an_empty_body_is_a_body() -> None:
    with serving(whole(b"")) as origin:
        assert fetch(origin.url()) == b""


def test_userinfo_becomes_basic_auth_and_is_never_shown() -> None:
    with serving(whole(b"x")) as origin:
        source = HttpSource(f"http://us%40er:pa%2Fss@127.0.0.1:{origin.port}/i", Open(), QUICK)
        with source.open() as chunks:
            list(chunks)
    assert origin.requests[0].headers["authorization"] == "Basic dXNAZXI6cGEvc3M="
    assert "ss" not in source.label.replace("127.0.0.1", "")


@pytest.mark.parametrize(("status", "transient"), [(404, False), (403, False), (429, True), (503, True), (500, True)])
def test_a_status_that_is_no_success_is_told(status: int, transient: bool) -> None:
    with serving(lambda exchange: exchange.head(status, Content_Length=0)) as origin:
        _, error = failing(origin.url("/p"))
    assert isinstance(error, SourceAnswered)
    assert str(error).startswith(f"{origin.url('/p')} answered {status} ")
    assert (error.status, error.transient) == (status, transient)


def test_a_partial_answer_to_a_whole_question_is_refused() -> None:
    with serving(ranged(BODY)) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceAnswered)
    assert "206" in str(error)


# Lengths that are not kept


def test_a_short_body_without_validator_names_bytes_of_expected() -> None:
    with serving(cut(BODY, 2_000_000)) as origin:
        got, error = failing(origin.url())
    assert got == BODY[:2_000_000]
    assert isinstance(error, SourceBroken)
    assert error.transient
    assert f"after 2000000 of {len(BODY)} bytes" in str(error)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_overlong_body_is_an_error(size: int) -> None:
    def overlong(exchange: Exchange) -> None:
        exchange.head(Content_Length=size, **ETAG)
        exchange.send(BODY[: size + 7])

    with serving(overlong) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceBroken)
    assert f"more than the {size} bytes" in str(error)


def test_a_server_that_keeps_the_connection_open_is_not_waited_for() -> None:
    def lingering(exchange: Exchange) -> None:
        exchange.head(Content_Length=5)
        exchange.send(b"hello")
        exchange.silence()

    with serving(lingering) as origin:
        began = time.monotonic()
        assert fetch(origin.url()) == b"hello"
        assert time.monotonic() - began < QUICK.idle_timeout / 2


@pytest.mark.parametrize("tail", [b"", b"1000\r\nxx", b"zz\r\n", b"5\r\nabcde"])
def test_a_truncated_chunked_body_is_an_error(tail: bytes) -> None:
    def truncated(exchange: Exchange) -> None:
        exchange.head(Transfer_Encoding="chunked")
        exchange.send(b"5\r\nhello\r\n" + tail)

    with serving(truncated) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceBroken)
    assert error.transient


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Length": "abc"},
        {"Content_Length": "-5"},
        {"Content_Length": "5, 6"},
        {"Transfer_Encoding": "gzip, chunked"},
        {"Content_Encoding": "br", "Content_Length": 5},
    ],
)
def test_a_framing_that_cannot_be_trusted_is_refused(headers: dict[str, object]) -> None:
    def odd(exchange: Exchange) -> None:
        exchange.head(**headers)
        exchange.send(b"hello")

    with serving(odd) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceError)
    assert not isinstance(error, SourceAnswered)


# Resuming


@pytest.mark.parametrize(
    "validator",
    [
        ETAG,
        {"Last_Modified": "Mon, 02 Nov 2026 10:00:00 GMT"},
        {"Last_Modified": "Mon, 02 Nov 2026 10:00:00 GMT", "Date": "Mon, 02 Nov 2026 10:00:05 GMT"},
        {"ETag": 'W/"weak"', "Last_Modified": "Mon, 02 Nov 2026 10:00:00 GMT"},
    ],
)
def test_a_break_is_resumed_with_a_strong_validator(validator: dict[str, object]) -> None:
    with serving(
        cut(BODY, 1_500_000, **validator), ranged(BODY, 700_000, **validator), ranged(BODY, **validator)
    ) as origin:
        assert fetch(origin.url()) == BODY
    _, second, third = origin.requests
    expected = validator.get("Last_Modified", validator.get("ETag"))
    assert (second.headers["range"], second.headers["if-range"]) == ("bytes=1500000-", expected)
    assert third.headers["range"] == "bytes=2200000-"


@pytest.mark.parametrize(
    "validator",
    [
        {},
        {"ETag": 'W/"weak"'},
        {"ETag": "bare"},
        {"Last_Modified": "yesterday"},
        {"Last_Modified": "Mon, 02 Nov 2026 10:00:00 GMT", "Date": "Mon, 02 Nov 2026 10:00:00 GMT"},
    ],
)
def test_a_break_without_a_strong_validator_is_not_resumed(validator: dict[str, object]) -> None:
    with serving(cut(BODY, 1000, **validator), ranged(BODY, **validator)) as origin:
        got, error = failing(origin.url())
    assert got == BODY[:1000]
    assert "after 1000 of 3000000 bytes" in str(error)
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    "second",
    [
        whole(BODY, **ETAG),
        ranged(BODY, ETag='"v2"'),
        ranged(BODY),
        ranged(BODY, **ETAG, Content_Range="bytes 0-2999999/3000000"),
        ranged(BODY, **ETAG, Content_Range="bytes 1000-2999999/4000000"),
        ranged(BODY, **ETAG, Content_Range="bytes 1000-3999999/3000000"),
        ranged(BODY, **ETAG, Content_Range="nonsense"),
    ],
    ids=["200", "other ETag", "no ETag", "wrong start", "other total", "impossible end", "no range"],
)
def test_a_resume_that_is_not_the_rest_of_the_same_bytes_is_an_error(second: Script) -> None:
    with serving(cut(BODY, 1000, **ETAG), second) as origin:
        got, error = failing(origin.url())
    assert got == BODY[:1000]
    assert isinstance(error, SourceBroken)
    assert error.transient
    assert len(origin.requests) == 2


def test_a_changed_source_says_so() -> None:
    with serving(cut(BODY, 1000, **ETAG), whole(BODY, ETag='"v2"')) as origin:
        _, error = failing(origin.url())
    assert "changed while it was being read" in str(error)


def test_tries_without_progress_are_bounded() -> None:
    with serving(cut(BODY, 1000, **ETAG), ranged(BODY, 10, **ETAG)) as origin:
        got, error = failing(origin.url())
    assert len(origin.requests) == 1 + QUICK.resume_attempts
    assert got == BODY[: 1000 + 10 * QUICK.resume_attempts]
    assert f"{QUICK.resume_attempts} tries" in str(error)


def test_progress_renews_the_tries() -> None:
    with serving(cut(BODY, 1000, **ETAG), ranged(BODY, 500_000, **ETAG)) as origin:
        assert fetch(origin.url()) == BODY
    assert len(origin.requests) > 1 + QUICK.resume_attempts


def test_a_server_that_is_busy_for_a_moment_is_asked_again() -> None:
    with serving(cut(BODY, 1000, **ETAG), lambda e: e.head(503, Content_Length=0), ranged(BODY, **ETAG)) as origin:
        assert fetch(origin.url()) == BODY


def test_a_resume_answered_with_not_found_ends_it() -> None:
    with serving(cut(BODY, 1000, **ETAG), lambda e: e.head(404, Content_Length=0)) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceAnswered)
    assert len(origin.requests) == 2


def test_a_chunked_body_learns_its_length_when_it_is_resumed() -> None:
    def chunked(exchange: Exchange) -> None:
        exchange.head(Transfer_Encoding="chunked", **ETAG)
        exchange.send(b"3e8\r\n" + BODY[:1000] + b"\r\n")

    with serving(chunked, ranged(BODY, **ETAG)) as origin:
        source = HttpSource(origin.url(), Open(), QUICK)
        with source.open() as chunks:
            assert b"".join(chunks) == BODY
    assert source.length == len(BODY)


def test_a_resume_goes_to_where_the_redirect_led_and_back_to_the_start_when_that_expired() -> None:
    with serving(
        moved("/signed/1"),
        cut(BODY, 1000, **ETAG),
        lambda e: e.head(403, Content_Length=0),
        moved("/signed/2"),
        ranged(BODY, **ETAG),
    ) as origin:
        assert fetch(origin.url("/image")) == BODY
    assert [r.target for r in origin.requests] == ["/image", "/signed/1", "/signed/1", "/image", "/signed/2"]


# Silence and interruption


def test_a_silent_source_fails_at_the_idle_timeout() -> None:
    def silent(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(BODY), **ETAG)
        exchange.send(BODY[:1000])
        exchange.silence()

    with serving(silent) as origin:
        got, error = failing(origin.url(), HttpOptions(idle_timeout=0.2))
    assert isinstance(error, SourceStalled)
    assert "0.2 seconds" in str(error)
    assert got == BODY[:1000]


def test_a_source_that_never_answers_is_unreachable() -> None:
    with serving(Exchange.silence) as origin:
        _, error = failing(origin.url(), HttpOptions(idle_timeout=0.2))
    assert isinstance(error, SourceUnreachable)
    assert "did not answer within 0." in str(error)


def test_a_trickle_falls_under_the_minimum_rate() -> None:
    def trickle(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(BODY))
        while not exchange.closing.wait(0.01):
            exchange.send(b"x")

    with serving(trickle) as origin:
        _, error = failing(origin.url(), HttpOptions(idle_timeout=20, min_rate=100_000, rate_window=0.3))
    assert isinstance(error, SourceStalled)
    assert "bytes in" in str(error)


def test_a_trickle_is_handed_on_before_a_whole_chunk_has_come() -> None:
    def trickle(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(BODY))
        while not exchange.closing.wait(0.05):
            exchange.send(b"x" * 100)

    with serving(trickle) as origin:
        source = HttpSource(origin.url(), Open(), QUICK)
        with source.open() as chunks:
            assert 0 < len(next(chunks)) < 100_000
            source.interrupt()


@pytest.mark.parametrize("phase", ["head", "body"])
def test_an_interrupt_frees_a_waiting_reader_at_once(phase: str) -> None:
    waiting = threading.Event()

    def silent(exchange: Exchange) -> None:
        if phase == "body":
            exchange.head(Content_Length=1000)
        waiting.set()
        exchange.silence()

    def read(source: HttpSource) -> Iterator[bytes]:
        with source.open() as chunks:
            yield from chunks

    with serving(silent) as origin:
        source = HttpSource(origin.url(), Open(), HttpOptions(idle_timeout=60))

        def stop() -> None:
            waiting.wait(10)
            source.interrupt("cancelled")

        stopper = threading.Thread(target=stop)
        stopper.start()
        began = time.monotonic()
        with pytest.raises(Interrupted, match="cancelled"):
            list(read(source))
        assert time.monotonic() - began < 5
        stopper.join()


def test_an_interrupt_frees_a_reader_that_waits_to_try_again() -> None:
    slow = HttpOptions(backoff_base=60, backoff_cap=60)
    with serving(cut(BODY, 1000, **ETAG)) as origin:
        source = HttpSource(origin.url(), Open(), slow)
        with source.open() as chunks:
            next(chunks)
            timer = threading.Timer(0.1, source.interrupt)
            timer.start()
            with pytest.raises(Interrupted):
                next(chunks)
            timer.join()


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue is full: further connections are neither taken nor refused."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = open_sockets.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


def test_an_interrupt_frees_a_reader_that_waits_for_a_connection() -> None:
    with full_listener() as port:
        source = HttpSource(f"http://127.0.0.1:{port}/", Open(), HttpOptions(connect_timeout=60))
        timer = threading.Timer(0.2, source.interrupt)
        timer.start()
        with pytest.raises(Interrupted), source.open() as chunks:
            list(chunks)
        timer.join()


def test_a_connection_that_is_not_taken_times_out() -> None:
    with full_listener() as port:
        _, error = failing(f"http://127.0.0.1:{port}/", HttpOptions(connect_timeout=0.2))
    assert isinstance(error, SourceUnreachable)
    assert "timed out after 0.2 seconds" in str(error)


def test_an_interrupted_source_does_not_open() -> None:
    with serving(whole(b"x")) as origin:
        source = HttpSource(origin.url(), Open(), QUICK)
        source.interrupt("worker stops")
        with pytest.raises(Interrupted, match="worker stops"), source.open() as chunks:
            list(chunks)
    assert origin.requests == []


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _, error = failing(f"http://127.0.0.1:{port}/")
    assert isinstance(error, SourceUnreachable)
    assert "refused" in str(error)
    assert error.transient


def test_a_name_that_does_not_exist_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    _, error = failing("http://nowhere.invalid/")
    assert isinstance(error, SourceUnreachable)
    assert "nowhere.invalid" in str(error)


def test_an_answer_that_is_no_http_is_unreachable_and_says_no_internals() -> None:
    with serving(lambda exchange: exchange.send(b"SSH-2.0-OpenSSH\r\n\r\n")) as origin:
        _, error = failing(origin.url())
    assert isinstance(error, SourceUnreachable)
    assert "did not give a usable answer" in str(error)


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
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made authority that is its own server, `mirror.example`: key and certificate in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mirror.example"
        " -addext subjectAltName=DNS:mirror.example -keyout key.pem -out cert.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


def _tls(certificate: Path, names: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def note(_: ssl.SSLObject, name: str, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    return context


def test_tls_goes_to_the_checked_address_under_the_original_name(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    _resolving(monkeypatch, "127.0.0.1")
    names: list[str] = []
    trusting = replace(QUICK, ca_file=str(certificate))
    with serving(cut(BODY, 1_500_000, **ETAG), ranged(BODY, **ETAG), tls=_tls(certificate, names)) as origin:
        assert fetch(origin.url(host="mirror.example", scheme="https"), trusting) == BODY
    assert names == ["mirror.example", "mirror.example"]


@pytest.mark.parametrize(("host", "trusted"), [("mirror.example", False), ("other.example", True)])
def test_a_certificate_that_does_not_prove_the_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, host: str, trusted: bool
) -> None:
    _resolving(monkeypatch, "127.0.0.1")
    options = replace(QUICK, ca_file=str(certificate) if trusted else None)
    with serving(whole(b"x"), tls=_tls(certificate, [])) as origin:
        _, error = failing(origin.url(host=host, scheme="https"), options)
    assert isinstance(error, SourceUnreachable)
    assert "has no valid certificate" in str(error)
    assert origin.requests == []


def test_an_interrupt_frees_a_reader_that_waits_behind_tls(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    _resolving(monkeypatch, "127.0.0.1")

    def silent(exchange: Exchange) -> None:
        exchange.head(Content_Length=len(BODY))
        exchange.send(BODY[: 1 << 20])
        exchange.silence()

    options = HttpOptions(ca_file=str(certificate), idle_timeout=60)
    with serving(silent, tls=_tls(certificate, [])) as origin:
        source = HttpSource(origin.url(host="mirror.example", scheme="https"), Open(), options)
        with source.open() as chunks:
            next(chunks)
            timer = threading.Timer(0.1, source.interrupt)
            timer.start()
            with pytest.raises(Interrupted):
                list(chunks)
            timer.join()


def test_tls_goes_through_a_proxy_that_only_connects(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    with serving(whole(BODY), tls=_tls(certificate, [])) as origin:

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
            options = replace(QUICK, ca_file=str(certificate), use_env_proxies=True)
            # The name leads nowhere here: it is the proxy that resolves it.
            assert fetch(f"https://mirror.example:{origin.port}/x", options) == BODY
        assert proxy.requests[0].target == f"mirror.example:{origin.port}"


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
