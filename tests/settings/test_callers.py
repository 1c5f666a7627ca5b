"""Who may ask, through which proxies and from which web pages."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from api.options import CorsOptions
from settings import BadSettings, Settings

Load = Callable[[str], Settings]


def test_by_default_nobody_is_asked_and_nobody_believed(load: Load) -> None:
    got = load("").api
    assert (got.auth_strategy, got.allow_anonymous_access, got.proxies) == ("none", False, ())
    assert got.cors == CorsOptions()
    assert got.cors.allowed_origin == ()


def test_a_glance_api_conf(load: Load) -> None:
    """Given what operators of Glance write, then it is understood, and the headers of CORS keep Glance's defaults."""
    got = load(
        "[DEFAULT]\nallow_anonymous_access = true\n"
        "[cors]\nallowed_origin = https://horizon.test,https://other.test:8443\nmax_age = 60\n"
        "allow_credentials = false\n"
        "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"
        "[tranship]\ntrusted_proxies = 10.0.0.0/8, fd00::/8, 192.0.2.1\n"
        "[keystone_authtoken]\npassword = not-for-us\n"
    ).api
    assert got.allow_anonymous_access
    assert got.cors.allowed_origin == ("https://horizon.test", "https://other.test:8443")
    assert (got.cors.max_age, got.cors.allow_credentials) == (60, False)
    assert {"X-Auth-Token", "Content-MD5", "X-OpenStack-Request-ID"} <= set(got.cors.allow_headers)
    assert set(got.cors.allow_methods) == {"GET", "PUT", "POST", "DELETE", "PATCH"}
    assert got.proxies == tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32")))
    assert "not-for-us" not in repr(got)


def test_lists_may_be_replaced(load: Load) -> None:
    got = load("[cors]\nallow_methods = GET\nallow_headers = X-A, X-B\nexpose_headers =\n").api.cors
    assert (got.allow_methods, got.allow_headers, got.expose_headers) == (("GET",), ("X-A", "X-B"), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tranship]\nauth_strategy = ldap\n", r"\[tranship\] auth_strategy"),
        ("[tranship]\ntrusted_proxies = proxy.example.org\n", r"\[tranship\] trusted_proxies.*proxy\.example\.org"),
        ("[tranship]\ntrusted_proxies = 10.1.2.3/8\n", r"\[tranship\] trusted_proxies.*host bits"),
        ("[oslo_middleware]\nenable_proxy_headers_parsing = true\n", r"\[tranship\] trusted_proxies must name"),
        ("[cors]\nmax_age = -1\n", r"\[cors\] max_age"),
    ],
)
def test_what_makes_no_sense(load: Load, text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        load(text)
