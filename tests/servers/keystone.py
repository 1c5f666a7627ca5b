"""Keystone for tests: who is who in a cloud, for the service and for the clients that drive it."""

import http.client
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import requests

from tests.servers.places import LOOPBACK, ServerMissing
from tests.servers.process import Server

Json = dict[str, Any]


class KeystoneServer(Server):
    """Keystone on SQLite with fernet tokens, as `keystone-manage bootstrap` leaves it; all is in the domain `default`.

    The administrator has the role `admin` on the project `admin` and on the system. Names are unique in a run, so that
    tests do not meet: `create_project("a")` twice is refused.
    """

    name = "keystone"
    start_seconds = 60.0
    not_ready = (OSError, http.client.HTTPException)

    region = "one"
    admin = "admin"
    password = "a-password/of+tests="

    _session = ""
    """A token of the administrator's, to set things up with."""

    _PROGRAM = Path(__file__).with_name("keystone_node.py")

    def _prepare(self) -> None:
        node = {"host": LOOPBACK, "port": self.port, "url": self.url, "region": self.region}
        node |= {"admin": self.admin, "password": self.password}
        (self.home / "node.json").write_text(json.dumps(node))

    def _command(self) -> list[str]:
        if importlib.util.find_spec("keystone") is None:
            raise ServerMissing("keystone is not installed; run: make dev (make test does it)")
        # -P: or this folder would come first, and `keystone` would be this module.
        return [sys.executable, "-P", "-W", "ignore", str(self._PROGRAM), str(self.home)]

    def _greet(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/v3")
            if connection.getresponse().status != 200:
                raise http.client.HTTPException("not healthy yet")
        finally:
            connection.close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port/v3`, what clients call the auth URL."""
        return f"http://{LOOPBACK}:{self.port}/v3"

    def token(self, user: str, password: str, scope: Json | None) -> str:
        """A token for what `scope` says, such as `{"system": {"all": True}}`; unscoped for None."""
        who = {"user": {"name": user, "domain": {"id": "default"}, "password": password}}
        body: Json = {"identity": {"methods": ["password"], "password": who}}
        if scope is not None:
            body["scope"] = scope
        answer = requests.post(f"{self.url}/auth/tokens", json={"auth": body}, timeout=30)
        answer.raise_for_status()
        token: str = answer.headers["X-Subject-Token"]
        return token

    def token_for(self, user: str, password: str, project: str) -> str:
        """A token for a project."""
        return self.token(user, password, {"project": {"name": project, "domain": {"id": "default"}}})

    def admin_token(self) -> str:
        """A token of the administrator for its own project."""
        return self.token_for(self.admin, self.password, "admin")

    def create_project(self, name: str) -> str:
        """A new project; returns its id."""
        return self._create("project", {"name": name, "domain_id": "default"})

    def create_user(self, name: str, password: str, project_id: str, *roles: str) -> str:
        """A new user with these roles on a project; returns its id."""
        user_id = self._create("user", {"name": name, "password": password, "domain_id": "default"})
        for role in roles:
            self._ask("PUT", f"/projects/{project_id}/users/{user_id}/roles/{self._role(role)}")
        return user_id

    def create_system_user(self, name: str, password: str, role: str) -> str:
        """A new user with this role on the system; returns its id."""
        user_id = self._create("user", {"name": name, "password": password, "domain_id": "default"})
        self._ask("PUT", f"/system/users/{user_id}/roles/{self._role(role)}")
        return user_id

    def create_image_endpoint(self, url: str, region: str | None) -> str:
        """Put the image service into the catalogue, in a region of its own, which has this Keystone too, or in none;
        returns the endpoint's id.
        """
        if region:
            self._create("region", {"id": region})
            (identity,) = self._ask("GET", "/services?type=identity")["services"]
            self._endpoint(identity["id"], self.url, region)
        return self._endpoint(self._image_service(), url, region)

    def register_limits(self, region: str | None, **limits: int) -> None:
        """What every project may have of the image service in a region, unless it has limits of its own."""
        for name, most in limits.items():
            self._limit("registered_limits", region, name, default_limit=most)

    def limit(self, project_id: str, region: str | None, **limits: int) -> None:
        """What a project may have, for which limits are registered."""
        for name, most in limits.items():
            self._limit("limits", region, name, resource_limit=most, project_id=project_id)

    def revoke(self, token: str) -> None:
        """Make a token invalid."""
        self._ask("DELETE", "/auth/tokens", {"X-Subject-Token": token})

    def section(self, **more: object) -> dict[str, object]:
        """What `[keystone_authtoken]` says to use it, under keystonemiddleware's names."""
        return {
            "www_authenticate_uri": self.url,
            "auth_type": "password",
            "auth_url": self.url,
            "username": self.admin,
            "password": self.password,
            "project_name": "admin",
            "user_domain_id": "default",
            "project_domain_id": "default",
            "interface": "public",
            # Tests that share two cores with others never fail for that.
            "http_connect_timeout": 60,
            **more,
        }

    def limits_section(self, user: str, password: str, **more: object) -> dict[str, object]:
        """What `[oslo_limit]` says to ask for limits as a user of the system."""
        return {
            "auth_type": "password",
            "auth_url": self.url,
            "username": user,
            "password": password,
            "user_domain_id": "default",
            "system_scope": "all",
            "timeout": 60,
            **more,
        }

    def _endpoint(self, service_id: str, url: str, region: str | None) -> str:
        endpoint = {"service_id": service_id, "interface": "public", "url": url, "region_id": region}
        return self._create("endpoint", endpoint)

    def _image_service(self) -> str:
        found: list[Json] = self._ask("GET", "/services?type=image")["services"]
        return str(found[0]["id"]) if found else self._create("service", {"type": "image", "name": "tranship"})

    def _limit(self, kind: str, region: str | None, name: str, **more: object) -> None:
        one = {"service_id": self._image_service(), "region_id": region, "resource_name": name, **more}
        self._ask("POST", f"/{kind}", body={kind: [one]})

    def _role(self, name: str) -> str:
        found: list[Json] = self._ask("GET", f"/roles?name={name}")["roles"]
        return str(found[0]["id"]) if found else self._create("role", {"name": name})

    def _create(self, kind: str, body: Json) -> str:
        made: Json = self._ask("POST", f"/{kind}s", body={kind: body})
        return str(made[kind]["id"])

    def _ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: Json | None = None) -> Json:
        self._session = self._session or self.admin_token()
        headers = {"X-Auth-Token": self._session} | (headers or {})
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        found: Json = answer.json() if answer.content else {}
        return found
