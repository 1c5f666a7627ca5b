"""The service as its client commands see it: HTTP in, dictionaries out, and one sentence for whatever goes wrong."""

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import requests

from cli.address import DEFAULT_URL, is_loopback
from cli.errors import Answered, ClientError, NoAnswer, Refused

CHUNK = 1 << 20

UPLOAD_PATIENCE = 600.0
"""Seconds for which a service may take nothing of an upload, or keep us waiting after its last byte: stores sync."""

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_NAMESAKES = 10
"""How many images of one name are told apart."""

Json = dict[str, Any]


class Client:
    """The service at `url`, with or without `/v2` at its end. Raises `ClientError`, and `Refused` for no such address.

    `http://user:password@host` is how a service with passwords is asked, `token` what one with a Keystone wants. The
    password is not in `url` afterwards, so that nothing shows it.
    """

    def __init__(self, url: str, *, token: str = "", timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise Refused(f"{url} is no address of a service; it looks like http://127.0.0.1:9292")
        self.url = _base(url)
        self._shown = _shown(url)
        self._timeout = timeout
        self._session = requests.Session()
        if parts.username is not None:
            # The bytes of UTF-8, in the disguise in which they pass through requests.
            user, password = (
                unquote_to_bytes(word or "").decode("latin-1") for word in (parts.username, parts.password)
            )
            self._session.auth = (user, password)
        if token:
            self._session.headers["X-Auth-Token"] = token
        # A proxy cannot reach what listens on this machine only.
        self._session.trust_env = not is_loopback(urlsplit(self.url).hostname or "")
        self._session.headers["Accept"] = "application/json"

    def typed(self, command: str) -> str:
        """What to type for a client command to the same service, in the same environment; `…` stands for a password."""
        unsaid = _shown(os.environ.get("TRANSHIP_URL") or DEFAULT_URL)
        where = "" if self._shown == unsaid else f" --url {self._shown}"
        return f"tranship {command}{where}"

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()

    def create_image(self, attributes: Json) -> Json:
        """Make an image that has no data yet."""
        return self._json("POST", "/v2/images", attributes)

    def start_import(self, image_id: str, body: Json) -> None:
        """Ask for an import of any method; it is on record when this returns."""
        self._ask("POST", f"{_image(image_id)}/import", json=body)

    def stage(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> None:
        """Upload data to be imported later. `size` announces how many bytes come; None is a body in chunks.

        What `chunks` raises passes through, and the connection is closed on what was sent.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if size is not None:
            headers["x-openstack-image-size"] = str(size)
        self._ask("PUT", f"{_image(image_id)}/stage", UPLOAD_PATIENCE, data=_Body(chunks, size), headers=headers)

    def progress(self, image_id: str) -> Json:
        """How far the image's newest import is."""
        return self._json("GET", f"{_image(image_id)}/import")

    def cancel(self, image_id: str) -> None:
        """Ask the running import to stop."""
        self._ask("DELETE", f"{_image(image_id)}/import")

    def image(self, image_id: str) -> Json:
        """All attributes of an image."""
        return self._json("GET", _image(image_id))

    def images(self, limit: int, **filters: str | None) -> Iterator[Json]:
        """At most `limit` images, newest first, page after page."""
        page = self._json("GET", "/v2/images", params={"limit": limit} | filters)
        while True:
            yield from page["images"][:limit]
            limit -= len(page["images"])
            if limit <= 0 or not page.get("next"):
                return
            page = self._json("GET", page["next"])

    def find(self, image: str) -> str:
        """The id of an image that is named by its id, or by a name that no other has which may be listed."""
        if not image:
            raise Refused("an image is named by its id or its name")
        if _ID.fullmatch(image):
            return image
        found = [one["id"] for one in self.images(_NAMESAKES, name=f"eq:{image}")]
        if not found:
            raise ClientError(f"{self.url} has no image of the name or id {image}")
        if len(found) > 1:
            more = ", …" if len(found) == _NAMESAKES else ""
            raise ClientError(f"several images have the name {image}; say which by its id: {', '.join(found)}{more}")
        return str(found[0])

    def tasks(self, image_id: str) -> list[Json]:
        """The image's tasks, oldest first."""
        found: list[Json] = self._json("GET", f"{_image(image_id)}/tasks")["tasks"]
        return found

    def stores(self) -> list[Json]:
        """The configured stores."""
        found: list[Json] = self._json("GET", "/v2/info/stores")["stores"]
        return found

    def delete(self, image_id: str) -> None:
        """Delete an image and its data."""
        self._ask("DELETE", _image(image_id))

    def delete_from_store(self, image_id: str, store: str) -> None:
        """Delete an image's data from one store."""
        self._ask("DELETE", f"/v2/stores/{quote(store, safe='')}/{quote(image_id, safe='')}")

    def data(self, image_id: str, *, prefer: str | None = None) -> Iterator[bytes]:
        """The image's data in chunks, the first of which is waited for here. An answer cut short raises `NoAnswer`.

        The service reads it from the store `prefer` if it can.
        """
        answer = self._ask("GET", f"{_image(image_id)}/file", stream=True, params={"prefer": prefer})
        return self._chunks(answer)

    def _chunks(self, answer: requests.Response) -> Iterator[bytes]:
        try:
            with answer:
                yield from answer.iter_content(CHUNK)
        except requests.RequestException as error:
            raise NoAnswer(f"{self.url} broke off in the middle of the data: {_cause(error)}") from error

    def _json(self, method: str, path: str, body: Json | None = None, params: Json | None = None) -> Json:
        answer = self._ask(method, path, json=body, params=params)
        try:
            found: Json = answer.json()
        except ValueError as error:
            raise ClientError(f"{self.url}{path} answered {answer.status_code}, but not with JSON") from error
        return found

    def _ask(self, method: str, path: str, timeout: float | None = None, **options: Any) -> requests.Response:
        timeout = timeout or self._timeout
        try:
            answer = self._session.request(method, self.url + path, timeout=timeout, **options)
        except requests.ConnectionError as error:
            raise NoAnswer(f"{self.url} does not answer: {_cause(error)}") from error
        except requests.Timeout as error:
            raise NoAnswer(f"{self.url} did not answer within {timeout:g} s") from error
        except requests.RequestException as error:
            raise ClientError(f"{self.url}: {error}") from error
        if not answer.ok:
            with answer:
                said = f"{self.url} answered {answer.status_code} {answer.reason}"
                raise Answered(f"{said}: {_message(answer)}".removesuffix(": "), answer.status_code)
        return answer


class _Body:
    """Chunks with a length, which requests announces; without one it sends them as they come (RFC 9112 §7.1)."""

    def __init__(self, chunks: Iterable[bytes], size: int | None) -> None:
        self._chunks = chunks
        if size is not None:
            self.len = size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


def _base(url: str) -> str:
    """The address without the version, and without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/").removesuffix("/v2")


def _shown(url: str) -> str:
    """The address without the version, with the user, and with `…` for the password."""
    user, base = urlsplit(url).username, _base(url)
    return base if user is None else base.replace("://", f"://{user}:…@", 1)


def _image(image_id: str) -> str:
    return f"/v2/images/{quote(image_id, safe='')}"


def _message(answer: requests.Response) -> str:
    """What the service says; empty if it is not its answer."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _cause(error: requests.RequestException) -> str:
    """The words of the system error at the bottom, which requests wraps in its own several times."""
    cause: BaseException = error
    while (inner := getattr(cause, "reason", None) or cause.__cause__ or cause.__context__) is not None:
        if not isinstance(inner, BaseException):
            break
        cause = inner
    return getattr(cause, "strerror", None) or str(cause)
