"""What clients silently rely on (http-api §16.1 to §16.5): a test for each bullet that concerns calls served here.

The real clients are in tests/e2e/clients; here is what they would trip over, one trap at a time. Each test is named
after its bullet, and its docstring after what the client does. Not here: metadefs and the cache, which are not served.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.calls import CALLS
from api.versions import CURRENT, SUPPORTED
from flows.methods import FLOWS
from tests.api.cloud import FORMATS, OCTETS, Cloud
from tests.api.cloud import cloud as make_cloud
from tests.flows.service import DATA

UUID = "11111111-1111-4111-8111-111111111111"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with make_cloud(tmp_path / "flows") as made:
        yield made


class TestGlanceclient:
    """§16.1, also of nova, cinder and Horizon. Its endpoint with and without /v2: tests/e2e/clients (SUFFIXES)."""

    def test_versions_are_200_there_and_300_nowhere_that_it_asks(self, cloud: Cloud) -> None:
        """It takes 300 on anything but /versions for an error, and goes back to v1 without a schema of images."""
        assert cloud.ask("GET", "/versions").status_code == 200
        assert any(version["id"].startswith("v2") for version in cloud.ask("GET", "/versions").json["versions"])
        for path in ("/v2/schemas/image", "/v2/images", "/v2/info/import", "/v2/info/stores", "/v2/v2/images"):
            assert cloud.ask("GET", path).status_code == 200

    def test_every_get_says_that_it_has_octets_and_has_none(self, cloud: Cloud) -> None:
        image = cloud.image()
        task = self._task(cloud, image)
        words = {"image_id": image, "task_id": task, "member": "friend", "tag": "x", "store": "a"}
        cloud.ask("POST", f"/v2/images/{image}/members", {"member": "friend"})

        for call in CALLS:
            method, path = call.split()
            if method == "GET" and path.startswith("/v2/"):
                answer = cloud.ask(
                    "GET", path.format(**words), who="admin", Content_Type=OCTETS, Content_Length="0", Accept="*/*"
                )
                assert answer.status_code in (200, 204), f"{path}: {answer.text}"

    @staticmethod
    def _task(cloud: Cloud, image: str) -> str:
        assert cloud.bring(image).status_code == 202
        return str(cloud.ask("GET", f"/v2/images/{image}/tasks").json["tasks"][0]["id"])

    def test_it_follows_next_until_there_is_none(self, cloud: Cloud) -> None:
        """A `"next": null` would be asked for, as the URL None."""
        made = {cloud.image(name=f"n{number}") for number in range(5)}

        answer = cloud.ask("GET", "/v2/images", query={"limit": 2, "sort_key": "name", "sort_dir": "asc"}).json
        seen = [image["id"] for image in answer["images"]]
        while "next" in answer:
            assert answer["next"].startswith("/v2/images?")
            path, _, query = answer["next"].partition("?")
            answer = cloud.ask("GET", path, query=dict(pair.split("=") for pair in query.split("&"))).json
            seen += [image["id"] for image in answer["images"]]

        assert set(seen) == made
        assert len(seen) == 5
        assert cloud.listed(limit=200, sort_key="name", sort_dir="asc") == [f"n{number}" for number in range(5)]

    def test_it_sends_the_request_id_of_the_answer_before(self, cloud: Cloud) -> None:
        first = cloud.ask("GET", "/v2/images").headers["x-openstack-request-id"]

        again = cloud.ask("GET", "/v2/images", X_OpenStack_Request_ID=first)

        assert again.headers["x-openstack-request-id"] == first

    def test_booleans_of_filters_are_pythons(self, cloud: Cloud) -> None:
        cloud.image(name="h", os_hidden=True)
        cloud.image(name="s")

        assert cloud.listed(os_hidden="True") == ["h"]
        assert cloud.listed(os_hidden="False") == ["s"]

    @pytest.mark.parametrize(
        "body",
        [{}, FORMATS | {"name": "n"}, {"tags": ["a"], "kernel_id": None, "custom": ""}, {"min_disk": 0, "name": None}],
    )
    def test_what_is_made_is_valid_by_the_schema_it_has_fetched(self, cloud: Cloud, body: dict[str, Any]) -> None:
        schema = cloud.ask("GET", "/v2/schemas/image").json

        made = cloud.ask("POST", "/v2/images", body)

        assert made.status_code == 201
        jsonschema.validate(made.json, schema)

    def test_an_update_adds_custom_properties_replaces_others_and_sends_all_tags_again(self, cloud: Cloud) -> None:
        image = cloud.image(tags=["a", "b"])

        changed = cloud.change(
            image,
            {"op": "replace", "path": "/tags", "value": ["b", "a"]},
            {"op": "replace", "path": "/name", "value": "new"},
            {"op": "add", "path": "/colour", "value": "red"},
        )

        assert changed.status_code == 200
        now = cloud.show(image)
        assert (now["name"], now["colour"], sorted(now["tags"])) == ("new", "red", ["a", "b"])

    @pytest.mark.parametrize("to", ["file", "stage"])
    def test_data_comes_with_a_size_of_its_own(self, cloud: Cloud, to: str) -> None:
        """Chunked bodies: tests/api/test_staging.py, tests/api/test_upload.py."""
        image = cloud.image()

        assert cloud.send(image, b"abc", to, x_openstack_image_size="4").status_code == 400
        assert cloud.send(image, b"abc", to, x_openstack_image_size="3").status_code == 204

    def test_an_import_into_stores_may_fail_in_some_of_them(self, cloud: Cloud) -> None:
        """`all_stores_must_succeed` is false whenever stores are named; a single one is named in the header."""
        for body in ({"stores": ["a", "b"]}, {"all_stores": True}, {"header": "c"}):
            image = cloud.image()
            assert cloud.bring(image, all_stores_must_succeed=False, **body).status_code == 202
            assert cloud.show(image)["status"] == "active"
        refused = cloud.bring(cloud.image(), stores=["nowhere"])
        assert refused.status_code == 409
        assert "nowhere" in refused.text

    def test_what_image_create_via_import_looks_at(self, cloud: Cloud) -> None:
        """`stores` in the schema, a list of methods, stores with ids; /info/stores is no error but 404."""
        assert "stores" in cloud.ask("GET", "/v2/schemas/image").json["properties"]
        assert cloud.ask("GET", "/v2/info/import").json["import-methods"]["value"] == list(FLOWS)
        assert [store["id"] for store in cloud.ask("GET", "/v2/info/stores").json["stores"]] == ["a", "b", "c"]

    def test_features_are_told_by_versions(self, cloud: Cloud) -> None:
        """Tasks of an image: v2.12; locations: v2.17; a cache, which is not here: v2.14. So does tempest (§16.5)."""
        known = {one["id"]: one["status"] for one in cloud.ask("GET", "/versions").json["versions"]}

        assert known == dict.fromkeys(SUPPORTED, "SUPPORTED") | {CURRENT: "CURRENT"}
        assert {"v2.12", "v2.17"} <= known.keys()
        assert "v2.14" not in known

    def test_usage_is_in_the_key_usage(self, cloud: Cloud) -> None:
        assert cloud.ask("GET", "/v2/info/usage").json == {"usage": {}}

    def test_a_download_is_compared_with_the_image(self, cloud: Cloud) -> None:
        """By an algorithm that hashlib knows, in lower-case hex; the whole Content-Type decides whether it streams."""
        image = cloud.image()
        cloud.bring(image)
        shown = cloud.show(image)

        got = cloud.ask("GET", f"/v2/images/{image}/file")

        assert hashlib.new(shown["os_hash_algo"], got.content).hexdigest() == shown["os_hash_value"]
        assert got.headers["content-md5"] == shown["checksum"] == hashlib.md5(DATA).hexdigest()
        assert got.headers["content-length"] == str(shown["size"]) == str(len(DATA))
        assert got.headers["content-type"] == "application/octet-stream"

    def test_a_failed_delete_is_one_of_three(self, cloud: Cloud) -> None:
        assert cloud.ask("DELETE", f"/v2/images/{UUID}").status_code == 404
        assert cloud.ask("DELETE", f"/v2/images/{cloud.image(protected=True)}").status_code == 403

    def test_stores_are_printed(self, cloud: Cloud) -> None:
        image = cloud.image(name="n")
        cloud.bring(image, stores=["b", "a"])

        [listed] = cloud.ask("GET", "/v2/images").json["images"]
        assert listed["stores"] == "a,b"


class TestNovaAndCinder:
    """§16.2."""

    def test_a_snapshot(self, cloud: Cloud) -> None:
        """An image with many properties, all of them text, is uploaded to, perhaps shared at once, and read."""
        custom = {f"image_{number}": str(number) for number in range(40)}

        image = cloud.image(name="snap", **custom)
        assert cloud.show(image)["size"] is None
        assert cloud.ask("POST", f"/v2/images/{image}/members", {"member": "friend"}).status_code == 200
        assert cloud.send(image, b"").status_code == 204

        now = cloud.show(image)
        assert (now["status"], now["size"]) == ("active", 0)
        assert {name: now[name] for name in custom} == custom
        assert all(isinstance(value, str) for name, value in now.items() if name in custom)
        assert datetime.fromisoformat(now["created_at"]).tzinfo is not None

    def test_a_location_can_be_registered(self, cloud: Cloud) -> None:
        """2.17 is told of, so nova and cinder never try PATCH /locations/-, which is refused."""
        image = cloud.image()
        operation = {"op": "add", "path": "/locations/-", "value": {"url": "http://x.test/", "metadata": {}}}

        assert cloud.change(image, operation).status_code == 403
        refused = cloud.ask("POST", f"/v2/images/{image}/locations", {"validation_data": {}})
        assert (refused.status_code, "url" in refused.text) == (400, True)

    def test_a_copy_to_a_store(self, cloud: Cloud) -> None:
        """400 says that the store has it already, and is no harm; 404, 403 and 409 are errors."""
        image = cloud.image(visibility="community")
        body: dict[str, Any] = {"method": "copy-image", "who": "admin", "stores": ["b"]}
        assert cloud.bring(image, **body).status_code == 409
        cloud.bring(image, stores=["a"])

        assert cloud.bring(UUID, **body).status_code == 404
        assert cloud.bring(image, **{**body, "who": "mine"}).status_code == 403
        assert cloud.bring(image, **body).status_code == 202
        assert cloud.bring(image, **body).status_code == 400

    def test_too_much_is_413(self, cloud: Cloud) -> None:
        """503: tests/api/test_data.py, tests/api/test_front.py, where stores and database are away."""
        refused = cloud.ask("POST", "/v2/images", {"tags": [str(number) for number in range(129)]})

        assert refused.status_code == 413

    def test_filters(self, cloud: Cloud) -> None:
        cloud.image(name="p", visibility="private", hw_disk_bus="scsi")
        cloud.image("admin", name="o", visibility="public")

        since = cloud.show(cloud.image(name="s"))["updated_at"]
        assert "s" in cloud.listed(updated_at=f"gte:{since}")
        assert cloud.listed(updated_at="gte:2999-01-01T00:00:00Z") == []
        assert cloud.listed(visibility="public") == ["o"]
        assert cloud.listed(visibility="private") == ["p"]
        assert cloud.listed(hw_disk_bus="scsi") == ["p"]

    def test_a_purge_removes_every_property_that_is_not_named(self, cloud: Cloud) -> None:
        """Of an imported image it would remove what only the service says: 403, as from Glance, and nothing is done."""
        image = cloud.image(a="1", b="2")
        assert cloud.change(image, *({"op": "remove", "path": f"/{name}"} for name in "ab")).status_code == 200
        cloud.bring(image)

        refused = cloud.change(
            image,
            {"op": "replace", "path": "/name", "value": "n"},
            {"op": "remove", "path": "/os_glance_failed_import"},
        )

        assert refused.status_code == 403
        assert cloud.show(image)["name"] is None


class TestOpenstack:
    """§16.3: openstacksdk and openstackclient."""

    @pytest.mark.parametrize("path", ["/", "/v2", "/v2/"])
    def test_discovery(self, cloud: Cloud, path: str) -> None:
        """From an endpoint without a version, or with one when a call needs a certain version; 300 is fine."""
        answer = cloud.ask("GET", path, Accept="application/json")

        assert (answer.status_code, answer.headers["content-type"]) == (300, "application/json")
        hrefs = {link["href"] for one in answer.json["versions"] for link in one["links"] if link["rel"] == "self"}
        assert hrefs == {"http://falconframework.org/v2/"}

    def test_links_of_versions_are_used_as_base(self, tmp_path: Path) -> None:
        with make_cloud(tmp_path / "proxied", public_endpoint="https://cloud.test/image") as cloud:
            [link] = cloud.ask("GET", "/").json["versions"][0]["links"]

        assert link["href"] == "https://cloud.test/image/v2/"

    def test_a_name_is_tried_as_an_id_then_searched_for(self, cloud: Cloud) -> None:
        """404 (or 400, 403), then the name as a filter, then hidden images one by one."""
        cloud.image(name="visible one")
        cloud.image(name="hidden", os_hidden=True)

        for name in ("visible%20one", "hidden", "a:b", "%C3%B6"):
            assert cloud.ask("GET", f"/v2/images/{name}").status_code == 404
        assert cloud.listed(name="visible one") == ["visible one"]
        assert cloud.listed(name="hidden") == []
        assert cloud.listed(os_hidden="True") == ["hidden"]

    def test_its_own_properties_have_dots_in_their_names_and_may_be_empty(self, cloud: Cloud) -> None:
        own = {f"owner_specified.openstack.{name}": value for name, value in (("md5", ""), ("object", "images/x"))}

        shown = cloud.show(cloud.image(**own))

        assert {name: shown[name] for name in own} == own

    def test_import_methods_are_announced_where_an_image_is_made_and_nowhere_else(self, cloud: Cloud) -> None:
        """Gophercloud reads both headers too (§16.4), in whatever case."""
        made = cloud.ask("POST", "/v2/images", FORMATS)

        assert made.headers["OpenStack-image-import-methods"] == ",".join(FLOWS)
        assert made.headers["OpenStack-image-store-ids"] == "a,b,c"
        assert "OpenStack-image-import-methods" not in cloud.ask("GET", f"/v2/images/{made.json['id']}").headers

    def test_what_failed_is_deleted(self, cloud: Cloud) -> None:
        """Whatever state the failure has left: without data, staged, imported, or after a failed import."""
        staged, failed, done = cloud.image(), cloud.image(), cloud.image()
        cloud.send(staged, b"x", "stage")
        cloud.bring(failed, uri=cloud.flows.origin.url("/absent"))
        cloud.bring(done)

        for image in (cloud.image(), staged, failed, done):
            assert cloud.ask("DELETE", f"/v2/images/{image}").status_code == 204

    def test_one_store_comes_in_the_body_and_in_the_header(self, cloud: Cloud) -> None:
        """Glance refuses its own SDK here; we take it if both say the same (http-api §17 b)."""
        assert cloud.bring(cloud.image(), stores=["b"], header="b", all_stores_must_succeed=True).status_code == 202
        assert cloud.bring(cloud.image(), stores=["b"], header="a").status_code == 400

    def test_all_stores_must_succeed_needs_no_stores(self, cloud: Cloud) -> None:
        image = cloud.image()

        assert cloud.bring(image, all_stores_must_succeed=True).status_code == 202
        assert cloud.show(image)["stores"] == "a"

    def test_nobody_waits_for_an_import_so_the_image_tells_of_its_failure(self, cloud: Cloud) -> None:
        image = cloud.image()

        assert cloud.bring(image, uri=cloud.flows.origin.url("/absent"), stores=["a", "b"]).status_code == 202

        now = cloud.show(image)
        assert (now["status"], now["os_glance_failed_import"]) == ("queued", "a,b")

    def test_it_accepts_nothing_when_it_sends(self, cloud: Cloud) -> None:
        """PATCH and uploads have an empty Accept; the reason comes as a page then, or it would not be shown. Base
        attributes are added.
        """
        image = cloud.image()

        changed = cloud.change(image, {"op": "add", "path": "/name", "value": "n"}, Accept="")
        assert (changed.status_code, changed.json["name"]) == (200, "n")
        assert cloud.send(image, b"x", Accept="").status_code == 204
        refused = cloud.send(image, b"x", Accept="")
        assert refused.status_code == 409
        assert refused.headers["content-type"].startswith("text/html")

    def test_an_empty_image_is_an_empty_file(self, cloud: Cloud) -> None:
        """Content-MD5 is hex, not base64."""
        image = cloud.image()
        cloud.send(image, b"")

        got = cloud.ask("GET", f"/v2/images/{image}/file")

        assert (got.status_code, got.content) == (200, b"")
        assert got.headers["content-md5"] == hashlib.md5(b"").hexdigest()

    def test_members(self, cloud: Cloud) -> None:
        """Asked for by `member`, answered with `status`, known by `member_id`."""
        image = cloud.image()
        path = f"/v2/images/{image}/members"

        assert cloud.ask("POST", path, {"member": "friend"}).json["member_id"] == "friend"
        assert cloud.ask("PUT", f"{path}/friend", {"status": "accepted"}, "friend").json["status"] == "accepted"
        assert [one["member_id"] for one in cloud.ask("GET", path).json["members"]] == ["friend"]

    def test_the_default_store_says_so_in_a_word(self, cloud: Cloud) -> None:
        stores = cloud.ask("GET", "/v2/info/stores").json["stores"]

        assert [store.get("default") for store in stores] == ["true", None, None]

    def test_tags_come_and_go_one_by_one(self, cloud: Cloud) -> None:
        path = f"/v2/images/{cloud.image()}/tags/a%20b"

        assert [cloud.ask(method, path).status_code for method in ("PUT", "PUT", "DELETE")] == [204, 204, 204]

    def test_properties_are_flat_and_removed_by_name(self, cloud: Cloud) -> None:
        image = cloud.image(a="1")

        changed = cloud.change(image, {"op": "add", "path": "/b", "value": "2"}, {"op": "remove", "path": "/a"})

        assert (changed.json["b"], "a" in changed.json) == ("2", False)

    def test_errors_are_read_from_json_html_or_the_reason(self, cloud: Cloud) -> None:
        """Of JSON the `message` at the root, of HTML its lines; never JSON for who accepts everything (§16.1)."""
        words = f"No image found with ID {UUID}"

        said = cloud.ask("GET", f"/v2/images/{UUID}", Accept="application/json")
        assert words in said.json["message"]
        for accept in ("*/*", "text/html"):
            answer = cloud.ask("GET", f"/v2/images/{UUID}", Accept=accept)
            assert answer.headers["content-type"].startswith("text/html")
            assert words in answer.text
