"""The services that the clients drive: one on a laptop that asks nobody who he is, and two for people."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import started
from tests.e2e.clients.job import DATA, Job
from tests.e2e.clients.people import Sections, World, basic_world, keystone_world
from tests.e2e.cluster import embedded
from tests.servers import KeystoneServer, NginxServer, PostgresServer, RedisServer

Worlds = Callable[[str], World]


@pytest.fixture(scope="package")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a web server that has DATA."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "image").write_bytes(DATA)
    with started(NginxServer(folder)) as server:
        yield server.url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's, empty at first: clients keep what they have learnt there."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The name of a file that holds DATA."""
    (tmp_path / "image").write_bytes(DATA)
    return str(tmp_path / "image")


@pytest.fixture(scope="package")
def _job(tmp_path_factory: pytest.TempPathFactory, source: str) -> Iterator[Job]:
    shown = {"show_multiple_locations": True, "show_image_direct_url": True}
    with embedded(tmp_path_factory.mktemp("service"), {"DEFAULT": shown}) as cluster:
        yield Job(cluster, source, Path())


@pytest.fixture
def job(_job: Job, home: Path) -> Iterator[Job]:
    """The service on a laptop, without any image, and a new user."""
    yield Job(_job.cluster, _job.source, home)
    for image in _job.cluster.call("GET", "/v2/images", 200).json()["images"]:
        _job.cluster.call("DELETE", f"/v2/images/{image['id']}", 204)


@pytest.fixture(scope="package")
def worlds(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    source: str,
) -> Iterator[Worlds]:
    """Gives the world of a kind, started when it is first asked for: API and worker as processes on PostgreSQL and
    Redis. All stay until the last test here, for they take their time to start.
    """
    redis_server.flushall()
    with ExitStack() as stack:
        known: dict[str, World] = {}

        def start(kind: str) -> World:
            database = postgres_server.create_database()
            stack.callback(postgres_server.drop_database, database)
            broker = redis_server.database(len(known) + 1)
            sections: Sections = {
                "database": {"connection": database},
                "tranship": {"broker_url": broker, "lease_keeper": "redis"},
            }
            data = tmp_path_factory.mktemp("people") / "data"
            if kind == "http_basic":
                return stack.enter_context(basic_world(data, sections, source))
            keystone = stack.enter_context(started(KeystoneServer()))
            return stack.enter_context(keystone_world(data, sections, source, keystone))

        def world(kind: str) -> World:
            if kind not in known:
                known[kind] = start(kind)
            return known[kind]

        yield world


@pytest.fixture(scope="module", params=["http_basic", "keystone"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the service knows its callers."""
    return str(request.param)


@pytest.fixture
def world(kind: str, worlds: Worlds, home: Path) -> Iterator[World]:
    """A service for people, without any image, and new homes for them."""
    found = worlds(kind)
    found.home = home
    yield found
    found.clear()
