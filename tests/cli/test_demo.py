"""The demonstration: its disk is a disk, its source a web server, and the whole of it works and leaves nothing."""

import hashlib
import io
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest
import requests
from oslo_utils.imageutils import format_inspector

from cli.demo import play
from cli.demo.disk import MIB, SECTOR, make_disk, sample_files
from cli.demo.source import serving
from cli.errors import ClientError
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


@pytest.mark.e2e
def test_the_whole_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Given nothing, when it is played, then all hashes are equal and nothing is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("OS_DATABASE__CONNECTION", "postgresql://nobody@127.0.0.1:1/somebody_elses")
    assert play.play(size=16 * MIB, seconds=0.5) == 0
    out = capsys.readouterr().out
    assert "all equal" in out
    assert "with exit status 0" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_the_play_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a URL, then that is imported; one that cannot be says why, and the status is 1."""
    (tmp_path / "x.raw").write_bytes(b"anything" * 1000)
    with serving(tmp_path / "x.raw", rate=1e9) as url:
        assert play.play(url) == 0
        assert hashlib.sha512(b"anything" * 1000).hexdigest()[:16] in capsys.readouterr().out
        assert play.play(f"{url}y") == 1
        assert "404" in capsys.readouterr().err


def test_different_hashes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given data that is not what was recorded, then the demonstration fails."""
    from rich.console import Console

    from cli.client import Client

    recorded = {"os_hash_algo": "sha256", "os_hash_value": hashlib.sha256(b"x").hexdigest()}
    monkeypatch.setattr(Client, "image", lambda *_: recorded)
    monkeypatch.setattr(Client, "data", lambda *_: iter([b"y"]))
    with pytest.raises(ClientError, match="differ"):
        play._prove(Console(file=io.StringIO()), Client("http://127.0.0.1:1"), "i", None)
