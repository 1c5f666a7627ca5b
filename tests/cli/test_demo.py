"""The demonstration: its disk is a disk, its source a web server, and the whole of it works and leaves nothing."""

import os
import shlex
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest
import requests
from oslo_utils.imageutils import format_inspector

from cli import show
from cli.demo import play
from cli.demo.disk import MIB, SECTOR, make_disk, sample_files
from cli.demo.source import serving
from cli.errors import ClientError
from tests.cli.fakes import AT, ID, answer, failed, fake_service
from tests.conftest import installed
from tests.servers.places import find_program


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one."""
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    make_disk(path, 16 * MIB)
    return path


def sector(disk: Path, number: int, count: int = 1) -> bytes:
    with disk.open("rb") as content:
        content.seek(number * SECTOR)
        return content.read(count * SECTOR)


def test_both_partition_tables_are_whole(disk: Path) -> None:
    """Given the disk, then each GPT header has its own CRC and that of its table, and names the other."""
    last = 16 * MIB // SECTOR - 1
    for here, there, table_at in ((1, last, 2), (last, 1, last - 32)):
        header = sector(disk, here)[:92]
        signature, _, size, crc, _, me, other = struct.unpack_from("<8sIIIIQQ", header)
        assert (signature, size, me, other) == (b"EFI PART", 92, here, there)
        assert crc == zlib.crc32(header[:16] + bytes(4) + header[20:])
        at, entries, length, table_crc = struct.unpack_from("<QIII", header, 72)
        assert at == table_at
        assert table_crc == zlib.crc32(sector(disk, at, entries * length // SECTOR))


def test_inspectors_find_it_safe(disk: Path) -> None:
    """Given the inspector that Glance uses, then the disk is a GPT image that passes its safety check."""
    found = format_inspector.detect_file_format(str(disk))
    assert found is not None
    assert str(found) == "gpt"
    found.safety_check()


def test_the_file_system_holds_the_files(disk: Path) -> None:
    """Given the FAT, when the chains are followed, then the files are what was put in."""
    boot = sector(disk, 2048)
    reserved, fats, entries = struct.unpack_from("<HBH", boot, 14)
    (fat_sectors,) = struct.unpack_from("<H", boot, 22)
    fat = struct.unpack(f"<{fat_sectors * SECTOR // 2}H", sector(disk, 2048 + reserved, fat_sectors))
    root_at = 2048 + reserved + fats * fat_sectors
    root = sector(disk, root_at, entries * 32 // SECTOR)
    data_at = root_at + entries * 32 // SECTOR
    found = {}
    for at in range(32, 32 * 4, 32):
        name, cluster, size = root[at : at + 11], *struct.unpack_from("<HI", root, at + 26)
        content = b""
        while cluster < 0xFFF8:
            content += sector(disk, data_at + (cluster - 2) * boot[13], boot[13])
            cluster = fat[cluster]
        found[name.decode()] = content[:size]
    wanted = sample_files(16 * MIB // 3)
    assert found == {f"{n.split('.')[0]:8}{n.split('.')[1]:3}": content for n, content in wanted.items()}


@pytest.mark.parametrize(
    ("program", "package", "words"), [("sgdisk", "gdisk", ["--verify"]), ("fsck.vfat", "dosfstools", ["-n"])]
)
def test_other_tools_find_no_fault(disk: Path, tmp_path: Path, program: str, package: str, words: list[str]) -> None:
    """Given the tools of Debian, then they agree."""
    found = installed(lambda: find_program(program, package))
    target = disk
    if program == "fsck.vfat":
        target = tmp_path / "partition"
        target.write_bytes(sector(disk, 2048, 14 * MIB // SECTOR))
    ended = subprocess.run([found, *words, str(target)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "roblem" not in ended.stdout.replace("No problems found", "")


def test_the_source(tmp_path: Path) -> None:
    """Given the web server, then it answers whole, in part, and only while the file is the same."""
    (tmp_path / "x").write_bytes(bytes(range(100)))
    with serving(tmp_path / "x", rate=1e9) as url:
        whole = requests.get(url, timeout=5)
        assert (whole.status_code, whole.content) == (200, bytes(range(100)))
        tag = whole.headers["ETag"]
        part = requests.get(url, headers={"Range": "bytes=90-", "If-Range": tag}, timeout=5)
        assert (part.status_code, part.content) == (206, bytes(range(90, 100)))
        assert part.headers["Content-Range"] == "bytes 90-99/100"
        assert requests.get(url, headers={"Range": "bytes=10-19"}, timeout=5).content == bytes(range(10, 20))
        changed = requests.get(url, headers={"Range": "bytes=90-", "If-Range": '"other"'}, timeout=5)
        assert (changed.status_code, len(changed.content)) == (200, 100)
        assert requests.get(url, headers={"Range": "bytes=100-"}, timeout=5).status_code == 416
        assert requests.get(f"{url}y", timeout=5).status_code == 404
        assert requests.head(url, timeout=5).headers["Content-Length"] == "100"


def typed(out: str) -> list[list[str]]:
    """The commands that were shown, in words."""
    return [shlex.split(line.removeprefix("$ ")) for line in out.splitlines() if line.startswith("$ ")]


@pytest.mark.e2e
def test_the_whole_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given nothing, or the address and database of another service, when it is played, then two images and a copy are
    made, all hashes are equal, the other service is not touched and nothing is left behind.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("OS_DATABASE__CONNECTION", "postgresql://nobody@127.0.0.1:1/somebody_elses")
    monkeypatch.setenv("TRANSHIP_URL", "http://127.0.0.1:1")
    here = Path.cwd()
    assert play.play(size=16 * MIB, seconds=0.5) == 0
    out = capsys.readouterr().out
    assert [line.rpartition(": ")[2] for line in out.splitlines() if line.startswith("sha512 ")] == ["equal"] * 2
    listed = [line.split() for line in out.splitlines() if " active " in line]
    assert [(words[1], words[-1]) for words in listed][-2:] == [("second.img", "a"), ("disk.img", "a,b,c")]
    assert [words[1] for words in listed] == ["second.img", "disk.img"] * 2, "an image was not active"
    assert "with exit status 0" in out
    assert list(tmp_path.iterdir()) == []
    assert (os.environ["TRANSHIP_URL"], Path.cwd()) == ("http://127.0.0.1:1", here)
    names = [words[1] for words in typed(out) if words[0] == "tranship"]
    assert names == "serve stores import import copy list watch download download list tasks".split()


@pytest.mark.e2e
def test_the_play_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a URL, then that is imported; one that cannot be says why, and the status is 1."""
    (tmp_path / "x.raw").write_bytes(b"anything" * 1000)
    with serving(tmp_path / "x.raw", rate=1e9) as url:
        assert play.play(url, "raw") == 0
        out, err = capsys.readouterr()
        assert ["tranship", "import", url, *"--disk-format raw --store a --store b --watch".split()] in typed(out)
        assert "7.8 KiB in from-c.img; its sha512 is the image's" in err
        assert play.play(f"{url}y") == 1
        out, err = capsys.readouterr()
        assert "404" in err
        assert out.rstrip().endswith("with exit status 0"), "the service was not ended"


def test_what_is_shown_is_what_is_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Given any words, then the line that is shown is the command that is run, also where a shell needs quotes; and
    its status ends the demonstration.
    """
    with fake_service() as service:
        service.answers["GET /v2/images"] = answer(200, {"images": []})
        monkeypatch.setenv("TRANSHIP_URL", service.url)
        play._type(show.console(), "list", "--name", "a b$[red]")
        assert service.asked == [("GET /v2/images?limit=26&name=a+b%24%5Bred%5D", None)]
        assert capsys.readouterr().out.splitlines()[0] == "$ tranship list --name 'a b$[red]'"
        service.answers[f"GET {AT}/import"] = answer(200, failed("It broke.", []))
        with pytest.raises(play._Ended) as ended:
            play._type(show.console(), "watch", ID)
    assert ended.value.status == 1


def test_different_hashes_are_an_error(tmp_path: Path) -> None:
    """Given data that is not what was made, then the demonstration fails."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"x")
    other.write_bytes(b"y")
    play._compare(show.console(), one, one)
    with pytest.raises(ClientError, match="differ"):
        play._compare(show.console(), one, other)
