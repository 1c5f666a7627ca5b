"""The real clients as people: API and worker as processes on PostgreSQL and Redis, callers known by HTTP Basic or by a
real Keystone.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from keystoneauth1.exceptions import Unauthorized
from openstack.exceptions import HttpException, InvalidResponse, NotFoundException, raise_from_response

from tests.conftest import started
from tests.e2e.clients.job import DATA, SUFFIXES
from tests.e2e.clients.people import (
    ADMIN,
    ANN,
    BOB,
    MOST_IMAGES,
    MOST_MIB,
    RITA,
    STRANGER,
    Person,
    Sections,
    World,
    basic_world,
    keystone_world,
)
from tests.servers import KeystoneServer, PostgresServer, RedisServer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.clients,
    pytest.mark.timeout(300),
    # What openstacksdk says about itself.
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:openstack"),
]

FORMATS = ("--disk-format", "raw", "--container-format", "bare")
AS_JSON = ("-f", "json")


@pytest.fixture(scope="module", params=["http_basic", "keystone"])
def _world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    source: str,
) -> Iterator[World]:
    redis_server.flushall()
    database = postgres_server.create_database()
    sections: Sections = {
        "database": {"connection": database},
        "tranship": {"broker_url": redis_server.url, "lease_keeper": "redis"},
    }
    data = tmp_path_factory.mktemp("people") / "data"
    if request.param == "http_basic":
        with basic_world(data, sections, source) as basic:
            yield basic
    else:
        with started(KeystoneServer()) as keystone, keystone_world(data, sections, source, keystone) as cloud:
            yield cloud
    postgres_server.drop_database(database)


@pytest.fixture
def world(_world: World, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[World]:
    """The service without any image."""
    monkeypatch.setenv("HOME", str(home))
    yield _world
    for image in _world.cluster.call("GET", "/v2/images", 200).json()["images"]:
        _world.cluster.call("DELETE", f"/v2/images/{image['id']}", 204)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's, empty at first."""
    path = tmp_path / "home"
    path.mkdir()
    return path


def succeeded(world: World, image_id: str) -> None:
    assert world.cluster.ended(image_id)["status"] == "success", world.cluster.trouble()


def own(world: World, who: Person, name: str) -> str:
    """A private image with data, which somebody has imported; returns its id."""
    with world.sdk(who) as image:
        made = image.create_image(name, disk_format="raw", container_format="bare", visibility="private")
        raise_from_response(image.import_image(made, method="web-download", uri=world.uri))
        succeeded(world, made.id)
    return str(made.id)


def test_a_member_with_glance(world: World, home: Path, tmp_path: Path) -> None:
    """Given a member of a project, when it imports by `glance`, then it sees, downloads and deletes its image."""
    glance = world.glance(ANN, home)
    words = ("--import-method", "web-download", "--uri", world.uri, "--stores", "a,b", *FORMATS)
    image_id = glance("image-create-via-import", "--name", "g", *words).properties["id"]
    succeeded(world, image_id)
    assert glance("image-show", image_id).properties["stores"] == "a,b"
    assert glance("image-list").rows == [{"ID": image_id, "Name": "g"}]
    glance("image-download", image_id, "--file", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == DATA
    glance("image-delete", image_id)
    assert glance("image-list").rows == []


def test_a_member_with_openstack(world: World, home: Path) -> None:
    """Given a member of a project, when it imports by `openstack`, then it sees and deletes its image."""
    openstack = world.openstack(ANN, home, "/v2")
    image_id = openstack("image", "create", *FORMATS, *AS_JSON, "o").json["id"]
    openstack("image", "import", "--method", "web-download", "--uri", world.uri, "--store", "b", "--", "o")
    succeeded(world, image_id)
    shown = openstack("image", "show", *AS_JSON, "o").json
    assert (shown["status"], shown["properties"]["stores"]) == ("active", "b")
    openstack("image", "delete", "o")
    assert openstack("image", "list", *AS_JSON).json == []


def test_a_member_with_the_sdk(world: World) -> None:
    """Given a member of a project, when a program of its imports, then it waits for the image, and deletes it."""
    with world.sdk(ANN) as image:
        made = image.create_image("s", disk_format="raw", container_format="bare")
        raise_from_response(image.import_image(made, method="web-download", uri=world.uri, stores=["a"]))
        done = image.wait_for_status(made, "active", failures=["killed"], interval=1, wait=90)
        assert done.hash_value == hashlib.sha512(DATA).hexdigest()
        (task,) = image.image_tasks(made)
        assert (task.status, task.request_id) == ("success", task.request_id)
        image.delete_image(done)
        assert list(image.images()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_either_spelling_of_the_endpoint(world: World, home: Path, suffix: str) -> None:
    """Given an endpoint with or without /v2 at its end, then every client finds the service there."""
    for command, words in ((world.glance, ("image-list",)), (world.openstack, ("image", "list"))):
        assert command(ANN, home, suffix)(*words).status == 0
    with world.sdk(ANN, suffix) as image:
        assert list(image.images()) == []
        assert image.get_import_info().import_methods["value"]


def test_who_sees_a_private_image(world: World, home: Path) -> None:
    """Given a private image of a project, then its members, readers and the administrator see it, and nobody else does,
    by whatever client. What readers may not do by Glance's rules is download it.
    """
    image_id = own(world, ANN, "mine")
    for who in (ANN, RITA, ADMIN):
        with world.sdk(who) as image:
            assert [(one.id, one.visibility) for one in image.images()] == [(image_id, "private")]
            if who != RITA:
                assert image.download_image(image_id).content == DATA
    # (openstacksdk does not look at the status, and compares the refusal with the hash of the image.)
    with world.sdk(RITA) as image, pytest.raises(InvalidResponse, match="checksum mismatch"):
        image.download_image(image_id)
    assert "policy rule download_image" in world.glance(RITA, home)("image-download", image_id, status=1).err
    with world.sdk(BOB) as image:
        assert list(image.images()) == []
        with pytest.raises(NotFoundException, match=f"No image found with ID {image_id}"):
            image.get_image(image_id)
        with pytest.raises(NotFoundException, match=f"No image found with ID {image_id}"):
            image.delete_image(image_id, ignore_missing=False)
    said = world.glance(BOB, home)("image-delete", image_id, status=1)
    assert f"No image with an ID of '{image_id}' exists" in said.out + said.err
    assert "No Image found" in world.openstack(BOB, home)("image", "show", image_id, status=1).err
    assert world.cluster.image(image_id)["status"] == "active"


def test_a_wrong_password(world: World, home: Path) -> None:
    """Given a password that is wrong, then each client says that, and not something else."""
    said = world.openstack(STRANGER, home)("image", "list", status=1)
    assert world.refusal in said.err
    assert "401" in said.err
    said = world.glance(STRANGER, home)("image-list", status=1)
    assert world.refusal in said.err or "Invalid OpenStack Identity credentials" in said.err
    with pytest.raises((HttpException, Unauthorized), match=world.refusal), world.sdk(STRANGER) as image:
        list(image.images())


def test_a_refusal_names_its_reason(world: World, home: Path) -> None:
    """Given a member who wants what is for administrators, then each client says so, and it does not happen."""
    said = world.openstack(ANN, home)("image", "create", "--public", *FORMATS, "p", status=1)
    assert "'visibility' public (policy rule publicize_image)" in said.err
    said = world.glance(ANN, home)("image-create", "--visibility", "public", *FORMATS, status=1)
    assert "'visibility' public (policy rule publicize_image)" in said.err
    assert world.openstack(ADMIN, home)("image", "list", *AS_JSON).json == []


def test_no_more_than_a_project_may_have(world: World, home: Path) -> None:
    """Given a limit of bytes and one of images, then the client is told of both, the API refuses an image too many, and
    the worker, which has nobody to ask, data whose size it is the first to see.
    """
    glance = world.glance(ANN, home)
    image_id = glance("image-create", "--name", "big", *FORMATS).properties["id"]
    glance("image-import", image_id, "--import-method", "web-download", "--uri", world.uri, "--stores", "a,b,c")
    task = world.cluster.ended(image_id)
    assert (task["status"], "more than the" in task["message"]) == ("failure", True), world.cluster.trouble()
    assert world.cluster.image(image_id)["status"] == "queued"

    own(world, ANN, "fits")
    used = {row["Quota"]: (row["Limit"], row["Usage"]) for row in glance("usage").rows}
    assert (used["image_size_total"], used["image_count_total"]) == ((str(MOST_MIB), "3"), (str(MOST_IMAGES), "2"))
    for number in range(2, MOST_IMAGES):
        glance("image-create", "--name", str(number))
    said = world.openstack(ANN, home)("image", "create", *FORMATS, "another", status=1)
    assert f"may have {MOST_IMAGES} images" in said.err
    assert world.openstack(BOB, home)("image", "create", *FORMATS, *AS_JSON, "another").json["owner"]


def test_one_id_from_the_request_to_the_worker(world: World) -> None:
    """Given a request with an id, then the answer, the task, and the lines of API and worker about it have that id, and
    no other request's lines have.
    """
    given = "req-follow-me-" + world.refusal[:8].strip().lower().replace(" ", "-")
    image_id = world.cluster.create()
    body = {"method": {"name": "web-download", "uri": world.uri}}
    headers = {"X-OpenStack-Request-ID": given.removeprefix("req-")}
    asked = world.cluster.call("POST", f"/v2/images/{image_id}/import", 202, json=body, headers=headers)
    succeeded(world, image_id)

    assert asked.headers["x-openstack-request-id"] == given
    (task,) = world.cluster.call("GET", f"/v2/images/{image_id}/tasks", 200).json()["tasks"]
    assert task["request_id"] == given
    (worker,) = world.cluster.workers
    for log, said in (
        (world.cluster.api.log, f"task {task['id']}: web-download of image {image_id} into a is on record"),
        (world.cluster.api.log, f"POST /v2/images/{image_id}/import by "),
        (worker.log, f"task {task['id']}: attempt 1 at web-download.transfer"),
        (worker.log, f"task {task['id']}: attempt 1 at web-download.finish"),
    ):
        (line,) = [line for line in log.splitlines() if said in line]
        assert f": {given} {said}" in line
    about = [line for line in worker.log.splitlines() if given in line]
    assert [line for line in about if task["id"] not in line and image_id not in line] == []
