"""The house as the architecture draws it: rooms with plain names that are really ours, no junk drawers."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ["api", "workers", "flows", "catalog", "pipeline", "stores", "cli"]
OURS = [*ROOMS, "settings", "option_files", "option_table"]

LONGEST = 400
LONGER_FOR_A_REASON: dict[str, str] = {}
"""Modules that may have more lines than LONGEST: path -> why. An entry that is no longer needed fails too."""

AT_THE_TOP = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "Procfile",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
    "schema.sql",
    "settings.py",
    "option_files.py",
    "option_table.py",
    ".ci/run",
    "docs/decisions",
]


def python_files() -> list[Path]:
    """Every module of the project: the rooms, settings.py and its table, tests and benchmarks."""
    folders = [ROOT / name for name in [*ROOMS, "tests", "bench"]]
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]


@pytest.mark.parametrize("name", OURS)
def test_a_top_level_name_is_ours(name: str, tmp_path: Path) -> None:
    try:
        importlib.metadata.distribution("tranship")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the project is not installed in this environment; `make test` installs it")
    # Given the installed project, and a Python that starts elsewhere and so sees only what is installed
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}).origin)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # When it looks for the name
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    # Then it finds the file in this repository
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve().is_relative_to(ROOT)


def test_no_other_distribution_claims_our_names() -> None:
    claims = importlib.metadata.packages_distributions()
    strangers = {name: set(claims.get(name, [])) - {"tranship"} for name in OURS}
    assert {name: others for name, others in strangers.items() if others} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_does_and_nothing_else(room: str) -> None:
    module = ast.parse((ROOT / room / "__init__.py").read_text())
    assert ast.get_docstring(module), "no docstring"
    assert len(module.body) == 1, "code in __init__.py"


def test_there_are_no_junk_drawers() -> None:
    drawers = {"core", "common", "utils", "util", "helpers", "misc"}
    assert [path for path in python_files() if drawers & {*path.relative_to(ROOT).parent.parts, path.stem}] == []


def test_no_module_is_too_long_to_read() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in python_files()}
    too_long = {path: length for path, length in lengths.items() if length > LONGEST}
    assert too_long.keys() == LONGER_FOR_A_REASON.keys(), too_long


@pytest.mark.parametrize("path", AT_THE_TOP)
def test_the_front_door_has(path: str) -> None:
    assert (ROOT / path).exists()


def test_scripts_can_be_run() -> None:
    scripts = [ROOT / ".ci" / "run", *(ROOT / "setup").iterdir()]
    assert [path for path in scripts if not os.access(path, os.X_OK)] == []


@pytest.mark.parametrize(
    ("lock", "groups", "extras"),
    [("requirements.lock", ["build"], []), ("requirements-dev.lock", ["build", "dev"], ["keystone"])],
)
def test_the_lock_answers_to_pyproject(lock: str, groups: list[str], extras: list[str]) -> None:
    # Given what pyproject.toml asks for, and the pins of the lock
    text = (ROOT / lock).read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(pyproject["project"]["dependencies"])
    for group in groups:
        wanted += pyproject["dependency-groups"][group]
    for extra in extras:
        wanted += pyproject["project"]["optional-dependencies"][extra]
    # Then every wish is pinned to a version that it allows (if not: make lock)
    for wish in map(Requirement, wanted):
        pin = pins.get(re.sub(r"[-_.]+", "-", wish.name).lower())
        assert pin is not None, f"{wish.name} is not in {lock}"
        assert wish.specifier.contains(pin), f"{lock} has {wish.name} {pin}, not {wish.specifier}"
    # And every pin has a hash, and nothing says where to fetch it: that is each machine's own affair
    assert text.count("\n    --hash=sha256:") >= len(pins)
    assert len(re.findall(r"^\S+==.*\\\n    --hash=", text, re.MULTILINE)) == len(pins)
    assert "://" not in text


def test_the_two_locks_agree() -> None:
    runtime, development = (
        set(re.findall(r"^[a-z0-9-]+==\S+", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert runtime - development == set()
