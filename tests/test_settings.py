"""The settings: a glance-api.conf is understood, and what makes no sense is one sentence with the option."""

from collections.abc import Callable
from pathlib import Path

import pytest

from settings import BadSettings, Settings, load

Load = Callable[[str], Settings]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Loads the settings from the text of one file."""

    def from_text(text: str) -> Settings:
        path = tmp_path / "glance-api.conf"
        path.write_text(text)
        return load([str(path)], data=str(tmp_path / "data"))

    return from_text


@pytest.mark.parametrize(
    "text",
    ["[glance-direct,web-download,copy-image]", "glance-direct, web-download", "['glance-direct', \"web-download\"]"],
)
def test_methods_in_glances_brackets(read: Load, text: str) -> None:
    """Given a list as Glance insists on writing it, when it is read, then what is offered here is found in it."""
    assert read(f"[DEFAULT]\nenabled_import_methods = {text}\n").imports.methods == ("web-download",)


def test_filter_in_glances_brackets(read: Load) -> None:
    """Given Glance's URI filter, when it is read, then no bracket hides a host or a port from it."""
    rules = read(
        "[import_filtering_opts]\n"
        "allowed_schemes = [https]\n"
        'disallowed_hosts = ["metadata.example.org", 10.1.2.3,::1]\n'
        "allowed_ports = [443,8443]\n"
        "disallowed_ports = []\n"
    ).uris
    assert rules.allowed_schemes == ("https",)
    assert rules.disallowed_hosts == ("metadata.example.org", "10.1.2.3", "::1")
    assert (rules.allowed_ports, rules.disallowed_ports) == ((443, 8443), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tranship]\nlease_ttl = ten\n", "lease_ttl"),
        ("[DEFAULT]\nhashing_algorithm = crc\n", "hashing_algorithm"),
        ("[import_filtering_opts]\nallowed_ports = [http]\n", "allowed_ports"),
        ("[tranship]\nallowed_networks = 10.0.0.1/8\n", "allowed_networks"),
        ("[tranship]\nlease_keeper = redis\n", "redis_url"),
        ("no section = 1\n", "Failed to parse"),
    ],
)
def test_nonsense_names_its_option(read: Load, text: str, said: str) -> None:
    """Given a value that makes no sense, when it is read, then the sentence names the option and shows no insides."""
    with pytest.raises(BadSettings) as caught:
        read(text)
    assert said in str(caught.value)
    assert "LocationInfo" not in str(caught.value)
