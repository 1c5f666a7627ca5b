"""Who may ask, by tokens of a real Keystone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from keystoneauth1.access import AccessInfoV3

from tests.api.keystone_cloud import Cloud, away, configured, wired
from tests.conftest import started
from tests.servers import KeystoneServer, Port, wait_until

pytestmark = pytest.mark.e2e

PASSWORD = "swordfish"


@pytest.fixture(scope="module")
def west(keystone_server: KeystoneServer) -> str:
    """A project with a member, a reader, and somebody with a role in capitals; and a service user."""
    project = keystone_server.create_project("west")
    keystone_server.create_user("west-member", PASSWORD, project, "member", "Auditor")
    keystone_server.create_user("west-reader", PASSWORD, project, "reader")
    services = keystone_server.create_project("services")
    keystone_server.create_user("nova", PASSWORD, services, "service")
    return project


@pytest.fixture
def cloud(tmp_path: Path, keystone_server: KeystoneServer, west: str) -> Iterator[Cloud]:
    """The service, configured as the manual of keystonemiddleware says."""
    made = wired(tmp_path, keystone_server, configured(tmp_path, keystone_server.section()))
    yield made
    made.service.runtime.close()


def test_members_and_readers(cloud: Cloud, west: str) -> None:
    member = cloud.context(cloud.keystone.token_for("west-member", PASSWORD, "west"))

    assert (member.project, member.is_admin, member.read_only) == (west, False, False)
    # Implied roles, and lower case
    assert member.roles == {"member", "reader", "auditor"}
    assert (member.system_scope, member.service_roles) == (None, frozenset())
    reader = cloud.context(cloud.keystone.token_for("west-reader", PASSWORD, "west"))
    assert reader.roles == {"reader"}
    assert reader.user != member.user


def test_an_administrator_of_a_project_and_of_the_system(cloud: Cloud) -> None:
    ours = cloud.context(cloud.keystone.admin_token())
    assert ours.is_admin
    assert "manager" in ours.roles
    everywhere = cloud.context(
        cloud.keystone.token(cloud.keystone.admin, cloud.keystone.password, {"system": {"all": True}})
    )
    assert (everywhere.project, everywhere.system_scope, everywhere.is_admin) == (None, "all", True)


def test_who_has_no_project_looks_only(cloud: Cloud) -> None:
    """Given a token without a scope, which has no roles, then it makes no image that would belong to nobody."""
    token = cloud.keystone.token("west-member", PASSWORD, None)

    cloud.ask(token, 403)
    assert cloud.seen[-1].read_only
    made = cloud.service.client.simulate_post("/v2/images", json={}, headers={"X-Auth-Token": token})
    assert made.status_code == 403


def test_a_service_on_behalf_of_a_user(cloud: Cloud, west: str) -> None:
    user = cloud.keystone.token_for("west-member", PASSWORD, "west")
    service = cloud.keystone.token_for("nova", PASSWORD, "services")

    who = cloud.context(user, {"X-Service-Token": service})

    assert who.project == west
    assert who.roles == {"member", "reader", "auditor"}
    assert who.service_roles == {"service"}
    # A service's token counts only if it is one
    cloud.ask(user, 401, {"X-Service-Token": "nonsense"})
    cloud.ask(user, 401, {"X-Service-Token": user})


def test_the_scope_of_a_service_hides_none_of_the_users(cloud: Cloud) -> None:
    """Given a user of the whole system and a service of a project, then both are known for what they are."""
    user = cloud.keystone.token(cloud.keystone.admin, cloud.keystone.password, {"system": {"all": True}})
    service = cloud.keystone.token_for("nova", PASSWORD, "services")

    who = cloud.context(user, {"X-Service-Token": service})

    assert (who.project, who.system_scope) == (None, "all")
    assert who.service_roles == {"service"}


@pytest.mark.parametrize("token", [None, "", "nonsense"])
def test_nobody(cloud: Cloud, token: str | None) -> None:
    refused = cloud.ask(token, 401)

    assert refused.headers["www-authenticate"] == f'Keystone uri="{cloud.keystone.url}"'
    assert refused.headers["x-openstack-request-id"].startswith("req-")
    assert refused.json["code"] == "401 Unauthorized"
    assert "requires authentication" in refused.json["message"]


def test_claims_of_the_client_count_for_nothing(cloud: Cloud, west: str) -> None:
    lies = {"X-Roles": "admin", "X-Project-Id": "other", "X-Identity-Status": "Confirmed", "X-User-Id": "root"}
    lies |= {"OpenStack-System-Scope": "all", "X-Service-Identity-Status": "Confirmed", "X-Service-Roles": "service"}
    cloud.ask(None, 401, lies)

    who = cloud.context(cloud.keystone.token_for("west-member", PASSWORD, "west"), lies)

    assert (who.project, who.is_admin, who.system_scope, who.service_roles) == (west, False, None, frozenset())


def test_a_token_that_has_expired(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a token that is remembered as valid, when its time is over, then it is refused, unless a service asks on
    behalf of its user, who may have waited long.
    """
    token = cloud.keystone.token_for("west-member", PASSWORD, "west")
    service = cloud.keystone.token_for("nova", PASSWORD, "services")
    user = cloud.context(token).user
    monkeypatch.setattr(AccessInfoV3, "will_expire_soon", lambda self, *_, **__: self.user_id == user)

    assert cloud.ask(token, 401).headers["www-authenticate"].startswith("Keystone uri=")
    assert cloud.context(token, {"X-Service-Token": service}).user == user


def test_versions_and_health_need_no_token(cloud: Cloud) -> None:
    for path, status in [("/", 300), ("/versions", 200), ("/v2/", 300), ("/healthcheck", 200)]:
        assert cloud.service.client.simulate_get(path).status_code == status


def test_anonymous_callers(tmp_path: Path, keystone_server: KeystoneServer, west: str) -> None:
    section = keystone_server.section()
    cloud = wired(tmp_path, keystone_server, configured(tmp_path, section, allow_anonymous_access="true"))

    cloud.ask(None)
    assert (cloud.seen[-1].project, cloud.seen[-1].read_only) == (None, True)
    cloud.ask("nonsense", 401)
    assert not cloud.context(keystone_server.token_for("west-member", PASSWORD, "west")).read_only


# -- when Keystone cannot say


@pytest.mark.parametrize("delay", ["true", "false"])
def test_keystone_is_away(tmp_path: Path, keystone_server: KeystoneServer, delay: str) -> None:
    """Given a Keystone that nobody reaches, then a token is not called wrong: 503, however the decision is delayed."""
    port = Port()
    nowhere = f"http://127.0.0.1:{port.number}/v3"
    section = keystone_server.section(
        auth_url=nowhere, http_request_max_retries=0, http_connect_timeout=2, delay_auth_decision=delay
    )
    cloud = wired(tmp_path, keystone_server, configured(tmp_path, section))

    away(cloud.ask("some-token", 503))
    cloud.ask(None, 401)
    port.close()


def test_keystone_hangs(tmp_path: Path) -> None:
    """Given a Keystone that takes connections and says nothing, then nobody waits for ever; when it is back, all is
    well.
    """
    with started(KeystoneServer()) as keystone:
        section = keystone.section(http_request_max_retries=0, http_connect_timeout=4)
        cloud = wired(tmp_path, keystone, configured(tmp_path, section))
        token = keystone.admin_token()
        keystone.pause()
        away(cloud.ask(token, 503))
        keystone.resume()

        def answers() -> bool:
            return cloud.service.client.simulate_get("/v2/images", headers={"X-Auth-Token": token}).status_code == 200

        assert wait_until(answers, 60)


@pytest.mark.parametrize(
    "said", [b"<html>maintenance</html>", b"{}", b"[]", b'{"token": null}', b'{"token": {"user": {}}}', b"\xff"]
)
@pytest.mark.parametrize("to", ["us", "everybody"])
def test_what_keystone_never_says(
    tmp_path: Path, keystone_server: KeystoneServer, monkeypatch: pytest.MonkeyPatch, said: bytes, to: str
) -> None:
    """Given somebody in Keystone's place who answers 200 to all, then that is no wrong token and no fault of ours."""
    send = requests.Session.send

    def answered(self: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        answer = send(self, request, **more)
        if to == "us" or "X-Subject-Token" in request.headers:
            answer.status_code, answer._content = 200, said
            answer.headers["X-Subject-Token"] = "any"
        return answer

    token = keystone_server.admin_token()
    cloud = wired(tmp_path, keystone_server, configured(tmp_path, keystone_server.section()))
    monkeypatch.setattr(requests.Session, "send", answered)

    away(cloud.ask(token, 503))


def test_keystone_refuses_ourselves(tmp_path: Path, keystone_server: KeystoneServer) -> None:
    """Given a wrong password of the service's own, then that is no fault of the user's."""
    cloud = wired(tmp_path, keystone_server, configured(tmp_path, keystone_server.section(password="wrong")))

    away(cloud.ask(keystone_server.admin_token(), 503))


def test_a_catalogue_without_the_identity_service(tmp_path: Path, keystone_server: KeystoneServer) -> None:
    cloud = wired(tmp_path, keystone_server, configured(tmp_path, keystone_server.section(region_name="moon")))

    away(cloud.ask(keystone_server.admin_token(), 503))


# -- what is refused at the start


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auth_type": None}, "auth_type must be set"),
        ({"auth_type": "nonsense"}, "nonsense could not be found"),
        ({"auth_url": None}, "auth_url"),
        ({"http_connect_timeout": "soon"}, r"http_connect_timeout from .*keystone\.conf is not valid"),
        ({"password": "pass$word"}, "a \\$ is written as \\$\\$"),
        ({"memcached_servers": "a:1", "memcache_security_strategy": "MAC"}, "memcache_secret_key must be defined"),
        ({"memcached_servers": "a:1", "memcache_sasl_enabled": "true"}, "sasl_enabled needs python-binary-memcached"),
        ({"memcached_servers": "a:1", "memcache_tls_enabled": "true"}, "tls_enabled needs python-binary-memcached"),
    ],
)
def test_a_section_that_makes_no_sense(
    tmp_path: Path, keystone_server: KeystoneServer, change: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        configured(tmp_path, keystone_server.section(**change))

    assert "[keystone_authtoken]" in str(refused.value)
    assert "word" not in str(refused.value).replace("password", "")
