"""HttpSource against a server that breaks in every way a server can."""

import time
import tomllib
from pathlib import Path

import pytest

from pipeline.errors import (
    SourceAnswered,
    SourceBroken,
    SourceError,
)
from pipeline.sources import HttpOptions, HttpSource
from tests.pipeline.fetching import BODY, QUICK, Open, failing, fetch
from tests.pipeline.origin import ETAG, Exchange, Script, cut, moved, ranged, serving, whole

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
        {"Content_Length": "5\0six"},
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
    assert str(error).isprintable(), "a NUL would make the reason one that no row can hold"


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
