"""The URL that a client has used, as a proxy in front of us tells it: only proxies that are configured are believed.

Each proxy appends what it has seen to the header that it got, so what stands last was said by the one that connects to
us. Of a chain of trusted proxies the outermost counts; whatever stands before that, anybody may have written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import falcon

from api.options import Network

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:(?P<port>\d{1,5}))?", re.ASCII)
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_NODE = re.compile(r'"?\[?(?P<address>[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|[0-9.]+)\]?(:\d+)?"?')
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class _Said:
    """What the proxies say of the client's URL; empty where they say nothing."""

    scheme: str = ""
    host: str = ""
    port: str = ""
    prefix: str = ""


class Proxies:
    """Middleware: lets links begin as the client's URL does. Must come before whatever looks at the URL."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Put scheme, host and prefix of the client's URL where a server would have put them."""
        if not self._trusts(req.env.get("REMOTE_ADDR", "")):
            return
        said = self._by_x_headers(req) or self._by_forwarded(req) or _Said()
        if said.scheme in _DEFAULT_PORTS:
            req.env["wsgi.url_scheme"] = said.scheme
        host = _with_port(said.host or req.env.get("HTTP_HOST", ""), said.port, req.env["wsgi.url_scheme"])
        if host and (said.host or said.port):
            req.env["HTTP_HOST"] = host
        if _PREFIX.fullmatch(said.prefix):
            req.env["SCRIPT_NAME"] = said.prefix.rstrip("/")

    def _by_x_headers(self, req: falcon.Request) -> _Said | None:
        """What `X-Forwarded-*` says, None where that is nothing."""
        hops = self._hops(_items(req, "X-Forwarded-For"))
        words = ("Proto", "Host", "Port", "Prefix")
        scheme, host, port, prefix = (_outermost(_items(req, f"X-Forwarded-{word}"), hops) for word in words)
        return _Said(scheme.lower(), host, port, prefix) if scheme or host or port or prefix else None

    def _by_forwarded(self, req: falcon.Request) -> _Said | None:
        """What `Forwarded` says (RFC 7239), None where that is nothing."""
        elements = req.forwarded or []
        hops = self._hops([element.src or "" for element in elements])
        if not elements:
            return None
        outermost = elements[-min(hops, len(elements))]
        return _Said(outermost.scheme or "", outermost.host or "")

    def _hops(self, clients: Sequence[str]) -> int:
        """How many proxies may be believed, given whom each of them has seen before it: the next one, or a client."""
        hops = 1
        for client in reversed(clients):
            if not self._trusts(client):
                break
            hops += 1
        return hops

    def _trusts(self, node: str) -> bool:
        found = _NODE.fullmatch(node)
        try:
            address = ip_address(found["address"] if found else node)
        except ValueError:
            return False
        # How a socket that serves both families names a peer of the old one.
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._trusted)


def _items(req: falcon.Request, name: str) -> list[str]:
    return [item.strip() for item in (req.get_header(name) or "").split(",") if item.strip()]


def _outermost(items: Sequence[str], hops: int) -> str:
    return items[-min(hops, len(items))] if items else ""


def _with_port(host: str, port: str, scheme: str) -> str:
    """`host:port`, without a port that goes without saying; empty for what is no host."""
    found = _HOST.fullmatch(host)
    if found is None or not _is_port(found["port"] or "1"):
        return ""
    port = found["port"] or (port if _is_port(port) else "")
    name: str = found["name"]
    return name if port in ("", _DEFAULT_PORTS[scheme]) else f"{name}:{port}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 1 << 16
