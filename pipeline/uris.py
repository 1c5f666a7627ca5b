"""What the pipeline needs to know about URIs: what a guard answers, and how to name one without its secrets."""

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_USERINFO = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class CheckedUri:
    """A URI that a guard let pass, in parts that leave nothing to interpret.

    `host` is lower-case, without trailing dot and without brackets; `port` is never implied; `target` is path and
    query as given; `username` and `password` are percent-decoded and never shown.
    """

    scheme: str
    host: str
    port: int
    target: str = "/"
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must stay the same for credentials to travel along a redirect."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """The URI to request: without userinfo and fragment, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

    @property
    def label(self) -> str:
        """The URI to show: a query is a secret as often as not (signed links), so it is only hinted at."""
        path, query, _ = self.url.partition("?")
        return shown(path) + ("?…" if query else "")


class UriGuard(Protocol):
    """Says which URIs and addresses may be fetched. Pure: asks no name server and opens no socket."""

    def check_uri(self, uri: str) -> CheckedUri:
        """Parse and judge `uri`. Raises `SourceRefused` with the whole sentence, and the bare why in `reason`."""

    def check_address(self, host: str, ip: str) -> None:
        """Judge one address that `host` (of a checked URI) leads to. Raises `SourceRefused` as `check_uri` does."""


def mask(uri: str) -> str:
    """Return a text for a URI that may be malformed: whatever could be userinfo or a query is not in it."""
    masked = _USERINFO.sub(lambda found: f"{found[1] or ''}***@", uri)
    path, query, _ = masked.partition("?")
    return shown(path.partition("#")[0]) + ("?…" if query else "")


def shown(text: str) -> str:
    """Return a foreign text fit for a message: printable, and not much of it."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= _SHOWN else clean[:_SHOWN] + "…"
