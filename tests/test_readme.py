"""What the README and the page for operators show must work as it stands there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cli.main import cli
from tests.conformance.origin import serving
from tests.flows.service import DATA

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = README + (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^\$ tranship (.*)", PAGES, re.MULTILINE))))
def test_a_command_is_understood(line: str) -> None:
    """Given a command as printed, then its words, options and operands are those of the command line."""
    words = shlex.split(line, comments=True)
    group: click.Group = cli
    while isinstance(found := group.get_command(click.Context(group), words[0]), click.Group):
        group, words = found, words[1:]
    assert found is not None, f"there is no such command: {line}"
    found.make_context(words[0], words[1:])


def test_the_eager_example(tmp_path: Path) -> None:
    """Given the example as printed, when it is called, then it imports the image that it is given."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    run = names["test_an_import"]
    assert callable(run)
    with serving() as origin:
        origin.objects["/image"] = DATA
        allowed = [
            ("tranship", "allowed_networks", ["127.0.0.0/8"]),
            ("import_filtering_opts", "allowed_ports", [origin.port]),
        ]
        run(tmp_path, origin.url("/image"), allowed)
    assert len([line for line in example[example.index("def ") :].splitlines() if line.strip()]) <= 13
