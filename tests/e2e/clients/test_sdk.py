"""openstacksdk, as programs use it that log in as somebody."""

import io
from pathlib import Path
from typing import Any

import pytest
from openstack.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    InvalidResponse,
    NotFoundException,
    ResourceFailure,
    raise_from_response,
)
from openstack.image.v2._proxy import Proxy
from openstack.image.v2.image import Image

from flows.methods import FLOWS
from tests.e2e.clients.job import CLIENTS, DATA, REFUSED_URI, SHA512
from tests.e2e.clients.people import ADMIN, ANN, BOB, World

pytestmark = CLIENTS


def queued(image: Proxy, name: str = "s") -> Image:
    """A new image without data."""
    return image.create_image(name, disk_format="raw", container_format="bare")


def stores(image: Proxy, image_id: str) -> str:
    """Where the image is."""
    return str(image.get_image(image_id).properties["stores"])


def test_data_in_every_way(world: World, tmp_path: Path) -> None:
    """Given data, when it is uploaded, staged and imported, or both at once, then a program can wait for the image,
    find it by its name, and have its bytes checked, at once or as they come.
    """
    with world.sdk(ANN) as ann:
        raw: dict[str, Any] = {"disk_format": "raw", "container_format": "bare"}
        uploaded = ann.create_image("up", data=DATA, **raw)
        at_once = ann.create_image("at once", data=DATA, use_import=True, **raw)
        in_steps = queued(ann, "in steps")
        staged = ann.stage_image(in_steps, data=io.BytesIO(DATA))
        assert (staged.status, staged.size) == ("uploading", len(DATA))
        raise_from_response(ann.import_image(staged, stores=["a", "c"]))
        for made in (uploaded, at_once, in_steps):
            done = ann.wait_for_status(made, "active", failures=["killed"], interval=0.2, wait=90)
            assert (done.size, done.hash_algo, done.hash_value) == (len(DATA), "sha512", SHA512)
        assert stores(ann, in_steps.id) == "a,c"

        found = ann.find_image("up", ignore_missing=False)
        assert ann.download_image(found).content == DATA
        assert b"".join(ann.download_image(found, stream=True).iter_content(1 << 16)) == DATA
        ann.download_image(in_steps.id, output=str(tmp_path / "saved"), store_preferences=["c"])
        assert (tmp_path / "saved").read_bytes() == DATA
        ann.delete_image(found)
        assert ann.find_image("up") is None


def test_a_url_into_stores_and_out_of_them(world: World) -> None:
    """Given an image from a URL, when it is copied in each form in which stores can be named, and taken out of stores,
    then it is where it was wanted; members hear which rules are against that.
    """
    with world.sdk(ANN) as ann, world.sdk(ADMIN) as root:
        made = queued(ann)
        raise_from_response(ann.import_image(made, method="web-download", uri=world.uri, store="b"))
        image = ann.wait_for_status(made, "active", failures=["killed"], interval=0.2, wait=90)
        assert stores(ann, image.id) == "b"

        refused = ann.import_image(image, method="copy-image", stores=["a"])
        with pytest.raises(ForbiddenException, match=r"policy rule copy_image"):
            raise_from_response(refused)
        everywhere = {"all_stores": True, "all_stores_must_succeed": False}
        for form, message in (
            ({"stores": ["a"], "all_stores_must_succeed": True}, "Copied 3 MiB to a."),
            (everywhere, "Copied 3 MiB to c."),
            (everywhere, "Nothing to copy: the image is in a, b, c already."),
        ):
            raise_from_response(root.import_image(image, method="copy-image", **form))
            assert world.succeeded(image.id) == message
        refused = root.import_image(image, method="copy-image", stores=["a"])
        with pytest.raises(BadRequestException, match="Store a in 'stores' holds the image already"):
            raise_from_response(refused)

        with pytest.raises(ForbiddenException, match=r"policy rule delete_image_location"):
            ann.delete_image(image, store="b")
        root.delete_image(image.id, store="b", ignore_missing=False)
        assert stores(ann, image.id) == "a,c"
        with pytest.raises(NotFoundException):
            root.delete_image(image.id, store="b", ignore_missing=False)
        root.delete_image(image.id, store="a")
        with pytest.raises(ForbiddenException, match="is in one store only"):
            root.delete_image(image.id, store="c")
        assert ann.download_image(image.id).content == DATA


def test_members(world: World) -> None:
    """Given an image that is shared with a project, then its programs find it in their list once they have accepted it,
    and no longer when they have rejected it, or when it is shared with them no more.
    """
    image_id, east = world.own(ANN), world.project(BOB)
    with world.sdk(ANN) as ann, world.sdk(BOB) as bob:

        def listed(**more: str) -> list[str]:
            return [one.id for one in bob.images(**more)]

        with pytest.raises(NotFoundException, match=f"No image found with ID {image_id}"):
            bob.get_image(image_id)
        member = ann.add_member(image_id, member_id=east)
        assert (member.member_id, member.status) == (east, "pending")
        with pytest.raises(ConflictException):
            ann.add_member(image_id, member_id=east)
        assert listed() == []
        assert listed(member_status="pending", visibility="shared") == [image_id]

        with pytest.raises(ForbiddenException, match="policy rule modify_member"):
            ann.update_member(east, image_id, status="accepted")
        assert bob.update_member(east, image_id, status="accepted").status == "accepted"
        assert listed() == [image_id]
        assert bob.download_image(image_id).content == DATA
        assert [(one.member_id, one.status) for one in ann.members(image_id)] == [(east, "accepted")]
        assert ann.find_member(east, image_id, ignore_missing=False).status == "accepted"
        assert ann.find_member("nobody", image_id) is None

        bob.update_member(east, image_id, status="rejected")
        assert listed() == []
        assert ann.get_member(east, image_id).status == "rejected"
        ann.remove_member(east, image_id, ignore_missing=False)
        ann.remove_member(east, image_id)
        with pytest.raises(NotFoundException, match=f"No image found with ID {image_id}"):
            bob.get_image(image_id)


def test_an_image_is_changed(world: World) -> None:
    """Given an image, when it is tagged, described, protected and deactivated, then all that holds until it is undone,
    and in the meantime the exceptions tell what may not be done.
    """
    image_id = world.own(ANN)
    with world.sdk(ANN) as ann:
        ann.add_tag(image_id, "blue")
        changed = ann.update_image(image_id, name="n", is_protected=True, k="v")
        assert (changed.name, changed.is_protected, changed.tags) == ("n", True, ["blue"])
        assert ann.get_image(image_id).properties["k"] == "v"
        assert [one.id for one in ann.images(tag="blue", name="n")] == [image_id]
        with pytest.raises(ForbiddenException, match=f"Image {image_id} is protected and cannot be deleted"):
            ann.delete_image(image_id)
        with pytest.raises(ForbiddenException, match="policy rule publicize_image"):
            ann.update_image(image_id, visibility="public")
        ann.remove_tag(image_id, "blue")
        with pytest.raises(NotFoundException, match=f"Image {image_id} has no tag 'blue'"):
            ann.remove_tag(image_id, "blue")
        assert ann.update_image(image_id, is_protected=False).tags == []

        ann.deactivate_image(image_id)
        assert ann.get_image(image_id).status == "deactivated"
        # (The SDK does not look at the status, and takes the refusal for the data of the image.)
        with pytest.raises(InvalidResponse, match="checksum mismatch"):
            ann.download_image(image_id)
        ann.reactivate_image(image_id)
        assert ann.download_image(image_id).content == DATA
        ann.delete_image(image_id, ignore_missing=False)
        with pytest.raises(NotFoundException):
            ann.get_image(image_id)


def test_tasks(world: World) -> None:
    """Given imports that an administrator asks for as tasks, then a program waits for them, and learns of the one that
    fails; members may not, but see the tasks of their images.
    """
    with world.sdk(ANN) as ann, world.sdk(ADMIN) as root:

        def asked(uri: str) -> str:
            given = {"import_from": uri, "import_from_format": "raw", "image_properties": {"name": "old"}}
            return str(root.create_task(type="import", input=given).id)

        good, bad = asked(world.uri), asked(world.absent)
        done = root.wait_for_task(root.get_task(good), interval=0.2, wait=90)
        assert (done.status, done.message, done.owner_id) == ("success", "Copied 3 MiB to a.", world.project(ADMIN))
        assert root.get_image(done.result["image_id"]).name == "old"
        with pytest.raises(ResourceFailure):
            root.wait_for_task(root.get_task(bad), interval=0.2, wait=90)
        assert root.get_task(bad).message == f"{world.absent} answered 404 Not Found"
        listed = {task.id: task.status for task in root.tasks(type="import", sort_key="status", sort_dir="desc")}
        assert (listed[good], listed[bad]) == ("success", "failure")
        for refused in (lambda: ann.get_task(good), lambda: list(ann.tasks()), lambda: ann.create_task(type="import")):
            with pytest.raises(ForbiddenException, match=r"policy rule tasks_api_access"):
                refused()

        image_id = world.own(ANN)
        (task,) = ann.image_tasks(image_id)
        assert (task.status, task.message, task.image_id) == ("success", "Copied 3 MiB to a.", image_id)


def test_what_is_offered(world: World) -> None:
    """Given the service, when a program asks what it can do, then it learns of methods and stores, and whoever may, of
    what these are.
    """
    with world.sdk(ANN) as ann, world.sdk(ADMIN) as root:
        assert ann.get_import_info().import_methods["value"] == list(FLOWS)
        known = [(store.id, bool(store.is_default)) for store in ann.stores()]
        assert known == [("a", True), ("b", False), ("c", False)]
        detailed = [Path(store.properties["data_dir"]).name for store in root.stores(details=True)]
        assert detailed == ["a", "b", "c"]
        with pytest.raises(ForbiddenException, match=r"policy rule stores_info_detail"):
            list(ann.stores(details=True))


def test_what_goes_wrong(world: World) -> None:
    """Given requests that make no sense or cannot be fulfilled, then the exceptions are of the right kind and tell the
    reason, also while data is being sent.
    """
    with world.sdk(ANN) as ann:
        with pytest.raises(NotFoundException, match="No image found with ID nope"):
            ann.get_image("nope")
        made = queued(ann)
        refused = ann.import_image(made, method="web-download", uri=REFUSED_URI)
        with pytest.raises(BadRequestException, match=f"URI {REFUSED_URI} does not pass filtering"):
            raise_from_response(refused)
        raise_from_response(ann.import_image(made, method="web-download", uri=world.absent, stores=["a", "b"]))
        assert world.cluster.ended(made.id)["status"] == "failure"
        now = ann.get_image(made.id)
        assert (now.status, now.properties["os_glance_failed_import"]) == ("queued", "a,b")
        (task,) = ann.image_tasks(made)
        assert (task.status, task.message) == ("failure", f"{world.absent} answered 404 Not Found")

        staged = ann.stage_image(now, data=DATA)
        staged.status = "queued"  # or the client would not even ask
        with pytest.raises(ConflictException, match=f"Data for image {made.id} is staged already"):
            ann.stage_image(staged, data=DATA * 8)
