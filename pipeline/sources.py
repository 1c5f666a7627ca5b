"""Where bytes come from: each source yields them once, knows the promised length, and names itself without secrets."""

import base64
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import urljoin

import requests
import requests.adapters
import requests.utils
import urllib3.exceptions

from pipeline.chunks import joined
from pipeline.connect import Dial, Judge, Line, causes, connect, pools, unreachable
from pipeline.errors import (
    Interrupted,
    SourceAnswered,
    SourceBroken,
    SourceRefused,
    SourceStalled,
    SourceUnreachable,
)
from pipeline.framing import Validator, framing, part_end, strong_validator
from pipeline.patience import RateFloor, backoff
from pipeline.uris import DEFAULT_PORTS, CheckedUri, UriGuard, mask
from stores.base import CHUNK

_PIECE: Final = CHUNK // 4  # read and joined, 7 % over one read of a whole chunk, but prompt with a slow source
_PATIENCE: Final = 0.5
_PROGRESS: Final = 64 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Source(Protocol):
    """Bytes that can be read once.

    `label` names the source to users. `length` (bytes, of the source, before any expansion) and `end_vouched` are
    known once `open` has been entered; `end_vouched` says that a truncated body would not look complete.
    """

    label: str
    length: int | None
    end_vouched: bool

    def open(self) -> AbstractContextManager[Iterator[bytes]]:
        """Start; the iterator yields non-empty chunks. Both raise `SourceError` and `Interrupted`."""

    def interrupt(self, why: str = "asked to stop") -> None:
        """Make the reader fail with `Interrupted` at once, even one that waits for bytes. Any thread, any time."""


class ChunkSource:
    """A source over chunks that are already there: for tests, and for bytes made by ourselves."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        length: int | None = None,
        end_vouched: bool = True,
        label: str = "bytes",
    ) -> None:
        self.label, self.length, self.end_vouched = label, length, end_vouched
        self._chunks = chunks
        self._why: str | None = None

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """Yield the chunks as given."""
        yield self._each()

    def interrupt(self, why: str = "asked to stop") -> None:
        """Seen at the next chunk."""
        self._why = why

    def _each(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if self._why is not None:
                raise Interrupted(self._why)
            yield chunk


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How an HTTP source is fetched. Times are seconds.

    `idle_timeout` is the longest silence; since one byte now and then evades it, the source must also bring
    `min_rate` bytes a second on average over each `rate_window` seconds that we spent waiting for it (0: no such rule).
    `resume_attempts` counts tries in a row that brought less than 64 KiB. With `use_env_proxies` the usual
    environment variables are honoured; a proxy then resolves the names, so only names and literal addresses are
    checked, not what a name leads to: filtering that is the proxy's duty. `ca_file` replaces the bundled authorities.
    """

    connect_timeout: float = 10
    idle_timeout: float = 60
    max_redirects: int = 5
    resume_attempts: int = 5
    backoff_base: float = 0.5
    backoff_cap: float = 20
    user_agent: str = "tranship/0.1.0"
    use_env_proxies: bool = False
    ca_file: str | None = None
    min_rate: int = 1024
    rate_window: float = 300


class _BrokeOff(SourceBroken):
    """The connection ended before the body did; may be resumed."""


@dataclass
class _Answer:
    """One response with a body: it starts at our position and ends at byte `end` of the whole, if that is known."""

    response: requests.Response
    uri: CheckedUri
    end: int | None


class HttpSource:
    """A body fetched by GET, guarded at every hop and address, resumed by range where that is safe.

    One object is one download, used by one thread; `interrupt` may come from any. Raises `SourceRefused` when made
    for a URI that the guard does not let pass.
    """

    def __init__(self, uri: str, guard: UriGuard, options: HttpOptions | None = None) -> None:
        self._uri = guard.check_uri(uri)
        self._guard = guard
        self._options = options or HttpOptions()
        self.label = self._uri.label
        self.length: int | None = None
        self.end_vouched = False
        self.received = 0
        self._validator: Validator | None = None
        self._line = Line(self._options.connect_timeout)
        self._rate = RateFloor(self._options.min_rate, self._options.rate_window)
        self._asked = self._uri
        self._response: requests.Response | None = None
        self._adapter = _Adapter(self._dial, self._dial_proxy, self._line)

    def interrupt(self, why: str = "asked to stop") -> None:
        """Break the connection, now and for good."""
        self._line.cut(why)

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """Send the request and read the answer's head; the iterator reads the body, chunks of about 1 MiB."""
        try:
            first = self._first()
            yield self._chunks(first)
        finally:
            self._hang_up()
            self._adapter.close()

    # Asking

    def _first(self) -> _Answer:
        answer = self._follow(self._uri, {})
        frame = framing(self.label, answer.response.headers)
        if answer.response.status_code != HTTPStatus.OK:
            raise self._answered(answer.response)
        self.length, self.end_vouched = frame.length, frame.vouched
        self._validator = strong_validator(answer.response.headers)
        return replace(answer, end=frame.length)

    def _rest(self, uri: CheckedUri, validator: Validator) -> _Answer:
        wanted = {"Range": f"bytes={self.received}-", "If-Range": validator.value}
        answer = self._follow(uri, wanted)
        response = answer.response
        framing(self.label, response.headers)
        end, self.length = part_end(
            self.label, response.status_code, response.headers, self.received, self.length, validator
        )
        return replace(answer, end=end)

    def _follow(self, uri: CheckedUri, headers: dict[str, str]) -> _Answer:
        """GET `uri` and whatever it redirects to. Raises `SourceAnswered` for a status that is no success."""
        for hop in range(self._options.max_redirects + 1):
            try:
                response = self._get(uri, headers)
            except SourceRefused as refused:
                what = "Redirect to" if hop else "URI"
                raise SourceRefused(
                    f"{what} {uri.label} does not pass filtering: {refused.reason}", refused.reason
                ) from refused
            if response.status_code not in _REDIRECTS:
                if not 200 <= response.status_code < 300:
                    raise self._answered(response)
                return _Answer(response, uri, None)
            uri = self._next(uri, response)
        raise SourceAnswered(
            f"{self.label} redirected more than {self._options.max_redirects} times", response.status_code
        )

    def _next(self, uri: CheckedUri, response: requests.Response) -> CheckedUri:
        location = response.headers.get("Location")
        if location is None:
            raise SourceAnswered(f"{self.label} answered {response.status_code} without a target", response.status_code)
        try:
            target = urljoin(uri.url, location.encode("latin-1").decode("utf-8"))
            checked = self._guard.check_uri(target)
        except (ValueError, SourceRefused) as refused:
            reason = refused.reason if isinstance(refused, SourceRefused) else "it is malformed"
            shown = mask(location)
            raise SourceRefused(f"Redirect to {shown} does not pass filtering: {reason}", reason) from refused
        kept = uri.username is not None and checked.origin == uri.origin
        return replace(checked, username=uri.username if kept else None, password=uri.password if kept else None)

    def _get(self, uri: CheckedUri, headers: dict[str, str]) -> requests.Response:
        options = self._options
        self._hang_up()
        self._asked = uri
        self._line.check()
        began = time.monotonic()
        try:
            request = requests.Request("GET", uri.url, headers={**self._headers(uri), **headers}).prepare()
            proxies = requests.utils.get_environ_proxies(uri.url) if options.use_env_proxies else {}
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(options.connect_timeout, options.idle_timeout),
                verify=options.ca_file or True,
                proxies=dict(proxies),
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self._line.check()
            raise SourceUnreachable(f"{uri.label} {unreachable(error, time.monotonic() - began)}") from error
        self._response = response
        return response

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        self._line.release()

    def _headers(self, uri: CheckedUri) -> dict[str, str]:
        headers = {
            "User-Agent": self._options.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if uri.username is not None:
            pair = f"{uri.username}:{uri.password or ''}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        return headers

    def _dial(self, host: str, port: int) -> socket.socket:
        # Two parsers read this URI, the guard's and the client's; what they disagree about is not fetched.
        if (host.lower().removesuffix("."), port) != (self._asked.host, self._asked.port):
            raise SourceRefused("host", "its host can be read in two ways")
        return self._line.dial(host, port, self._guard.check_address)

    def _dial_proxy(self, host: str, port: int) -> socket.socket:
        return self._line.dial(host, port, lambda host, ip: None)

    # Reading

    def _chunks(self, answer: _Answer | None) -> Iterator[bytes]:
        tries, mark = 0, 0
        uri = answer.uri if answer else self._uri
        while answer is not None:
            broke = _BrokeOff(f"{self.label} broke off")
            try:
                for chunk in joined(self._pieces(answer), CHUNK, _PATIENCE):
                    self.received += len(chunk)
                    yield chunk
                if self.length is None or self.received == self.length:
                    return
            except _BrokeOff as error:
                broke = error
            finally:
                self._hang_up()
            if self.received - mark >= _PROGRESS:
                tries, mark = 0, self.received
            answer, tries, uri = self._resumed(uri, tries, broke)

    def _resumed(self, uri: CheckedUri, tries: int, broke: SourceBroken) -> tuple[_Answer, int, CheckedUri]:
        """Ask for the rest until somebody answers; return the answer, the tries so far and whom to ask next time."""
        options, last = self._options, ""
        of = f" of {self.length}" if self.length is not None else ""
        so_far = f"{self.label} broke off after {self.received}{of} bytes"
        if self._validator is None:
            raise SourceBroken(so_far) from broke
        while tries < options.resume_attempts:
            self._line.pause(backoff(tries, options.backoff_base, options.backoff_cap))
            tries += 1
            try:
                answer = self._rest(uri, self._validator)
            except (SourceUnreachable, SourceAnswered) as error:
                # A redirect's target may have expired (signed links); the way from the start may still be open.
                if not error.transient and uri == self._uri:
                    raise
                uri, last = self._uri, f": {error}"
            else:
                return answer, tries, answer.uri
        raise SourceBroken(f"{so_far}, and {tries} tries to resume did not help{last}") from broke

    def _pieces(self, answer: _Answer) -> Iterator[bytes]:
        """Yield what one response brings. Raises `_BrokeOff` at an early end, other `SourceError`s for good."""
        at = self.received
        while True:
            began = time.monotonic()
            try:
                piece = answer.response.raw.read1(_PIECE, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                self._line.check()
                if any(isinstance(cause, TimeoutError) for cause in causes(error)):
                    idle = f"{self._options.idle_timeout:g}"
                    raise SourceStalled(f"{self.label} sent nothing for {idle} seconds after {at} bytes") from error
                raise _BrokeOff(f"{self.label} broke off after {at} bytes") from error
            self._line.check()  # a cut connection looks like an end
            if not piece:
                break
            at += len(piece)
            self._rate.count(self.label, len(piece), time.monotonic() - began)
            yield piece
        if self._line.surplus or (answer.end is not None and at > answer.end):
            raise SourceBroken(f"{self.label} sent more than the {answer.end} bytes it announced")
        if answer.end is not None and at < answer.end:
            raise _BrokeOff(f"{self.label} broke off after {at} bytes")

    # Saying what happened

    def _answered(self, response: requests.Response) -> SourceAnswered:
        status = response.status_code
        reason = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
        return SourceAnswered(f"{self.label} answered {status} {reason}".rstrip(), status)


class _Adapter(requests.adapters.HTTPAdapter):
    """requests' adapter over our own connections; proxies are dialled without a guard, they are the operator's."""

    def __init__(self, dial: Dial, dial_proxy: Dial, line: Line | None) -> None:
        self._classes = pools(dial, line)
        self._proxy_classes = pools(dial_proxy, line)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._proxy_classes
        return manager


def guarded_session(judge: Judge, connect_timeout: float) -> requests.Session:
    """A session of requests that connects to addresses which `judge` lets pass, and to no others; it raises what the
    judge raises. A proxy is the operator's, and dialled as it is.
    """

    def dial(judge: Judge, host: str, port: int) -> socket.socket:
        try:
            return connect(host, port, judge, connect_timeout)
        except SourceUnreachable as error:
            raise OSError(str(error)) from error

    session = requests.Session()
    adapter = _Adapter(partial(dial, judge), partial(dial, lambda _host, _ip: None), None)
    for scheme in DEFAULT_PORTS:
        session.mount(f"{scheme}://", adapter)
    return session
