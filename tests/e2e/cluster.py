"""The service as operators run it: real API and worker processes from one configuration file, driven over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil
import requests

from tests.servers.places import LOOPBACK
from tests.servers.process import Server, is_alive, wait_until

ROOT = Path(__file__).parent.parent.parent
STORES = ("a", "b", "c")


class Program(Server):
    """One `tranship` command, with its own log, on a host of that name if it is given. Stopped as an init system does
    it: SIGTERM, then by force.
    """

    name = "tranship"
    start_seconds: ClassVar[float] = 40.0

    def __init__(self, words: Sequence[str], host: str = "") -> None:
        super().__init__()
        self._words = list(words)
        self._host = host

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "cli", *self._words]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "VIRTUAL_ENV") if name in os.environ}
        own = {"PYTHONPATH": str(ROOT), "HOME": str(self.home), "LANG": "C.UTF-8"}
        return kept | own | ({"OS_TRANSHIP__HOST": self._host} if self._host else {})


class Api(Program):
    """`tranship api` or `tranship serve` on a free port."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"OS_DEFAULT__BIND_HOST": LOOPBACK, "OS_DEFAULT__BIND_PORT": str(self.port)}

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.port}"

    def _greet(self) -> None:
        requests.get(f"{self.url}/healthcheck", timeout=5).raise_for_status()


class Worker(Program):
    """`tranship worker`: up once it says that it consumes."""

    def _greet(self) -> None:
        if "worker ready" not in self.log:
            raise OSError("not consuming yet")

    def children(self) -> list[int]:
        """The pool's processes."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True) if is_alive(child)]


@dataclass
class Cluster:
    """A running service and the words to drive it with."""

    api: Api
    workers: list[Worker] = field(default_factory=list)
    data: Path = Path()
    headers: Mapping[str, str] = field(default_factory=dict)
    """What shows who the caller is, where the service asks for that."""

    def call(self, method: str, path: str, expected: int, **more: Any) -> requests.Response:
        """One request to the API, whose status must be as expected."""
        headers = {"Accept": "application/json", **self.headers} | more.pop("headers", {})
        answer = requests.request(method, f"{self.api.url}{path}", timeout=30, headers=headers, **more)
        assert answer.status_code == expected, (answer.status_code, answer.text)
        return answer

    def create(self, disk_format: str = "raw", **more: Any) -> str:
        """A queued image; returns its id."""
        body = {"name": "e2e", "disk_format": disk_format, "container_format": "bare"} | more
        image_id: str = self.call("POST", "/v2/images", 201, json=body).json()["id"]
        return image_id

    def web_download(self, image_id: str, uri: str, stores: Sequence[str] = STORES, **more: Any) -> None:
        """Ask for an import."""
        body = {"method": {"name": "web-download", "uri": uri}, "stores": list(stores)} | more
        self.call("POST", f"/v2/images/{image_id}/import", 202, json=body)

    def image(self, image_id: str) -> dict[str, Any]:
        """The image as users see it."""
        shown: dict[str, Any] = self.call("GET", f"/v2/images/{image_id}", 200).json()
        return shown

    def task(self, image_id: str) -> dict[str, Any]:
        """The newest import of the image, live."""
        shown: dict[str, Any] = self.call("GET", f"/v2/images/{image_id}/import", 200).json()
        return shown

    def ended(self, image_id: str, seconds: float = 90.0) -> dict[str, Any]:
        """Wait for the import to end, one way or the other; the task."""
        wait_for(lambda: self.task(image_id)["status"] in ("success", "failure"), seconds, self.trouble)
        return self.task(image_id)

    def moving(self, image_id: str, seconds: float = 60.0) -> None:
        """Wait until bytes are being moved."""
        wait_for(lambda: self.task(image_id)["bytes_done"] > 0, seconds, self.trouble)

    def download(self, image_id: str) -> bytes:
        """The image's data."""
        return self.call("GET", f"/v2/images/{image_id}/file", 200).content

    def listing(self, image_id: str) -> set[tuple[str, str]]:
        """Which files of the image lie in which store, finished or not."""
        return {(store, path.name) for store, path in self.files() if image_id in path.name}

    def files(self) -> list[tuple[str, Path]]:
        """Every file in every store, finished or not."""
        return [
            (store, path) for store in STORES for path in (self.data / "stores" / store).rglob("*") if path.is_file()
        ]

    def staged(self) -> list[Path]:
        """Every file that waits to be imported, finished or not."""
        return [path for path in (self.data / "staging").rglob("*") if path.is_file()]

    def trouble(self) -> str:
        """The ends of all logs, for a failing test."""
        return "\n".join(f"--- {p._words[0]}\n{p.log[-3000:]}" for p in (self.api, *self.workers))


def wait_for(condition: Any, seconds: float, trouble: Any = str) -> None:
    """Wait until it holds, or fail with what is known."""
    assert wait_until(condition, seconds, pause=0.1), trouble()


def configured(data: Path, sections: Mapping[str, Mapping[str, object]]) -> Path:
    """Write a configuration with three file stores and quick leases, and `sections` on top."""
    base: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": ",".join(f"{name}:file" for name in STORES), "workers": 1},
        "glance_store": {"default_backend": STORES[0]},
        "tranship": {
            "data": data,
            "lease_ttl": 3,
            "progress_interval": 0.2,
            "resend_after": 2,
            "sweep_interval": 0.5,
            "retry_base": 0.5,
            "stop_grace": 0.2,
            "allowed_networks": "127.0.0.0/8",
        },
        "import_filtering_opts": {"disallowed_ports": 1, "allowed_ports": ""},
    }
    for name in STORES:
        base[name] = {"filesystem_store_datadir": data / "stores" / name}
    for section, options in sections.items():
        base.setdefault(section, {}).update(options)
    path = data / "tranship.conf"
    data.mkdir(parents=True, exist_ok=True)
    lines = []
    for section, options in base.items():
        lines += [f"[{section}]", *(f"{option} = {value}" for option, value in options.items()), ""]
    path.write_text("\n".join(lines))
    return path


@contextmanager
def running(
    data: Path, sections: Mapping[str, Mapping[str, object]], *, workers: int = 1, hosts: Sequence[str] = ()
) -> Iterator[Cluster]:
    """`tranship db init`, `tranship api` and some `tranship worker`s on that database and broker.

    With `hosts`, there is a worker on each of them, and the API is on the first.
    """
    places = hosts or [""] * workers
    config = str(configured(data, sections))
    made = tranship(["db", "init", "--config-file", config])
    assert made == 0
    with ExitStack() as stack:
        api = stack.enter_context(Api(["api", "--config-file", config], places[0]))
        pool = [stack.enter_context(Worker(["worker", "--config-file", config], host)) for host in places]
        yield Cluster(api, pool, data)


@contextmanager
def embedded(data: Path, sections: Mapping[str, Mapping[str, object]] | None = None) -> Iterator[Cluster]:
    """`tranship serve`: everything in one service."""
    config = str(configured(data, sections or {}))
    with Api(["serve", "--config-file", config, "--data", str(data)]) as api:
        yield Cluster(api, [], data)


def tranship(words: Sequence[str]) -> int:
    """Run one `tranship` command to its end; its exit status."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, "-m", "cli", *words], env=environment, timeout=60, check=False).returncode
