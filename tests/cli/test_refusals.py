"""What the service commands refuse before they start anything, in one sentence and with status 2."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from tests.cli.programs import environment, tranship


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (["api"], {}, "memory://"),
        (["worker"], {}, "memory://"),
        (["worker"], {"OS_TRANSHIP__EAGER": "true"}, "nothing to do"),
        (["worker"], {"OS_TRANSHIP__BROKER_URL": "redis://127.0.0.1:1"}, "db init"),
        (["db", "check"], {}, "db init"),
        (["api", "--config-file", "missing.conf"], {}, "missing.conf"),
    ],
)
def test_refused(tmp_path: Path, words: list[str], options: dict[str, str], said: str) -> None:
    """Given a set-up that cannot work, then the sentence says what to do about it."""
    (tmp_path / "data").mkdir()
    ended = tranship(*words, cwd=tmp_path, options=options | {"OS_TRANSHIP__DATA": str(tmp_path / "data")})
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert line.startswith("tranship: ")
    assert said in line


def test_ctrl_c_before_there_is_a_command() -> None:
    """Given Ctrl-C while the program is still being read, then it ends with a word, and without a trace."""
    program = """if True:
        import sys
        class Impatient:
            def find_spec(self, name, *_):
                if name == "click":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Impatient())
        from cli.__main__ import main
        main()
    """
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "tranship: interrupted\n")


def test_db_init_twice(tmp_path: Path) -> None:
    """Given no database, then `db init` makes it and says so, again does nothing and says so, and `db check` agrees."""
    data = {"OS_TRANSHIP__DATA": str(tmp_path / "data")}
    first, second, check = (
        tranship(*words, options=data) for words in (["db", "init"], ["db", "init"], ["db", "check"])
    )
    where = f"sqlite:///{tmp_path / 'data' / 'tranship.db'}"
    assert first.stdout == f"Made the tables in {where}\n"
    assert second.stdout == f"Nothing to do: the tables are there, in {where}\n"
    assert check.stdout == f"The database is in order: {where}\n"


def test_a_configuration_file_from_the_environment(tmp_path: Path) -> None:
    """Given TRANSHIP_CONFIG_FILE, then it is read; an option in OS_SECTION__OPTION wins over it."""
    config = tmp_path / "x.conf"
    config.write_text(f"[tranship]\ndata = {tmp_path / 'file'}\n")
    assert "/file/" in tranship("db", "init", options={"TRANSHIP_CONFIG_FILE": str(config)}).stdout
    options = {"TRANSHIP_CONFIG_FILE": str(config), "OS_TRANSHIP__DATA": str(tmp_path / "env")}
    assert "/env/" in tranship("db", "init", options=options).stdout


@pytest.mark.parametrize("words", [["serve", "--port", "70000"], ["serve", "--log-level", "loud"], ["import"], ["fly"]])
def test_usage(words: list[str]) -> None:
    """Given a command line that makes no sense, then the status is 2."""
    assert CliRunner().invoke(cli, words).exit_code == 2


def test_client_commands_import_no_server() -> None:
    """Given a client command, then neither Celery nor the web framework is imported for it."""
    probe = "import sys, cli.main, cli.commands, cli.importing, cli.show, cli.downloading; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", probe], env=environment(), capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert "requests" in loaded
    assert not loaded & {"celery", "falcon", "gunicorn", "sqlalchemy", "oslo_config"}
