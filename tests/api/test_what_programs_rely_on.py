"""See tests/api/test_what_clients_rely_on.py: §16.4 and §16.5, of gophercloud, terraform and tempest."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from api.patches import V20
from stores.wrappers import Call
from tests.api.cloud import FORMATS, Cloud
from tests.api.cloud import cloud as make_cloud

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

AS_JSON: dict[str, Any] = {"Accept": "application/json", "Content_Type": "application/json"}
IMAGE = "9d6a2f5c-0000-4000-8000-000000000001"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with make_cloud(tmp_path / "flows") as made:
        yield made


class TestGophercloud:
    """§16.4, and terraform on top of it."""

    def test_success_is_one_status_for_each_call(self, cloud: Cloud) -> None:
        made = cloud.ask("POST", "/v2/images", FORMATS | {"id": IMAGE})
        image = str(made.json["id"])
        path, members = f"/v2/images/{image}", f"/v2/images/{image}/members"
        staged = cloud.image()
        job = {"import_from": cloud.flows.origin.url("/image"), "import_from_format": "raw", "image_properties": {}}

        done = [
            ("create", 201, made),
            ("get", 200, cloud.ask("GET", path)),
            ("list", 200, cloud.ask("GET", "/v2/images")),
            ("update", 200, cloud.change(image)),
            ("upload", 204, cloud.send(image, b"x")),
            ("stage", 204, cloud.send(staged, b"x", "stage")),
            ("import", 202, cloud.bring(staged, "glance-direct", uri="")),
            ("member create", 200, cloud.ask("POST", members, {"member": "friend"})),
            ("member get", 200, cloud.ask("GET", f"{members}/friend")),
            ("member update", 200, cloud.ask("PUT", f"{members}/friend", {"status": "accepted"}, "friend")),
            ("member delete", 204, cloud.ask("DELETE", f"{members}/friend")),
            ("task create", 201, cloud.ask("POST", "/v2/tasks", {"type": "import", "input": job}, "admin")),
            ("delete", 204, cloud.ask("DELETE", path)),
        ]

        assert [(call, answer.status_code) for call, _, answer in done] == [(call, status) for call, status, _ in done]

    def test_glance_direct_comes_with_an_empty_uri(self, cloud: Cloud) -> None:
        image = cloud.image()
        cloud.send(image, b"x", "stage")
        body = {"method": {"name": "glance-direct", "uri": ""}}

        assert cloud.ask("POST", f"/v2/images/{image}/import", body).status_code == 202
        assert cloud.show(image)["status"] == "active"

    def test_types_are_strict(self, cloud: Cloud) -> None:
        queued, active = cloud.image(), cloud.image(tags=["t"])
        cloud.bring(active)

        for shown in (cloud.show(queued), cloud.show(active)):
            assert type(shown["size"]) in (int, type(None))
            assert type(shown["virtual_size"]) in (int, type(None))
            assert [type(shown[name]) for name in ("min_disk", "min_ram")] == [int, int]
            assert [type(shown[name]) for name in ("protected", "os_hidden")] == [bool, bool]
            assert type(shown["tags"]) is list
            assert all(RFC3339.fullmatch(shown[name]) for name in ("created_at", "updated_at"))
            # It declares what these hold: a map of strings, and a string.
            assert not {"metadata", "properties"} & shown.keys()

    def test_times_of_tasks_have_their_zone(self, cloud: Cloud) -> None:
        cloud.bring(cloud.image())

        [task] = cloud.ask("GET", "/v2/tasks", who="admin").json["tasks"]

        for name in ("created_at", "updated_at", "expires_at"):
            assert RFC3339.fullmatch(task[name])
            assert datetime.fromisoformat(task[name]).tzinfo is not None

    def test_next_begins_with_the_version_whatever_is_in_front_of_us(self, tmp_path: Path) -> None:
        """It is resolved against the root of the endpoint, so it must not repeat a prefix of the site's."""
        with make_cloud(tmp_path / "proxied", public_endpoint="https://cloud.test/image") as cloud:
            cloud.image()
            assert cloud.ask("GET", "/v2/images", query={"limit": 1}).json["next"].startswith("/v2/images?")

    @pytest.mark.parametrize(
        "query",
        [
            *("name=n", "visibility=shared", "owner=mine", "member_status=accepted", "os_hidden=false"),
            *("status=queued", "size_min=0", "size_max=9", "tag=x&tag=y", "created_at=gte:2020-01-01T00:00:00Z"),
            *(
                "updated_at=lt:2999-01-01T00:00:00Z",
                "sort=name:asc,status:desc",
                f"id={IMAGE}",
            ),
        ],
    )
    def test_filters_of_lists(self, cloud: Cloud, query: str) -> None:
        image = cloud.image(name="n", tags=["x", "y"], id=IMAGE)
        if query.startswith("size"):
            cloud.send(image, b"x")
        given: dict[str, Any] = dict(parse_qs(query))

        assert cloud.listed(**given) == ["n"]

    def test_terraform_waits_while_a_status_is_one_of_these(self, cloud: Cloud) -> None:
        """It knows queued, saving and importing as not yet done."""
        image = cloud.image()
        seen = [cloud.show(image)["status"]]

        def look(_call: Call, go: Callable[[], Any]) -> Any:
            seen.append(cloud.show(image)["status"])
            return go()

        cloud.flows.fail("a", "write", look)
        cloud.bring(image)
        uploaded = image = cloud.image()
        cloud.send(uploaded, b"x")
        seen.append(cloud.show(image)["status"])

        assert list(dict.fromkeys(seen)) == ["queued", "importing", "saving", "active"]


class TestTempest:
    """§16.5. The exact ids of versions: TestGlanceclient.test_features_are_told_by_versions."""

    def test_the_root_is_300(self, cloud: Cloud) -> None:
        assert cloud.ask("GET", "/", **AS_JSON).status_code == 300

    def test_204_has_no_body_and_calls_without_one_say_they_have_json(self, cloud: Cloud) -> None:
        image = cloud.image(tags=["x"])
        path = f"/v2/images/{image}"
        assert cloud.ask("GET", f"{path}/file", **AS_JSON).content == b""
        cloud.bring(image)

        for method, rest in (
            ("POST", "/actions/deactivate"),
            ("POST", "/actions/reactivate"),
            ("PUT", "/tags/y"),
            ("DELETE", "/tags/x"),
            ("DELETE", ""),
        ):
            answer = cloud.ask(method, path + rest, **AS_JSON)
            assert (answer.status_code, answer.content) == (204, b""), rest
        gone = cloud.ask("GET", path, **AS_JSON)
        assert (gone.status_code, gone.headers["content-type"]) == (404, "application/json")

    def test_changes_in_the_old_dialect(self, cloud: Cloud) -> None:
        image = cloud.image(protected=True)

        changed = cloud.change(
            image,
            {"add": "/hw_cpu_cores", "value": "1"},
            {"replace": "/protected", "value": False},
            dialect=V20,
            Accept="application/json",
        )

        assert changed.status_code == 200
        assert (changed.json["hw_cpu_cores"], changed.json["protected"]) == ("1", False)

    def test_what_is_refused(self, cloud: Cloud) -> None:
        protected, twice = cloud.image(protected=True), cloud.image()

        assert cloud.ask("DELETE", f"/v2/images/{protected}").status_code == 403
        assert [cloud.ask("DELETE", f"/v2/images/{twice}").status_code for _ in range(2)] == [204, 404]
        for name in FORMATS:
            assert cloud.ask("POST", "/v2/images", FORMATS | {name: "wrong"}).status_code == 400
        assert cloud.ask("POST", "/v2/images", {"os_glance_foo": "bar"}).status_code == 403
        operation = {"add": "/os_glance_foo", "value": "bar"}
        assert cloud.change(cloud.image(), operation, dialect=V20).status_code == 403

    def test_hidden_images_need_no_formats_and_are_not_listed(self, cloud: Cloud) -> None:
        made = cloud.ask("POST", "/v2/images", {"os_hidden": True, "name": "h"})

        assert (made.status_code, made.json["os_hidden"]) == (201, True)
        assert cloud.listed() == []

    def test_without_data_and_deactivated(self, cloud: Cloud) -> None:
        image = cloud.image()
        path = f"/v2/images/{image}"
        assert cloud.ask("GET", f"{path}/file").status_code == 204
        cloud.bring(image)
        cloud.ask("POST", f"{path}/actions/deactivate")

        assert cloud.ask("GET", f"{path}/file").status_code == 403

    def test_an_uploaded_image_is_active_at_once_and_knows_its_size(self, cloud: Cloud) -> None:
        image = cloud.image()

        cloud.send(image, bytes(1024))

        shown = cloud.show(image)
        assert (shown["status"], shown["size"]) == ("active", 1024)

    def test_lists(self, cloud: Cloud) -> None:
        for name, size in (("small", 10), ("big", 100)):
            cloud.send(cloud.image(name=name, tags=[name]), bytes(size))
        cloud.image(name="queued")
        offered = cloud.image("yours", name="offered")
        cloud.ask("POST", f"/v2/images/{offered}/members", {"member": "mine"}, "yours")

        assert cloud.listed(size_min=50) == ["big"]
        assert cloud.listed(size_max=50) == ["small"]
        assert cloud.listed(status="queued") == ["queued"]
        assert cloud.listed(owner="mine", name="small") == ["small"]
        assert cloud.listed(tag="big") == ["big"]
        assert len(cloud.listed(limit=1)) == 1
        assert cloud.listed(sort="size:desc")[:2] == ["big", "small"]
        assert "offered" in cloud.listed(member_status="pending", visibility="shared")
        assert "offered" not in cloud.listed()

    def test_a_host_that_is_nowhere(self, cloud: Cloud) -> None:
        """400 that says so, or 202 and then a list of the stores in which it failed."""
        image = cloud.image()

        answer = cloud.bring(image, uri="http://does-not.exist/no/possible/way")

        if answer.status_code == 400:
            assert "does-not.exist" in answer.text or "does not pass filtering" in answer.text
        else:
            assert answer.status_code == 202
            assert cloud.show(image)["os_glance_failed_import"] != ""

    def test_an_administrator_copies_what_is_private_and_its_owner_sees_both_lists(self, cloud: Cloud) -> None:
        image = cloud.image(visibility="private")
        cloud.bring(image, stores=["a"])

        assert cloud.bring(image, "copy-image", "admin", stores=["b"]).status_code == 202

        shown = cloud.show(image)
        assert (shown["stores"], shown["status"]) == ("a,b", "active")
        assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("", "")

    def test_an_administrator_takes_an_image_out_of_a_store(self, cloud: Cloud) -> None:
        image = cloud.image()
        cloud.bring(image, stores=["a", "b"])

        assert cloud.ask("DELETE", f"/v2/stores/b/{image}", who="admin", **AS_JSON).status_code == 204
        assert cloud.show(image)["stores"] == "a"

    def test_what_nobody_foresaw_is_a_message(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("never shown")

        monkeypatch.setattr(type(cloud.flows.runtime.catalog), "begin", broken)

        failed = cloud.ask("POST", "/v2/images", {}, Accept="application/json")

        assert failed.status_code == 500
        assert "operator" in failed.json["message"]
