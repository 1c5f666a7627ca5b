"""`tranship serve` as a process: one line on stdout, one sentence for a mistake, a prompt end that loses nothing."""

import hashlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from cli.client import Client
from cli.demo.source import serving as source
from cli.importing import Targets, Wanted, start
from cli.origins import Remote
from cli.serve import GIVE_UP, HAND_BACK, KILL, EmbeddedService
from cli.show import console
from cli.watch import Snapshot
from tests.cli.programs import LOOPBACK_SOURCES, Serving, gone, serving, tranship
from tests.servers.process import wait_until

pytestmark = pytest.mark.e2e

DATA = os.urandom(3 << 20)

PROMPT = 15
"""Seconds within which the service has gone: 5 at most by its own clock, but other tests use the machine too."""


def allowing(uri: str) -> str:
    """A configuration that may import from `uri`."""
    return f"{LOOPBACK_SOURCES}allowed_ports = {uri.split(':')[2].split('/')[0]}\n"


def progress(client: Client, image_id: str) -> Snapshot:
    return Snapshot.of(client.progress(image_id))


@contextmanager
def uploading(service: Serving, data: Path) -> Iterator[str]:
    """An image whose data is on its way, from a client that falls silent; its id."""
    formats = {"name": "half", "disk_format": "raw", "container_format": "bare"}
    image_id = str(Client(service.url).create_image(formats)["id"])
    host, port = service.url.removeprefix("http://").split(":")
    head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    with closing(socket.create_connection((host, int(port)))) as line:
        line.sendall(f"{head}Content-Length: {2 * len(DATA)}\r\n\r\n".encode() + DATA)
        assert wait_until(lambda: left_of(image_id, data) != [], 20)
        yield image_id


def left_of(image_id: str, data: Path) -> list[Path]:
    """Every file of an image in the stores, finished or not."""
    return list((data / "stores").rglob(f"*{image_id}*"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file that is worth importing."""
    path = tmp_path / "image.raw"
    path.write_bytes(DATA)
    return path


def test_its_own_clock_lets_it_go_within_five_seconds() -> None:
    """Given what it allows itself, then it hands back and gives up before it is killed, and is killed in time."""
    assert HAND_BACK + GIVE_UP < KILL < 5
    assert (EmbeddedService.patience, EmbeddedService.kill) == (HAND_BACK, KILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_it_answers_when_it_says_so_and_goes_when_told(tmp_path: Path, number: signal.Signals) -> None:
    """Given a new directory, when the service is ready, then it answers where it says; told to go, it ends with 0."""
    with serving(tmp_path / "new" / "data") as service:
        assert service.line.startswith("ready http://127.0.0.1:")
        assert service.status() == 200
        assert service.process.stdout is not None
        status, seconds = service.end(number)
        assert (status, service.process.stdout.read()) == (0, "")
        assert seconds < PROMPT


def test_a_signal_to_the_whole_group(tmp_path: Path) -> None:
    """Given Ctrl-C on a terminal, which every process of the group hears, then the end is the same."""
    with serving(tmp_path) as service:
        child = service.child()
        child.send_signal(signal.SIGINT)
        status, seconds = service.end(signal.SIGINT)
    assert status == 0
    assert seconds < PROMPT


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("localhost", "localhost")])
def test_the_line_names_the_host_as_given(tmp_path: Path, host: str, shown: str) -> None:
    """Given a host, then the line is an URL with it, and works."""
    with serving(tmp_path, "--host", host) as service:
        assert service.line.startswith(f"ready http://{shown}:")
        assert service.status() == 200


def test_everybody_is_warned_about(tmp_path: Path) -> None:
    """Given an address that others can reach and no authentication, then the log warns; on loopback it does not."""
    with serving(tmp_path / "open", "--host", "0.0.0.0") as service:
        assert "may read, import and delete" in service.log.read_text()
    with serving(tmp_path / "closed") as service:
        assert "may read, import and delete" not in service.log.read_text()


def test_who_reads_staging_is_said_where_it_matters(tmp_path: Path) -> None:
    """Given one process for everything, then the log has nothing to say of hosts; told to be one of many, it has."""
    with serving(tmp_path / "one") as service:
        assert "staging is" not in service.log.read_text()
    confined = "[tranship]\nhost = me\nstaging_scope = local\n"
    with serving(tmp_path / "other", configuration=confined) as service:
        assert "staging is on the disk of host me: " in service.log.read_text()
        assert "(queue imports.me)" in service.log.read_text()


def test_all_state_is_under_its_directory(tmp_path: Path) -> None:
    """Given two services on two directories, then neither knows the other's images, and nothing lies elsewhere."""
    with serving(tmp_path / "one", HOME=str(tmp_path / "home")) as one, serving(tmp_path / "other") as other:
        Client(one.url).create_image({"name": "mine"})
        assert [found["name"] for found in Client(one.url).images(5)] == ["mine"]
        assert list(Client(other.url).images(5)) == []
    assert {path.name for path in (tmp_path / "one").iterdir()} >= {"tranship.db", "stores", "staging"}
    assert not (tmp_path / "home").exists()


def test_images_survive(tmp_path: Path) -> None:
    """Given a service that was stopped, when it starts again on its directory, then its images are there, and one whose
    data was on its way takes data again.
    """
    with serving(tmp_path) as service:
        image_id = Client(service.url).create_image({"name": "kept"})["id"]
        with uploading(service, tmp_path) as uploaded:
            assert service.end()[0] == 0
            assert left_of(uploaded, tmp_path) == []
    with serving(tmp_path) as service:
        assert Client(service.url).image(image_id)["name"] == "kept"
        assert Client(service.url).image(uploaded)["status"] == "queued"


def test_a_stop_in_mid_import_is_a_hand_back(tmp_path: Path, image: Path) -> None:
    """Given an import that would take a minute, when the service is told to go, then it goes at once with status 0; and
    when it starts again, the import goes on by itself and succeeds.
    """
    with source(image, rate=50_000) as uri, serving(tmp_path / "data", configuration=allowing(uri)) as service:
        client = Client(service.url)
        image_id = start(client, Wanted(Remote(uri), Targets(("a", "b"))), console())
        assert wait_until(lambda: progress(client, image_id).done > 0, 20)
        status, seconds = service.end()
        assert (status, seconds < PROMPT) == (0, True)
        assert "in hand" not in service.log.read_text()
    assert list((tmp_path / "data" / "stores").rglob(f"*{image_id}*")) == []

    port = int(uri.split(":")[2].split("/")[0])
    with source(image, rate=1e9, port=port), serving(tmp_path / "data", configuration=allowing(uri)) as service:
        client = Client(service.url)
        assert wait_until(lambda: progress(client, image_id).ended, 20), service.log.read_text()
        assert [a["outcome"] for a in client.progress(image_id)["attempts"]][:2] == ["handed_back", "done"]
        assert client.image(image_id)["os_hash_value"] == hashlib.sha512(DATA).hexdigest()


def test_a_client_that_reads_slowly_does_not_hold_it(tmp_path: Path, image: Path) -> None:
    """Given a client that has asked for data and does not read it, then the service still ends within five seconds."""
    image.write_bytes(DATA * 20)
    with source(image, rate=1e9) as uri, serving(tmp_path / "data", configuration=allowing(uri)) as service:
        client = Client(service.url)
        image_id = start(client, Wanted(Remote(uri)), console())
        assert wait_until(lambda: progress(client, image_id).ended, 20)
        host, port = service.url.removeprefix("http://").split(":")
        with closing(socket.create_connection((host, int(port)))) as idle:
            idle.sendall(f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert idle.recv(16).startswith(b"HTTP/1.1 200")
            status, seconds = service.end()
    assert (status, seconds < PROMPT) == (0, True)


def test_a_child_that_dies_is_replaced(tmp_path: Path) -> None:
    """Given that the process that does the work is killed, then another takes over, and says nothing on stdout; what
    was half uploaded is given up.
    """
    quick = "[tranship]\nstall_timeout = 1\nsweep_interval = 0.2\n"
    with serving(tmp_path, configuration=quick) as service, uploading(service, tmp_path) as uploaded:
        service.child().kill()

        def answers() -> bool:
            try:
                return Client(service.url, timeout=2).stores() != []
            except Exception:  # noqa: BLE001 - nobody answers in between
                return False

        assert wait_until(answers, 20)
        assert wait_until(lambda: Client(service.url).image(uploaded)["status"] == "queued", 20)
        assert wait_until(lambda: left_of(uploaded, tmp_path) == [], 20)
        service.end()
        assert service.process.stdout is not None
        assert service.process.stdout.read() == ""


def test_no_child_outlives_its_parent(tmp_path: Path) -> None:
    """Given that the parent is killed, then its child notices and goes."""
    with serving(tmp_path) as service:
        child: psutil.Process = service.child()
        service.process.kill()
        assert gone(child, 15)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ("[DEFAULT]\nenabled_backends = x:floppy\n", "floppy"),
        ("[DEFAULT]\nenabled_backends = x:file\n", "filesystem_store_datadir"),
        ("[glance_store]\ndefault_backend = nowhere\n", "default_backend"),
        ("[database]\nconnection = nonsense\n", "[database] connection"),
        ("[database]\nconnection = postgresql://u:secret@127.0.0.1:1/x\n", "refused"),
        ("[tranship]\nallowed_networks = 10.0.0.0/99\n", "10.0.0.0/99"),
        ("[tranship]\nlease_ttl = soon\n", "lease_ttl"),
        ("no section\n", "test.conf"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, configuration: str, said: str) -> None:
    """Given a configuration that cannot work, then one line on stderr names the option, the status is 2, and no socket
    was opened.
    """
    (tmp_path / "test.conf").write_text(configuration)
    ended = tranship("serve", "--config-file", str(tmp_path / "test.conf"), "--data", str(tmp_path), "--port", "0")
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("tranship: ")
    assert said in line
    assert "secret" not in line


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """Given a port that somebody has, then the refusal names it at once."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = tranship("serve", "--data", str(tmp_path), "--port", str(port))
    assert ended.returncode == 2
    said = f"tranship: cannot listen on http://127.0.0.1:{port}: Address already in use"
    assert ended.stderr.splitlines()[-1] == said


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Given a file where the directory should be, then that is said."""
    (tmp_path / "file").touch()
    ended = tranship("serve", "--data", str(tmp_path / "file" / "data"), "--port", "0")
    assert ended.returncode == 2
    assert "[tranship] data" in ended.stderr


def test_a_dead_store_is_reported_once_and_holds_nobody(tmp_path: Path) -> None:
    """Given a store whose directory cannot be made, then the service is ready and the log names it once."""
    (tmp_path / "file").touch()
    configuration = "\n".join(
        [
            "[DEFAULT]",
            "enabled_backends = good:file, dead:file",
            f"[good]\nfilesystem_store_datadir = {tmp_path / 'good'}",
            f"[dead]\nfilesystem_store_datadir = {tmp_path / 'file' / 'dead'}",
        ]
    )
    with serving(tmp_path / "data", configuration=configuration) as service:
        assert service.status() == 200
        assert service.log.read_text().count("store dead") == 1
