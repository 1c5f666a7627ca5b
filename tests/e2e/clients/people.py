"""People with passwords, and how each client is told of them: by HTTP Basic, or by a Keystone."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from openstack.image.v2._proxy import Proxy

from api.users import entry
from flows.limits import NAMES
from tests.e2e.clients.job import SUFFIXES
from tests.e2e.clients.terminal import Command, connected
from tests.e2e.cluster import STORES, Cluster, running
from tests.servers import KeystoneServer

Sections = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Person:
    """Somebody with a password, and one role on one project."""

    name: str
    project: str
    role: str
    password: str = "swordfish"


ADMIN = Person("root", "ops", "admin")
ANN = Person("ann", "west", "member")
RITA = Person("rita", "west", "reader")
BOB = Person("bob", "east", "member")
PIA = Person("pia", "gallery", "member")
"""Who has many images."""
PEOPLE = (ADMIN, ANN, RITA, BOB, PIA)

MOST_IMAGES = 300
MOST_MIB = 20
"""What a project may have."""

STRANGER = Person("ann", "west", "member", password="guess")
"""Somebody who knows Ann's name only."""


class World(ABC):
    """A service that asks who its callers are, and what a client needs to be told to be somebody there."""

    refusal: ClassVar[str]
    """What is said to somebody with a wrong password: by the service itself, or by its Keystone."""

    has_tokens: ClassVar[bool]
    """Whether clients get a token, which tells them of their project."""

    home = Path()
    """That of whoever types a command."""

    def __init__(self, cluster: Cluster, source: str) -> None:
        self.cluster = cluster
        self.uri = f"{source}/image"
        self.absent = f"{source}/absent"

    @abstractmethod
    def glance(self, who: Person, suffix: str = "") -> Command:
        """The command `glance`, at a terminal."""

    @abstractmethod
    def openstack(self, who: Person, suffix: str = "") -> Command:
        """The command `openstack`, at a terminal."""

    @abstractmethod
    def credentials(self, who: Person, suffix: str = "") -> dict[str, Any]:
        """What `openstack.connect` takes."""

    @abstractmethod
    def project(self, who: Person) -> str:
        """The id of somebody's project."""

    def succeeded(self, image_id: str) -> str:
        """Wait for the newest import of an image, which must succeed; what it says of itself."""
        task = self.cluster.ended(image_id)
        assert task["status"] == "success", (task, self.cluster.trouble())
        return str(task["message"])

    @abstractmethod
    def headers(self, who: Person) -> dict[str, str]:
        """What shows the service who somebody is."""

    def by(self, who: Person) -> Cluster:
        """The service, driven by somebody without any client."""
        return replace(self.cluster, headers=self.headers(who))

    def own(self, who: Person, stores: Sequence[str] = STORES[:1], **more: Any) -> str:
        """An image with DATA, which somebody has imported; its id."""
        owner = self.by(who)
        image_id = owner.create(**more)
        owner.web_download(image_id, self.uri, stores)
        self.succeeded(image_id)
        return image_id

    def clear(self) -> None:
        """Delete every image, protected or not."""
        while images := self.cluster.call("GET", "/v2/images?limit=1000", 200).json()["images"]:
            for image in images:
                self._delete(f"/v2/images/{image['id']}", image["protected"])

    def _delete(self, path: str, protected: bool) -> None:
        if protected:
            headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
            change = [{"op": "replace", "path": "/protected", "value": False}]
            self.cluster.call("PATCH", path, 200, json=change, headers=headers)
        self.cluster.call("DELETE", path, 204)

    @contextmanager
    def sdk(self, who: Person, suffix: str = "") -> Iterator[Proxy]:
        """The image service as openstacksdk gives it to a program."""
        with connected(self.credentials(who, suffix)) as image:
            yield image


class BasicWorld(World):
    """Users and passwords in a file."""

    refusal = "The user or the password is wrong."
    has_tokens = False

    def glance(self, who: Person, suffix: str = "") -> Command:
        """It knows no users but Keystone's; those of a URL, its HTTP library knows. The token it insists on."""
        url = self.cluster.api.url.replace("://", f"://{who.name}:{who.password}@") + suffix
        return Command("glance", ("--os-image-url", url, "--os-auth-token", "any"), self.home)

    def openstack(self, who: Person, suffix: str = "") -> Command:
        words = ("--os-auth-type", "http_basic", "--os-endpoint", self.cluster.api.url + suffix)
        return Command("openstack", (*words, "--os-username", who.name, "--os-password", who.password), self.home)

    def credentials(self, who: Person, suffix: str = "") -> dict[str, Any]:
        where = self.cluster.api.url + suffix
        return {"auth_type": "http_basic", "endpoint": where, "username": who.name, "password": who.password}

    def project(self, who: Person) -> str:
        return who.project

    def headers(self, who: Person) -> dict[str, str]:
        given = base64.b64encode(f"{who.name}:{who.password}".encode()).decode()
        return {"Authorization": f"Basic {given}"}


@dataclass
class KeystoneWords:
    """What clients say to Keystone, under the names of openstacksdk; its commands have the same as options."""

    auth_url: str
    who: Person
    suffix: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, str]:
        return {
            "auth_url": self.auth_url,
            "username": self.who.name,
            "password": self.who.password,
            "project_name": self.who.project,
            "user_domain_id": "default",
            "project_domain_id": "default",
            "region_name": region(self.suffix),
        } | self.more

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(word for name, value in self.known.items() for word in (f"--os-{name.replace('_', '-')}", value))


class KeystoneWorld(World):
    """People whom a Keystone knows. Its catalogue has the service in two regions: with /v2 at its end, and without."""

    refusal = "The request you have made requires authentication."
    has_tokens = True

    def __init__(self, cluster: Cluster, source: str, keystone: KeystoneServer, projects: Mapping[str, str]) -> None:
        super().__init__(cluster, source)
        self._keystone = keystone
        self._projects = projects

    def glance(self, who: Person, suffix: str = "") -> Command:
        return Command("glance", KeystoneWords(self._keystone.url, who, suffix).options, self.home)

    def openstack(self, who: Person, suffix: str = "") -> Command:
        words = KeystoneWords(self._keystone.url, who, suffix, {"auth_type": "v3password"}).options
        return Command("openstack", words, self.home)

    def credentials(self, who: Person, suffix: str = "") -> dict[str, Any]:
        return dict(KeystoneWords(self._keystone.url, who, suffix).known)

    def project(self, who: Person) -> str:
        return self._projects[who.project]

    def headers(self, who: Person) -> dict[str, str]:
        return {"X-Auth-Token": self._keystone.token_for(who.name, who.password, who.project)}


def region(suffix: str) -> str:
    """The region in which the service's endpoint ends like this."""
    return {"": "plain", "/v2": "versioned"}[suffix]


@contextmanager
def basic_world(data: Path, sections: Sections, source: str) -> Iterator[BasicWorld]:
    """The service with a file of users."""
    data.mkdir()
    file = data / "users"
    file.write_text("".join(f"{entry(who.name, who.password, who.project, (who.role,))}\n" for who in PEOPLE))
    sections["DEFAULT"] = {"http_basic_auth_user_file": file, "user_storage_quota": f"{MOST_MIB}MB"}
    sections["tranship"] |= {"auth_strategy": "http_basic", "image_count_total": MOST_IMAGES}
    with running(data, sections) as cluster:
        world = BasicWorld(cluster, source)
        cluster.headers = world.headers(ADMIN)
        yield world


@contextmanager
def keystone_world(data: Path, sections: Sections, source: str, keystone: KeystoneServer) -> Iterator[KeystoneWorld]:
    """The service, with a Keystone of its own that has it in its catalogue."""
    projects = {name: keystone.create_project(name) for name in sorted({who.project for who in PEOPLE})}
    for who in PEOPLE:
        keystone.create_user(who.name, who.password, projects[who.project], who.role)
    keystone.create_system_user("tranship", ADMIN.password, "reader")
    sections["keystone_authtoken"] = keystone.section()
    sections["tranship"]["auth_strategy"] = "keystone"
    sections["DEFAULT"] = {"use_keystone_limits": True}
    known_as = {"endpoint_service_type": "image", "endpoint_region_name": region("")}
    sections["oslo_limit"] = keystone.limits_section("tranship", ADMIN.password, **known_as)
    with running(data, sections) as cluster:
        for suffix in SUFFIXES:
            keystone.create_image_endpoint(cluster.api.url + suffix, region(suffix))
        # Nobody is limited but by one of its own
        keystone.register_limits(region(""), **dict.fromkeys(NAMES, -1))
        for project in projects.values():
            keystone.limit(project, region(""), image_size_total=MOST_MIB, image_count_total=MOST_IMAGES)
        world = KeystoneWorld(cluster, source, keystone, projects)
        cluster.headers = world.headers(ADMIN)
        yield world
