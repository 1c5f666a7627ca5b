"""The bugs of Glance that import-behaviour §7 names as ours to be free of: each has a test that bears its number, here
or where its room is tested. The last test sees to that.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.options import ApiOptions, CorsOptions
from flows.options import STAGING_STORE
from stores.base import StoreSpec
from stores.errors import StoreFull, StoreUnavailable
from stores.registry import StoreRegistry
from stores.wrappers import fails
from tests.api.service import IMPORT, Doorbell, runtime
from tests.api.service import Service as Api
from tests.flows.service import DATA, Service, eager_service

ROOT = Path(__file__).parents[2]

IN_SCOPE = [
    1884596, 1881958, 1889640, 1889676, 1885725, 1885003, 1884587, 1886374, 1863879, 1861723, 1861501, 1861334, 1823703,
    1887994,
]  # fmt: skip


@pytest.fixture
def flows(tmp_path: Path) -> Iterator[Service]:
    """Imports in the caller's own thread."""
    with eager_service(tmp_path / "flows", max_attempts=1) as made:
        yield made


def test_bug_1881958_all_stores_leaves_out_what_cannot_be_written(service: Api) -> None:
    """Given a read-only store among the others, when all are asked for, then it is neither a target nor a failure."""
    image = service.image()

    answer = service.client.simulate_post(f"/v2/images/{image}/import", json=IMPORT | {"all_stores": True})

    assert answer.status_code == 202
    [task] = service.client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"]
    assert task["input"]["backend"] == ["fast", "cheap", "bulk"]


@pytest.mark.parametrize("method", ["web-download", "glance-direct"])
def test_bug_1889640_no_image_is_active_without_data(flows: Service, method: str) -> None:
    """Given stores of which none can be written, all of them allowed to fail, then the import fails, and the image is
    where it can be imported again.
    """
    for store in ("a", "b"):
        flows.fail(store, "write", fails(StoreFull(store, "no room")))
    image = flows.image()
    if method == "glance-direct":
        flows.stage(image)
    ask = flows.ask_staged if method == "glance-direct" else flows.ask

    task = flows.task(ask(image, stores=("a", "b"), all_stores_must_succeed=False))

    assert (task.status, task.error_code) == ("failure", "nothing_stored")
    assert flows.look(image).status == ("uploading" if method == "glance-direct" else "queued")
    flows.assert_clean(image)


def test_bug_1885003_what_an_interrupted_copy_left_is_never_read(flows: Service) -> None:
    """Given a copy that broke off half-way, when it is asked for again, then the bytes come from a whole copy, and of
    the half nothing is left.
    """
    image = flows.active("a")
    flows.fail("a", "read", fails(StoreUnavailable("a", "gone"), after=len(DATA) // 2))
    assert flows.copy(image, "b").status == "failure"
    assert flows.kept()["b"] == []
    flows.faulty["a"].hooks.clear()

    assert flows.copy(image, "b").status == "success"

    assert flows.read(image, "b") == DATA
    flows.assert_clean(image)


def test_bug_1863879_all_stores_never_means_the_staging_store(flows: Service) -> None:
    """Given staged bytes, when they are imported into all stores, then those are the configured ones, and staging is
    no place of the image, nor can it be named.
    """
    image = flows.image()
    flows.stage(image)

    task = flows.task(flows.ask_staged(image, stores=None, all_stores=True))

    assert task.status == "success"
    assert sorted(place.store for place in flows.look(image).locations) == ["a", "b", "c"]
    assert STAGING_STORE not in flows.runtime.stores.ids()
    flows.assert_clean(image)


def test_bug_1861723_a_dead_store_does_not_keep_the_service_from_starting(tmp_path: Path) -> None:
    """Given a store whose directory cannot be made, when the stores are built, then the others work, the dead one says
    so when it is used, and all that happened before anybody could have connected.
    """
    (tmp_path / "file").write_text("in the way")
    places = {"dead": tmp_path / "file" / "below", "alive": tmp_path / "alive"}
    specs = [StoreSpec(name, "file", options={"filesystem_store_datadir": str(at)}) for name, at in places.items()]

    stores = StoreRegistry.build(specs, "alive")

    assert [name for name, trouble in stores.health().items() if trouble] == ["dead"]
    service = Api(runtime(tmp_path, stores))
    assert service.client.simulate_get("/healthcheck").status_code == 200
    image = service.active({"alive": DATA})
    assert service.client.simulate_get(f"/v2/images/{image}/file").content == DATA


def test_bug_1861501_ids_of_stores_are_text_to_the_end(service: Api) -> None:
    """Given an image in two stores, then each place where their ids are told has the texts of the configuration."""
    image = service.active({"fast": DATA, "bulk": DATA})

    shown = service.client.simulate_get(f"/v2/images/{image}").json

    assert shown["stores"] == "fast,bulk"
    assert shown["os_glance_failed_import"] == shown["os_glance_importing_to_stores"] == ""


def test_bug_1861334_browsers_are_answered_in_every_entry_point(tmp_path: Path) -> None:
    """Given an allowed origin and nothing else, when a browser asks before an upload, then it may send what Glance's
    clients in browsers send.
    """
    options = ApiOptions(cors=CorsOptions(allowed_origin=("https://horizon.test",)))
    client = Api(runtime(tmp_path), options, doorbell=Doorbell()).client

    answer = client.simulate_options(
        "/v2/images/x/file",
        headers={
            "Origin": "https://horizon.test",
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "X-Auth-Token, Content-Type",
        },
    )

    assert answer.headers["access-control-allow-origin"] == "https://horizon.test"
    assert "PUT" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("path", ["/", "/versions", "/v2/"])
def test_bug_1823703_links_keep_the_path_that_a_proxy_put_before_them(service: Api, path: str) -> None:
    """Given a service mounted below a path, then the links of its versions lead below that path."""
    answer = service.client.simulate_get(path, root_path="/image")

    hrefs = {link["href"] for version in answer.json["versions"] for link in version["links"]}
    assert [href for href in hrefs if not href.endswith("/image/v2/")] == []


def test_bug_1887994_the_api_is_an_ordinary_wsgi_application(tmp_path: Path) -> None:
    """Given nothing but the application, when any server imports it, then no thread of it works in the background, and
    our workers are not even loaded: imports are done elsewhere.
    """
    program = (
        "import sys, threading\n"
        "from tests.api.served import app\n"
        "app()\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not [name for name in sys.modules if name.startswith('workers')]\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "SERVED_DIRECTORY": str(tmp_path), "PATH": "/usr/bin:/bin"}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_bug_in_scope_has_a_test_of_its_number() -> None:
    """Given the bugs that §7 marks as in, then some test is named after each."""
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    named = {int(number) for number in re.findall(r"def test_bug_(\d+)_", sources)}

    assert set(IN_SCOPE) <= named, set(IN_SCOPE) - named
