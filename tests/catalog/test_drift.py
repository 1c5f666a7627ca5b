"""`schema.sql` is the truth: `catalog/tables.py` mirrors it, both databases hold all of it, and a wheel carries it."""

import multiprocessing
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Boolean, Engine, Text, create_engine, inspect, text

from catalog import tables as t
from catalog.engine import Database
from catalog.errors import CatalogError

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "schema.sql").read_text()
# SQLAlchemy does not tell of indexes on expressions. Those that a key brings along are left out.
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
}
FAMILIES = {"TEXT": Text, "BIGINT": BigInteger, "BOOLEAN": Boolean}


@pytest.fixture
def engine(database: Database, database_url: str) -> Iterator[Engine]:
    """The database with the schema, looked at without `catalog`."""
    made = create_engine(database_url)
    yield made
    made.dispose()


def declared(kind: str) -> set[str]:
    """Names in schema.sql: of `TABLE`, `INDEX`, `UNIQUE INDEX`, or the rules that are a `CHECK` or `UNIQUE`."""
    if kind in ("CHECK", "UNIQUE"):
        return set(re.findall(rf"CONSTRAINT (\w+) {kind}\b", SCHEMA))
    return set(re.findall(rf"^CREATE {kind} (\w+)", SCHEMA, re.MULTILINE))


def test_tables_mirror_the_schema(engine: Engine) -> None:
    """Given schema.sql in a database, when tables.py is compared, then names, types and primary keys are the same."""
    found = inspect(engine)
    assert set(found.get_table_names()) == set(t.metadata.tables) == declared("TABLE")
    for name, table in t.metadata.tables.items():
        columns = {column["name"]: column for column in found.get_columns(name)}
        assert set(columns) == set(table.columns.keys()), name
        for column in table.columns:
            family = FAMILIES[str(columns[column.name]["type"])]
            assert type(column.type) is family, f"{name}.{column.name}"
        key = found.get_pk_constraint(name)["constrained_columns"]
        assert key == [column.name for column in table.primary_key.columns], name


def test_keys_are_never_null(engine: Engine) -> None:
    """Given a primary key column of tables.py, which says that it is never null, then so says the database.

    SQLite lets a textual key be null unless NOT NULL is spelt out.
    """
    found = inspect(engine)
    for name, table in t.metadata.tables.items():
        nullable = {column["name"] for column in found.get_columns(name) if column["nullable"]}
        assert not nullable & {column.name for column in table.primary_key.columns}, name


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_both_databases_hold_every_rule(engine: Engine) -> None:
    """Given the names of checks, unique keys and indexes in schema.sql, then each is in the database, and no other."""
    found = inspect(engine)
    tables = found.get_table_names()
    checks = {check["name"] for name in tables for check in found.get_check_constraints(name)}
    assert checks == declared("CHECK")
    uniques = {unique["name"] for name in tables for unique in found.get_unique_constraints(name)}
    assert uniques == declared("UNIQUE")
    with engine.connect() as connection:
        held = {str(row[0]): str(row[1]) for row in connection.execute(text(INDEXES[engine.dialect.name]))}
    assert set(held) == declared("(?:UNIQUE )?INDEX")
    assert {name for name in held if "CREATE UNIQUE" in held[name]} == declared("UNIQUE INDEX")
    partial = {name for name in held if " WHERE " in held[name]}
    assert partial == set(re.findall(r"INDEX (\w+) ON [^;]*\bWHERE\b[^;]*;", SCHEMA))


def test_both_databases_hold_the_same_references(engine: Engine) -> None:
    """Given REFERENCES in schema.sql, then the database follows each, from the same column to the same table."""
    found = inspect(engine)
    held = {
        (name, *key["constrained_columns"], key["referred_table"], *key["referred_columns"])
        for name in found.get_table_names()
        for key in found.get_foreign_keys(name)
    }
    written = set()
    for table, body in re.findall(r"^CREATE TABLE (\w+) \((.*?)^\);", SCHEMA, re.MULTILINE | re.DOTALL):
        for column, referred, key in re.findall(r"^ +(\w+) .*REFERENCES (\w+) \((\w+)\)", body, re.MULTILINE):
            written.add((table, column, referred, key))
    assert held == written
    assert len(held) > 10


def test_both_databases_have_the_same_guards(engine: Engine) -> None:
    """Given the guards, which are written once per database, then both have the same names on the same tables."""
    catalogue = (
        "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
        if engine.dialect.name == "sqlite"
        else "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    )
    with engine.connect() as connection:
        held = {(name, table) for name, table in connection.execute(text(catalogue))}
    for dialect in ("sqlite", "postgresql"):
        guards = (ROOT / "catalog" / f"guards_{dialect}.sql").read_text()
        assert held == set(re.findall(r"CREATE TRIGGER (\w+) BEFORE [^;]*? ON (\w+)", guards)), dialect


def test_creating_again_changes_nothing(database: Database) -> None:
    """Given a database with the schema, when it is created again, then it says so and keeps its rows."""
    with database.begin() as connection:
        connection.execute(t.schema_version.update().values(version=41))
    assert database.create() is False
    with database.read() as connection:
        assert connection.execute(t.schema_version.select()).scalars().all() == [41]


def test_creating_from_many_processes_at_once(database_url: str) -> None:
    """Given an empty database, when eight processes create the schema at once, then one did and all find it whole."""
    apart = multiprocessing.get_context("forkserver")  # a fork of ours would inherit the locks of our threads
    gate, answers = apart.Barrier(8), apart.Queue()
    children = [apart.Process(target=_create, args=(database_url, gate, answers)) for _ in range(8)]
    for child in children:
        child.start()
    said = sorted(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    assert said == ["False"] * 7 + ["True"]


def _create(url: str, gate, answers) -> None:  # type: ignore[no-untyped-def]  # of multiprocessing, which names no types
    gate.wait()
    try:
        database = Database(url)
        answers.put(str(database.create()))
        database.check()
    except Exception as error:  # noqa: BLE001 - the parent judges
        answers.put(repr(error))


def test_a_failed_creation_leaves_nothing(database: Database) -> None:
    """Given a name that is taken, when the schema is created, then it fails and none of its tables remain."""
    with database.begin() as connection:
        for table in ("attempts", "targets", "image_locks", "objects", "schema_version"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    with pytest.raises(CatalogError, match="already exists"):
        database.create()
    with database.begin() as connection:
        assert not inspect(connection).has_table("schema_version")


def test_a_wheel_carries_the_schema(tmp_path: Path) -> None:
    """Given this tree, when a wheel is built, then what `Database.create` reads is where it will look for it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    assert (tmp_path / "site" / "schema.sql").read_text() == SCHEMA
    make = "import sys, catalog.engine as e; print(e.__file__); e.Database(sys.argv[1]).create()"
    made = subprocess.run(
        [sys.executable, "-c", make, f"sqlite:///{tmp_path / 'w.db'}"],
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stdout.startswith(str(tmp_path / "site"))
    database = Database(f"sqlite:///{tmp_path / 'w.db'}")
    database.check()
    database.dispose()
