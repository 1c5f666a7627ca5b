"""The real clients at a service on a laptop: embedded, and it asks nobody who he is. With and without /v2 at the end of
its address.
"""

import json
from pathlib import Path

import pytest
from openstack.exceptions import raise_from_response

from flows.methods import FLOWS
from tests.e2e.clients.job import AS_JSON, CLIENTS, DATA, FORMATS, SHA512, SUFFIXES, Job
from tests.e2e.clients.terminal import connected

pytestmark = CLIENTS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_glance(job: Job, tmp_path: Path, suffix: str) -> None:
    """Given a script, when it looks what is offered and imports a URL, then the image comes back whole."""
    glance = job.glance(suffix)
    assert json.loads(glance("import-info").properties["import-methods"])["value"] == list(FLOWS)
    detailed = json.loads(glance("stores-info", "--detail").properties["stores"])
    assert [(store["id"], store["type"]) for store in detailed] == [("a", "file"), ("b", "file"), ("c", "file")]
    words = ("--import-method", "web-download", "--uri", job.uri, "--all-stores", "true")
    image_id = glance("image-create-via-import", *words, *FORMATS).properties["id"]
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    assert job.cluster.image(image_id)["stores"] == "a,b,c"
    glance("image-download", image_id, "--file", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == DATA


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_openstack(job: Job, tmp_path: Path, suffix: str) -> None:
    """Given a person, when it looks what is offered and imports a URL, then the image comes back whole."""
    openstack = job.openstack(suffix)
    stores = openstack("image", "stores", "list", "--detail", *AS_JSON).json
    assert [(store["ID"], store["Default"]) for store in stores] == [("a", True), ("b", None), ("c", None)]
    assert [Path(store["Properties"]["data_dir"]).name for store in stores] == ["a", "b", "c"]
    image_id = openstack("image", "create", *FORMATS, *AS_JSON, "o").json["id"]
    openstack("image", "import", "--method", "web-download", "--uri", job.uri, "o")
    assert job.cluster.ended(image_id)["status"] == "success", job.cluster.trouble()
    openstack("image", "save", "--file", str(tmp_path / "saved"), "o")
    assert (tmp_path / "saved").read_bytes() == DATA


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_sdk(job: Job, suffix: str) -> None:
    """Given a program, when it imports a URL, then it can wait for the image, and sees its task and its data."""
    with connected({"auth_type": "none", "endpoint": job.endpoint(suffix)}) as image:
        made = image.create_image("s", disk_format="raw", container_format="bare")
        raise_from_response(image.import_image(made, method="web-download", uri=job.uri, stores=["a", "b"]))
        done = image.wait_for_status(made, "active", failures=["killed"], interval=0.2, wait=90)
        assert [place["metadata"] for place in done.locations] == [{"store": "a"}, {"store": "b"}]
        assert done.direct_url == done.locations[0]["url"]
        job.cluster.ended(done.id)
        assert [task.status for task in image.image_tasks(done)] == ["success"]
        assert image.download_image(done).content == DATA


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
