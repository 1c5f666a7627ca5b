"""Which URIs and addresses pass (import-behaviour §5 [R])."""

import pytest

from flows.policy import Denied, UriPolicy, UriRules
from pipeline.errors import SourceRefused

DEFAULT = UriPolicy()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://example.com", ("http", "example.com", 80, "/")),
        ("HTTP://EXAMPLE.com/Path?Query=1#frag", ("http", "example.com", 80, "/Path?Query=1")),
        ("https://example.com./x", ("https", "example.com", 443, "/x")),
        ("https://example.com:443/x", ("https", "example.com", 443, "/x")),
        ("http://example.com?x=1", ("http", "example.com", 80, "/?x=1")),
        ("http://example.com:80@example.org/", ("http", "example.org", 80, "/")),
        ("http://8.8.8.8/", ("http", "8.8.8.8", 80, "/")),
        ("http://8.8.8.8./", ("http", "8.8.8.8", 80, "/")),
        ("http://[2606:4700:0:0::1111]/", ("http", "2606:4700::1111", 80, "/")),
        ("http://[2606:4700::1111]:443/", ("http", "2606:4700::1111", 443, "/")),
        ("http://xn--bcher-kva.example/", ("http", "xn--bcher-kva.example", 80, "/")),
        ("http://a_b.example/ü", ("http", "a_b.example", 80, "/ü")),
        ("http://1a.example/@scope", ("http", "1a.example", 80, "/@scope")),
    ],
)
def test_what_passes_is_taken_apart(uri: str, expected: tuple[str, str, int, str]) -> None:
    checked = DEFAULT.check_uri(uri)
    assert (checked.scheme, checked.host, checked.port, checked.target) == expected


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        # form
        ("", "no scheme and host"),
        ("example.com/x", "no scheme and host"),
        ("//example.com/x", "no scheme and host"),
        ("http:example.com", "no scheme and host"),
        ("http:/example.com", "no scheme and host"),
        ("http://", "no host"),
        ("http:///x", "no host"),
        ("http://:80/", "no host"),
        ("http://us:pw@/", "no host"),
        ("http://./", "not a name"),
        (" http://example.com/", "a space"),
        ("http://example.com/a b", "a space"),
        ("http://example.com/\r\nHost: x", "a space"),
        ("http://example.com/\t", "a space"),
        ("http://example.com/\x00", "control"),
        ("http://example.com/\u2028x", "a space"),
        ("http://example.com\\@10.0.0.1/", "backslash"),
        ("http://a@b@example.com/", "more than one @"),
        # scheme
        ("ftp://example.com/", "scheme ftp"),
        ("FILE:///etc/passwd", "scheme file"),
        ("gopher://example.com:80/", "scheme gopher"),
        # port
        ("http://example.com:/", "1 to 65535"),
        ("http://example.com:0/", "1 to 65535"),
        ("http://example.com:65536/", "1 to 65535"),
        ("http://example.com:999999/", "1 to 65535"),
        ("http://example.com:-1/", "1 to 65535"),
        ("http://example.com:+80/", "1 to 65535"),
        ("http://example.com:http/", "1 to 65535"),
        ("http://example.com:8\u0660/", "1 to 65535"),
        ("http://example.com:80:80/", "1 to 65535"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:8080/", "port 8080"),
        # host
        ("http://bücher.example/", "xn--"),
        ("http://１２７.0.0.1/", "xn--"),
        ("http://127。0。0。1/", "xn--"),
        ("http://exa%6dple.com/", "not a name"),
        ("http://-x.example/", "not a name"),
        ("http://a..example/", "not a name"),
        ("http://example.com../", "not a name"),
        ("http://" + "a" * 64 + ".example/", "not a name"),
        ("http://" + "a." * 130 + "example/", "not a name"),
        ("http://[::1/", "brackets"),
        ("http://[::1]x/", "brackets"),
        ("http://[example.com]/", "brackets"),
        ("http://[127.0.0.1]/", "brackets"),
        ("http://::1/", "no host"),
        ("http://[fe80::1%25eth0]/", "IPv6 scope"),
        # odd notations of 127.0.0.1
        ("http://2130706433/", "unusual notation"),
        ("http://0x7f000001/", "unusual notation"),
        ("http://0x7f.1/", "unusual notation"),
        ("http://0x7F.0.0.0X1/", "unusual notation"),
        ("http://0177.0.0.1/", "unusual notation"),
        ("http://127.1/", "unusual notation"),
        ("http://127.0.1/", "unusual notation"),
        ("http://0/", "unusual notation"),
        ("http://127.0.0.1.5/", "unusual notation"),
        ("http://127.0.0.256/", "unusual notation"),
        ("http://example.1/", "unusual notation"),
        ("http://0x/", "unusual notation"),
        # addresses
        ("http://127.0.0.1/", "a loopback"),
        ("http://127.255.255.254./", "a loopback"),
        ("http://localhost/", "a loopback"),
        ("http://LOCALHOST./", "a loopback"),
        ("http://x.localhost/", "a loopback"),
        ("http://[::1]/", "a loopback"),
        ("http://0.0.0.0/", "an unspecified"),
        ("http://[::]/", "an unspecified"),
        ("http://169.254.169.254/", "a link-local"),
        ("http://[::ffff:127.0.0.1]/", "an IPv4-mapped"),
        ("http://[::ffff:7f00:1]/", "an IPv4-mapped"),
    ],
)
def test_what_does_not_pass_says_why(uri: str, reason: str) -> None:
    with pytest.raises(Denied) as denied:
        DEFAULT.check_uri(uri)
    assert "does not pass filtering" in str(denied.value)
    assert reason in denied.value.reason
    assert denied.value.code == "uri_denied"
    assert isinstance(denied.value, SourceRefused)


@pytest.mark.parametrize(
    "ip",
    """10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 127.0.0.1 127.9.9.9 0.0.0.0 0.1.2.3
    169.254.169.254 100.64.0.1 100.127.255.255 192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255
    198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::808:808 ::ffff:8.8.8.8 ::ffff:10.0.0.1 64:ff9b::808:808 64:ff9b::7f00:1 64:ff9b:1::1
    64:ff9b:1:a00:0:100:: 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2001:2::1 2001:10::1
    2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1 3fff::1 100::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1
    ff02::1 ::ffff:0:7f00:1 4000::1 fe80::1%eth0 2606:4700::1111%1 nonsense""".split(),
)
def test_an_address_inside_is_refused(ip: str) -> None:
    with pytest.raises(Denied, match="does not pass filtering"):
        DEFAULT.check_address("mirror.example", ip)


@pytest.mark.parametrize(
    "ip",
    """8.8.8.8 1.1.1.1 172.15.255.255 172.32.0.1 100.63.255.255 100.128.0.1 192.0.1.1 198.17.255.255 198.20.0.1
    223.255.255.255 11.0.0.1 2606:4700::1111 2a00:1450::1 2002:808:808::1 2001:4860:4860::8888""".split(),
)
def test_a_public_address_passes(ip: str) -> None:
    DEFAULT.check_address("mirror.example", ip)


def test_a_refused_address_is_not_told() -> None:
    with pytest.raises(Denied) as denied:
        DEFAULT.check_address("mirror.example", "10.1.2.3")
    assert "10.1.2.3" not in str(denied.value)
    assert "a private" in str(denied.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:hunter2@example.com:22/x?sig=hunter2",
        "http://user:hunter2@10.0.0.1/#hunter2",
        "http://user:hun@ter2:hunter2@example.com/",
        "ftp://user:hunter2@example.com/",
        "http://user:/hunter2@example.com:22/",
        "http://user:?hunter2@example.com/",
        "http://user:hunter2\n@example.com/",
        "user:hunter2@example.com//x@y",
    ],
)
def test_no_refusal_shows_a_secret(uri: str) -> None:
    with pytest.raises(Denied) as denied:
        DEFAULT.check_uri(uri)
    assert "hunter2" not in str(denied.value)
    assert "\n" not in str(denied.value)


def test_credentials_are_decoded_and_not_represented() -> None:
    checked = DEFAULT.check_uri("http://us%40er:pa%2Fss@example.com/x?y=z")
    assert (checked.username, checked.password) == ("us@er", "pa/ss")
    assert "pa/ss" not in repr(checked)
    assert checked.url == "http://example.com/x?y=z"
    assert checked.label == "http://example.com/x?…"


@pytest.mark.parametrize(
    ("rules", "uri", "passes"),
    [
        (UriRules(allowed_schemes=("HTTPS",)), "https://e.com/", True),
        (UriRules(allowed_schemes=("https",)), "http://e.com/", False),
        (UriRules(allowed_schemes=(), disallowed_schemes=("http",)), "http://e.com/", False),
        (UriRules(allowed_schemes=(), disallowed_schemes=("http",)), "https://e.com/", True),
        (UriRules(allowed_schemes=("http",), disallowed_schemes=("http",)), "http://e.com/", True),
        (UriRules(allowed_ports=(443,)), "http://e.com/", False),
        (UriRules(allowed_ports=(443,)), "https://e.com/", True),
        (UriRules(allowed_ports=(), disallowed_ports=(80,)), "http://e.com/", False),
        (UriRules(allowed_ports=(), disallowed_ports=(80,)), "http://e.com:8080/", True),
        (UriRules(allowed_ports=(8080,), disallowed_ports=(8080,)), "http://e.com:8080/", True),
        (UriRules(allowed_ports=(), allowed_schemes=()), "ftp://e.com/", False),
        (UriRules(allowed_hosts=("E.com.",)), "http://e.COM/", True),
        (UriRules(allowed_hosts=("e.com",)), "http://www.e.com/", False),
        (UriRules(disallowed_hosts=("E.com.",)), "http://e.com./", False),
        (UriRules(disallowed_hosts=("e.com",)), "http://www.e.com/", True),
        (UriRules(allowed_hosts=("e.com",), disallowed_hosts=("e.com",)), "http://e.com/", True),
        (UriRules(allowed_hosts=("127.0.0.1",)), "http://127.0.0.1/", True),
        (UriRules(allowed_hosts=("localhost",)), "http://localhost/", True),
        (UriRules(allowed_hosts=("[::1]",)), "http://[0:0::1]/", True),
        (UriRules(disallowed_hosts=("8.8.8.8",)), "http://8.8.8.8/", False),
        (UriRules(allowed_networks=("127.0.0.0/8",)), "http://127.0.0.1/", True),
        (UriRules(allowed_networks=("127.0.0.0/8",)), "http://localhost/", True),
        (UriRules(allowed_networks=("10.0.0.0/8",)), "http://127.0.0.1/", False),
        (UriRules(allowed_networks=("::1/128",)), "http://[::1]/", True),
        (UriRules(allowed_networks=("127.0.0.0/8",)), "http://[::ffff:127.0.0.1]/", False),
        (UriRules(allowed_networks=("64:ff9b::/96",)), "http://[64:ff9b::808:808]/", True),
        (UriRules(allowed_networks=("64:ff9b::/96",)), "http://[64:ff9b::7f00:1]/", False),
        (UriRules(allowed_networks=("64:ff9b:1::/48",)), "http://[64:ff9b:1:808:8:800::]/", True),
        (UriRules(allowed_networks=("64:ff9b:1::/48",)), "http://[64:ff9b:1:a00:0:100::]/", False),
        (UriRules(allowed_networks=("10.0.0.0/8",)), "http://10.0.0.1:22/", False),
    ],
)
def test_the_operators_lists(rules: UriRules, uri: str, passes: bool) -> None:
    policy = UriPolicy(rules)
    if passes:
        policy.check_uri(uri)
    else:
        with pytest.raises(Denied):
            policy.check_uri(uri)


def test_a_name_that_leads_to_a_denied_address_is_refused_too() -> None:
    policy = UriPolicy(UriRules(disallowed_hosts=("8.8.8.8",)))
    policy.check_uri("http://dns.example/")
    with pytest.raises(Denied, match="not allowed"):
        policy.check_address("dns.example", "8.8.8.8")


def test_a_host_allowed_by_name_may_lead_inside() -> None:
    policy = UriPolicy(UriRules(allowed_hosts=("mirror.internal",)))
    policy.check_address("Mirror.internal.", "10.0.0.1")
    with pytest.raises(Denied):
        policy.check_address("other.internal", "10.0.0.1")


def test_a_network_that_is_none_is_found_when_the_policy_is_made() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/33"):
        UriPolicy(UriRules(allowed_networks=("10.0.0.0/33",)))
