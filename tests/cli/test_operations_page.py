"""docs/operations.md names every option there is, and no other."""

import re
from pathlib import Path

from cli.main import cli
from option_table import OPTIONS, store_section

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

STORE_OPTIONS = {option.dest for option in store_section()}


def test_every_option_is_there() -> None:
    """Given all options, then each stands in a table; and what stands in the first columns there is an option."""
    options = {option.name for section in OPTIONS.values() for option in section} | STORE_OPTIONS
    tables = PAGE[PAGE.index("### Options") : PAGE.index("## Who may ask")]
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+|data|eager|host|weight|workers|threads|connection)`", tables))
    assert options - named == set()
    assert named - options - {"os_hash_value", "https_proxy", "http_basic"} == set()


def test_every_command_that_is_named_exists() -> None:
    """Given the commands on the page, then the command line has them."""
    named = {words.split()[0] for words in re.findall(r"tranship ((?!<)[a-z]+(?: [a-z]+)?)", PAGE)}
    assert named - set(cli.commands) == set()
