"""Real API and worker processes on PostgreSQL with Redis and RabbitMQ, and what may happen to them."""

import hashlib
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.cluster import STORES, Cluster, running, wait_for
from tests.servers import NginxServer, RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BIG = random.Random(7).randbytes(12 << 20)
"""Bytes that are no disk format; at the slow server's rate they take long enough to be disturbed."""

RATE = 4 << 20


@pytest.fixture(params=["redis", "rabbitmq"])
def sections(request: pytest.FixtureRequest, postgres_url: str) -> Mapping[str, Mapping[str, object]]:
    """PostgreSQL, with Redis as broker and lease keeper, or with RabbitMQ and leases in the database."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        own: dict[str, object] = {"broker_url": url, "lease_keeper": "redis"}
    else:
        own = {"broker_url": request.getfixturevalue("rabbit_url")}
    return {"database": {"connection": postgres_url}, "tranship": own}


@pytest.fixture
def source(tmp_path: Path, nginx: Callable[..., NginxServer]) -> Callable[..., str]:
    """Serves BIG; `source(rate)` is its URL."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "image").write_bytes(BIG)

    def serve(rate: int | None = None) -> str:
        return f"{nginx(folder, rate=rate).url}/image"

    return serve


def check_success(cluster: Cluster, image_id: str) -> None:
    """The image is whole in every store, nothing else is there, and the lock is free."""
    image = cluster.image(image_id)
    assert image["status"] == "active"
    assert image["os_hash_value"] == hashlib.sha512(BIG).hexdigest()
    assert sorted(image["stores"].split(",")) == list(STORES)
    assert image["os_glance_importing_to_stores"] == image["os_glance_failed_import"] == ""
    assert "os_glance_import_task" not in image
    wait_for(lambda: {store for store, _ in cluster.listing(image_id)} == set(STORES), 30, cluster.trouble)
    wait_for(lambda: len(cluster.listing(image_id)) == len(STORES), 30, cluster.trouble)
    for store, name in cluster.listing(image_id):
        assert hashlib.sha512((cluster.data / "stores" / store / name).read_bytes()).digest() == (
            hashlib.sha512(BIG).digest()
        )


def test_import_and_download(
    tmp_path: Path, sections: Mapping[str, Mapping[str, object]], source: Callable[..., str]
) -> None:
    """Given API and worker, when an image is imported into three stores, then it can be downloaded as it was."""
    with running(tmp_path / "data", sections) as cluster:
        image_id = cluster.create()
        cluster.web_download(image_id, source())
        assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
        check_success(cluster, image_id)
        assert cluster.download(image_id) == BIG


@pytest.fixture
def pair(
    tmp_path: Path, sections: Mapping[str, Mapping[str, object]], source: Callable[..., str]
) -> Iterator[tuple[Cluster, str]]:
    """Two workers, and an image that one of them is importing from a slow source."""
    with running(tmp_path / "data", sections, workers=2) as cluster:
        image_id = cluster.create()
        cluster.web_download(image_id, source(RATE))
        cluster.moving(image_id)
        yield cluster, image_id


def busy(cluster: Cluster, image_id: str) -> int:
    """Which worker runs the import: by the pid of its pool process, which stands in the attempt."""
    pid = int(cluster.task(image_id)["attempts"][-1]["worker"].split(":")[1])
    (index,) = [n for n, worker in enumerate(cluster.workers) if pid in worker.children()]
    return index


def test_a_worker_is_killed(pair: tuple[Cluster, str]) -> None:
    """Given an import, when its whole worker is killed, then the other resumes it without anybody asking."""
    cluster, image_id = pair
    cluster.workers[busy(cluster, image_id)].kill()
    assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
    assert cluster.task(image_id)["attempts"][0]["outcome"] == "lost"
    check_success(cluster, image_id)


def test_a_pool_process_is_killed(pair: tuple[Cluster, str]) -> None:
    """Given an import, when the pool process that runs it is killed (out of memory), then it is resumed."""
    cluster, image_id = pair
    os.kill(int(cluster.task(image_id)["attempts"][-1]["worker"].split(":")[1]), signal.SIGKILL)
    assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
    check_success(cluster, image_id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["init system", "Ctrl-C"])
def test_a_worker_is_stopped(pair: tuple[Cluster, str], number: signal.Signals) -> None:
    """Given an import, when its worker is told to go, then it hands the import back and leaves; the other resumes."""
    cluster, image_id = pair
    os.kill(cluster.workers[busy(cluster, image_id)].pid, number)
    assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
    assert cluster.task(image_id)["attempts"][0]["outcome"] == "handed_back"
    check_success(cluster, image_id)


def test_a_worker_sleeps_and_wakes(pair: tuple[Cluster, str]) -> None:
    """Given an import, when its worker is frozen past its lease and woken, then one of the two wins."""
    cluster, image_id = pair
    sleeper = cluster.workers[busy(cluster, image_id)]
    sleeper.pause()
    wait_for(lambda: len(cluster.task(image_id)["attempts"]) > 1, 60, cluster.trouble)
    sleeper.resume()
    assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
    check_success(cluster, image_id)


def test_deleted_in_mid_import(pair: tuple[Cluster, str]) -> None:
    """Given an import, when the image is deleted, then not a byte of it stays."""
    cluster, image_id = pair
    cluster.call("DELETE", f"/v2/images/{image_id}", 204)
    wait_for(lambda: not cluster.listing(image_id), 30, cluster.trouble)
    cluster.call("GET", f"/v2/images/{image_id}", 404)


def test_cancelled_in_mid_import(pair: tuple[Cluster, str]) -> None:
    """Given an import, when it is cancelled, then within seconds the image is queued again and no byte stays."""
    cluster, image_id = pair
    cluster.call("DELETE", f"/v2/images/{image_id}/import", 202)
    assert cluster.ended(image_id, seconds=15)["error_code"] == "cancelled"
    assert cluster.image(image_id)["status"] == "queued"
    wait_for(lambda: not cluster.listing(image_id), 30, cluster.trouble)


def test_redis_is_emptied_in_mid_import(
    tmp_path: Path, postgres_url: str, redis_url: str, redis_server: RedisServer, source: Callable[..., str]
) -> None:
    """Given Redis as broker and lease keeper, when it loses everything in mid-import, then nothing goes wrong."""
    sections = {
        "database": {"connection": postgres_url},
        "tranship": {"broker_url": redis_url, "lease_keeper": "redis"},
    }
    with running(tmp_path / "data", sections, workers=2) as cluster:
        image_id = cluster.create()
        cluster.web_download(image_id, source(RATE))
        cluster.moving(image_id)
        redis_server.flushall()
        assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
        check_success(cluster, image_id)


def test_the_broker_is_away_when_asked(tmp_path: Path, postgres_url: str, source: Callable[..., str]) -> None:
    """Given a broker that is down, when an import is asked for, then it is taken, and done once the broker is back."""
    with RedisServer() as broker:
        sections = {"database": {"connection": postgres_url}, "tranship": {"broker_url": broker.url}}
        with running(tmp_path / "data", sections) as cluster:
            broker.kill()
            image_id = cluster.create()
            cluster.web_download(image_id, source())
            assert cluster.image(image_id)["status"] == "importing"
            broker.start()
            assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
            check_success(cluster, image_id)
