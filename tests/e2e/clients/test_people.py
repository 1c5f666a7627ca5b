"""Who may do what, and how the real clients hear of it: callers are known by HTTP Basic or by a real Keystone."""

import pytest
from keystoneauth1.exceptions import Unauthorized
from openstack.exceptions import HttpException, InvalidResponse, NotFoundException

from tests.e2e.clients.job import AS_JSON, CLIENTS, DATA, FORMATS
from tests.e2e.clients.people import ADMIN, ANN, BOB, MOST_IMAGES, MOST_MIB, RITA, STRANGER, World
from tests.e2e.cluster import STORES

pytestmark = CLIENTS


def test_either_spelling_of_the_endpoint(world: World) -> None:
    """Given an endpoint with /v2 at its end, then every client finds the service there; all other stories are of those
    without.
    """
    image_id = world.own(ANN)
    (row,) = world.glance(ANN, "/v2")("image-tasks", image_id).rows
    assert row["Status"] == "success"
    assert world.openstack(ANN, "/v2")("image", "list", *AS_JSON).json[0]["ID"] == image_id
    with world.sdk(ANN, "/v2") as image:
        assert [task.status for task in image.image_tasks(image_id)] == ["success"]
        assert image.download_image(image_id).content == DATA


def test_who_sees_a_private_image(world: World) -> None:
    """Given a private image of a project, then its members, readers and the administrator see it, and nobody else does,
    by whatever client. What readers may not do by Glance's rules is download it.
    """
    image_id = world.own(ANN, visibility="private")
    for who in (ANN, RITA, ADMIN):
        with world.sdk(who) as image:
            assert [(one.id, one.visibility) for one in image.images()] == [(image_id, "private")]
            if who != RITA:
                assert image.download_image(image_id).content == DATA
    # (openstacksdk does not look at the status, and compares the refusal with the hash of the image.)
    with world.sdk(RITA) as image, pytest.raises(InvalidResponse, match="checksum mismatch"):
        image.download_image(image_id)
    assert "policy rule download_image" in world.glance(RITA)("image-download", image_id, status=1).err
    with world.sdk(BOB) as image:
        assert list(image.images()) == []
        with pytest.raises(NotFoundException, match=f"No image found with ID {image_id}"):
            image.get_image(image_id)
        with pytest.raises(NotFoundException, match=f"No image found with ID {image_id}"):
            image.delete_image(image_id, ignore_missing=False)
    said = world.glance(BOB)("image-delete", image_id, status=1)
    assert f"No image with an ID of '{image_id}' exists" in said.out + said.err
    assert "No Image found" in world.openstack(BOB)("image", "show", image_id, status=1).err
    assert world.cluster.image(image_id)["status"] == "active"


def test_a_wrong_password(world: World) -> None:
    """Given a password that is wrong, then each client says that, and not something else."""
    said = world.openstack(STRANGER)("image", "list", status=1)
    assert world.refusal in said.err
    assert "401" in said.err
    said = world.glance(STRANGER)("image-list", status=1)
    assert world.refusal in said.err or "Invalid OpenStack Identity credentials" in said.err
    with pytest.raises((HttpException, Unauthorized), match=world.refusal), world.sdk(STRANGER) as image:
        list(image.images())


def test_no_more_than_a_project_may_have(world: World) -> None:
    """Given a limit of bytes, then the client is told of it, and the worker, which has nobody to ask, refuses data of
    whose size it is the first to know. (A limit of images is met where there are many.)
    """
    glance = world.glance(ANN)
    for _ in range(MOST_MIB // 6):
        world.own(ANN, STORES[:2])
    image_id = glance("image-create", *FORMATS).properties["id"]
    glance("image-import", image_id, "--import-method", "web-download", "--uri", world.uri)
    task = world.cluster.ended(image_id)
    assert (task["status"], "more than the" in task["message"]) == ("failure", True), world.cluster.trouble()
    assert world.cluster.image(image_id)["status"] == "queued"
    used = {row["Quota"]: (row["Limit"], row["Usage"]) for row in glance("usage").rows}
    assert (used["image_size_total"], used["image_count_total"]) == ((str(MOST_MIB), "18"), (str(MOST_IMAGES), "4"))


def test_one_id_from_the_request_to_the_worker(world: World) -> None:
    """Given a request with an id, then the answer, the task, and the lines of API and worker about it have that id, and
    no other request's lines have.
    """
    given = "req-follow-me-" + world.refusal[:8].strip().lower().replace(" ", "-")
    image_id = world.cluster.create()
    body = {"method": {"name": "web-download", "uri": world.uri}}
    headers = {"X-OpenStack-Request-ID": given.removeprefix("req-")}
    asked = world.cluster.call("POST", f"/v2/images/{image_id}/import", 202, json=body, headers=headers)
    world.succeeded(image_id)

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
