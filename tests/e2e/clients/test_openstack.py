"""python-openstackclient's command `openstack`, as its users type it."""

import hashlib
from pathlib import Path

import pytest

from flows.methods import FLOWS
from tests.e2e.clients.job import DATA, REFUSED_URI, SUFFIXES, Job
from tests.e2e.cluster import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.clients, pytest.mark.timeout(300)]

FORMATS = ("--disk-format", "raw", "--container-format", "bare")
WEB_DOWNLOAD = ("--method", "web-download", "--uri")
AS_JSON = ("-f", "json")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_import(job: Job, tmp_path: Path, suffix: str) -> None:
    """Given an image without data, when a URL is imported into two stores, then every other command tells of it, and
    it comes back whole.
    """
    openstack = job.openstack(suffix)
    made = openstack("image", "create", "--tag", "new", *FORMATS, *AS_JSON, "o").json
    assert (made["status"], made["tags"]) == ("queued", ["new"])
    openstack("image", "import", *WEB_DOWNLOAD, job.uri, "--store", "a", "b", "--", "o")
    assert job.cluster.ended(made["id"])["status"] == "success", job.cluster.trouble()

    shown = openstack("image", "show", *AS_JSON, "o").json
    assert (shown["id"], shown["status"], shown["size"]) == (made["id"], "active", len(DATA))
    assert shown["checksum"] == hashlib.md5(DATA).hexdigest()
    assert shown["properties"]["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert shown["properties"]["stores"] == "a,b"
    listed = openstack("image", "list", *AS_JSON).json
    assert listed == [{"ID": made["id"], "Name": "o", "Status": "active"}]

    openstack("image", "save", "--file", str(tmp_path / "saved"), made["id"])
    assert (tmp_path / "saved").read_bytes() == DATA
    openstack("image", "delete", "o")
    assert openstack("image", "list", *AS_JSON).json == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_offered(job: Job, suffix: str) -> None:
    """Given the service, when a client asks what it can do, then it learns of the methods and of the stores."""
    openstack = job.openstack(suffix)
    assert openstack("image", "import", "info", *AS_JSON).json == {"import-methods": list(FLOWS)}
    stores = openstack("image", "stores", "list", *AS_JSON).json
    assert [(store["ID"], store["Default"]) for store in stores] == [("a", True), ("b", None), ("c", None)]
    detailed = openstack("image", "stores", "list", "--detail", *AS_JSON).json
    assert [Path(store["Properties"]["data_dir"]).name for store in detailed] == ["a", "b", "c"]


def test_a_copy(job: Job) -> None:
    """Given an imported image, when it is copied to one store, then it is in both, with the same bytes."""
    openstack = job.openstack()
    image_id = openstack("image", "create", *FORMATS, *AS_JSON, "o").json["id"]
    openstack("image", "import", *WEB_DOWNLOAD, job.uri, "--store", "b", "--", "o")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    openstack("image", "import", "--method", "copy-image", "--store", "c", "--", "o")
    task = job.cluster.ended(image_id)
    assert (task["status"], task["message"]) == ("success", "Copied 3 MiB to c."), job.cluster.trouble()
    shown = openstack("image", "show", *AS_JSON, "o").json
    assert (shown["status"], shown["properties"]["stores"]) == ("active", "b,c")
    files = [path.read_bytes() for _, path in job.cluster.files() if image_id in path.name]
    assert files == [DATA, DATA]


def test_an_import_that_fails(job: Job) -> None:
    """Given a URL without an image, when it is imported, then the image is queued again and tells which stores."""
    openstack = job.openstack()
    image_id = openstack("image", "create", *FORMATS, *AS_JSON, "o").json["id"]
    openstack("image", "import", *WEB_DOWNLOAD, job.absent, "--store", "a", "b", "--", "o")
    assert job.cluster.ended(image_id)["status"] == "failure"
    shown = openstack("image", "show", *AS_JSON, "o").json
    assert (shown["status"], shown["properties"]["os_glance_failed_import"]) == ("queued", "a,b")
    assert "os_glance_import_task" not in shown["properties"]


def test_a_refused_uri(job: Job) -> None:
    """Given a URL inside the cloud, when it is imported, then nothing begins.

    The command itself says nothing and succeeds, whatever the service answers: openstacksdk returns the answer of an
    import without looking at its status, and the command does not look either (seen in 10.5.0).
    """
    openstack = job.openstack()
    image_id = openstack("image", "create", *FORMATS, *AS_JSON, "o").json["id"]
    openstack("image", "import", *WEB_DOWNLOAD, REFUSED_URI, "o")
    shown = openstack("image", "show", *AS_JSON, "o").json
    assert shown["status"] == "queued"
    assert "os_glance_failed_import" not in shown["properties"]
    assert job.cluster.call("GET", f"/v2/images/{image_id}/tasks", 200).json() == {"tasks": []}


def test_what_is_not_there(job: Job) -> None:
    """Given a name that nothing has, then the command fails and says so."""
    assert "No Image found for nope" in job.openstack()("image", "show", "nope", status=1).err


def test_a_file(job: Job, tmp_path: Path) -> None:
    """Given a file, when an image is created with it by import, then that is glance-direct under another name."""
    (tmp_path / "image").write_bytes(DATA)
    openstack = job.openstack()
    words = ("--import", "--file", str(tmp_path / "image"))
    made = openstack("image", "create", *words, *FORMATS, *AS_JSON, "o").json
    assert made["status"] in ("importing", "active")
    assert job.cluster.ended(made["id"])["status"] == "success", job.cluster.trouble()
    openstack("image", "save", "--file", str(tmp_path / "saved"), "o")
    assert (tmp_path / "saved").read_bytes() == DATA
    wait_for(lambda: job.staged() == [], 30)


def test_a_file_step_by_step(job: Job, tmp_path: Path) -> None:
    """Given a file, when it is staged and then imported without a method, then it is in the stores that were named."""
    (tmp_path / "image").write_bytes(DATA)
    openstack = job.openstack()
    image_id = openstack("image", "create", *FORMATS, *AS_JSON, "o").json["id"]
    openstack("image", "stage", "--file", str(tmp_path / "image"), "o")
    shown = openstack("image", "show", *AS_JSON, "o").json
    assert (shown["status"], shown["size"]) == ("uploading", len(DATA))
    openstack("image", "import", "--store", "b", "--", "o")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    shown = openstack("image", "show", *AS_JSON, "o").json
    assert (shown["status"], shown["properties"]["stores"]) == ("active", "b")
    assert shown["properties"]["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
