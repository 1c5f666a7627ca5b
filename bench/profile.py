"""Where the CPU time of one import goes: seconds by thread, as the kernel counts them.

python -m bench.profile [--size 1G] [--only raw-3] [--dir /dev/shm]
"""

import sys
from collections.abc import Sequence

from bench.data import make
from bench.pipe import CASES
from bench.place import NoRoom, arguments, place, refuse
from bench.service import ImportFailed, Outcome, Service
from settings import EMBEDDED_STORES as STORES


def table(outcome: Outcome) -> str:
    """The threads with at least 10 ms, the busiest first."""
    rows = [f"{'thread':40}{'user':>8}{'system':>8}{'of wall':>9}"]
    for role, (user, system) in sorted(outcome.threads.items(), key=lambda found: -sum(found[1])):
        if user + system >= 0.01:
            rows.append(f"{role:40}{user:8.2f}{system:8.2f}{(user + system) / outcome.seconds:9.0%}")
    return "\n".join(rows)


def main(words: Sequence[str]) -> int:
    """Print a table for each case; the exit status is as that of `bench.pipe`."""
    parser = arguments("profile", "CPU-seconds of an import by thread", "1G")
    parser.add_argument("--only", default="raw-1,raw-3,gz-3,zst-3", help="cases of bench.pipe (%(default)s)")
    asked = parser.parse_args(words)
    cases = asked.only.split(",")
    if unknown := set(cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    try:
        with place(asked.dir, 6 * asked.size) as where, Service(where) as service:
            original = make(where.origin / "image", asked.size)
            for case in cases:
                kind, _, count = case.partition("-")
                url = f"{where.url}/{original.packed(kind).name}"
                outcome = service.run(url, STORES[: int(count)], original)
                print(f"{case}: {asked.size >> 20} MiB in {outcome.seconds:.2f} s, {outcome.cpu:.2f} CPU-s")
                print(table(outcome), end="\n\n", flush=True)
    except NoRoom as error:
        return refuse(error)
    except ImportFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
