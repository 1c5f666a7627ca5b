"""The service that the clients drive, and the image that they bring into it."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.clients.terminal import Command
from tests.e2e.cluster import Cluster

CLIENTS = [
    pytest.mark.e2e,
    pytest.mark.clients,
    pytest.mark.timeout(300),
    # What openstacksdk says about itself.
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:openstack"),
]
"""How every test here is marked."""

DATA = random.Random(11).randbytes((3 << 20) + 123)
"""Bytes that are no disk format."""

SHA512, MD5 = hashlib.sha512(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()

FORMATS = ("--disk-format", "raw", "--container-format", "bare")
"""What both commands are told of DATA."""

AS_JSON = ("-f", "json")
"""How `openstack` is told to print what programs read."""

REFUSED_URI = "http://169.254.169.254/latest/meta-data"
"""Where clouds keep the secrets of a virtual machine."""

SUFFIXES = ("", "/v2")
"""How the endpoint of an image service ends: some clients want it one way, some the other, operators write either."""


@dataclass(frozen=True)
class Job:
    """A running service, and a web server that has DATA at `uri` and nothing at `absent`."""

    cluster: Cluster
    source: str
    home: Path

    @property
    def uri(self) -> str:
        """The URL of DATA."""
        return f"{self.source}/image"

    @property
    def absent(self) -> str:
        """A URL that is answered with 404."""
        return f"{self.source}/absent"

    def endpoint(self, suffix: str) -> str:
        """Where the service is."""
        return f"{self.cluster.api.url}{suffix}"

    def glance(self, suffix: str = "", *, terminal: bool = False) -> Command:
        """The command `glance`."""
        words = ("--os-image-url", self.endpoint(suffix), "--os-auth-token", "any")
        return Command("glance", words, self.home, terminal=terminal)

    def openstack(self, suffix: str = "") -> Command:
        """The command `openstack`."""
        words = ("--os-auth-type", "none", "--os-endpoint", self.endpoint(suffix))
        return Command("openstack", words, self.home)
