"""Data that clients upload at once, that they only register, and the tasks that tell of it."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.e2e.clients.job import DATA, SUFFIXES, Job

pytestmark = [pytest.mark.e2e, pytest.mark.clients, pytest.mark.timeout(300)]

FORMATS = ("--disk-format", "raw", "--container-format", "bare")
AS_JSON = ("-f", "json")
SHA512 = hashlib.sha512(DATA).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The name of a file that holds DATA."""
    (tmp_path / "image").write_bytes(DATA)
    return str(tmp_path / "image")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_glance_uploads(job: Job, file: str, tmp_path: Path, suffix: str) -> None:
    """Given a file, when an image is created with it, then it is active at once, in the store that was named."""
    glance = job.glance(suffix, terminal=True)
    made = glance("image-create", "--name", "g", "--file", file, "--store", "b", *FORMATS).properties
    assert (made["status"], made["size"], made["os_hash_value"], made["stores"]) == (
        "active",
        str(len(DATA)),
        SHA512,
        "b",
    )
    glance("image-download", made["id"], "--file", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == DATA
    said = glance("image-upload", made["id"], "--file", file, status=1)
    assert f"HTTP 409 Conflict: Image {made['id']} is in status active, not queued: it takes no data." in said.err


def test_glance_uploads_what_is_refused(job: Job, file: str) -> None:
    """Given data that is not what was declared, then the command tells why, and the image takes other data."""
    glance = job.glance(terminal=True)
    image_id = glance("image-create", "--disk-format", "qcow2", "--container-format", "bare").properties["id"]
    said = glance("image-upload", image_id, "--file", file, status=1)
    assert "The content is no known disk format, but qcow2 was declared." in said.err
    assert glance("image-show", image_id).properties["status"] == "queued"


def test_openstack_uploads(job: Job, file: str, tmp_path: Path) -> None:
    openstack = job.openstack()
    made = openstack("image", "create", "--file", file, *FORMATS, *AS_JSON, "o").json
    assert (made["status"], made["size"], made["checksum"]) == ("active", len(DATA), hashlib.md5(DATA).hexdigest())
    openstack("image", "save", "--file", str(tmp_path / "saved"), "o")
    assert (tmp_path / "saved").read_bytes() == DATA


def test_a_location_is_registered(job: Job) -> None:
    """Given an object that a service has put into a store, when its location is added, then it is the image's data."""
    (job.cluster.data / "stores" / "a" / "snapshot-1").write_bytes(DATA)
    url = (job.cluster.data / "stores" / "a" / "snapshot-1").as_uri()
    glance = job.glance()
    image_id = glance("image-create", "--name", "l", *FORMATS).properties["id"]
    promise = json.dumps({"os_hash_algo": "sha512", "os_hash_value": SHA512})
    glance("add-location", "--url", url, "--validation-data", promise, image_id)
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    shown = glance("image-show", image_id).properties
    assert (shown["status"], shown["size"], shown["os_hash_value"]) == ("active", str(len(DATA)), SHA512)
    (task,) = job.cluster.call("GET", f"/v2/images/{image_id}/tasks", 200).json()["tasks"]
    assert task["type"] == "location_import"
    listed = job.cluster.call("GET", f"/v2/images/{image_id}/locations", 200).json()
    assert listed == [{"url": url, "metadata": {"store": "a"}}]


def test_locations_are_changed(job: Job) -> None:
    """Given objects in stores, then glance makes an image of one, adds the other, describes it, and takes the first
    away, which deletes it.
    """
    urls = {}
    for store in ("a", "b"):
        path = job.cluster.data / "stores" / store / f"snapshot-{store}"
        path.write_bytes(DATA)
        urls[store] = path.as_uri()
    glance = job.glance()
    image_id = glance("image-create", "--name", "l", *FORMATS).properties["id"]

    promise = ("--hash-algo", "sha512", "--hash-value", SHA512)
    glance("location-add", "--url", urls["a"], *promise, image_id)
    glance("location-add", "--url", urls["b"], "--metadata", '{"zone": "x"}', image_id)
    assert job.cluster.image(image_id)["locations"] == [
        {"url": urls["a"], "metadata": {"store": "a"}},
        {"url": urls["b"], "metadata": {"store": "b", "zone": "x"}},
    ]
    glance("location-update", "--url", urls["b"], "--metadata", '{"zone": "y"}', image_id)
    glance("location-delete", "--url", urls["a"], image_id)

    shown = job.cluster.image(image_id)
    assert (shown["status"], shown["size"], shown["os_hash_value"]) == ("active", len(DATA), SHA512)
    assert shown["locations"] == [{"url": urls["b"], "metadata": {"store": "b", "zone": "y"}}]
    assert shown["direct_url"] == urls["b"]
    assert job.cluster.download(image_id) == DATA
    assert job.cluster.listing("snapshot") == {("b", "snapshot-b")}
    said = glance("location-delete", "--url", urls["b"], image_id, status=1)
    assert "HTTP 403 Forbidden" in said.err
    assert "has one location only" in said.err


def test_tasks(job: Job) -> None:
    """Given an import that is asked for as a task, then the commands for tasks show how it went."""
    glance = job.glance()
    given = {"import_from": job.uri, "import_from_format": "raw", "image_properties": {"name": "old"}}
    task = glance("task-create", "--type", "import", "--input", json.dumps(given)).properties
    assert job.cluster.ended(task["image_id"])["status"] == "success", job.cluster.trouble()
    shown = glance("task-show", task["id"]).properties
    assert (shown["status"], shown["message"]) == ("success", "Copied 3 MiB to a.")
    assert [row["ID"] for row in glance("task-list", "--type", "import", "--status", "success").rows] == [task["id"]]
    assert glance("image-show", task["image_id"]).properties["name"] == "old"


def test_usage_without_limits(job: Job) -> None:
    assert job.glance()("usage").rows == []
