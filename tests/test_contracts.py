"""The import contracts of `.importlinter` bite: each is shown a violation, and what is allowed passes.

`settings.py` and the two `option_*.py` are single files, which the import graph does not hold; what they may import is
checked here.
"""

import ast
import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ROOT / ".importlinter"
ROOMS = ["api", "workers", "flows", "catalog", "pipeline", "stores", "cli"]

# contract -> (module, import) pairs that it must refuse; each module is named once
VIOLATIONS = {
    "layers": [
        ("stores.bad1", "catalog.fine"),
        ("pipeline.bad2", "catalog.fine"),
        ("catalog.bad3", "flows.fine"),
        ("flows.bad4", "workers.fine"),
        ("workers.bad5", "api.fine"),
        ("api.bad6", "workers.fine"),
    ],
    "catalog": [("catalog.bad7", "stores.base")],
    "pipeline": [("pipeline.bad8", "stores.fine")],
    "settings": [
        ("flows.bad9", "settings"),
        ("api.bad10", "settings"),
        ("workers.bad11", "settings"),
        ("cli.bad36", "option_table"),
        ("cli.bad39", "option_files"),
    ],
    "tests": [("cli.bad12", "tests.servers"), ("api.bad13", "bench.transfer")],
    "web": [
        ("cli.bad14", "falcon"),
        ("flows.bad15", "keystonemiddleware.auth_token"),
        ("workers.bad16", "oslo_policy.policy"),
        ("cli.bad37", "bcrypt"),
        ("flows.bad38", "keystoneauth1"),
    ],
    "gunicorn": [("workers.bad17", "gunicorn.app.base")],
    "celery": [("api.bad18", "celery"), ("catalog.bad19", "kombu.exceptions")],
    "sqlalchemy": [
        ("api.bad20", "sqlalchemy.orm"),
        ("flows.bad21", "psycopg2"),
        ("workers.bad22", "sqlite3"),
    ],
    "redis": [("workers.bad23", "redis"), ("flows.bad24", "redis.exceptions")],
    "boto3": [("stores.bad25", "boto3.s3.transfer"), ("pipeline.bad26", "botocore")],
    "requests": [
        ("stores.bad27", "requests"),
        ("pipeline.bad28", "requests.adapters"),
        ("api.bad29", "requests"),
    ],
    "codecs": [("pipeline.bad30", "zstandard"), ("stores.bad31", "zlib_ng.zlib_ng")],
    "config": [("cli.bad32", "oslo_config.cfg"), ("api.bad33", "oslo_config")],
    "terminal": [("flows.bad34", "click"), ("api.bad35", "rich.progress")],
}

ALLOWED = {
    "cli.main": [
        "api.app",
        "workers.app",
        "settings",
        "celery",
        "requests",
        "rich.progress",
        "click",
        "gunicorn.app",
    ],
    "api.app": ["falcon", "flows.runtime", "catalog.fine", "stores.base", "settings", "oslo_policy", "bcrypt"],
    "workers.app": ["celery", "kombu", "flows.runtime", "settings"],
    "flows.runtime": ["settings", "catalog.fine", "pipeline.fine", "stores.fine", "celery.canvas"],
    "catalog.fine": ["sqlalchemy.engine", "redis", "sqlite3", "psycopg2"],
    "pipeline.fine": ["stores.base", "stores.errors"],
    "pipeline.sources": ["requests"],
    "pipeline.decompress": ["zstandard", "zlib_ng"],
    "stores.http": ["requests"],
    "stores.s3": ["boto3", "botocore.config"],
}


def house(folder: Path, imports: dict[str, list[str]]) -> Path:
    """A house with every room, the modules that others import, and `imports` (module -> what it imports)."""
    fine = [f"{room}.fine" for room in ROOMS] + ["stores.base", "stores.errors"]
    for name in [*(f"{room}.__init__" for room in ROOMS), *fine, *imports, "settings", "option_files", "option_table"]:
        path = folder / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"import {imported}\n" for imported in imports.get(name, [])))
    shutil.copy(CONTRACTS, folder)
    return folder


def lint(folder: Path) -> tuple[dict[str, str], str]:
    """Contract name -> KEPT or BROKEN as lint-imports says for `folder`, and all that it says."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", done.stdout, re.MULTILINE))
    assert verdicts.keys() == set(contract_names().values()), done.stdout + done.stderr
    assert (done.returncode != 0) == ("BROKEN" in verdicts.values())
    return verdicts, done.stdout


def contract_names() -> dict[str, str]:
    """Short id -> the name that lint-imports prints."""
    config = configparser.ConfigParser()
    config.read(CONTRACTS)
    return {s.rpartition(":")[2]: config[s]["name"] for s in config.sections() if s.startswith("importlinter:")}


@pytest.fixture(scope="module")
def everything_wrong(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], str]:
    """What is said of a house in which all that is allowed is done, and everything in VIOLATIONS too."""
    wrong = {module: [imported] for pairs in VIOLATIONS.values() for module, imported in pairs}
    return lint(house(tmp_path_factory.mktemp("house"), ALLOWED | wrong))


@pytest.mark.parametrize("contract", contract_names())
def test_a_contract_bites(contract: str, everything_wrong: tuple[dict[str, str], str]) -> None:
    # Given the verdicts on a house in which everything is wrong
    verdicts, text = everything_wrong
    # Then this contract is broken, by each of the violations that were made for it
    assert verdicts[contract_names()[contract]] == "BROKEN"
    for module, imported in VIOLATIONS[contract]:
        shown = imported if imported.partition(".")[0] in ROOMS else imported.partition(".")[0]
        assert f"{module} -> {shown} " in text


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    verdicts, text = lint(house(tmp_path, ALLOWED))
    assert set(verdicts.values()) == {"KEPT"}, text


def test_a_house_still_to_be_furnished_passes(tmp_path: Path) -> None:
    verdicts, text = lint(house(tmp_path, {}))
    assert set(verdicts.values()) == {"KEPT"}, text


OPTIONS = ("api.options", "flows.options", "flows.policy", "flows.methods", "stores.base", "pipeline.", "catalog.")
"""Where the options find the classes that they fill, and the names of the methods there are."""

QUESTIONS = ("stores.mounts",)
"""What settings.py asks about this machine, to know what follows from an option."""


def forbidden_for_settings(source: str) -> list[str]:
    """What a settings.py of this text imports of ours beyond the option dataclasses of lower rooms."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module] if "." in node.module else [f"{node.module}.{a.name}" for a in node.names]
    ours = [name for name in found if name.partition(".")[0] in [*ROOMS, "tests", "bench"]]
    return [name for name in ours if not name.startswith((*OPTIONS, *QUESTIONS))]


@pytest.mark.parametrize("name", ["settings.py", "option_files.py", "option_table.py"])
def test_settings_import_only_option_classes_of_lower_rooms(name: str) -> None:
    assert forbidden_for_settings((ROOT / name).read_text()) == []


@pytest.mark.parametrize(
    "line",
    ["import flows.runtime", "from flows import runtime", "from api.app import x", "from stores import s3"],
)
def test_the_check_of_settings_bites(line: str) -> None:
    assert forbidden_for_settings(f"def f():\n    {line}\n") != []
