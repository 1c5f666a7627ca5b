"""/v2/tasks: every task for administrators, and the old way to ask for an import (http-api §7)."""

from typing import Any

import pytest
from falcon import testing

from api.schemas import documents
from tests.api.service import URI, Service

KEYS = {"id", "type", "status", "owner", "image_id", "request_id", "user_id", "created_at", "updated_at"}
BODY = {
    "type": "import",
    "input": {"import_from": URI, "import_from_format": "qcow2", "image_properties": {"name": "old", "os_distro": "x"}},
}


def tasks(service: Service, query: str = "") -> Any:
    return service.client.simulate_get(f"/v2/tasks{query}").json


def ids(service: Service, query: str = "") -> list[str]:
    return [task["id"] for task in tasks(service, query)["tasks"]]


def post(service: Service, body: Any) -> testing.Result:
    return service.client.simulate_post("/v2/tasks", json=body)


class TestListed:
    def test_the_newest_first(self, service: Service) -> None:
        """Given tasks, then they come newest first, without what only a look at one tells."""
        asked = [service.importing(service.image()) for _ in range(2)]
        body = tasks(service)
        assert [task["id"] for task in body["tasks"]] == asked[::-1]
        assert set(body["tasks"][0]) == KEYS | {"self", "schema"}
        assert body["tasks"][0]["self"] == f"/v2/tasks/{asked[1]}"
        assert (body["first"], body["schema"]) == ("/v2/tasks", "/v2/schemas/tasks")
        assert "next" not in body

    def test_in_pages(self, service: Service) -> None:
        """Given more tasks than a page holds, then following `next` shows each once."""
        asked = {service.importing(service.image()) for _ in range(7)}
        seen: list[str] = []
        url = "/v2/tasks?limit=2&sort_key=status&sort_dir=asc"
        while url:
            body = service.client.simulate_get(url).json
            seen += [task["id"] for task in body["tasks"]]
            url = body.get("next", "")
        assert (len(seen), set(seen)) == (7, asked)

    def test_filtered(self, service: Service) -> None:
        first, second = service.image(), service.image()
        done, waits = service.importing(first), service.importing(second)
        claim = service.entered(done)
        with service.catalog.fenced(claim) as tx:
            tx.fail(code="x", message="it failed", keep_for=60.0)
        assert ids(service, "?status=failure") == [done]
        assert ids(service, "?status=pending&type=api_image_import") == [waits]
        assert ids(service, f"?image_id={second}&owner={service.options.default_project}") == [waits]
        assert ids(service, "?type=import") == ids(service, "?owner=nobody") == []
        assert tasks(service, "?status=failure")["tasks"][0]["expires_at"].endswith("Z")

    def test_forgotten(self, service: Service) -> None:
        """Given a task whose time is over, then it is not shown any more."""
        task = service.importing(service.image())
        with service.catalog.fenced(service.entered(task)) as tx:
            tx.succeed("", keep_for=60.0)
        assert ids(service) == [task]
        service.catalog.database.skew += 61
        assert ids(service) == []
        assert service.client.simulate_get(f"/v2/tasks/{task}").status_code == 404

    @pytest.mark.parametrize(
        "query",
        ["limit=x", "limit=-1", "marker=nobody", "sort_key=input", "sort_dir=up", "status=new", "type=x", "a=b"],
    )
    def test_a_bad_query(self, service: Service, query: str) -> None:
        assert service.client.simulate_get(f"/v2/tasks?{query}").status_code == 400


class TestShown:
    def test_whole(self, service: Service) -> None:
        """Given a task, then all of it is shown, as the schema has it, and times end in Z."""
        image = service.image()
        task_id = service.importing(image)
        task = service.client.simulate_get(f"/v2/tasks/{task_id}").json
        assert set(task) == KEYS | {"self", "schema", "input", "result", "message"}
        assert (task["input"], task["result"], task["message"]) == ({"image_id": image}, None, "")
        assert task["created_at"].endswith("Z")
        assert set(task) <= set(documents(service.options)["task"]["properties"])

    def test_unknown(self, service: Service) -> None:
        assert service.client.simulate_get("/v2/tasks/nobody").status_code == 404

    def test_never_deleted(self, service: Service) -> None:
        answer = service.client.simulate_delete("/v2/tasks/x")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")


class TestAsked:
    def test_an_import_the_old_way(self, service: Service) -> None:
        """Given a task that is asked for, then an image is made, and its import is on record, as what was asked for."""
        answer = post(service, BODY)
        assert answer.status_code == 201, answer.text
        task = answer.json
        assert answer.headers["location"].endswith(f"/v2/tasks/{task['id']}")
        assert (task["type"], task["status"], task["input"]) == ("import", "pending", BODY["input"])
        assert task["request_id"] == answer.headers["x-openstack-request-id"]
        image = service.client.simulate_get(f"/v2/images/{task['image_id']}").json
        assert (image["name"], image["os_distro"], image["status"]) == ("old", "x", "importing")
        assert (image["disk_format"], image["container_format"]) == ("qcow2", "bare")
        assert service.doorbell.rung == [(task["id"], 0)]
        assert ids(service, "?type=import") == [task["id"]]

    def test_secrets_are_not_shown(self, service: Service) -> None:
        given = BODY["input"] | {"import_from": "http://user:secret@example.org/x?key=1"}  # type: ignore[operator]
        task = post(service, {"type": "import", "input": given}).json
        assert task["input"]["import_from"] == "http://***@example.org/x?…"

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ({}, "'type' must be one of"),
            ({"type": "export", "input": {}}, "'type' must be one of"),
            ({"type": "location_import", "input": {}}, "is not asked for by itself"),
            ({"type": "import"}, "'input' must be an object"),
            ({"type": "import", "input": {}}, "'input.import_from' must be a string"),
            ({"type": "import", "input": {"import_from": URI}}, "'input.import_from_format' must be a string"),
            (
                {"type": "import", "input": {"import_from": URI, "import_from_format": "qcow2"}},
                "'input.image_properties' must be an object",
            ),
        ],
    )
    def test_a_bad_body(self, service: Service, body: Any, says: str) -> None:
        answer = post(service, body)
        assert (answer.status_code, says in answer.text) == (400, True), answer.text

    @pytest.mark.parametrize("uri", ["", "file:///etc/passwd", "filesystem:///x", "http://127.0.0.1/x", "nonsense"])
    @pytest.mark.parametrize("protected", [False, True])
    def test_from_where_nothing_may_be_fetched(self, service: Service, uri: str, protected: bool) -> None:
        """Given a URI that no import may use, then no image is left behind, and be it one to protect."""
        given = BODY["input"] | {"import_from": uri, "image_properties": {"protected": protected}}  # type: ignore[operator]
        answer = post(service, {"type": "import", "input": given})
        assert (answer.status_code, "does not pass filtering" in answer.text) == (400, True)
        assert service.client.simulate_get("/v2/images").json["images"] == []
        assert ids(service) == []

    def test_of_a_format_that_is_none(self, service: Service) -> None:
        answer = post(service, {"type": "import", "input": BODY["input"] | {"import_from_format": "x"}})  # type: ignore[operator]
        assert (answer.status_code, "'disk_format' must be one of" in answer.text) == (400, True)


def test_for_administrators_only(tenant: Service) -> None:
    task = tenant.importing(tenant.image(owner="mine"))
    for answer in (
        tenant.client.simulate_get("/v2/tasks"),
        tenant.client.simulate_get(f"/v2/tasks/{task}"),
        tenant.client.simulate_get("/v2/tasks/nobody"),
        post(tenant, BODY),
    ):
        assert answer.status_code == 403
