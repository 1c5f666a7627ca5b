"""`tranship user add`, and client commands of somebody who has a password."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.basic import Passwords
from api.users import UsersFile
from cli.client import Client
from cli.errors import Answered
from cli.main import cli
from tests.cli.programs import serving

PASSWORD = "sw:ördfish"


def add(path: Path, *words: str, password: str = PASSWORD) -> Result:
    """Run the command with the password on standard input, as a script does."""
    return CliRunner().invoke(cli, ["user", "add", "--file", str(path), *words], input=f"{password}\n")


def knows(path: Path, name: str, password: str = PASSWORD) -> bool:
    """Whether a service that reads the file lets somebody in."""
    return Passwords().verified(UsersFile(str(path), "home").users(), name, password.encode()) is not None


def test_a_user_is_added_and_replaced(tmp_path: Path) -> None:
    """Given no file, then one is made that only its owner reads; a second time the user's line is replaced, and others
    and comments stay.
    """
    path = tmp_path / "users"
    assert add(path, "ann", "--project", "west", "--role", "member", "--role", "auditor").stdout == (
        f"Added ann in {path}\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    path.write_text(f"# people\n{path.read_text()}")
    assert add(path, "annabel").exit_code == 0
    assert add(path, "ann", "--role", "admin", password="other").stdout == f"Replaced ann in {path}\n"

    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_text().startswith("# people\n")
    users = UsersFile(str(path), "home").users()
    assert {user.name: (user.project, "admin" in user.roles) for user in users.values()} == {
        "ann": ("home", True),
        "annabel": ("home", False),
    }
    assert knows(path, "annabel")
    assert knows(path, "ann", "other")
    assert not knows(path, "ann")
    assert [found.name for found in tmp_path.iterdir()] == ["users"]


def test_the_file_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "test.conf"
    config.write_text(f"[DEFAULT]\nhttp_basic_auth_user_file = {tmp_path / 'users'}\n")

    done = CliRunner().invoke(cli, ["user", "add", "--config-file", str(config), "ann"], input=PASSWORD)

    assert done.exit_code == 0
    assert knows(tmp_path / "users", "ann")


def test_a_role_that_means_nothing(tmp_path: Path) -> None:
    """Given roles that no rule mentions, then the user is added, with a warning that names them; those that imply
    others, and those of the operator's own rules and properties, are none of these.
    """
    (tmp_path / "policy.yaml").write_text('"delete_image": "role:Janitor and not role:%(name)s"\n')
    rights = "create = admin\nread = @\nupdate = biller\ndelete = !\n"
    (tmp_path / "protections.conf").write_text(f"[^x_]\n{rights}")
    config = tmp_path / "test.conf"
    config.write_text("[DEFAULT]\nproperty_protection_file = protections.conf\n")
    path = tmp_path / "users"
    roles = "admin manager Member reader service janitor biller auditr mebmer".split()

    done = add(path, "ann", "--config-file", str(config), *(word for role in roles for word in ("--role", role)))

    assert done.exit_code == 0
    assert done.stderr == (
        "warning: no rule mentions auditr or mebmer; there are: "
        "admin, biller, janitor, manager, member, reader, service\n"
    )
    assert knows(path, "ann")
    assert "janitor" in add(path, "bob", "--role", "janitor").stderr
    assert not add(path, "eve", "--role", "member").stderr


@pytest.mark.parametrize(
    ("words", "password", "said"),
    [
        (["a:b"], PASSWORD, "a:b"),
        (["ann"], "", "1 to 72 bytes"),
        (["ann"], "ö" * 37, "1 to 72 bytes"),
        (["ann", "--role", "a,b"], PASSWORD, "a,b"),
    ],
)
def test_what_is_refused_leaves_the_file_alone(tmp_path: Path, words: list[str], password: str, said: str) -> None:
    path = tmp_path / "users"

    done = add(path, *words, password=password)

    assert (done.exit_code, said in done.stderr) == (2, True)
    assert not path.exists()


def test_a_file_that_is_none_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("ann:secret\n")

    done = add(path, "bob")

    assert (done.exit_code, "line 1" in done.stderr, "secret" in done.stderr) == (2, True, False)
    assert path.read_text() == "ann:secret\n"


def test_no_file_is_named() -> None:
    done = CliRunner().invoke(cli, ["user", "add", "ann"], input=PASSWORD)

    assert (done.exit_code, "--file" in done.stderr) == (2, True)


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    done = add(tmp_path / "none" / "users", "ann")

    assert (done.exit_code, "No such file or directory" in done.stderr) == (2, True)


@pytest.mark.e2e
def test_a_service_with_users(tmp_path: Path) -> None:
    """Given a service that asks for passwords, when a user is added, then client commands are let in by it at once, and
    no hint or error of theirs shows the password.
    """
    users = tmp_path / "users"
    add(users, "root", "--role", "admin")
    configuration = f"[DEFAULT]\nhttp_basic_auth_user_file = {users}\n[tranship]\nauth_strategy = http_basic\n"
    with serving(tmp_path / "data", "--host", "0.0.0.0", configuration=configuration) as service:
        assert "may read, import and delete" not in service.log.read_text()
        host = service.url.replace("http://0.0.0.0", "127.0.0.1")
        with pytest.raises(Answered, match="401 Unauthorized: The service asks for a user and a password"):
            Client(f"http://{host}").stores()
        add(users, "ann")
        client = Client(f"http://ann:sw%3A%C3%B6rdfish@{host}/v2/")
        assert client.create_image({"name": "mine"})["owner"] == "default"
        assert client.typed("watch x") == f"tranship watch x --url http://ann:…@{host}"
        with pytest.raises(Answered, match="wrong") as refused:
            Client(f"http://ann:guess@{host}").stores()
        assert "guess" not in str(refused.value)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ("[tranship]\nauth_strategy = http_basic\n", "http_basic_auth_user_file"),
        (
            "[tranship]\nauth_strategy = http_basic\n[DEFAULT]\nhttp_basic_auth_user_file = {users}\n",
            "line 2",
        ),
        ("[tranship]\nauth_strategy = keystone\n", "[keystone_authtoken] auth_type"),
        ("[DEFAULT]\nuse_keystone_limits = true\n", "[oslo_limit] endpoint_id must be set"),
        ("[tranship]\nauth_strategy = ldap\n", "auth_strategy"),
        ("[tranship]\ntrusted_proxies = 10.0.0.1/99\n", "10.0.0.1/99"),
        ("[oslo_middleware]\nenable_proxy_headers_parsing = true\n", "[tranship] trusted_proxies"),
    ],
)
def test_what_cannot_tell_who_asks_does_not_start(tmp_path: Path, configuration: str, said: str) -> None:
    """Given a configuration by which nobody could be known, then it is refused before there is a socket."""
    users, config = tmp_path / "users", tmp_path / "test.conf"
    users.write_text("# people\nann:secret\n")
    config.write_text(configuration.format(users=users))

    done = CliRunner().invoke(cli, ["serve", "--config-file", str(config), "--data", str(tmp_path), "--port", "0"])

    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tranship: ")
    assert said in last
    assert "secret" not in last


@pytest.mark.parametrize(
    ("package", "module", "option"),
    [
        ("keystonemiddleware", "api.keystone", "[tranship]\nauth_strategy = keystone\n"),
        ("keystoneauth1", "api.keystone_limits", "[DEFAULT]\nuse_keystone_limits = true\n"),
    ],
)
def test_keystone_without_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, module: str, option: str
) -> None:
    """Given an installation without the extra, then the refusal says how to install it."""
    for name in [name for name in sys.modules if name == module or name.startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    config = tmp_path / "test.conf"
    config.write_text(option)

    done = CliRunner().invoke(cli, ["serve", "--config-file", str(config), "--data", str(tmp_path), "--port", "0"])

    assert done.exit_code == 2
    assert "pip install tranship[keystone]" in done.stderr
