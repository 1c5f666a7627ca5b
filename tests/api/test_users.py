"""The file of users: what it may say, and when it is read."""

import os
from pathlib import Path

import bcrypt
import pytest

from api.basic import Passwords
from api.users import BadUsers, User, UsersFile, entry, parse

SECRET = "swordfish"
HASH = bcrypt.hashpw(SECRET.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


def test_what_a_line_may_say() -> None:
    text = f"# people\n\nann:{HASH}\nbob:{HASH}:west:Reader, AUDITOR\n  eve:{HASH}::admin\njoe:{HASH}:west\n"

    users = parse(text, "home")

    assert {name: (user.project, sorted(user.roles)) for name, user in users.items()} == {
        "ann": ("home", ["member", "reader"]),
        "bob": ("west", ["auditor", "reader"]),
        "eve": ("home", ["admin", "manager", "member", "reader"]),
        "joe": ("west", ["member", "reader"]),
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (SECRET, "name:hash"),
        (f"ann:{SECRET}", "no bcrypt hash"),
        (f"ann:{HASH}:p:member:more", "name:hash"),
        (f"ann:{HASH[:-1]}", "no bcrypt hash"),
        ("ann:$apr1$1$abcdefghijklmnopqrstuv", "no bcrypt hash"),
        (f"ann:$2b$04$abcdefghijklmnopqrstuv{HASH[29:]}", "no bcrypt hash"),
        (f":{HASH}", "name of the user"),
        (f"an n:{HASH}", "name of the user"),
        (f"ann:{HASH}:my project", "name of the project"),
        (f"bob:{HASH}", "bob is there already"),
    ],
)
def test_a_bad_line_is_named_and_not_shown(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"# people\nbob:{HASH}\n{line}\n")

    with pytest.raises(BadUsers) as refused:
        UsersFile(str(path), "home")

    assert f"{path}, line 3: " in str(refused.value)
    assert why in str(refused.value)
    assert SECRET not in str(refused.value)
    assert HASH not in str(refused.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadUsers, match="No such file"):
        UsersFile(str(tmp_path / "users"), "home")
    (tmp_path / "users").write_bytes(b"\xff")
    with pytest.raises(BadUsers, match="UTF-8"):
        UsersFile(str(tmp_path / "users"), "home")


def test_a_change_counts_at_once_and_a_mistake_never(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Given a file of users that is in use
    path = tmp_path / "users"
    path.write_text(f"ann:{HASH}\n")
    file = UsersFile(str(path), "home")

    # When it changes, then the users change
    path.write_text(f"ann:{HASH}\nbob:{HASH}\n")
    assert set(file.users()) == {"ann", "bob"}

    # When it is broken, or gone, then the users stay, and the log says so once
    path.write_text(f"ann:{SECRET}\n")
    for _ in range(3):
        assert set(file.users()) == {"ann", "bob"}
    path.unlink()
    for _ in range(3):
        assert set(file.users()) == {"ann", "bob"}
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert ["line 1" in errors[0], "No such file" in errors[1], len(errors)] == [True, True, 2]

    # When it is replaced by another one of the same length and time, then that counts
    before = tmp_path.stat()
    other = tmp_path / "other"
    other.write_text(f"eve:{HASH}\n")
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    other.rename(path)
    assert set(file.users()) == {"eve"}


def test_a_line_that_we_write_can_be_read() -> None:
    line = entry("ann", SECRET, "west", ("reader", "admin"))

    user = parse(line, "home")["ann"]

    assert (user.project, "admin" in user.roles) == ("west", True)
    assert bcrypt.checkpw(SECRET.encode(), user.hash)
    assert entry("ann", SECRET).count(":") == 1
    assert entry("ann", SECRET, roles=("reader",)).endswith("::reader")


@pytest.mark.parametrize(
    ("name", "password", "project", "role"),
    [
        ("a:b", SECRET, "", ""),
        ("", SECRET, "", ""),
        ("#ann", SECRET, "", ""),
        ("ann", "", "", ""),
        ("ann", "x" * 73, "", ""),
        ("ann", "a\0b", "", ""),
        ("ann", SECRET, "a:b", ""),
        ("ann", SECRET, "", "a,b"),
        ("ann", SECRET, "", "a\nb:c"),
    ],
)
def test_what_cannot_be_written(name: str, password: str, project: str, role: str) -> None:
    with pytest.raises(ValueError, match=r"password|file of users|name of the user|name:hash"):
        entry(name, password, project, (role,) if role else ())


# -- passwords


class Hashing:
    """Counts how often bcrypt is asked, and with which cost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.costs: list[bytes] = []
        inner = bcrypt.checkpw

        def checkpw(password: bytes, hashed: bytes) -> bool:
            self.costs.append(hashed[:7])
            return inner(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", checkpw)


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    return Hashing(monkeypatch)


ANN = User("ann", HASH.encode(), "home", frozenset())


def test_a_password_is_hashed_once_in_a_while(hashing: Hashing) -> None:
    # Given a user who asks often
    now = 0.0
    passwords = Passwords(clock=lambda: now)
    for _ in range(5):
        assert passwords.verified({"ann": ANN}, "ann", SECRET.encode()) is ANN
    assert len(hashing.costs) == 1

    # When somebody else guesses, then guessing one thing again costs nothing either, and is never right
    for _ in range(5):
        assert passwords.verified({"ann": ANN}, "ann", b"guess") is None
    assert len(hashing.costs) == 2

    # When the password changes, or time has passed, then it is hashed anew
    other = User("ann", bcrypt.hashpw(b"other", bcrypt.gensalt(4)), "home", frozenset())
    assert passwords.verified({"ann": other}, "ann", SECRET.encode()) is None
    assert passwords.verified({"ann": other}, "ann", b"other") is other
    assert len(hashing.costs) == 4
    now = 61.0
    assert passwords.verified({"ann": ANN}, "ann", SECRET.encode()) is ANN
    assert len(hashing.costs) == 5


def test_what_is_remembered_is_bounded_and_no_password(hashing: Hashing) -> None:
    passwords = Passwords(most=3)
    for number in range(10):
        passwords.verified({"ann": ANN}, "ann", b"guess %d" % number)

    assert len(passwords._known) == 3
    assert passwords.verified({"ann": ANN}, "ann", SECRET.encode()) is ANN
    assert SECRET not in repr(vars(passwords))
    assert len(hashing.costs) == 11


def test_nobody_costs_as_much_as_somebody(hashing: Hashing) -> None:
    # Given users whose hashes are of one cost
    users = {"ann": ANN}

    # When somebody asks who does not exist, or with a password that is too long
    assert Passwords().verified(users, "bob", SECRET.encode()) is None
    assert Passwords().verified(users, "ann", SECRET.encode() + b"x" * 80) is None
    assert Passwords().verified(users, "bob", SECRET.encode() + b"x" * 80) is None

    # Then a hash of that cost was computed each time
    assert hashing.costs == [b"$2b$04$"] * 3
    # And also where there are no users at all
    assert Passwords().verified({}, "bob", SECRET.encode()) is None
    assert hashing.costs[3:] == [b"$2b$12$"]


def test_a_password_that_begins_like_the_right_one_is_wrong() -> None:
    """Given the longest password that bcrypt takes, then a longer one is another one."""
    longest = "x" * 72
    user = parse(entry("ann", longest), "home")["ann"]

    assert Passwords().verified({"ann": user}, "ann", longest.encode()) is user
    assert Passwords().verified({"ann": user}, "ann", longest.encode() + b"x") is None
