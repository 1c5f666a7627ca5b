"""`python -m cli` is `tranship`."""

from cli.main import main

main()
