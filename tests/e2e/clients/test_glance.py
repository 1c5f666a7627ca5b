"""python-glanceclient's command `glance`, as its users type it."""

import hashlib
import json
from pathlib import Path

import pytest

from flows.methods import FLOWS
from tests.e2e.clients.job import DATA, REFUSED_URI, SUFFIXES, Job
from tests.e2e.cluster import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.clients, pytest.mark.timeout(300)]

FORMATS = ("--disk-format", "raw", "--container-format", "bare")
WEB_DOWNLOAD = ("--import-method", "web-download", "--uri")
COPY = ("--import-method", "copy-image")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_import(job: Job, tmp_path: Path, suffix: str) -> None:
    """Given a URL, when one command imports it, then all other commands tell of it, and it comes back whole."""
    glance = job.glance(suffix)
    made = glance("image-create-via-import", "--name", "g", *WEB_DOWNLOAD, job.uri, "--stores", "a,b", *FORMATS)
    image_id = made.properties["id"]
    assert made.properties["status"] in ("importing", "active")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()

    shown = glance("image-show", image_id).properties
    assert (shown["status"], shown["size"], shown["stores"]) == ("active", str(len(DATA)), "a,b")
    assert shown["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert shown["checksum"] == hashlib.md5(DATA).hexdigest()
    assert shown["os_glance_failed_import"] == shown["os_glance_importing_to_stores"] == ""
    (task,) = glance("image-tasks", image_id).rows
    assert (task["Status"], task["Message"]) == ("success", "Copied 3 MiB to a, b.")
    assert glance("image-list", "--include-stores").rows == [{"ID": image_id, "Name": "g", "Stores": "a,b"}]

    glance("image-download", image_id, "--file", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == DATA
    glance("image-delete", image_id)
    assert glance("image-list").rows == []


def test_from_a_terminal(job: Job) -> None:
    """Given a user at a terminal, when an image is created and then imported, then the image goes to all stores."""
    glance = job.glance(terminal=True)
    image_id = glance("image-create", "--name", "t", *FORMATS).properties["id"]
    assert job.cluster.image(image_id)["status"] == "queued"
    glance("image-import", image_id, *WEB_DOWNLOAD, job.uri, "--all-stores", "true")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    assert glance("image-show", image_id).properties["stores"] == "a,b,c"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_offered(job: Job, suffix: str) -> None:
    """Given the service, when a client asks what it can do, then it learns of the methods and of the stores."""
    glance = job.glance(suffix)
    assert json.loads(glance("import-info").properties["import-methods"])["value"] == list(FLOWS)
    stores = json.loads(glance("stores-info").properties["stores"])
    assert stores == [{"id": "a", "default": "true"}, {"id": "b"}, {"id": "c"}]
    detailed = json.loads(glance("stores-info", "--detail").properties["stores"])
    assert [(store["id"], store["type"]) for store in detailed] == [("a", "file"), ("b", "file"), ("c", "file")]


def test_a_copy(job: Job) -> None:
    """Given an imported image, when it is copied, to one store and then to all, then it is there; where it is already,
    the command fails and says so.
    """
    glance = job.glance()
    made = glance("image-create-via-import", *WEB_DOWNLOAD, job.uri, "--stores", "a", *FORMATS)
    image_id = made.properties["id"]
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()

    glance("image-import", image_id, *COPY, "--stores", "c")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    assert glance("image-show", image_id).properties["stores"] == "a,c"
    for message in ("Copied 3 MiB to b.", "Nothing to copy: the image is in a, b, c already."):
        glance("image-import", image_id, *COPY, "--all-stores", "true")
        task = job.cluster.ended(image_id)
        assert (task["status"], task["message"]) == ("success", message)
    shown = glance("image-show", image_id).properties
    assert (shown["status"], shown["stores"]) == ("active", "a,b,c")
    assert shown["os_glance_failed_import"] == shown["os_glance_importing_to_stores"] == ""

    said = glance("image-import", image_id, *COPY, "--stores", "c", status=1)
    assert "HTTP 400" in said.err
    assert "Store c in 'stores' holds the image already" in said.err


def test_an_import_that_fails(job: Job) -> None:
    """Given a URL without an image, when it is imported, then the image and its task tell which stores, and why."""
    glance = job.glance()
    made = glance("image-create-via-import", *WEB_DOWNLOAD, job.absent, "--stores", "a,b", *FORMATS)
    image_id = made.properties["id"]
    assert job.cluster.ended(image_id)["status"] == "failure"

    shown = glance("image-show", image_id).properties
    assert (shown["status"], shown["os_glance_failed_import"]) == ("queued", "a,b")
    assert "os_glance_import_task" not in shown
    (task,) = glance("image-tasks", image_id).rows
    assert (task["Status"], task["Message"]) == ("failure", f"{job.absent} answered 404 Not Found")


def test_a_refused_uri(job: Job) -> None:
    """Given a URL inside the cloud, when it is imported, then the command fails with the reason, and nothing begins."""
    glance = job.glance()
    image_id = glance("image-create", *FORMATS).properties["id"]
    said = glance("image-import", image_id, *WEB_DOWNLOAD, REFUSED_URI, status=1)
    assert said.err.strip() == (
        f"HTTP 400 Bad Request: URI {REFUSED_URI} does not pass filtering: its host leads to a link-local address"
    )
    assert glance("image-show", image_id).properties["status"] == "queued"
    assert job.cluster.call("GET", f"/v2/images/{image_id}/tasks", 200).json() == {"tasks": []}


def test_what_is_not_there(job: Job) -> None:
    """Given ids that name nothing, then the command fails and says so."""
    glance = job.glance()
    said = glance("image-show", "nope", status=1)
    assert said.err.strip() == "HTTP 404 Not Found: No image found with ID nope"
    said = glance("image-create-via-import", *WEB_DOWNLOAD, job.uri, "--stores", "a,zz", *FORMATS, status=1)
    assert "Store 'zz' is not valid for this cloud" in said.err
    assert glance("image-list").rows == []


def test_a_file(job: Job, tmp_path: Path) -> None:
    """Given a file, when one command imports it, then it is staged, imported, and nothing is left where it waited."""
    (tmp_path / "image").write_bytes(DATA)
    glance = job.glance(terminal=True)
    words = ("--import-method", "glance-direct", "--file", str(tmp_path / "image"), "--stores", "a,c")
    image_id = glance("image-create-via-import", *words, *FORMATS).properties["id"]
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    shown = glance("image-show", image_id).properties
    assert (shown["status"], shown["size"], shown["stores"]) == ("active", str(len(DATA)), "a,c")
    assert shown["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    wait_for(lambda: job.staged() == [], 30)


def test_a_file_step_by_step(job: Job, tmp_path: Path) -> None:
    """Given a file, when it is staged, staged again and imported, then it is refused once, and all else is told."""
    (tmp_path / "image").write_bytes(DATA)
    glance = job.glance(terminal=True)
    image_id = glance("image-create", *FORMATS).properties["id"]
    glance("image-stage", image_id, "--file", str(tmp_path / "image"))
    shown = glance("image-show", image_id).properties
    assert (shown["status"], shown["size"]) == ("uploading", str(len(DATA)))
    said = glance("image-stage", image_id, "--file", str(tmp_path / "image"), status=1)
    assert (
        f"HTTP 409 Conflict: Data for image {image_id} is staged already: import it, or delete the image." in said.err
    )
    glance("image-import", image_id, "--import-method", "glance-direct")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    glance("image-download", image_id, "--file", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == DATA


def test_a_staged_image_is_deleted(job: Job, tmp_path: Path) -> None:
    """Given a staged image, when it is deleted, then what was staged goes with it."""
    (tmp_path / "image").write_bytes(DATA)
    glance = job.glance(terminal=True)
    image_id = glance("image-create").properties["id"]
    glance("image-stage", image_id, "--file", str(tmp_path / "image"))
    assert len(job.staged()) == 1
    glance("image-delete", image_id)
    wait_for(lambda: job.staged() == [], 30)
