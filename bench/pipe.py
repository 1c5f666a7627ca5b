"""The import beside a shell pipe that yields the same files and hashes: `curl | tee | openssl`, in one run.

    python -m bench.pipe [--size 1G] [--rounds 3] [--only raw-1,gz-3] [--dir /dev/shm]

Each round runs the pipe and the import one after the other, each first in every other round, so that what else the
machine does hits both. Absolute seconds hold for the machine; what counts is the ratio. Every outcome is verified.
"""

import itertools
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.data import UNPACKERS, Original, make
from bench.place import NoRoom, Place, arguments, place, refuse
from bench.service import ImportFailed, Service
from settings import EMBEDDED_STORES as STORES

CASES = [f"{kind}-{count}" for kind, count in itertools.product(("raw", "gz", "zst"), (1, 3))]

# Named pipes do what `tee >(openssl …)` does, and can be waited for. The last store is the shell's own redirection.
_SCRIPT = """
set -eu -o pipefail
mkfifo sha512.in md5.in
openssl dgst -r -sha512 < sha512.in > sha512 &
openssl dgst -r -md5 < md5.in > md5 &
curl -sSf "$URL" | {unpack} tee sha512.in md5.in {others} > a
wait
"""


@dataclass
class Figures:
    """What one side needed, per round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def by_pipe(where: Place, kind: str, path: str, stores: Sequence[str], original: Original) -> tuple[float, float]:
    """Run the pipe; seconds and CPU-seconds. Raises `ImportFailed` when its result is wrong."""
    unpack = " ".join([*UNPACKERS[kind], "|"]) if UNPACKERS[kind] else ""
    script = _SCRIPT.format(unpack=unpack, others=" ".join(stores[1:]))
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["bash", "-c", script], cwd=where.other, env={"URL": path, "PATH": "/usr/bin:/bin"}, check=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {name: (where.other / name).read_text().split()[0] for name in ("sha512", "md5")}
    whole = all(original.is_copied_to(where.other / store) for store in stores)
    if found != {"sha512": original.sha512, "md5": original.md5} or not whole:
        raise ImportFailed("the pipe made something else than the original")
    for left in where.other.iterdir():
        left.unlink()
    return seconds, cpu


def measure(where: Place, service: Service, case: str, rounds: int, original: Original) -> tuple[Figures, Figures]:
    """Run one case `rounds` times; the figures of the pipe and of the import."""
    kind, _, count = case.partition("-")
    stores, url = STORES[: int(count)], f"{where.url}/{original.packed(kind).name}"
    pipe, ours = Figures(), Figures()

    def run_pipe() -> None:
        seconds, cpu = by_pipe(where, kind, url, stores, original)
        pipe.seconds.append(seconds)
        pipe.cpu.append(cpu)

    def run_import() -> None:
        outcome = service.run(url, stores, original)
        ours.seconds.append(outcome.seconds)
        ours.cpu.append(outcome.cpu)

    for turn in range(rounds):
        for run in (run_pipe, run_import) if turn % 2 == 0 else (run_import, run_pipe):
            run()
    return pipe, ours


def line(case: str, pipe: Figures, ours: Figures) -> str:
    """One row of the table."""
    mid = statistics.median
    ratios = [a / b for a, b in zip(ours.seconds, pipe.seconds, strict=True)]
    return (
        f"{case:8}{mid(pipe.seconds):9.2f}{mid(ours.seconds):9.2f}{mid(ratios):8.2f}"
        f"  {min(ratios):4.2f}–{max(ratios):4.2f}"
        f"{mid(pipe.cpu):11.2f}{mid(ours.cpu):9.2f}{mid(ours.cpu) / mid(pipe.cpu):8.2f}"
    )


HEAD = (
    f"{'':8}{'seconds':>18}{'ratio':>8}  {'(range)':9}{'CPU-seconds':>20}{'ratio':>8}\n"
    f"{'case':8}{'pipe':>9}{'import':>9}{'':8}  {'':9}{'pipe':>11}{'import':>9}"
)


def main(words: Sequence[str]) -> int:
    """Print the table; the exit status is 1 when an outcome is wrong and 2 when there is no room."""
    parser = arguments("pipe", "an import beside curl | tee | openssl", "1G")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case (%(default)s)")
    parser.add_argument("--only", default=",".join(CASES), help="cases, comma between them (%(default)s)")
    asked = parser.parse_args(words)
    cases = asked.only.split(",")
    if unknown := set(cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    try:
        with place(asked.dir, 6 * asked.size) as where, Service(where) as service:
            original = make(where.origin / "image", asked.size)
            print(f"{asked.size >> 20} MiB, {asked.rounds} rounds, medians; ratio = import ÷ pipe of the same round")
            print(HEAD, flush=True)
            for case in cases:
                print(line(case, *measure(where, service, case, asked.rounds, original)), flush=True)
    except NoRoom as error:
        return refuse(error)
    except ImportFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
