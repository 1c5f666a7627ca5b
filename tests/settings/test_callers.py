"""Who may ask, through which proxies and from which web pages."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

import settings
from api.options import CorsOptions
from option_files import BadSettings
from settings import Settings

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


def test_rules_of_our_own_beside_the_configuration(load: Load, tmp_path: Path) -> None:
    """Given files that are named without a directory, then they lie where the configuration does; `policy.yaml` is
    found there without being named, as Glance does it.
    """
    (tmp_path / "rules.json").touch()
    (tmp_path / "protections.conf").touch()
    named = load(
        "[DEFAULT]\nproperty_protection_file = protections.conf\nproperty_protection_rule_format = policies\n"
        "[oslo_policy]\npolicy_file = rules.json\n"
    ).api
    assert (named.policy_file, named.property_protection_file, named.property_protection_rule_format) == (
        str(tmp_path / "rules.json"),
        str(tmp_path / "protections.conf"),
        "policies",
    )
    assert load(f"[oslo_policy]\npolicy_file = {tmp_path}/rules.json\n").api.policy_file == str(tmp_path / "rules.json")
    assert (load("").api.policy_file, load("").api.property_protection_file) == ("", "")
    (tmp_path / "policy.yaml").touch()
    assert load("").api.policy_file == str(tmp_path / "policy.yaml")


def test_without_a_configuration_no_policy_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.yaml").touch()
    monkeypatch.chdir(tmp_path)

    assert settings.load([], data=str(tmp_path)).api.policy_file == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[oslo_policy]\npolicy_file = gone.yaml\n", r"\[oslo_policy\] policy_file: there is no file gone.yaml"),
        ("[oslo_policy]\npolicy_dirs = policy.d\n", r"\[oslo_policy\] policy_dirs is not read"),
        ("[DEFAULT]\nproperty_protection_file = /gone\n", r"\[DEFAULT\] property_protection_file: there is no file"),
        ("[DEFAULT]\nproperty_protection_rule_format = users\n", r"\[DEFAULT\] property_protection_rule_format"),
        ("[tranship]\nauth_strategy = ldap\n", r"\[tranship\] auth_strategy"),
        ("[tranship]\ntrusted_proxies = proxy.example.org\n", r"\[tranship\] trusted_proxies.*proxy\.example\.org"),
        ("[tranship]\ntrusted_proxies = 10.1.2.3/8\n", r"\[tranship\] trusted_proxies.*host bits"),
        ("[oslo_middleware]\nenable_proxy_headers_parsing = true\n", r"\[tranship\] trusted_proxies must name"),
        ("[cors]\nmax_age = -1\n", r"\[cors\] max_age"),
        # What no browser ever sends, and what no client could follow.
        ("[cors]\nallowed_origin = *, horizon.test\n", r"\[cors\] allowed_origin.*'horizon.test' is nothing like"),
        ("[cors]\nallowed_origin = https://horizon.test/\n", r"\[cors\] allowed_origin.*is nothing like"),
        ("[DEFAULT]\npublic_endpoint = cloud.test/image\n", r"\[DEFAULT\] public_endpoint.*is nothing like"),
    ],
)
def test_what_makes_no_sense(load: Load, text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        load(text)
