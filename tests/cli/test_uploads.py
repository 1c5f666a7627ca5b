"""`tranship import` of what is here: uploaded first, and never half."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import Refused
from cli.origins import Data, Local, Remote, Uploaded, origin
from flows.staging import BLAMED
from tests.cli.fakes import AT, ID, IMAGE, FakeService, answer, failed, refusal, run, store

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file that is worth importing."""
    path = tmp_path / "disk 1.qcow2.gz"
    path.write_bytes(CONTENT)
    return path


def asked(service: FakeService) -> list[str]:
    return [what for what, _ in service.asked]


@pytest.mark.parametrize(
    ("operand", "meant"),
    [
        ("https://example.org/disk.img", Remote("https://example.org/disk.img")),
        ("HTTP://example.org", Remote("HTTP://example.org")),
        ("file:///srv/disk.img", Remote("file:///srv/disk.img")),
        ("s3+https://bucket/key", Remote("s3+https://bucket/key")),
        ("disk.img", Local("disk.img")),
        ("/srv/disk.img", Local("/srv/disk.img")),
        ("./https://x", Local("./https://x")),
        ("https:/x", Local("https:/x")),
        ("example.org/disk.img", Local("example.org/disk.img")),
        ("host:disk.img", Local("host:disk.img")),
        ("1http://x", Local("1http://x")),
        ("-", Local("-")),
        (None, Uploaded()),
    ],
)
def test_what_an_operand_means(operand: str | None, meant: object) -> None:
    """Given a scheme and two slashes, then it is an address; anything else is a path, whether it exists or not."""
    assert origin(operand) == meant


def test_a_file(service: FakeService, disk: Path) -> None:
    """Given a file, then it is announced, uploaded and imported; the image has its name and format, stdout its id."""
    result = run(service, "import", str(disk), "--store", "a", "--allow-failure")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert asked(service) == ["GET /v2/info/stores", "POST /v2/images", f"PUT {AT}/stage", f"POST {AT}/import"]
    created, sent, wanted = (body for _, body in service.asked[1:])
    assert created == {"name": "disk 1.qcow2", "disk_format": "qcow2", "container_format": "bare"}
    assert sent == CONTENT
    assert wanted == {"method": {"name": "glance-direct"}, "stores": ["a"], "all_stores_must_succeed": False}
    assert "Uploaded 3.0 MiB in " in result.stderr


def test_how_it_is_sent(service: FakeService, disk: Path) -> None:
    """Given a size, then two headers announce it, so that too much is refused at once; given none, there are chunks."""
    run(service, "import", str(disk))
    sent = service.headers[f"PUT {AT}/stage"]
    assert sent["Content-Type"] == "application/octet-stream"
    assert (sent["Content-Length"], sent["x-openstack-image-size"]) == (str(len(CONTENT)), str(len(CONTENT)))
    assert "Transfer-Encoding" not in sent
    run(service, "import", "-", stdin=CONTENT)
    sent = service.headers[f"PUT {AT}/stage"]
    assert sent["Transfer-Encoding"] == "chunked"
    assert not {"Content-Length", "x-openstack-image-size"} & sent.keys()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_every_size(service: FakeService, tmp_path: Path, size: int) -> None:
    """Given a file of any size, also an empty one, then its bytes come."""
    (tmp_path / "x").write_bytes(CONTENT[:size])
    assert run(service, "import", str(tmp_path / "x")).exit_code == 0
    assert (service.asked[1][1] or b"") == CONTENT[:size]


def test_standard_input(service: FakeService) -> None:
    """Given -, then what is piped in is sent as it comes, under no name unless one is given."""
    assert run(service, "import", "-", stdin=CONTENT).exit_code == 0
    assert service.asked[0][1]["name"] is None
    assert service.asked[1] == (f"PUT {AT}/stage", CONTENT)
    assert run(service, "import", "-", "--name", "piped", stdin=b"").exit_code == 0
    assert service.asked[3][1]["name"] == "piped"


def test_a_checksum_file_for_a_file(service: FakeService, disk: Path) -> None:
    """Given where checksums are published, then the file's own name is the entry, as an address's would be."""
    sums = "https://example.org/SHA256SUMS"
    for given, sent in [(sums, f"{sums}#disk%201.qcow2.gz"), (f"{sums}#x", f"{sums}#x"), ("md5:00", "md5:00")]:
        assert run(service, "import", str(disk), "--checksum", given).exit_code == 0
        assert service.asked[-1][1]["method"] == {"name": "glance-direct", "checksum": sent}
    run(service, "import", "-", "--checksum", sums, stdin=b"x")
    assert service.asked[-1][1]["method"]["checksum"] == sums


def test_no_such_file(service: FakeService, tmp_path: Path) -> None:
    """Given a path where nothing is, or a directory, then one sentence says so, and the service is not asked."""
    missing = run(service, "import", "example.org/disk.img")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr == (
        "tranship: there is no file example.org/disk.img; an address begins with https:// or http://\n"
    )
    directory = run(service, "import", str(tmp_path))
    assert (directory.exit_code, directory.stderr) == (2, f"tranship: {tmp_path} cannot be read: Is a directory\n")
    assert service.asked == []


def test_a_terminal_is_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given - and nobody who pipes, then that is said instead of waiting for ever."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", 0), os.fdopen(theirs) as terminal, monkeypatch.context() as patched:
        for stdin, said in [(terminal, "is a terminal"), (None, "is closed")]:
            patched.setattr("sys.stdin", stdin)
            with pytest.raises(Refused, match=said), Local("-").opened():
                pass


def test_what_was_uploaded_before(service: FakeService) -> None:
    """Given an image and nothing else, then what waits for it is imported; given neither, nothing is asked for."""
    assert run(service, "import", "--image", ID, "--all-stores").exit_code == 0
    ((what, body),) = service.asked
    assert what == f"POST {AT}/import"
    assert body == {"method": {"name": "glance-direct"}, "all_stores": True, "all_stores_must_succeed": True}
    result = run(service, "import")
    assert (result.exit_code, len(service.asked)) == (2, 1)
    assert "FILE|URL" in result.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--store", "a", "--store", "x"], 1, "has no store x; there are: a, b"),
        (["--checksum", "./SHA256SUMS"], 2, "./SHA256SUMS is no checksum"),
    ],
)
def test_a_mistake_costs_no_upload(service: FakeService, disk: Path, words: list[str], status: int, said: str) -> None:
    """Given a store or a checksum that would be refused, then that is said before an image is made and data sent."""
    result = run(service, "import", str(disk), *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr
    assert not {"POST /v2/images", f"PUT {AT}/stage"} & set(asked(service))


def test_a_refused_upload_leaves_no_image(service: FakeService, disk: Path) -> None:
    """Given that the service does not take the data, then the image made for it goes; one that was there stays."""
    service.answers[f"PUT {AT}/stage"] = refusal(413, "The staging area has no room for the data.")
    result = run(service, "import", str(disk))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"tranship: {service.url} answered 413 Request Entity Too Large: The staging area has no room for the data."
    )
    assert asked(service) == ["POST /v2/images", f"PUT {AT}/stage", f"DELETE {AT}"]
    assert run(service, "import", str(disk), "--image", ID).exit_code == 1
    assert asked(service)[3:] == [f"PUT {AT}/stage"]


def test_a_refused_import_keeps_the_upload(service: FakeService, disk: Path) -> None:
    """Given that only the import is refused, then hours of uploading are not thrown away, and what to type is said."""
    service.answers[f"POST {AT}/import"] = refusal(409, "Store a in 'stores' is read-only.")
    result = run(service, "import", str(disk), "--store", "a")
    assert (result.exit_code, result.stdout) == (1, "")
    said = result.stderr.splitlines()[-1]
    assert "409 Conflict: Store a in 'stores' is read-only." in said
    assert said.endswith(f"tranship import --image {ID}; to throw it away: tranship delete {ID}")
    assert f"DELETE {AT}" not in asked(service)


@pytest.mark.parametrize(("status", "kept"), [("uploading", True), ("queued", False)])
def test_a_failed_import_may_keep_the_upload(service: FakeService, disk: Path, status: str, kept: bool) -> None:
    """Given an import that fails, then it is said what to do with the upload, if the service says that it waits."""
    service.answers[f"GET {AT}/import"] = answer(200, failed("It broke.", [store("a", "undone")]))
    service.answers[f"GET {AT}"] = answer(200, IMAGE | {"status": status})
    result = run(service, "import", str(disk), "--watch")
    assert result.exit_code == 1
    assert ("The upload is kept. To import it: " in result.stderr) is kept


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "checksum_mismatch",
            f"To compare it with another checksum: tranship import --image {ID} --checksum SUM; to upload another file"
            f" in its place: tranship import FILE --image {ID} --checksum SUM; to throw it away: tranship delete {ID}",
        ),
        *(
            (
                code,
                f"To upload another file in its place: tranship import FILE --image {ID}; to import it as it is:"
                f" tranship import --image {ID}; to throw it away: tranship delete {ID}",
            )
            for code in BLAMED
            if code != "checksum_mismatch"
        ),
        ("store_full", f"To import it: tranship import --image {ID}; to throw it away: tranship delete {ID}"),
    ],
)
def test_what_helps_depends_on_what_failed(service: FakeService, disk: Path, code: str, said: str) -> None:
    """Given bytes that are to blame, then it is said how to upload others; nobody is told to do without a checksum."""
    failure = failed("It broke.", [store("a", "undone")]) | {"error_code": code}
    service.answers[f"GET {AT}/import"] = answer(200, failure)
    service.answers[f"GET {AT}"] = answer(200, IMAGE | {"status": "uploading"})
    result = run(service, "import", str(disk), "--watch")
    assert result.stderr.splitlines()[-1] == f"The upload is kept. {said}"


@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [
        (KeyboardInterrupt(), 1, "tranship: interrupted; nothing of the upload is kept."),
        (SystemExit(143), 143, ""),
        (OSError(5, "Input/output error"), 1, "cannot be read: Input/output error"),
    ],
)
def test_an_upload_that_breaks_off(
    service: FakeService, disk: Path, monkeypatch: pytest.MonkeyPatch, trouble: BaseException, status: int, said: str
) -> None:
    """Given Ctrl-C, a signal or a bad disk in the middle, then the image that was made goes, and it is said why."""

    class Broken(io.BufferedReader):
        def read1(self, size: int = -1) -> bytes:
            if self.tell():
                raise trouble
            return super().read1(size)

    monkeypatch.setattr(Path, "open", lambda path, _mode: Broken(io.FileIO(path)))
    result = run(service, "import", str(disk))
    assert result.exit_code == status
    assert said in result.stderr
    assert asked(service) == ["POST /v2/images", f"DELETE {AT}"]


@pytest.mark.parametrize("change", ["shorter", "longer", "other"])
def test_a_file_that_changes(service: FakeService, disk: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Given a file that somebody writes while it is read, then nothing of it is imported."""
    chunks = Data.chunks

    def disturbed(data: Data) -> Iterator[bytes]:
        passing = chunks(data)
        yield next(passing)
        with disk.open("r+b") as file:
            if change == "shorter":
                file.truncate(2 << 20)
            else:
                file.seek(0, os.SEEK_END if change == "longer" else os.SEEK_SET)
                file.write(b"x")
        os.utime(disk, ns=(0, 0))
        yield from passing

    monkeypatch.setattr(Data, "chunks", disturbed)
    result = run(service, "import", str(disk))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"tranship: {disk} changed while it was read"
    assert f"POST {AT}/import" not in asked(service)
    # The service may note a body that was cut short after the next request.
    assert f"DELETE {AT}" in asked(service)
