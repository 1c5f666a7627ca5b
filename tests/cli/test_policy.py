"""`tranship policy list`, and services that are given a policy that they cannot follow."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from api.rules import RULES
from cli.main import cli
from tests.cli.programs import tranship


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration beside which `policy.yaml` is looked for."""
    (tmp_path / "tranship.conf").write_text(f"[tranship]\ndata = {tmp_path / 'data'}\n")
    return tmp_path / "tranship.conf"


def test_the_rules_in_effect(config: Path) -> None:
    """Given a file with one rule, then that one is said to be from the file, and all others are the defaults."""
    (config.parent / "policy.yaml").write_text('"copy_image": "\'public\':%(visibility)s"\n')

    shown = CliRunner().invoke(cli, ["policy", "list", "--config-file", str(config)])

    assert shown.exit_code == 0, shown.output
    rows = [line.split(maxsplit=2) for line in shown.stdout.splitlines()[1:] if not line.startswith(" ")]
    assert [row[0] for row in rows] == list(RULES)
    assert [row for row in rows if row[1] != "default"] == [["copy_image", "file", "'public':%(visibility)s"]]


@pytest.mark.parametrize("words", [["policy", "list"], ["serve", "--port", "0"]])
def test_a_broken_file_is_refused_in_one_sentence(config: Path, words: list[str]) -> None:
    (config.parent / "policy.yaml").write_text('"copy_image": "role:admin or"\n')

    ended = tranship(*words, "--config-file", str(config))

    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.endswith(f"the policy file {config.parent / 'policy.yaml'}: rule 'copy_image' ends too early")
