"""A sample of each matrix against the real thing: API and worker processes, PostgreSQL, Redis and stores on disk.

The whole tables are in tests/flows/test_final_states.py (import-behaviour §1.6), tests/flows/test_admission.py (§1.2),
tests/api/test_delete_from_store.py (§3.6) and tests/catalog/test_lock_rules.py (§2).
"""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, running, wait_for
from tests.servers import NginxServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DATA = random.Random(3).randbytes(3 << 20)
GD, WD, CI = "glance-direct", "web-download", "copy-image"

# The image begins in store `a` for a copy; `b` is broken, by taking its directory away, and `c` is in order.
STATES = [
    # method, must all, image afterwards, FAIL, stores, task
    (GD, True, "uploading", "b", set(), "failure"),
    (GD, False, "active", "b", {"c"}, "success"),
    (WD, True, "queued", "b", set(), "failure"),
    (WD, False, "active", "b", {"c"}, "success"),
    (CI, True, "active", "b", {"a"}, "failure"),
    (CI, False, "active", "b", {"a", "c"}, "success"),
]


@pytest.fixture
def sources(tmp_path: Path, nginx: Callable[..., NginxServer]) -> Callable[..., str]:
    """Serves DATA; `sources(rate)` is its URL."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "image").write_bytes(DATA)
    return lambda rate=None: f"{nginx(folder, rate=rate).url}/image"


@pytest.fixture
def cluster(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Cluster]:
    """API and worker that give up at the first failure of a store."""
    own = {"broker_url": redis_url, "lease_keeper": "redis", "max_attempts": 1}
    with running(tmp_path / "data", {"database": {"connection": postgres_url}, "tranship": own}) as made:
        yield made


def begun(cluster: Cluster, method: str, uri: str) -> str:
    """An image from which the method can begin; returns its id."""
    image_id = cluster.create()
    if method == GD:
        cluster.call(
            "PUT", f"/v2/images/{image_id}/stage", 204, data=DATA, headers={"Content-Type": "application/octet-stream"}
        )
    if method == CI:
        cluster.web_download(image_id, uri, ["a"])
        assert cluster.ended(image_id)["status"] == "success"
    return image_id


def ask(cluster: Cluster, image_id: str, method: str, uri: str, expected: int = 202, **more: Any) -> str:
    """Ask for an import; the text of the answer."""
    named = {"name": method} | ({"uri": uri} if method == WD else {})
    return cluster.call("POST", f"/v2/images/{image_id}/import", expected, json={"method": named} | more).text


def seen(cluster: Cluster, image_id: str) -> tuple[str, str, set[str]]:
    """Status, os_glance_failed_import and stores of the image, which nobody works on any more."""
    image = cluster.image(image_id)
    assert "os_glance_import_task" not in image
    assert image["os_glance_importing_to_stores"] == ""
    return image["status"], image["os_glance_failed_import"], set(filter(None, image.get("stores", "").split(",")))


def test_final_states(cluster: Cluster, sources: Callable[..., str]) -> None:
    """Given a store whose directory is gone, when each method imports into it and another, then every row is as the
    matrix says; and once it is back, the same import succeeds as it is.
    """
    uri, images = sources(), []
    for row in STATES:
        images.append((row, begun(cluster, row[0], uri)))
    place = cluster.data / "stores" / "b"
    shutil.move(place, place.with_name("taken-away"))

    for (method, must_all, *_), image_id in images:
        ask(cluster, image_id, method, uri, stores=["b", "c"], all_stores_must_succeed=must_all)

    for (method, _, status, failed, stores, end), image_id in images:
        task = cluster.ended(image_id)
        assert (task["status"], *seen(cluster, image_id)) == (end, status, failed, stores), (method, task)
        reasons = {target["store"]: target["reason"] for target in task["stores"]}
        assert "data directory" in reasons["b"] or "store b" in reasons["b"], reasons
        assert reasons["c"] == ""
        wait_for(lambda id=image_id, stores=stores: {s for s, _ in cluster.listing(id)} == stores, 30, cluster.trouble)
    shutil.move(place.with_name("taken-away"), place)
    for (method, *_, end), image_id in images:
        if end == "failure":
            ask(cluster, image_id, method, uri, stores=["b", "c"])
            assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
            held = {"a", "b", "c"} if method == CI else {"b", "c"}
            assert seen(cluster, image_id) == ("active", "", held)
            assert cluster.download(image_id) == DATA
    wait_for(lambda: not [p for p in (cluster.data / "staging").rglob("*") if p.is_file()], 30, cluster.trouble)


def test_checks_and_the_lock(cluster: Cluster, sources: Callable[..., str]) -> None:
    """Given an import that takes its time, then what else is asked for is answered as the tables say, and a change of
    the image's name meanwhile is kept.
    """
    slow, image_id = sources(400_000), cluster.create()
    wrongs: list[tuple[dict[str, Any], int]] = [
        ({"stores": []}, 400),
        ({"stores": ["a", "a"]}, 400),
        ({"stores": "a"}, 400),
        ({"stores": ["moon"]}, 409),
        ({"stores": ["os_glance_staging_store"]}, 409),
        ({"all_stores": True, "stores": ["a"]}, 400),
    ]
    for wrong, code in wrongs:
        ask(cluster, image_id, WD, slow, code, **wrong)
    ask(cluster, image_id, CI, slow, 409)
    ask(cluster, image_id, GD, slow, 409)
    ask(cluster, image_id, WD, slow, stores=["a", "b"])
    cluster.moving(image_id)
    task_id = cluster.image(image_id)["os_glance_import_task"]

    refusal = ask(cluster, image_id, WD, slow, 409)
    patch = [{"op": "replace", "path": "/name", "value": "renamed"}]
    patched = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    cluster.call("PATCH", f"/v2/images/{image_id}", 200, json=patch, headers=patched)

    assert f"has active task {task_id}; its lease runs until" in refusal
    assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
    assert seen(cluster, image_id) == ("active", "", {"a", "b"})
    assert cluster.image(image_id)["name"] == "renamed"


def test_delete_from_one_store(cluster: Cluster, sources: Callable[..., str]) -> None:
    """Given an image in two stores, when it is deleted from one, then it is there no more and read from the other."""
    image_id = cluster.create()
    cluster.call("DELETE", f"/v2/stores/a/{image_id}", 409)
    cluster.web_download(image_id, sources(), ["a", "b"])
    assert cluster.ended(image_id)["status"] == "success"
    cluster.call("DELETE", f"/v2/stores/moon/{image_id}", 409)
    cluster.call("DELETE", f"/v2/stores/c/{image_id}", 404)
    cluster.call("DELETE", "/v2/stores/a/nothing", 404)

    cluster.call("DELETE", f"/v2/stores/a/{image_id}", 204)

    assert {store for store, _ in cluster.listing(image_id)} == {"b"}
    assert cluster.image(image_id)["stores"] == "b"
    assert cluster.download(image_id) == DATA
    cluster.call("DELETE", f"/v2/stores/b/{image_id}", 403)
    cluster.call("DELETE", f"/v2/stores/a/{image_id}", 403)
    cluster.call("DELETE", f"/v2/images/{image_id}", 204)
    wait_for(lambda: not cluster.listing(image_id), 30, cluster.trouble)
