"""Real processes on real limits: killed in mid-session, a full disk, a disk turned read-only."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stores.filesystem import FilesystemStore
from tests.conformance.store_contract import BIG, KEY, assert_nothing_at, content, write

ROOT = Path(__file__).parents[2]

WRITE_AND_STOP = """
import os, signal, sys
from pathlib import Path
from stores.filesystem import FilesystemStore

directory, where, links = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def stop(*args, **options):
    print("stopped", flush=True)
    signal.pause()

def refuse(*args, **options):
    raise OSError(95, "no hard links here")

if links == "no-links":
    os.link = refuse
writer = FilesystemStore("fast", directory).create("image.7", 2 * 65536)
writer.write(bytes(65536))
if where != "write":
    writer.write(bytes(65536))
    setattr(os, where, stop)
    writer.commit()
stop()
"""

FILL = """
import resource, sys
from pathlib import Path
from stores.errors import StoreError
from stores.filesystem import FilesystemStore

directory, limit, thin = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "thin"
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store = FilesystemStore("fast", directory, thin=thin)
writer = store.create("image.7")
try:
    for _ in range(40):
        writer.write((b"\\0" if thin else b"x") * 65536)
    writer.commit()
except StoreError as error:
    print(error.code, error.store, error.reason, sep="|")
writer.abort()
print(sorted(path.name for path in directory.rglob("*")))
"""

TURN_READ_ONLY = """
import subprocess, sys
from pathlib import Path
from stores.errors import StoreError
from stores.filesystem import FilesystemStore

directory = Path(sys.argv[1])
store = FilesystemStore("fast", directory)
writer = store.create("image.7")
writer.write(b"x" * 65536)
writer.abort()
subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
for call in (store.probe, lambda: store.create("image.7"), lambda: store.delete("image.7")):
    try:
        call()
    except StoreError as error:
        print(error.code, error.reason, sep="|")
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(script: str, *arguments: object) -> list[str]:
    """Run a script to its end in a process of its own; return the lines it printed."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_on_small_disk(script: str, directory: Path, *arguments: object) -> list[str]:
    """Run a script that sees a disk of 1 MiB at `directory`, in a mount namespace that ends with it."""
    mount = 'mount -t tmpfs -o size=1m none "$1" && exec "$0" -c "$2" "$1" "${@:3}"'
    command = ["unshare", "--mount", "--map-root-user", "bash", "-c", mount, sys.executable, str(directory)]
    command += [script, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def may_mount() -> bool:
    """Whether this kernel lets us have a mount namespace: many containers do not."""
    if shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not may_mount(), reason="no mount namespaces; RLIMIT_FSIZE stands in")


@pytest.mark.parametrize(
    ("where", "links", "published"),
    [
        ("write", "links", False),
        ("ftruncate", "links", False),
        ("fsync", "links", False),
        ("link", "links", False),
        ("unlink", "links", True),
        ("rename", "no-links", False),
        ("unlink", "no-links", True),
    ],
)
def test_a_killed_process_leaves_all_or_nothing(tmp_path: Path, where: str, links: str, published: bool) -> None:
    # Given a process killed at a point of its session, where nothing of it can run any more
    command = [sys.executable, "-c", WRITE_AND_STOP, str(tmp_path), where, links]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "stopped\n"
        finally:
            process.send_signal(signal.SIGKILL)
    # Then the object is there whole, if it had its name by then, or not at all
    store = FilesystemStore("fast", tmp_path)
    if published:
        assert content(store, "image.7") == bytes(2 * 65536)
    else:
        assert_nothing_at(store, "image.7")
    # And deleting the key takes everything along, after which it can be written anew
    store.delete("image.7")
    assert [path.name for path in tmp_path.rglob("*")] == [".writing"]
    write(store, "image.7", BIG)
    assert content(store, "image.7") == BIG


def test_another_key_is_untouched_by_the_dead(tmp_path: Path) -> None:
    store = FilesystemStore("fast", tmp_path)
    write(store, KEY, BIG)
    dead = store.create("image.7")
    store.delete(KEY)
    assert len(list((tmp_path / ".writing").iterdir())) == 1
    dead.abort()


@pytest.mark.parametrize("thin", ["thick", "thin"])
def test_a_file_that_may_not_grow_is_a_full_store(tmp_path: Path, thin: str) -> None:
    # Given a limit of 1,000,000 bytes on any file, which every kernel enforces for every user
    lines = run(FILL, tmp_path, 1_000_000, thin)
    # Then the error says how far it came, and the aborted session has left nothing
    reason = {
        "thick": f"writing failed after 983040 bytes: {os.strerror(27)}",
        "thin": f"committing failed after 2621440 bytes: {os.strerror(27)}",
    }
    assert lines == [f"store_full|fast|{reason[thin]}", "['.writing']"]


@needs_mount
def test_a_full_disk_is_a_full_store(tmp_path: Path) -> None:
    lines = run_on_small_disk(FILL, tmp_path, 0, "thick")
    assert lines == [
        f"store_full|fast|writing failed after 1048576 bytes: {os.strerror(28)}",
        "['.writing']",
    ]


@needs_mount
def test_zeros_fit_on_a_full_disk_when_they_are_holes(tmp_path: Path) -> None:
    assert run_on_small_disk(FILL, tmp_path, 0, "thin") == ["['.writing', 'image.7']"]


@needs_mount
def test_a_disk_turned_read_only_denies(tmp_path: Path) -> None:
    lines = run_on_small_disk(TURN_READ_ONLY, tmp_path)
    assert [line.split("|")[0] for line in lines] == ["store_denied"] * 3
    assert all(line.endswith(os.strerror(30)) for line in lines)
