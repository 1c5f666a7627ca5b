"""Objects that others publish on web servers: read only, and named by their whole URL.

This store owns no names of its own, so its *key* is the location itself: an `http` or `https` URL with a host
and without user, password or fragment, and `url(key)` is the key. Who may name which URL is the policy of the
caller: it checks a location before keeping it (import-behaviour §5), and may give `admit` to check it, and
every redirect of it, again at the moment of use.

A GET is all that is asked of a server: many that serve files refuse HEAD, or answer it wrongly. Nothing is
resumed or retried here. The texts of errors hold the HTTP status and bytes, never the URL, which may be a
secret in itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from stores.base import CHUNK, ObjectInfo, Reader, StoreSpec
from stores.errors import (
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
)
from stores.options import flag, pairs, text

MAX_URL = 2048
MAX_REDIRECTS = 5

_PRINTABLE = re.compile(r"[!-~]+")
_RANGE = re.compile(r"bytes (?:(?P<start>\d+)-\d+|\*)/(?P<size>\d+)")
_DENIED = {401, 403, 407}
_GONE = {404, 410}
_LATER = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to talk to servers: certificates (a file, or whether to check any), proxies, time-outs in seconds.

    `timeouts` are for connecting and for each wait for bytes.
    """

    verify: bool | str = True
    proxies: Mapping[str, str] | None = None
    timeouts: tuple[float, float] = (10.0, 60.0)


def allow_any(url: str) -> None:
    """Refuse no URL: the default `admit`."""


def check_url_key(key: str) -> str:
    """Return `key` if it is the URL of an object, else raise `ValueError` without showing it."""
    try:
        parts = urlsplit(key)
        _ = parts.port
    except ValueError as error:
        raise ValueError("not a URL of an object") from error
    if not (_PRINTABLE.fullmatch(key) and len(key) <= MAX_URL):
        raise ValueError(f"a URL of an object is 1 to {MAX_URL} printable ASCII characters")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL of an object begins with http:// or https:// and a host")
    if "@" in parts.netloc or "#" in key:
        raise ValueError("a URL of an object has neither user, password nor fragment")
    return key


class HttpStore:
    """A `stores.base.ReadableStore` over any web server; see the module's docstring.

    `admit` gets every URL before it is asked for, redirects included, and raises a `StoreError` to refuse it.
    """

    remote = True

    def __init__(
        self, id: str, options: HttpOptions | None = None, *, admit: Callable[[str], None] = allow_any
    ) -> None:
        self.id = id
        self.options = options or HttpOptions()
        self.admit = admit
        self.session: Callable[[], requests.Session] = requests.Session

    @classmethod
    def from_spec(cls, spec: StoreSpec) -> Self:
        """Build from `https_ca_certificates_file`, `https_insecure` and `http_proxy_information` of Glance.

        Other than in Glance, `https_insecure` is false unless it is set. Raises `StoreMisconfigured`.
        """
        authorities = text(spec, "https_ca_certificates_file")
        if authorities and not Path(authorities).is_file():
            raise StoreMisconfigured(spec.id, "https_ca_certificates_file names no file")
        proxies = pairs(spec, "http_proxy_information")
        if not proxies.keys() <= {"http", "https"}:
            raise StoreMisconfigured(spec.id, "http_proxy_information is for the schemes http and https")
        verify: bool | str = authorities or not flag(spec, "https_insecure", default=False)
        return cls(spec.id, HttpOptions(verify, {k: f"http://{v}" for k, v in proxies.items()}))

    def guard(self, admit: Callable[[str], None], session: Callable[[], requests.Session]) -> None:
        """From now on judge URLs by `admit`, and ask by sessions of `session`, whose connections may refuse an address
        with a `StoreError`.
        """
        self.admit, self.session = admit, session

    def open(self, key: str, offset: int = 0) -> "HttpReader":
        """See `stores.base.ReadableStore.open`.

        From a server without ranges, what lies before `offset` is skipped.
        """
        check_url_key(key)
        if offset < 0:
            raise ValueError(f"offset {offset} is negative")
        answer = self._get(key, f"bytes={offset}-" if offset else None)
        try:
            size, start = self._place(answer, offset)
            if offset > size:
                raise ValueError(f"offset {offset} is outside an object of {size} bytes")
            reader = HttpReader(self.id, answer, size, start)
            while reader.offset < offset:
                reader.read(min(CHUNK, offset - reader.offset))
        except BaseException:
            answer.close()
            raise
        return reader

    def stat(self, key: str) -> ObjectInfo:
        """See `stores.base.ReadableStore.stat`. Asks for the first byte only."""
        check_url_key(key)
        with self._get(key, "bytes=0-0") as answer:
            return ObjectInfo(key, self._place(answer, 0)[0])

    def url(self, key: str) -> str:
        """Return `key`, which is the location."""
        return check_url_key(key)

    def properties(self) -> dict[str, object]:
        """See `stores.base.ReadableStore.properties`."""
        return {}

    def probe(self) -> None:
        """Do nothing: there is no one server whose answer would tell anything of the others."""

    def _get(self, url: str, byte_range: str | None) -> requests.Response:
        """Return the open answer, 200, 206 or 416, to a GET of `url` after its redirects."""
        headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "tranship"}
        if byte_range:
            headers["Range"] = byte_range
        for _ in range(MAX_REDIRECTS + 1):
            self.admit(url)
            answer = self._ask(url, headers)
            target = answer.headers.get("Location")
            if not (answer.is_redirect and target):
                return self._judge(answer)
            answer.close()
            url = self._redirected(url, target)
        raise StoreError(self.id, f"the server redirects more than {MAX_REDIRECTS} times")

    def _ask(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        session = self.session()
        # The environment would add proxies and passwords (.netrc) that nobody configured for this store.
        session.trust_env = False
        try:
            return session.get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                verify=self.options.verify,
                proxies=dict(self.options.proxies or {}),
                timeout=self.options.timeouts,
            )
        except requests.exceptions.SSLError as error:
            raise StoreUnavailable(self.id, "the server has no valid certificate") from error
        except requests.exceptions.Timeout as error:
            raise StoreUnavailable(self.id, "the server does not answer in time") from error
        except requests.exceptions.RequestException as error:
            raise StoreUnavailable(self.id, "the server cannot be reached") from error

    def _redirected(self, url: str, target: str) -> str:
        try:
            following = check_url_key(urljoin(url, target).partition("#")[0])
        except ValueError as error:
            raise StoreError(self.id, "the server redirects to what is no URL of an object") from error
        if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
            raise StoreDenied(self.id, "the server redirects from https to http")
        return following

    def _judge(self, answer: requests.Response) -> requests.Response:
        """Return `answer` if it can be read, else raise what its status means."""
        status = answer.status_code
        if status in (200, 206, 416):
            return answer
        answer.close()
        kind: type[StoreError] = StoreError
        if status in _GONE:
            kind = ObjectNotFound
        elif status in _DENIED:
            kind = StoreDenied
        elif status in _LATER or status >= 500:
            kind = StoreUnavailable
        raise kind(self.id, f"the server answers with HTTP status {status}")

    def _place(self, answer: requests.Response, offset: int) -> tuple[int, int]:
        """Return the size of the whole object and the offset where the body of `answer` begins."""
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise StoreError(self.id, "the server encodes the object although asked not to")
        if answer.status_code == 200:
            length = answer.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise StoreError(self.id, "the server does not tell the size of the object")
            return int(length), 0
        status = answer.status_code
        told = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if told and status == 416 and int(told["size"]) <= offset:
            # Nothing lies at or behind the offset, so there is no body of the object to read.
            return int(told["size"]), int(told["size"])
        if not told or status != 206 or told["start"] is None or int(told["start"]) != offset:
            raise StoreError(self.id, f"the server answers wrongly to a range, with HTTP status {status}")
        return int(told["size"]), offset


class HttpReader(Reader):
    """An open answer, whose body begins at `offset` of the object; see `stores.base.Reader`."""

    def __init__(self, store: str, answer: requests.Response, size: int, offset: int) -> None:
        self.size = size
        self.offset = offset
        self._store = store
        self._answer = answer

    def read(self, size: int = CHUNK) -> bytes:
        """See `stores.base.Reader.read`."""
        if size < 1:
            raise ValueError(f"not a number of bytes to read: {size}")
        wanted = min(size, self.size - self.offset)
        if not wanted:
            return b""
        with self._translated():
            chunk: bytes = self._answer.raw.read(wanted, decode_content=False)
        if not chunk:
            raise StoreUnavailable(self._store, f"the server stopped after {self._progress()}")
        self.offset += len(chunk)
        return chunk

    def close(self) -> None:
        """See `stores.base.Reader.close`."""
        self._answer.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except urllib3.exceptions.TimeoutError as error:
            raise StoreUnavailable(self._store, f"the server fell silent after {self._progress()}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(self._store, f"the server broke off after {self._progress()}") from error

    def _progress(self) -> str:
        return f"{self.offset} of {self.size} bytes"
