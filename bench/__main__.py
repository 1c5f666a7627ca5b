"""All measurements one after the other, in a few minutes: what `make bench` runs. Arguments go to `bench.pipe`."""

import sys

from bench import api, memory, pipe, profile

if __name__ == "__main__":
    sys.exit(max([pipe.main(sys.argv[1:]), profile.main([]), memory.main([]), api.main([])]))
