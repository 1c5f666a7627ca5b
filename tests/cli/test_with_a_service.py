"""The client commands with a real service, its worker and its three stores: what they leave in them."""

import hashlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from cli.client import Client
from cli.main import cli
from tests.cli.programs import ROOT, Serving, environment, serving
from tests.servers.process import wait_until

pytestmark = pytest.mark.e2e

CONTENT = os.urandom(3 << 20)
SMALL = "[DEFAULT]\nimage_size_cap = 33554432\n[tranship]\nsweep_interval = 0.2\norphan_grace = 0\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One service for all of them."""
    with serving(tmp_path_factory.mktemp("service"), configuration=SMALL) as service:
        yield service


@pytest.fixture
def client(served: Serving) -> Iterator[Client]:
    """Asks it."""
    made = Client(served.url)
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file that is worth importing."""
    path = tmp_path / "disk.img"
    path.write_bytes(CONTENT)
    return path


def run(served: Serving, *words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [*words], input=stdin, env={"TRANSHIP_URL": served.url})


def imported(result: Result) -> str:
    """The id that `import --watch` has said."""
    assert result.exit_code == 0, result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("image "))
    return line.removeprefix("image ")


def offered(result: Result, what: str) -> list[str]:
    """The words of the command that is said to do `what` with an upload that is kept."""
    (said,) = (line for line in result.stderr.splitlines() if line.startswith("The upload is kept."))
    return said.partition(f"o {what}: tranship ")[2].partition(";")[0].split()


def kept(served: Serving) -> dict[str, set[str]]:
    """The files that there are in staging and in each store."""
    data = served.log.parent
    rooms = {"staging": data / "staging"} | {id: data / "stores" / id for id in "abc"}
    return {id: {path.name for path in room.rglob("*") if path.is_file()} for id, room in rooms.items()}


def in_stores(served: Serving, image_id: str) -> str:
    """The rooms that hold a file of the image."""
    return ",".join(id for id, files in kept(served).items() if any(name.startswith(image_id) for name in files))


def test_a_file_goes_in_round_and_out(served: Serving, client: Client, disk: Path, tmp_path: Path) -> None:
    """Given a file, when it is imported, copied, taken out where it was first and downloaded, then it is the same, and
    each store holds what it is said to hold.
    """
    image_id = imported(run(served, "import", str(disk), "--store", "a", "--watch"))
    assert client.image(image_id)["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert in_stores(served, image_id) == "a"

    assert run(served, "copy", image_id, "--store", "c", "--watch").stdout.splitlines()[-1].startswith("Copied 3 MiB")
    assert in_stores(served, image_id) == "a,c"

    result = run(served, "delete", image_id, "--store", "a")
    assert result.stdout.splitlines()[1].split() == [image_id, "disk.img", "active", "3.0", "MiB", "c"]
    assert wait_until(lambda: in_stores(served, image_id) == "c", 10)

    assert run(served, "download", image_id, str(tmp_path / "again"), "--prefer", "c").exit_code == 0
    assert (tmp_path / "again").read_bytes() == CONTENT

    assert run(served, "copy", image_id, "--all-stores", "--watch").exit_code == 0
    assert in_stores(served, image_id) == "a,b,c"
    assert "is in a, b, c already" in run(served, "copy", image_id, "--all-stores", "--watch").stdout


def test_a_pipe(served: Serving, client: Client) -> None:
    """Given -, then what is piped in is the image."""
    image_id = imported(run(served, "import", "-", "--name", "piped", "--all-stores", "--watch", stdin=CONTENT))
    image = client.image(image_id)
    assert (image["name"], image["size"], image["stores"]) == ("piped", len(CONTENT), "a,b,c")


def test_what_the_service_refuses(served: Serving, client: Client, disk: Path) -> None:
    """Given what the service does not do, then its reason is one sentence, and no image is made or harmed."""
    image_id = imported(run(served, "import", str(disk), "--store", "a", "--watch"))
    for words, status, reason in [
        (["copy", image_id, "--store", "a"], 400, "holds the image already"),
        (["copy", image_id, "--store", "z"], 409, "Store z in 'stores' is not configured"),
        (["delete", image_id, "--store", "a"], 403, "is in one store only"),
        (["delete", image_id, "--store", "b"], 403, "is in one store only"),
        (["delete", image_id, "--store", "z"], 409, "z"),
        (["download", image_id, "-", "--prefer", "z"], 400, "no store here"),
        (["import", str(disk), "--image", image_id], 409, "in status active, not queued"),
        (["import", "--image", image_id], 409, "takes only an uploading image"),
        (["import", "file:///etc/passwd"], 400, "does not pass filtering"),
    ]:
        before = len(list(client.images(100)))
        result = run(served, *words)
        said = result.stderr.splitlines()[-1]
        assert (result.exit_code, result.stdout) == (1, ""), words
        assert said.startswith(f"tranship: {served.url} answered {status} ")
        assert reason in said
        assert len(list(client.images(100))) == before
    assert client.image(image_id)["stores"] == "a"


def test_a_file_that_is_too_large(served: Serving, client: Client, tmp_path: Path) -> None:
    """Given more bytes than an image may have, then the reason comes although the file was not read to its end."""
    before = len(list(client.images(100)))
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 30)
    result = run(served, "import", str(tmp_path / "large"))
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "413 Content Too Large: The image has 1073741824 bytes, more than the 33554432 bytes allowed.\n"
    )
    assert len(list(client.images(100))) == before


def test_an_import_that_fails_can_be_asked_for_again(served: Serving, client: Client, disk: Path) -> None:
    """Given an upload that has not the checksum, then it is said what to type; that compares it with another, without
    another upload.
    """
    result = run(served, "import", str(disk), "--checksum", f"md5:{'0' * 32}", "--watch")
    assert result.exit_code == 1
    assert "The import failed: " in result.stderr
    again = offered(result, "compare it with another checksum")
    right = [f"md5:{hashlib.md5(CONTENT).hexdigest()}" if word == "SUM" else word for word in again]
    image_id = imported(run(served, *right, "--watch"))
    assert client.image(image_id)["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert wait_until(lambda: "staging" not in in_stores(served, image_id), 10)


def test_an_upload_that_is_wrong_can_be_replaced(served: Serving, client: Client, disk: Path, tmp_path: Path) -> None:
    """Given an upload that has not the checksum, then it is said what to type; that uploads the right file instead."""
    checksum = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    wrong = tmp_path / "wrong.raw"
    wrong.write_bytes(CONTENT[:-1])
    result = run(served, "import", str(wrong), "--checksum", checksum, "--watch")
    assert result.exit_code == 1
    words = {"FILE": str(disk), "SUM": checksum}
    again = [words.get(word, word) for word in offered(result, "upload another file in its place")]
    image_id = imported(run(served, *again, "--watch"))
    assert client.image(image_id)["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert wait_until(lambda: "staging" not in in_stores(served, image_id), 10)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_upload_that_is_interrupted(served: Serving, client: Client, number: signal.Signals, status: int) -> None:
    """Given Ctrl-C or a signal in the middle of an upload, then the client ends, and nothing is left of it."""
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "import", "-", "--name", "half", "--url", served.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
    ) as program:
        assert program.stdin is not None
        program.stdin.write(CONTENT)
        program.stdin.flush()
        assert wait_until(lambda: [image["status"] for image in client.images(9, name="half")] == ["uploading"], 20)
        half = next(client.images(1, name="half"))["id"]
        assert wait_until(lambda: in_stores(served, half) == "staging", 20)
        program.send_signal(number)
        out, err = program.communicate(timeout=20)
    assert (program.returncode, out) == (status, b"")
    assert b"Traceback" not in err
    assert (b"interrupted; nothing of the upload is kept" in err) is (number == signal.SIGINT)
    assert list(client.images(9, name="half")) == []
    assert wait_until(lambda: in_stores(served, half) == "", 20)


def test_a_question_as_long_as_glance_takes_one(served: Serving) -> None:
    """Given a list asked for by two hundred ids, then they arrive: Glance takes lines of 8 KiB."""
    ids = ",".join(str(uuid.uuid4()) for _ in range(200))
    answer = requests.get(f"{served.url}/v2/images?id=in:{ids}", timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"] == []
