"""What it costs to show images: `tranship api` on PostgreSQL, asked by clients with connections that stay open.

    python -m bench.api [--seconds 8] [--images 1000] [--clients 8] [--only list,show]

CPU is what the kernel counted for every process of the API, and for every one of PostgreSQL, apart from each other;
that of the clients is not in it. Beside the figures stand those of the real Glance (4 processes on 2 cores, 1,000
images, 8 clients), taken on another day: compare orders, not digits.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import Client, WrongAnswer, press
from bench.place import NotMeasured, refuse
from catalog.engine import Database
from tests.catalog.crowd import fill
from tests.e2e.cluster import Api, configured
from tests.servers import PostgresServer, Server

PAGE = 25
GLANCE = {"list": (45, 166, 341, 32.0), "show": (205, 37, 82, 7.0)}
"""Real Glance: requests a second, p50 and p99 in ms, CPU ms a request."""

_WARM_UP = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One case: requests a second, milliseconds, CPU milliseconds a request of the API and of PostgreSQL."""

    rate: float
    p50: float
    p99: float
    api: float
    database: float


@dataclass(frozen=True, slots=True)
class Service:
    """What is asked, and the processes whose CPU counts."""

    api: Server
    database: Server

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.api.port


@contextmanager
def serving(images: int) -> Iterator[Service]:
    """`tranship api`, as operators run it, on a PostgreSQL with so many images (and as many deleted ones)."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        url = postgres.create_database()
        database = Database(url)
        database.create()
        with database.begin() as connection:
            fill(connection, images)
        database.dispose()
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tranship-bench-")))
        # Nothing asked here rings a doorbell, so no broker has to be there.
        config = configured(
            data, {"DEFAULT": {"workers": 2}, "database": {"connection": url}, "tranship": {"eager": True}}
        )
        yield Service(stack.enter_context(Api(["api", "--config-file", str(config)])), postgres)


def measure(service: Service, case: str, clients: int, seconds: float) -> Figures:
    """Ask for one path as long as that. Raises `WrongAnswer`."""
    asking = [Client(service.address, _path(service, case)) for _ in range(clients)]
    press(asking, _WARM_UP)
    before = _cpu(service.api), _cpu(service.database)
    took = press(asking, seconds)
    api, database = _cpu(service.api) - before[0], _cpu(service.database) - before[1]
    for client in asking:
        _check(case, client.body)
        client.socket.close()
    cuts = statistics.quantiles(took, n=100)
    count = len(took)
    return Figures(count / seconds, cuts[49] * 1e3, cuts[98] * 1e3, api / count * 1e3, database / count * 1e3)


def _path(service: Service, case: str) -> str:
    """What to ask for: the newest page, or an image of it."""
    newest = f"/v2/images?limit={PAGE}"
    if case == "list":
        return newest
    client = Client(service.address, newest)
    press([client], 0)
    client.socket.close()
    return f"/v2/images/{json.loads(client.body)['images'][-1]['id']}"


def _check(case: str, body: bytes) -> None:
    shown = json.loads(body)
    images = shown["images"] if case == "list" else [shown]
    whole = all(image["os_distro"] and image["stores"] for image in images if image["status"] == "active")
    if len(images) != (PAGE if case == "list" else 1) or not whole:
        raise WrongAnswer(f"the answer is not whole: {body[:300]!r}")


def _cpu(server: Server) -> float:
    """Seconds of CPU that the server's processes have used, also those that have ended."""
    leader = psutil.Process(server.pid)
    times = [leader.cpu_times(), *(child.cpu_times() for child in leader.children(recursive=True))]
    ended = times[0].children_user + times[0].children_system
    return ended + sum(found.user + found.system for found in times)


def line(case: str, ours: Figures) -> str:
    """One row of the table."""
    rate, p50, p99, cpu = GLANCE[case]
    return (
        f"{case:6}{ours.rate:8.0f}{ours.p50:8.1f}{ours.p99:8.1f}{ours.api:8.2f}{ours.database:12.2f}"
        f"{rate:10}{p50:7}{p99:7}{cpu:7.1f}{cpu / ours.api:10.1f}"
    )


HEAD = (
    f"{'':30}{'CPU ms a request':>20}{'real Glance':>15}{'':16}{'its CPU':>10}\n"
    f"{'':6}{'req/s':>8}{'p50 ms':>8}{'p99 ms':>8}{'API':>8}{'PostgreSQL':>12}"
    f"{'req/s':>10}{'p50':>7}{'p99':>7}{'CPU':>7}{'÷ ours':>10}"
)


def main(words: Sequence[str]) -> int:
    """Print the table; the exit status is 1 for a wrong answer."""
    parser = argparse.ArgumentParser("python -m bench.api", description="what it costs to show images")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each case (%(default)g)")
    parser.add_argument("--images", type=int, default=1000, help="in the catalogue (%(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="at once (%(default)s)")
    parser.add_argument("--only", default=",".join(GLANCE), help="cases (%(default)s)")
    asked = parser.parse_args(words)
    try:
        with serving(asked.images) as service:
            print(f"{asked.images} images, {asked.clients} clients, {asked.seconds:g} s for each case")
            print(HEAD)
            for case in asked.only.split(","):
                print(line(case, measure(service, case, asked.clients, asked.seconds)), flush=True)
    except NotMeasured as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
