"""How much memory the process of a worker takes at most while images go through it.

    python -m bench.memory [--size 2G] [--dir /dev/shm]

Each kind of source goes into three stores by a process of its own. Fails when one of them held more than the limit.
"""

import sys
from collections.abc import Sequence

from bench.data import PACKERS, make
from bench.place import NoRoom, arguments, place, refuse
from bench.service import ImportFailed, Service
from settings import EMBEDDED_STORES as STORES

LIMIT = 200 << 20


def main(words: Sequence[str]) -> int:
    """Print the table; the exit status is 1 over the limit or for a wrong outcome, 2 when there is no room."""
    asked = arguments("memory", "peak memory of a worker process", "2G").parse_args(words)
    over = False
    try:
        with place(asked.dir, 6 * asked.size) as where:
            original = make(where.origin / "image", asked.size)
            print(f"{asked.size >> 20} MiB into {len(STORES)} stores: peak memory of the process (limit {LIMIT >> 20})")
            for kind in PACKERS:
                url = f"{where.url}/{original.packed(kind).name}"
                with Service(where) as service:
                    peak = service.run(url, STORES, original).peak
                over |= peak > LIMIT
                print(f"{kind:8}{peak >> 20:9} MiB{'  over the limit' * (peak > LIMIT)}", flush=True)
    except NoRoom as error:
        return refuse(error)
    except ImportFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return int(over)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
