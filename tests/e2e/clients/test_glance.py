"""python-glanceclient's command `glance`, as people type it whom the service knows."""

import json

from tests.e2e.clients.job import CLIENTS, DATA, FORMATS, MD5, REFUSED_URI, SHA512
from tests.e2e.clients.people import ADMIN, ANN, BOB, World
from tests.e2e.clients.terminal import Command
from tests.e2e.cluster import wait_for

pytestmark = CLIENTS

WEB_DOWNLOAD = ("--import-method", "web-download", "--uri")
COPY = ("--import-method", "copy-image", "--stores")


def downloaded(glance: Command, image_id: str, *words: str) -> bytes:
    """What `glance image-download` has saved."""
    path = glance.home / "saved"
    glance("image-download", image_id, "--file", str(path), *words)
    return path.read_bytes()


def test_a_file_is_staged_and_imported(world: World, file: str) -> None:
    """Given a member with a file, when it is staged and imported into two stores, then all commands tell of it, it
    comes back whole, and nothing is left where it waited.
    """
    ann = world.glance(ANN)
    image_id = ann("image-create", "--name", "g", *FORMATS).properties["id"]
    ann("image-stage", image_id, "--file", file)
    said = ann("image-stage", image_id, "--file", file, status=1)
    assert (
        f"HTTP 409 Conflict: Data for image {image_id} is staged already: import it, or delete the image." in said.err
    )

    ann("image-import", image_id, "--import-method", "glance-direct", "--stores", "a,c")
    assert world.succeeded(image_id) == "Copied 3 MiB to a, c."
    shown = ann("image-show", image_id).properties
    assert (shown["status"], shown["stores"], shown["owner"]) == ("active", "a,c", world.project(ANN))
    assert (shown["size"], shown["os_hash_value"], shown["checksum"]) == (str(len(DATA)), SHA512, MD5)
    (task,) = ann("image-tasks", image_id).rows
    assert (task["Status"], task["Message"]) == ("success", "Copied 3 MiB to a, c.")
    assert ann("image-list", "--include-stores").rows == [{"ID": image_id, "Name": "g", "Stores": "a,c"}]
    assert downloaded(ann, image_id) == DATA
    wait_for(lambda: world.cluster.staged() == [], 30)

    ann("image-delete", image_id)
    world.cluster.call("GET", f"/v2/images/{image_id}", 404)


def test_a_url_is_imported_copied_and_let_go(world: World) -> None:
    """Given an image from a URL, when an administrator copies it and takes it out of other stores, then it is where it
    should be, whole; who is none hears which rule is against it, and the last copy stays.
    """
    ann, root = world.glance(ANN), world.glance(ADMIN)
    made = ann("image-create-via-import", *WEB_DOWNLOAD, world.uri, "--stores", "a,b", *FORMATS).properties
    image_id = made["id"]
    assert made["status"] in ("importing", "active")
    world.succeeded(image_id)

    said = ann("image-import", image_id, *COPY, "c", status=1)
    assert f"HTTP 403 Forbidden: You may not do this with image {image_id} (policy rule copy_image)." in said.err
    root("image-import", image_id, *COPY, "c")
    assert world.succeeded(image_id) == "Copied 3 MiB to c."
    said = root("image-import", image_id, *COPY, "c", status=1)
    assert "HTTP 400 Bad Request: Store c in 'stores' holds the image already" in said.err

    said = ann("stores-delete", "--store", "a", image_id, status=1)
    assert "(policy rule delete_image_location)" in said.err
    root("stores-delete", "--store", "a", image_id)
    assert downloaded(ann, image_id, "--prefer", "c") == DATA
    root("stores-delete", "--store", "b", image_id)
    said = root("stores-delete", "--store", "c", image_id, status=1)
    assert f"HTTP 403 Forbidden: Image {image_id} is in one store only" in said.err
    shown = ann("image-show", image_id).properties
    assert (shown["status"], shown["stores"]) == ("active", "c")
    assert shown["os_glance_failed_import"] == shown["os_glance_importing_to_stores"] == ""
    assert downloaded(ann, image_id) == DATA
    assert {store for store, _ in world.cluster.listing(image_id)} == {"c"}


def test_a_file_is_uploaded(world: World, file: str) -> None:
    """Given a file, when an image is created with it, then it is active at once; what is refused tells why."""
    ann = world.glance(ANN)
    made = ann("image-create", "--file", file, "--store", "b", *FORMATS).properties
    assert (made["status"], made["stores"], made["os_hash_value"]) == ("active", "b", SHA512)
    assert downloaded(ann, made["id"]) == DATA
    said = ann("image-upload", made["id"], "--file", file, status=1)
    assert f"HTTP 409 Conflict: Image {made['id']} is in status active, not queued: it takes no data." in said.err

    other = ann("image-create", "--disk-format", "qcow2", "--container-format", "bare").properties["id"]
    said = ann("image-upload", other, "--file", file, status=1)
    assert "The content is no known disk format, but qcow2 was declared." in said.err
    assert world.cluster.image(other)["status"] == "queued"


def test_an_image_is_shared(world: World) -> None:
    """Given an image that is shared with a project, then its people find it in their list once they have accepted it,
    and no longer when they have rejected it, or when it is shared with them no more.
    """
    ann, bob, east = world.glance(ANN), world.glance(BOB), world.project(BOB)
    image_id = world.own(ANN)

    def listed(*words: str) -> list[str]:
        return [row["ID"] for row in bob("image-list", *words).rows]

    assert "No image found" in bob("image-show", image_id, status=1).err
    (member,) = ann("member-create", image_id, east).rows
    assert member == {"Image ID": image_id, "Member ID": east, "Status": "pending"}
    assert bob("image-show", image_id).properties["status"] == "active"
    assert listed() == []
    assert listed("--member-status", "pending", "--visibility", "shared") == [image_id]

    assert "(policy rule modify_member)" in ann("member-update", image_id, east, "accepted", status=1).err
    assert bob("member-update", image_id, east, "accepted").rows[0]["Status"] == "accepted"
    assert listed() == [image_id]
    assert downloaded(bob, image_id) == DATA
    assert "(policy rule modify_image)" in bob("image-update", "--name", "mine", image_id, status=1).err
    assert ann("member-list", "--image-id", image_id).rows == [member | {"Status": "accepted"}]

    bob("member-update", image_id, east, "rejected")
    assert listed() == []
    assert ann("member-get", image_id, east).properties["status"] == "rejected"
    ann("member-delete", image_id, east)
    assert f"No image found with ID {image_id}" in bob("image-show", image_id, status=1).err
    assert f"Image {image_id} is not shared with {east}." in ann("member-delete", image_id, east, status=1).err


def test_an_image_is_changed(world: World) -> None:
    """Given an image, when it is tagged, described, protected and deactivated, then all that holds until it is undone,
    and in the meantime commands tell what it is that they may not do.
    """
    ann, image_id = world.glance(ANN), world.own(ANN)
    (tagged,) = ann("image-tag-update", image_id, "blue").rows
    assert tagged == {"ID": image_id, "Tags": "['blue']"}
    changed = ann("image-update", "--name", "n", "--property", "k=v", "--protected", "true", image_id).properties
    assert (changed["name"], changed["k"], changed["protected"], changed["tags"]) == ("n", "v", "True", '["blue"]')
    # Whatever the reason of a 403 is, the client has its own words for it.
    assert ann("image-delete", image_id, status=1).err.strip() == (
        f"You are not permitted to delete the image '{image_id}'."
    )
    changed = ann("image-update", "--remove-property", "k", "--protected", "false", image_id).properties
    assert (changed["protected"], changed.get("k")) == ("False", None)
    ann("image-tag-delete", image_id, "blue")
    said = ann("image-tag-delete", image_id, "blue", status=1)
    assert f"HTTP 404 Not Found: Image {image_id} has no tag 'blue'." in said.err

    ann("image-deactivate", image_id)
    said = ann("image-download", image_id, "--file", "nowhere", status=1)
    assert f"(HTTP 403 Forbidden: Image {image_id} is deactivated.)" in said.err
    ann("image-reactivate", image_id)
    now = world.cluster.image(image_id)
    assert (now["status"], now["tags"]) == ("active", [])


def test_tasks(world: World) -> None:
    """Given an import that an administrator asks for as a task, then the commands for tasks show how it went; members
    may not use them.
    """
    ann, root = world.glance(ANN), world.glance(ADMIN)
    given = {"import_from": world.uri, "import_from_format": "raw", "image_properties": {"name": "old"}}
    task = root("task-create", "--type", "import", "--input", json.dumps(given)).properties
    world.succeeded(task["image_id"])
    shown = root("task-show", task["id"]).properties
    assert (shown["status"], shown["message"]) == ("success", "Copied 3 MiB to a.")
    listed = root("task-list", "--type", "import", "--status", "success").rows
    assert {"ID": task["id"], "Type": "import", "Status": "success", "Owner": world.project(ADMIN)} in listed
    assert "(policy rule tasks_api_access)" in ann("task-list", status=1).err


def test_what_goes_wrong(world: World) -> None:
    """Given a URL without an image, one inside the cloud, and names of nothing, then the commands or the image's task
    say which it was, and no image is left that nobody asked for.
    """
    ann = world.glance(ANN)
    made = ann("image-create-via-import", *WEB_DOWNLOAD, world.absent, "--stores", "a,b", *FORMATS)
    image_id = made.properties["id"]
    assert world.cluster.ended(image_id)["status"] == "failure"
    (task,) = ann("image-tasks", image_id).rows
    assert (task["Status"], task["Message"]) == ("failure", f"{world.absent} answered 404 Not Found")
    said = ann("image-import", image_id, *WEB_DOWNLOAD, REFUSED_URI, status=1)
    assert said.err.strip() == (
        f"HTTP 400 Bad Request: URI {REFUSED_URI} does not pass filtering: its host leads to a link-local address"
    )
    shown = ann("image-show", image_id).properties
    assert (shown["status"], shown["os_glance_failed_import"]) == ("queued", "a,b")
    assert "os_glance_import_task" not in shown

    assert ann("image-show", "nope", status=1).err.strip() == "HTTP 404 Not Found: No image found with ID nope"
    said = ann("image-create-via-import", *WEB_DOWNLOAD, world.uri, "--stores", "a,zz", *FORMATS, status=1)
    assert "Store 'zz' is not valid for this cloud" in said.err
    assert [row["ID"] for row in ann("image-list").rows] == [image_id]
