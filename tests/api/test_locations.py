"""/v2/images/{id}/locations: who may register and see what, and every refusal (http-api §12)."""

from dataclasses import replace
from typing import Any

import falcon
import pytest
from falcon import testing

from api.context import Context, caller_of, implied
from api.locations import DIGITS
from tests.api.service import Service

WEB = "http://example.org/disk.img"
VALUES = {algorithm: "a" * digits for algorithm, digits in DIGITS.items()}


def register(service: Service, image: str, body: Any) -> testing.Result:
    return service.client.simulate_post(f"/v2/images/{image}/locations", json=body)


def as_who(service: Service, project: str, *roles: str, service_roles: tuple[str, ...] = ()) -> Service:
    """The same service as somebody else sees it."""

    def somebody(_req: falcon.Request, request_id: str) -> Context:
        known = implied(frozenset(roles))
        return caller_of(project, "u", known, request_id, service_roles=frozenset(service_roles))

    return Service(service.runtime, service.options, somebody)


def row(service: Service, image: str) -> Any:
    with service.catalog.read() as tx:
        return tx.tasks.newest(image)


class TestRegistered:
    def test_on_record(self, service: Service) -> None:
        """Given a URL, then the answer is an empty 202, the image is importing, and its task tells no secret."""
        image = service.image()
        answer = register(service, image, {"url": f"{WEB}?signature=x", "validation_data": {}})
        assert (answer.status_code, answer.content) == (202, b"")
        shown = service.client.simulate_get(f"/v2/images/{image}").json
        assert (shown["status"], shown["os_glance_importing_to_stores"]) == ("importing", "mirror")
        (task,) = service.client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"]
        assert (task["type"], task["status"], task["id"]) == (
            "location_import",
            "pending",
            shown["os_glance_import_task"],
        )
        assert task["request_id"] == answer.headers["x-openstack-request-id"]
        assert task["input"]["import_req"] == {"url": f"{WEB}?…", "validation_data": {}}
        assert service.doorbell.rung == [(task["id"], 0)]
        assert row(service, image).source == {"key": f"{WEB}?signature=x", "checksum": None}

    @pytest.mark.parametrize("algorithm", DIGITS)
    def test_with_a_hash(self, service: Service, algorithm: str) -> None:
        image = service.image()
        data = {"os_hash_algo": algorithm, "os_hash_value": VALUES[algorithm].upper()}
        assert register(service, image, {"url": WEB, "validation_data": data}).status_code == 202
        assert row(service, image).source["checksum"] == f"{algorithm}:{VALUES[algorithm]}"

    def test_it_can_be_watched_and_called_off(self, service: Service) -> None:
        image = service.image()
        register(service, image, {"url": WEB})
        watched = service.client.simulate_get(f"/v2/images/{image}/import").json
        assert (watched["method"], watched["step"], watched["status"]) == ("location-import", "verify", "pending")
        assert service.client.simulate_delete(f"/v2/images/{image}/import").status_code == 202

    def test_it_is_no_import_method(self, service: Service) -> None:
        """Given its name in an import, then there is no such method."""
        wired = replace(service.runtime, options=replace(service.runtime.options, methods=("web-download",)))
        other = Service(wired)
        body = {"method": {"name": "location-import", "uri": WEB}}
        answer = other.client.simulate_post(f"/v2/images/{other.image()}/import", json=body)
        assert (answer.status_code, "this service offers: web-download" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "'url' is missing"),
        ({"validation_data": {}}, "'url' is missing"),
        ({"url": None}, "'url' must be"),
        ({"url": 5}, "'url' must be"),
        ({"url": ""}, "'url' is empty"),
        ({"url": "http://example.org/" + "x" * 240}, "longer than 255"),
        ({"url": WEB, "metadata": {}}, "'metadata' is not known"),
        ({"url": WEB, "validation_data": []}, "'validation_data' must be an object"),
        ({"url": WEB, "validation_data": {"checksum": "x"}}, "'validation_data.checksum' is not known"),
        ({"url": WEB, "validation_data": {"os_hash_algo": "sha512"}}, "both os_hash_algo and os_hash_value"),
        ({"url": WEB, "validation_data": {"os_hash_value": VALUES["md5"]}}, "both os_hash_algo and os_hash_value"),
        ({"url": WEB, "validation_data": {"os_hash_algo": "crc", "os_hash_value": "a"}}, "must be one of sha512"),
        ({"url": WEB, "validation_data": {"os_hash_algo": "md5", "os_hash_value": "a"}}, "32 hex digits for md5"),
        ({"url": WEB, "validation_data": {"os_hash_algo": "md5", "os_hash_value": "g" * 32}}, "32 hex digits"),
        ({"url": "http://10.0.0.1/x"}, "does not pass filtering"),
        ({"url": "file:///etc/passwd"}, "is not the URL of an object in a store"),
        ([], "must be a JSON object"),
    ],
)
def test_a_bad_body(service: Service, body: Any, says: str) -> None:
    image = service.image()
    answer = register(service, image, body)
    assert (answer.status_code, says in answer.text) == (400, True), answer.text
    assert service.client.simulate_get(f"/v2/images/{image}").json["status"] == "queued"


class TestWho:
    def test_an_owner_names_what_is_on_the_web(self, tenant: Service) -> None:
        """Given a member, then an http URL of its own image is taken, and nothing else."""
        image = tenant.image(owner="mine")
        for url in ("memory://cheap/x", "file:///etc/passwd", "ftp://example.org/x", "http://u:p@example.org/x"):
            answer = register(tenant, image, {"url": url})
            assert (answer.status_code, "others are for services" in answer.text) == (403, True)
            assert "p@" not in answer.text
        assert register(tenant, image, {"url": WEB}).status_code == 202

    def test_without_an_http_store(self, tenant: Service) -> None:
        """Given no store for such URLs, then users can register nothing."""
        stores = tenant.runtime.stores
        only = type(stores)([stores.get("cheap")], "cheap")
        other = Service(replace(tenant.runtime, stores=only), tenant.options, tenant.authenticate)
        assert register(other, other.image(owner="mine"), {"url": WEB}).status_code == 403

    def test_of_somebody_else(self, tenant: Service) -> None:
        """Given an image that is not the caller's, then it is 403 where it is seen, and 404 where not."""
        seen, unseen = tenant.image(owner="theirs", visibility="public"), tenant.image(owner="theirs")
        assert register(tenant, seen, {"url": WEB}).status_code == 403
        assert register(tenant, unseen, {"url": WEB}).status_code == 404
        assert register(tenant, "nobody", {"url": WEB}).status_code == 404

    @pytest.mark.parametrize("how", ["its own role", "beside a user"])
    def test_a_service(self, service: Service, how: str) -> None:
        """Given a service, or a user in whose name one asks, then any store's objects can be named."""
        nova = (
            as_who(service, "mine", "service")
            if how == "its own role"
            else as_who(service, "mine", "member", service_roles=("service",))
        )
        image = nova.image(owner="mine")
        assert register(nova, image, {"url": "memory://cheap/snapshot"}).status_code == 202
        assert nova.client.simulate_get(f"/v2/images/{image}/locations").json == []


class TestImageInTheWay:
    def test_not_queued(self, service: Service) -> None:
        for image in (service.active({"cheap": b"x"}), self.importing(service)):
            answer = register(service, image, {"url": WEB})
            assert answer.status_code == 409

    def importing(self, service: Service) -> str:
        image = service.image()
        service.importing(image)
        return image

    def test_without_formats(self, service: Service) -> None:
        answer = register(service, service.image(disk_format=None), {"url": WEB})
        assert (answer.status_code, "'disk_format' needs to be set" in answer.text) == (409, True)


class TestListed:
    def test_for_services(self, service: Service) -> None:
        """Given an image in two stores, then a bare array tells where, the one that would be read first before."""
        image = service.active({"cheap": b"x", "fast": b"x"})
        key = service.key(image, "fast")
        answer = service.client.simulate_get(f"/v2/images/{image}/locations")
        assert answer.json == [
            {"url": f"memory://fast/{key}", "metadata": {"store": "fast"}},
            {"url": f"memory://cheap/{key}", "metadata": {"store": "cheap"}},
        ]

    def test_of_an_image_without_data(self, service: Service) -> None:
        assert service.client.simulate_get(f"/v2/images/{service.image()}/locations").json == []

    def test_not_for_users(self, tenant: Service) -> None:
        mine, theirs = tenant.image(owner="mine"), tenant.image(owner="theirs")
        assert tenant.client.simulate_get(f"/v2/images/{mine}/locations").status_code == 403
        assert tenant.client.simulate_get(f"/v2/images/{theirs}/locations").status_code == 404
