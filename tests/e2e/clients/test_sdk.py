"""openstacksdk, as programs use it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import openstack
import pytest
from openstack.connection import Connection
from openstack.exceptions import BadRequestException, ConflictException, NotFoundException, raise_from_response
from openstack.image.v2._proxy import Proxy
from openstack.image.v2.image import Image

from flows.methods import FLOWS
from tests.e2e.clients.job import DATA, REFUSED_URI, SUFFIXES, Job

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.clients,
    # What openstacksdk says about itself.
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:openstack"),
]

Connect = Callable[[str], Proxy]


@pytest.fixture
def connect(job: Job, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """`connect(suffix)` gives the image service of a connection that knows nothing but the endpoint."""
    monkeypatch.setenv("HOME", str(job.home))
    made: list[Connection] = []

    def to(suffix: str) -> Proxy:
        endpoint = job.endpoint(suffix)
        made.append(openstack.connect(auth_type="none", endpoint=endpoint, load_yaml_config=False, load_envvars=False))
        image = made[-1].image
        assert isinstance(image, Proxy), "the second version of the API was found"
        return image

    yield to
    for connection in made:
        connection.close()


def queued(image: Proxy) -> Image:
    """A new image without data."""
    return image.create_image("s", disk_format="raw", container_format="bare")


def found(image: Proxy, name: str) -> str | None:
    """The id of the image that has this name or id."""
    one = image.find_image(name)
    return one.id if one else None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_import(job: Job, connect: Connect, tmp_path: Path, suffix: str) -> None:
    """Given an image without data, when a URL is imported, then a program can wait for it, find it and download it."""
    image = connect(suffix)
    made = queued(image)
    assert made.status == "queued"
    raise_from_response(image.import_image(made, method="web-download", uri=job.uri, stores=["a", "b"]))
    done = image.wait_for_status(made, "active", failures=["killed"], interval=1, wait=90)

    assert (done.size, done.hash_algo, done.hash_value) == (len(DATA), "sha512", hashlib.sha512(DATA).hexdigest())
    assert [place["metadata"] for place in done.locations] == [{"store": "a"}, {"store": "b"}]
    assert done.direct_url == done.locations[0]["url"]
    assert found(image, "s") == found(image, made.id) == made.id
    assert [(one.name, one.properties["stores"]) for one in image.images()] == [("s", "a,b")]
    assert [task.status for task in image.image_tasks(made)] == ["success"]

    assert image.download_image(done).content == DATA
    with (tmp_path / "saved").open("wb") as file:
        image.download_image(done, output=file)
    assert (tmp_path / "saved").read_bytes() == DATA
    image.delete_image(done)
    assert found(image, "s") is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_offered(connect: Connect, suffix: str) -> None:
    """Given the service, when a program asks what it can do, then it learns of the methods and of the stores."""
    image = connect(suffix)
    assert image.get_import_info().import_methods["value"] == list(FLOWS)
    assert [(store.id, bool(store.is_default)) for store in image.stores()] == [("a", True), ("b", False), ("c", False)]


def test_an_import_that_fails(job: Job, connect: Connect) -> None:
    """Given a URL without an image, when it is imported, then the image is queued again and tells which stores."""
    image = connect("")
    made = queued(image)
    raise_from_response(image.import_image(made, method="web-download", uri=job.absent, stores=["a", "b"]))
    assert job.cluster.ended(made.id)["status"] == "failure"
    now = image.get_image(made)
    assert (now.status, now.properties["os_glance_failed_import"]) == ("queued", "a,b")
    (task,) = image.image_tasks(made)
    assert (task.status, task.message) == ("failure", f"{job.absent} answered 404 Not Found")


def test_refusals_are_exceptions_with_our_words(connect: Connect) -> None:
    """Given requests that make no sense, then the exceptions are of the right kind and tell the reason."""
    image = connect("")
    with pytest.raises(NotFoundException, match="No image found with ID nope"):
        image.get_image("nope")
    made = queued(image)
    refused = image.import_image(made, method="web-download", uri=REFUSED_URI)
    with pytest.raises(BadRequestException, match=f"URI {REFUSED_URI} does not pass filtering"):
        raise_from_response(refused)
    assert image.get_image(made).status == "queued"


def test_what_is_staged(connect: Connect) -> None:
    """Given data, when a program stages and imports it, at once or in steps, then it can wait for the image."""
    image = connect("")
    at_once = image.create_image("at once", data=DATA, use_import=True, disk_format="raw", container_format="bare")
    in_steps = queued(image)
    staged = image.stage_image(in_steps, data=DATA)
    assert (staged.status, staged.size) == ("uploading", len(DATA))
    raise_from_response(image.import_image(staged, stores=["a", "c"]))
    for made in (at_once, in_steps):
        done = image.wait_for_status(made, "active", failures=["killed", "queued"], interval=1, wait=90)
        assert (done.size, done.hash_value) == (len(DATA), hashlib.sha512(DATA).hexdigest())
        assert image.download_image(done).content == DATA


def test_refusals_while_data_is_sent(connect: Connect) -> None:
    """Given data that is not taken, then the program hears why, and not of a broken connection."""
    image = connect("")
    made = queued(image)
    image.stage_image(made, data=DATA)
    made.status = "queued"  # or the client would not even ask
    with pytest.raises(ConflictException, match=f"Data for image {made.id} is staged already"):
        image.stage_image(made, data=DATA * 8)
