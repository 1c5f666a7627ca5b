"""HttpSource against servers that say nothing, or too little, and against being interrupted."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.errors import (
    Interrupted,
    SourceStalled,
    SourceUnreachable,
)
from pipeline.sources import HttpOptions, HttpSource
from tests.pipeline.fetching import BODY, QUICK, Open, failing
from tests.pipeline.origin import ETAG, Exchange, cut, serving, whole

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
