"""Boot media that were not made here, from a real nginx into three stores, in both ways to run the service.

The larger one is the ramdisk of Debian's network installer: its package has no ISO.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import installed, started
from tests.e2e.cluster import STORES, Cluster, embedded, running, wait_for
from tests.e2e.media import (
    PACKERS,
    Medium,
    converted,
    debian_file,
    grub_rescue,
    netboot,
    packed,
    sha512,
    with_backing_file,
)
from tests.servers import NginxServer, PostgresServer, RedisServer, ServerMissing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FORMATS = ("qcow2", "vmdk", "vhd", "vhdx", "vdi")
"""What qemu-img makes of the ISO."""


class Shelf:
    """A folder that nginx serves; each medium is put there when a test first asks for it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._media: dict[str, Medium] = {}
        self._makers: Mapping[str, Callable[[], Medium]] = {
            "iso": lambda: grub_rescue(folder),
            "netboot": lambda: netboot(folder),
            "backed qcow2": lambda: with_backing_file(self.medium("iso")),
            **{name: partial(self._converted, name) for name in FORMATS},
        }

    def _converted(self, disk_format: str) -> Medium:
        return converted(self.medium("iso"), disk_format)

    def medium(self, name: str) -> Medium:
        """The medium; fails or skips the test when its package is missing."""
        if name not in self._media:
            self._media[name] = installed(self._makers[name])
        return self._media[name]

    def url(self, name: str, packing: str = "plain") -> str:
        """Where it can be downloaded."""
        return f"{self._url}/{installed(lambda: packed(self.medium(name), packing))}"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """All media, behind nginx."""
    folder = tmp_path_factory.mktemp("shelf")
    with started(NginxServer(folder)) as server:
        yield Shelf(folder, server.url)
    # pytest would keep the folders of the last three runs.
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["embedded", "processes"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One service for all cases: `tranship serve`, or API and worker on PostgreSQL and Redis."""
    data = tmp_path_factory.mktemp("service")
    with ExitStack() as stack:
        if request.param == "embedded":
            yield stack.enter_context(embedded(data))
            return
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        redis: RedisServer = request.getfixturevalue("redis_server")
        redis.flushall()
        database = postgres.create_database()
        stack.callback(postgres.drop_database, database)
        sections = {
            "database": {"connection": database},
            "tranship": {"broker_url": redis.url, "lease_keeper": "redis"},
        }
        yield stack.enter_context(running(data, sections))


@pytest.fixture
def cluster(service: Cluster) -> Iterator[Cluster]:
    """The service with empty stores; the images that the test has made are deleted, and every byte of them."""
    assert service.files() == []
    yield service
    for image in service.call("GET", "/v2/images", 200).json()["images"]:
        service.call("DELETE", f"/v2/images/{image['id']}", 204)
    wait_for(lambda: not service.files(), 60, service.trouble)


WHOLE = [(name, packing) for name in ("iso", "netboot") for packing in PACKERS] + [(name, "plain") for name in FORMATS]


@pytest.mark.parametrize(("name", "packing"), WHOLE)
def test_whole_in_every_store(cluster: Cluster, shelf: Shelf, name: str, packing: str) -> None:
    """Given a medium on a web server, when it is imported into three stores, then every copy is the original, bit by
    bit, and so is what users get back, whole or in part.
    """
    medium = shelf.medium(name)
    image_id = cluster.create(medium.disk_format, container_format=medium.container_format)
    cluster.web_download(image_id, shelf.url(name, packing))
    assert cluster.ended(image_id, 240)["status"] == "success", cluster.trouble()

    image = cluster.image(image_id)
    assert (image["status"], image["size"], image["virtual_size"]) == ("active", medium.size, medium.virtual_size)
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", medium.sha512)
    assert sorted(image["stores"].split(",")) == list(STORES)
    assert image["os_glance_importing_to_stores"] == image["os_glance_failed_import"] == ""
    assert "os_glance_import_task" not in image

    wait_for(lambda: len(cluster.files()) == len(STORES), 60, cluster.trouble)
    assert {store: sha512(path) for store, path in cluster.files()} == dict.fromkeys(STORES, medium.sha512)
    check_download(cluster, image_id, medium)


def check_download(cluster: Cluster, image_id: str, medium: Medium) -> None:
    """What the service sends is the medium, and a range of it is that range."""
    seen = hashlib.sha512()
    with cluster.call("GET", f"/v2/images/{image_id}/file", 200, stream=True) as answer:
        for chunk in answer.iter_content(1 << 20):
            seen.update(chunk)
    assert seen.hexdigest() == medium.sha512

    start, length = medium.size // 3, (1 << 20) + 7
    with medium.data.open("rb") as file:
        file.seek(start)
        expected = file.read(length)
    asked = {"Range": f"bytes={start}-{start + length - 1}"}
    part = cluster.call("GET", f"/v2/images/{image_id}/file", 206, headers=asked)
    assert part.headers["Content-Range"] == f"bytes {start}-{start + length - 1}/{medium.size}"
    assert part.content == expected


@dataclass(frozen=True)
class Lie:
    """A medium declared as something else, and the words that tell so."""

    name: str
    declared: str
    says: str
    packing: str = "plain"
    code: str = "format_mismatch"


LIES = [
    Lie("iso", "qcow2", "The content is iso, but qcow2 was declared."),
    Lie("iso", "qcow2", "The content is iso, but qcow2 was declared.", packing="gz"),
    Lie("iso", "qcow2", "The content is iso, but qcow2 was declared.", packing="zst"),
    Lie("qcow2", "vmdk", "The content is qcow2, but vmdk was declared."),
    Lie("vmdk", "qcow2", "The content is vmdk, but qcow2 was declared."),
    Lie("vhd", "iso", "The content is vhd, but iso was declared."),
    Lie("backed qcow2", "qcow2", "The qcow2 image refers to a backing file.", code="unsafe_image"),
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: f"{lie.name} {lie.packing} as {lie.declared}")
def test_a_false_declaration_leaves_nothing(cluster: Cluster, shelf: Shelf, lie: Lie) -> None:
    """Given a medium declared as what it is not, when it is imported, then the reason says what it is, no store has a
    byte of it, and the image can be imported again.
    """
    image_id = cluster.create(lie.declared)
    for _ in ("the first time", "again, since the lock is free"):
        cluster.web_download(image_id, shelf.url(lie.name, lie.packing))
        task = cluster.ended(image_id)
        assert (task["status"], task["error_code"]) == ("failure", lie.code), cluster.trouble()
        assert lie.says in task["message"]
        assert {target["store"]: target["state"] for target in task["stores"]} == dict.fromkeys(STORES, "failed")

        image = cluster.image(image_id)
        assert (image["status"], image["os_glance_failed_import"]) == ("queued", ",".join(STORES))
        assert image["os_glance_importing_to_stores"] == ""
        assert "os_glance_import_task" not in image
        assert "stores" not in image
        wait_for(lambda: not cluster.files(), 60, cluster.trouble)
    told = cluster.call("GET", f"/v2/images/{image_id}/tasks", 200).json()["tasks"]
    assert [(task["status"], lie.says in task["message"]) for task in told] == [("failure", True)] * 2
    cluster.call("GET", f"/v2/images/{image_id}/file", 204)


def test_a_medium_that_is_not_installed_is_asked_for_by_its_package() -> None:
    """Given a machine without the package, then what fails or skips the tests above says how to install it."""
    with pytest.raises(ServerMissing, match="apt-get install no-such-package"):
        debian_file("no-such-package", "usr/lib/no-such-place/*.iso")
