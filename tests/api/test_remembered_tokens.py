"""What is remembered of tokens: in memcached, for all processes, or by each process for itself."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.session import Session

from tests.api.keystone_cloud import Cloud, away, configured, wired
from tests.conftest import started
from tests.servers import KeystoneServer, MemcachedServer, wait_until

pytestmark = [
    pytest.mark.e2e,
    # Of oslo.cache's clients, which nobody closes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PASSWORD = "swordfish"


@dataclass
class Processes:
    """API processes with the same section."""

    directory: Path
    keystone: KeystoneServer
    section: dict[str, object]

    def one(self, **more: object) -> Cloud:
        """A process like every other, but for `more`."""
        section = self.keystone.section(**self.section, **more)
        return wired(self.directory, self.keystone, configured(self.directory, section))

    def blind(self) -> Cloud:
        """One that reaches no Keystone: it knows of tokens only what others have found out."""
        return self.one(auth_url="http://127.0.0.1:1/v3", http_request_max_retries=0)


KEPT_HOW: dict[str, dict[str, object]] = {
    "plain": {},
    "another pool": {"memcache_use_advanced_pool": "false"},
    "signed": {"memcache_security_strategy": "MAC", "memcache_secret_key": "a-secret"},
    "encrypted": {"memcache_security_strategy": "ENCRYPT", "memcache_secret_key": "a-secret"},
}


@pytest.fixture(scope="module")
def project(keystone_server: KeystoneServer) -> str:
    """A project with a member."""
    project = keystone_server.create_project("remembered")
    keystone_server.create_user("remembered-member", PASSWORD, project, "member")
    return project


@pytest.fixture
def processes(
    tmp_path: Path, keystone_server: KeystoneServer, memcached_server: MemcachedServer
) -> Iterator[Processes]:
    yield Processes(tmp_path, keystone_server, {"memcached_servers": memcached_server.address})
    # While what the clients leave open is none of the next test's business.
    gc.collect()


@pytest.fixture
def token(keystone_server: KeystoneServer, project: str) -> str:
    """A new one, of a member of that project."""
    return keystone_server.token_for("remembered-member", PASSWORD, "remembered")


@pytest.mark.parametrize("how", KEPT_HOW)
def test_a_token_is_asked_about_once(
    processes: Processes, memcached_server: MemcachedServer, token: str, project: str, how: str
) -> None:
    """Given a memcached, when one process has validated a token, then another knows its holder without Keystone,
    for as long as memcached does; and memcached does not know the token.
    """
    processes.section |= KEPT_HOW[how]
    away(processes.blind().ask(token, 503))
    first = processes.one().context(token)

    again = processes.blind().context(token)

    assert (again.project, again.user, again.roles) == (project, first.user, first.roles)
    assert memcached_server.stored()
    assert not any(token in key for key in memcached_server.stored())
    memcached_server.flush()
    away(processes.blind().ask(token, 503))


def test_without_memcached_a_process_remembers_by_itself(
    processes: Processes, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    send = Session.request

    def recorded(self: Session, url: str, method: str, **more: Any) -> Any:
        asked.append(f"{method} {url}")
        return send(self, url, method, **more)

    monkeypatch.setattr(Session, "request", recorded)
    processes.section.clear()
    process = processes.one()
    process.ask(token)
    once = len(asked)
    process.ask(token)
    assert (once > 0, asked[once:]) == (True, [])


def test_a_memcached_that_is_away_breaks_nothing(processes: Processes, token: str, project: str) -> None:
    """Given a memcached that is killed, or never was there, then Keystone is asked instead."""
    with started(MemcachedServer()) as memcached:
        processes.section["memcached_servers"] = memcached.address
        process = processes.one()
        assert process.context(token).project == project
        memcached.kill()
        assert process.context(token).project == project
        assert processes.one().context(token).project == project
        process.ask("nonsense", 401)


def test_a_revoked_token_is_let_in_no_longer_than_it_is_remembered(processes: Processes, token: str) -> None:
    """Given a token that is remembered, when it is revoked, then it counts until that is forgotten."""
    process = processes.one(token_cache_time=1)
    process.ask(token)
    processes.keystone.revoke(token)

    def refused() -> bool:
        answer = process.service.client.simulate_get("/v2/images", headers={"X-Auth-Token": token})
        assert answer.status_code in (200, 401)
        return answer.status_code == 401

    assert wait_until(refused, 30)
    process.ask(token, 401)
