"""Hosts and ports as URLs name them."""

import ipaddress

DEFAULT_URL = "http://127.0.0.1:9292"
"""Where a service is that nobody told to be elsewhere."""


def url(host: str, port: int) -> str:
    """`http://H:P`; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
