"""`python -m cli` is `tranship`: what is begun first, so that whatever comes, the user sees no trace."""

import os
import sys


def main() -> None:
    """Run the command line. Even what it is made of takes a moment to be read, and Ctrl-C may come in it."""
    try:
        from cli.main import main as run

        run()
    except KeyboardInterrupt:
        os.write(sys.stderr.fileno(), b"tranship: interrupted\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
