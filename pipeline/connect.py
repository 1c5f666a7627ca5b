"""Connections that go to a checked address only, and that any thread can break.

A name is resolved once per connection, every address it leads to is judged, and the connection is made to exactly
these addresses: there is no second look-up that a name server could answer differently (DNS rebinding). Host header,
SNI and certificate name stay those of the URI, because only the dialling is replaced.
"""

import contextlib
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import urllib3.exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipeline.errors import Interrupted, SourceUnreachable

_TRIED_ADDRESSES = 8
_LAST_LOOK = 0.25

Dial = Callable[[str, int], socket.socket]


class Judge(Protocol):
    """Raises `SourceRefused` for an address that must not be reached under this name."""

    def __call__(self, host: str, ip: str) -> None: ...


@dataclass
class Line:
    """The sockets of one source. `cut` may be called by any thread, everything else by the reader's."""

    connect_timeout: float
    surplus: bool = False
    """Whether a peer sent more than the `Content-Length` it announced."""
    bodies: list[io.BufferedReader] = field(default_factory=list)
    """What the answers are read from; kept here, because the client forgets one whose head it cannot parse."""
    _held: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cut: threading.Event = field(default_factory=threading.Event)
    _why: str = ""

    def dial(self, host: str, port: int, judge: Judge) -> socket.socket:
        """Connect to `host`, trying its judged addresses in order.

        Raises what `judge` raises, `SourceUnreachable` with the last address's reason, `Interrupted`.
        """
        failure: OSError | None = None
        for family, sockaddr in judged(host, port, judge):
            try:
                return self._connect(family, sockaddr)
            except OSError as error:
                self.check()
                failure = error
        raise SourceUnreachable(f"no connection to {host} port {port}: {self._said(failure)}") from failure

    def cut(self, why: str) -> None:
        """Break every connection, now and from now on: who waits for bytes fails at once."""
        with self._lock:
            self._why = self._why or why
            self._cut.set()
            for held in self._held:
                _shut(held)

    def check(self) -> None:
        """Raise `Interrupted` when the line has been cut."""
        if self._cut.is_set():
            raise Interrupted(self._why)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the line is cut."""
        self._cut.wait(seconds)
        self.check()

    def release(self) -> None:
        """Let go of all sockets and answers."""
        for body in self.bodies:
            body.close()
        self.bodies.clear()
        with self._lock:
            for held in self._held:
                held.close()
            self._held.clear()

    def _connect(self, family: int, sockaddr: Any) -> socket.socket:
        made = _socket(family, self.connect_timeout)
        try:
            self._hold(made)
            made.connect(sockaddr)
            self.check()
        except BaseException:
            made.close()
            raise
        return made

    def _hold(self, made: socket.socket) -> None:
        # A duplicate: TLS takes the original over, and shutting it down needs no TLS state of another thread.
        with self._lock:
            self._held.append(made.dup())
        self.check()

    def _said(self, failure: OSError | None) -> str:
        if isinstance(failure, TimeoutError):
            return f"timed out after {self.connect_timeout:g} seconds"
        return (failure.strerror if failure and failure.strerror else "failed").lower()


def judged(host: str, port: int, judge: Judge) -> list[tuple[int, Any]]:
    """The addresses to try for `host`, with their families: all that it leads to were judged, not only these.

    Raises what `judge` raises, and `SourceUnreachable` when it leads nowhere.
    """
    addresses = _resolve(host, port)
    for _, sockaddr in addresses:
        scope = f"%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] else ""
        judge(host, f"{sockaddr[0]}{scope}")
    return addresses[:_TRIED_ADDRESSES]


def connect(host: str, port: int, judge: Judge, timeout: float) -> socket.socket:
    """Connect to the first of the judged addresses of `host` that answers. Raises as `judged`, and `OSError`."""
    failure: OSError = OSError(f"no connection to {host} port {port}")
    for family, sockaddr in judged(host, port, judge):
        made = _socket(family, timeout)
        try:
            made.connect(sockaddr)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def _socket(family: int, timeout: float) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.settimeout(timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _resolve(host: str, port: int) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        said = error.strerror if isinstance(error, socket.gaierror) else None
        raise SourceUnreachable(f"no address for {host}: {(said or 'not a name').lower()}") from error
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


def _shut(held: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected, or closed by the peer: nobody waits on it then
        held.shutdown(socket.SHUT_RDWR)


def pools(dial: Dial, line: Line | None) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3 pool classes by scheme whose connections are made by `dial(host, port)`, on `line` if given."""

    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            if line is not None:
                self.fp.close()
                self.fp = _Body(sock, lambda: self.length == 0, line)

    class Plain(HTTPConnection):
        response_class = Answer

        def _new_conn(self) -> socket.socket:
            return dial(self._dns_host, self.port or self.default_port)

    class Secure(HTTPSConnection):
        response_class = Answer

        def _new_conn(self) -> socket.socket:
            return dial(self._dns_host, self.port or self.default_port)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Body(io.BufferedReader):
    """What a response is read from. Before it closes after a complete body it looks whether the peer goes on.

    We ask for `Connection: close`, so an honest peer's end is seen at once; others cost `_LAST_LOOK` seconds.
    """

    def __init__(self, sock: socket.socket, complete: Callable[[], bool], line: Line) -> None:
        super().__init__(sock.makefile("rb", buffering=0))
        self._sock, self._complete, self._line = sock, complete, line
        line.bodies.append(self)

    def close(self) -> None:
        if not self.closed and self._complete():
            with contextlib.suppress(OSError, ValueError):  # gone or broken by now: nothing more will come
                self._sock.settimeout(_LAST_LOOK)
                self._line.surplus = self._line.surplus or bool(self.peek(1))
        super().close()


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what caused it, through wrapped reasons too: foreign libraries nest them."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        current = todo.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            todo += [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]


def unreachable(error: BaseException, waited: float) -> str:
    """Say in our words why a request got no answer after `waited` seconds."""
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
            return f"did not answer within {waited:.1f} seconds"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"has no valid certificate: {cause.verify_message}"
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return "did not agree on a TLS connection"
    return "did not give a usable answer"
