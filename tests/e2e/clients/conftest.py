"""One embedded service for all clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import started
from tests.e2e.clients.job import DATA, Job
from tests.e2e.cluster import embedded
from tests.servers import NginxServer


@pytest.fixture(scope="package")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a web server that has DATA."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "image").write_bytes(DATA)
    with started(NginxServer(folder)) as server:
        yield server.url


@pytest.fixture(scope="package")
def _job(tmp_path_factory: pytest.TempPathFactory, source: str) -> Iterator[Job]:
    shown = {"show_multiple_locations": True, "show_image_direct_url": True}
    with embedded(tmp_path_factory.mktemp("service"), {"DEFAULT": shown}) as cluster:
        yield Job(cluster, source, Path())


@pytest.fixture
def job(_job: Job, tmp_path: Path) -> Iterator[Job]:
    """The service, without any image, and a new user: clients keep what they have learnt in their home."""
    home = tmp_path / "home"
    home.mkdir()
    yield Job(_job.cluster, _job.source, home)
    for image in _job.cluster.call("GET", "/v2/images", 200).json()["images"]:
        _job.cluster.call("DELETE", f"/v2/images/{image['id']}", 204)
