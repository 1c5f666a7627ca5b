"""A copy from one filesystem store into another: as it is done, beside one whose bytes the kernel copies by itself.

    python -m bench.copying [--mib 1024] [--rounds 5] [--dir /dev/shm]

Both read every byte of the source once for its sha512, and sync the destination. The second writes nothing of what it
reads: `copy_file_range` makes the destination, which is a reflink where the file system has that. See
`docs/decisions/0004-data-path.md` for what came of it.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.data import MIB, make
from pipeline.stored import Copy, StoreSource
from pipeline.taps import HashTap, Threaded
from pipeline.tee import Tee
from pipeline.transfer import read_through, transfer
from stores.filesystem import FilesystemStore

KEY = "image"
_PIECE = 32 << 20


def through_us(source: FilesystemStore, target: FilesystemStore) -> str:
    """Copy as the importer does; the hash."""
    data = StoreSource([Copy(source, KEY)], source.stat(KEY).size)
    tee = Tee({target.id: target.create(KEY, data.length)}, must_all=True)
    return transfer(data, [Threaded(HashTap("sha512"), "sha512")], tee, expand=None).facts.hashes["sha512"]


def through_the_kernel(source: FilesystemStore, target: FilesystemStore) -> str:
    """Copy by the kernel what is read for its hash alone; the hash."""
    data = StoreSource([Copy(source, KEY)], source.stat(KEY).size)
    with (source.directory / KEY).open("rb") as old, (target.directory / KEY).open("wb") as new:
        while os.copy_file_range(old.fileno(), new.fileno(), _PIECE):
            os.posix_fadvise(new.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found = read_through(data, [Threaded(HashTap("sha512"), "sha512")])
        os.fsync(new.fileno())
    return found.hashes["sha512"]


def measured(copy: Callable[[], str]) -> tuple[str, float, float]:
    """What it returned, in how many seconds, with how many of the CPU's."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    found = copy()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    return found, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv: list[str]) -> int:
    """Measure in turns, and print the medians and the ratio of the CPU-seconds."""
    parser = argparse.ArgumentParser(prog="python -m bench.copying")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args(argv)
    figures: dict[str, list[tuple[float, float]]] = {"through us": [], "through the kernel": []}
    with tempfile.TemporaryDirectory(prefix="tranship-bench-", dir=options.dir) as home:
        source, target = (FilesystemStore(name, Path(home) / name) for name in ("source", "target"))
        for store in (source, target):
            store.prepare()
        original = make(Path(home) / "source" / KEY, options.mib * MIB)
        for number in range(options.rounds):
            ways = [("through us", through_us), ("through the kernel", through_the_kernel)]
            for name, way in ways if number % 2 else reversed(ways):
                found, *spent = measured(partial(way, source, target))
                if found != original.sha512 or not original.is_copied_to(Path(home) / "target" / KEY):
                    raise SystemExit(f"{name}: the copy is another")
                target.delete(KEY)
                figures[name].append((spent[0], spent[1]))
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)] for name, rounds in figures.items()
    }
    for name, (seconds, cpu) in medians.items():
        print(f"{name:<20} {seconds:6.2f} s {cpu:6.2f} CPU-s")
    print(f"CPU, kernel ÷ us     {medians['through the kernel'][1] / medians['through us'][1]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
