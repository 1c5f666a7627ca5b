"""May this be imported from there? Pure answers over values: no name server, no socket, no database.

The URI rules are import-behaviour §5 [R]. Names and the per-level precedence are Glance's (`import_filtering_opts`):
an allow list that is not empty wins over the deny list of its level. Where Glance compares text, this also judges
the address that the text leads to.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeVar
from urllib.parse import unquote

from pipeline.errors import SourceRefused
from pipeline.uris import DEFAULT_PORTS, CheckedUri, mask

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
T = TypeVar("T")

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBERISH = re.compile(r"[0-9]+|0x[0-9a-f]*")

# What no import should reach unless the operator says so (IANA special-purpose registries, read 2026).
# An own table, because what `ipaddress` calls private differs between patch releases of Python.
_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "an unspecified"),
        ("10.0.0.0/8", "a private"),
        ("100.64.0.0/10", "a shared (carrier)"),
        ("127.0.0.0/8", "a loopback"),
        ("169.254.0.0/16", "a link-local"),
        ("172.16.0.0/12", "a private"),
        ("192.0.0.0/24", "a reserved"),
        ("192.0.2.0/24", "a documentation"),
        ("192.88.99.0/24", "a reserved"),
        ("192.168.0.0/16", "a private"),
        ("198.18.0.0/15", "a benchmark"),
        ("198.51.100.0/24", "a documentation"),
        ("203.0.113.0/24", "a documentation"),
        ("224.0.0.0/4", "a multicast"),
        ("240.0.0.0/4", "a reserved"),
        ("::/128", "an unspecified"),
        ("::1/128", "a loopback"),
        ("::/96", "an IPv4-compatible"),
        ("::ffff:0:0/96", "an IPv4-mapped"),
        ("64:ff9b::/96", "a NAT64"),
        ("64:ff9b:1::/48", "a NAT64"),
        ("2001::/32", "a Teredo"),
        ("2001::/23", "a reserved"),
        ("2001:db8::/32", "a documentation"),
        ("3fff::/20", "a documentation"),
        ("fc00::/7", "a private (unique local)"),
        ("fe80::/10", "a link-local"),
        ("fec0::/10", "a site-local"),
        ("ff00::/8", "a multicast"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_LAST_32_BITS: Final = tuple(IPv6Network(n) for n in ("::/96", "::ffff:0:0/96", "64:ff9b::/96"))
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_LOOPBACK = IPv4Address("127.0.0.1")


class Denied(SourceRefused):
    """Policy says no. The text names the rule; `reason` is the same without the URI."""

    code = "uri_denied"


@dataclass(frozen=True)
class UriRules:
    """What the operator configured: Glance's six lists, and `allowed_networks`.

    `allowed_networks` holds CIDRs that may be reached although they are private, loopback or otherwise special.
    A host named in `allowed_hosts` may lead to any address, since the operator vouches for it by name.
    """

    allowed_schemes: tuple[str, ...] = ("http", "https")
    disallowed_schemes: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    disallowed_hosts: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = (80, 443)
    disallowed_ports: tuple[int, ...] = ()
    allowed_networks: tuple[str, ...] = ()

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """`allowed_networks`, parsed. Raises `ValueError` for a text that is no CIDR."""
        return tuple(ip_network(text) for text in self.allowed_networks)


@dataclass(frozen=True)
class UriPolicy:
    """The `UriGuard` over `UriRules`. Raises `ValueError` when made from rules that make no sense."""

    rules: UriRules = field(default_factory=UriRules)

    def __post_init__(self) -> None:
        _ = self.rules.networks  # a bad CIDR is found at start, not at the first import

    def check_uri(self, uri: str) -> CheckedUri:
        """Parse and judge `uri`: form, scheme, port, host, and the address if the host is one. Raises `Denied`."""
        try:
            return self._judge(uri)
        except _Refusal as no:
            raise Denied(f"URI {mask(uri)} does not pass filtering: {no}", str(no)) from None

    def check_address(self, host: str, ip: str) -> None:
        """Judge one address (text, as the resolver gave it) that `host` leads to. Raises `Denied`.

        The refusal names the kind of address and not the address: what a name means inside is nobody's business.
        """
        try:
            self._judge_address(_normal(host), _address(ip))
        except _Refusal as no:
            raise Denied(f"Host {mask(host)} does not pass filtering: {no}", str(no)) from None

    def _judge(self, uri: str) -> CheckedUri:
        if any(c.isspace() or not c.isprintable() or c == "\\" for c in uri):
            raise _Refusal("it holds a space, a control character or a backslash")
        match = _URI.fullmatch(uri)
        if match is None:
            raise _Refusal("it has no scheme and host")
        scheme = match["scheme"].lower()
        if not _passes(scheme, _lower(self.rules.allowed_schemes), _lower(self.rules.disallowed_schemes)):
            raise _Refusal(f"scheme {scheme} is not allowed")
        userinfo, at, hostport = match["authority"].rpartition("@")
        if "@" in userinfo:
            raise _Refusal("it holds more than one @ before the path")
        host_text, port_text = _split(hostport)
        host, port = _host(host_text), _port(port_text, scheme)
        if not _passes(port, self.rules.allowed_ports, self.rules.disallowed_ports):
            raise _Refusal(f"port {port} is not allowed")
        if not _passes(host, self._hosts(self.rules.allowed_hosts), self._hosts(self.rules.disallowed_hosts)):
            raise _Refusal(f"host {host} is not allowed")
        self._judge_host(host)
        user, colon, password = userinfo.partition(":")
        target = match["target"] if match["target"].startswith("/") else "/" + match["target"]
        return CheckedUri(
            scheme, host, port, target, unquote(user) if at else None, unquote(password) if colon else None
        )

    def _judge_host(self, host: str) -> None:
        literal = _literal(host)
        if literal is not None:
            self._judge_address(host, literal)
        elif host == "localhost" or host.endswith(".localhost"):
            self._judge_address(host, _LOOPBACK)

    def _judge_address(self, host: str, address: Address) -> None:
        if host in self._hosts(self.rules.allowed_hosts):
            return
        denied = () if self.rules.allowed_hosts else self._hosts(self.rules.disallowed_hosts)
        for form in _forms(address):
            if str(form) in denied:
                raise _Refusal("its host leads to an address that is not allowed")
            kind = _kind(form)
            if kind and not self._permitted(form):
                raise _Refusal(f"its host leads to {kind} address")

    def _permitted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.rules.networks)

    @staticmethod
    def _hosts(names: Iterable[str]) -> frozenset[str]:
        return frozenset(_normal(name) for name in names)


class _Refusal(Exception):
    """The bare reason; `check_uri` and `check_address` make the sentence."""


def _passes(value: T, allowed: Iterable[T], disallowed: Iterable[T]) -> bool:
    """The rule of every level: an allow list that is not empty decides alone."""
    allowed = tuple(allowed)
    return value in allowed if allowed else value not in tuple(disallowed)


def _lower(names: Iterable[str]) -> list[str]:
    return [name.lower() for name in names]


def _normal(host: str) -> str:
    """One spelling per host: lower case, no brackets, no trailing dot, an address in its shortest form."""
    name = host.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _split(hostport: str) -> tuple[str, str | None]:
    """Split an authority without userinfo into host (an IPv6 one still in brackets) and port text, if any."""
    if hostport.startswith("["):
        host, bracket, rest = hostport.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _Refusal("its host is no address in brackets")
        return host + bracket, rest[1:] if rest else None
    host, colon, port = hostport.partition(":")
    return host, port if colon else None


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        if scheme not in DEFAULT_PORTS:
            raise _Refusal("it has no port")
        return DEFAULT_PORTS[scheme]
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise _Refusal("its port is not a number from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    """Return the one spelling of a host, or refuse what two parsers could read differently."""
    if not text:
        raise _Refusal("it has no host")
    if not text.isascii():
        raise _Refusal("its host is not ASCII: write an international name in its xn-- form")
    if text.startswith("["):
        if "%" in text:
            raise _Refusal("its host has an IPv6 scope")
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise _Refusal("its host is no address in brackets") from None
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBERISH.fullmatch(labels[-1]):
        # The system's resolver would read 2130706433, 0x7f.1 and 127.1 as 127.0.0.1; nobody needs that.
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise _Refusal("its host is an IPv4 address in an unusual notation") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _Refusal("its host is not a name")
    return name


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _address(ip: str) -> Address:
    if "%" in ip:
        raise _Refusal("its host leads to an address with an IPv6 scope")
    try:
        return ip_address(ip)
    except ValueError:
        raise _Refusal("its host leads to no address") from None


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that a gateway would make of it, if any. Each must be fit to be reached."""
    if isinstance(address, IPv4Address):
        return (address,)
    value = int(address)
    if value > 1 and any(address in network for network in _LAST_32_BITS):
        return address, IPv4Address(value & 0xFFFFFFFF)
    if address in _NAT64_LOCAL:
        # RFC 6052, a /48 prefix: the IPv4 bits lie around the byte 64 to 71, which is zero.
        return address, IPv4Address((value >> 64 & 0xFFFF) << 16 | value >> 40 & 0xFFFF)
    if address in _SIX_TO_FOUR:
        return address, IPv4Address(value >> 80 & 0xFFFFFFFF)
    return (address,)


def _kind(address: Address) -> str | None:
    """What makes an address one that only an operator may open, or None for an ordinary public one."""
    for network, kind in _SPECIAL:
        if address.version == network.version and address in network:
            return kind
    return "a reserved" if isinstance(address, IPv6Address) and address not in _GLOBAL_V6 else None
