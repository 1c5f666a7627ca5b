"""The service in front of a Keystone, in this process, and whom it takes its callers for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import falcon
from falcon import testing

import settings
from api.authentication import authenticator
from api.context import Authenticate, Context
from tests.api.service import Service, runtime
from tests.servers import KeystoneServer

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass
class Cloud:
    """A Keystone with people in it, tokens of theirs, and the service in front."""

    keystone: KeystoneServer
    service: Service
    seen: list[Context] = field(default_factory=list)

    def ask(self, token: str | None, status: int = 200, headers: Mapping[str, str] = NONE) -> testing.Result:
        """List images with a token."""
        given = {"Accept": "application/json", **headers}
        if token is not None:
            given["X-Auth-Token"] = token
        answer = self.service.client.simulate_get("/v2/images", headers=given)
        assert answer.status_code == status, answer.text
        return answer

    def context(self, token: str, headers: Mapping[str, str] = NONE) -> Context:
        """Whom the service takes the holder of a token for."""
        self.ask(token, 200, headers)
        return self.seen[-1]


def configured(directory: Path, section: dict[str, object], **more: str) -> Authenticate:
    """The strategy, from a configuration file."""
    lines = ["[DEFAULT]", *(f"{name} = {value}" for name, value in more.items())]
    lines += ["[tranship]", "auth_strategy = keystone", "[keystone_authtoken]"]
    lines += [f"{name} = {value}" for name, value in section.items() if value is not None]
    path = directory / "keystone.conf"
    path.write_text("\n".join(lines))
    return authenticator(settings.load([str(path)], data=str(directory)).api)


def wired(directory: Path, keystone: KeystoneServer, authenticate: Authenticate) -> Cloud:
    """The service with this strategy, which remembers whom it has seen."""
    seen: list[Context] = []

    def remembering(req: falcon.Request, request_id: str) -> Context:
        seen.append(authenticate(req, request_id))
        return seen[-1]

    return Cloud(keystone, Service(runtime(directory), authenticate=remembering), seen)


def away(answer: testing.Result) -> None:
    """An answer that says that Keystone cannot be asked."""
    assert answer.headers["retry-after"] == "5"
    assert "Keystone" in json.dumps(answer.json)
    assert answer.headers["x-openstack-request-id"].startswith("req-")
