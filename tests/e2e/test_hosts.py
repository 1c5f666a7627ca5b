"""Imports that the workers of one host alone can do, with real workers on real brokers."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.tasks import NewTask
from flows.dispatch import Dispatcher, celery_app
from flows.methods import FLOWS
from flows.runtime import Runtime
from settings import load
from tests.e2e.cluster import Cluster, Worker, running
from tests.servers import NginxServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

HOSTS = ("left", "right")
FLOW = FLOWS["web-download"]


@dataclass
class House:
    """Workers on two hosts, and the API's way to ask them for an import that one host can do."""

    cluster: Cluster
    runtime: Runtime
    dispatcher: Dispatcher
    uri: str

    def confined(self, host: str) -> str:
        """A web download for the workers of `host`; returns the image's id."""
        image_id, task_id = self.cluster.create(), str(uuid.uuid4())
        new = NewTask(
            id=task_id,
            image_id=image_id,
            flow=FLOW.name,
            stores=("a",),
            input={"image_id": image_id},
            source={"uri": self.uri},
            host=host,
            all_stores_must_succeed=True,
            owner=None,
            user_id=None,
            request_id=None,
        )
        self.runtime.catalog.request_import(new)
        assert self.dispatcher.send(FLOW, task_id, host=host)
        return image_id

    def hosts(self, image_id: str) -> list[str]:
        """Where each attempt at the newest import ran."""
        return [attempt["worker"].partition(":")[0] for attempt in self.cluster.task(image_id)["attempts"]]


@pytest.fixture(params=["redis", "rabbitmq"])
def house(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str, nginx: Callable[..., NginxServer]
) -> Iterator[House]:
    """Two hosts on Redis or RabbitMQ, whose sweepers do not come while a test runs: messages alone do it."""
    broker = request.getfixturevalue("redis_url" if request.param == "redis" else "rabbit_url")
    sections: Mapping[str, Mapping[str, object]] = {
        "database": {"connection": postgres_url},
        "tranship": {"broker_url": broker, "resend_after": 600, "staging_scope": "local"},
    }
    source = tmp_path / "source"
    source.mkdir()
    (source / "image").write_bytes(os.urandom(1 << 20))
    with running(tmp_path / "data", sections, hosts=HOSTS) as cluster:
        runtime = Runtime.build(load([str(tmp_path / "data" / "tranship.conf")]))
        dispatcher = Dispatcher(celery_app(load([str(tmp_path / "data" / "tranship.conf")]).broker))
        yield House(cluster, runtime, dispatcher, f"{nginx(source).url}/image")
        dispatcher.app.close()
        runtime.close()


def test_one_host_alone_does_it(house: House) -> None:
    """Given workers on two hosts, when imports are asked for that one of them can do, then its workers run every step;
    and at the start it was said that uploads are such imports.
    """
    asked = [(host, house.confined(host)) for host in HOSTS * 4]
    for host, image_id in asked:
        assert house.cluster.ended(image_id)["status"] == "success", house.cluster.trouble()
        assert house.hosts(image_id) == [host] * len(FLOW.steps)
    for program, host in [(house.cluster.api, "left"), *zip(house.cluster.workers, HOSTS, strict=True)]:
        assert f"staging is on the disk of host {host}: " in program.log
        assert program.log.count("staging is on") == 1


def test_a_host_that_comes_later(house: House, tmp_path: Path) -> None:
    """Given imports for a host without a worker, then nobody else touches them; when one starts there, it does them,
    and one that was called off meanwhile is over already.
    """
    image_id, cancelled = house.confined("later"), house.confined("later")
    house.cluster.call("DELETE", f"/v2/images/{cancelled}/import", 202)
    assert house.cluster.ended(cancelled)["error_code"] == "cancelled"
    assert set(house.hosts(cancelled)) <= set(HOSTS)
    waiting = house.cluster.task(image_id)
    assert (waiting["attempts"], waiting["phase"]) == ([], "waiting for a worker on host later")
    with Worker(["worker", "--config-file", str(tmp_path / "data" / "tranship.conf")], "later") as worker:
        house.cluster.workers.append(worker)
        assert house.cluster.ended(image_id)["status"] == "success", house.cluster.trouble()
    assert house.hosts(image_id) == ["later"] * len(FLOW.steps)
