"""Images: create, show, list, delete."""

import json
import re
import uuid
from typing import Any

import pytest
from falcon import testing

from tests.api.service import IMPORT, Service

ID = "b2173dd3-7ad6-4362-baa6-a68bce3565cb"
BASE = {
    *"id name status visibility protected os_hidden checksum os_hash_algo os_hash_value owner size".split(),
    *"virtual_size container_format disk_format min_disk min_ram created_at updated_at tags self file schema".split(),
}


def create(client: testing.TestClient, **body: Any) -> testing.Result:
    return client.simulate_post("/v2/images", json=body)


# -- create


def test_an_image_of_nothing_has_every_base_attribute(client: testing.TestClient) -> None:
    answer = client.simulate_post("/v2/images", json={})

    image = answer.json
    assert answer.status_code == 201
    assert set(image) == BASE
    assert answer.headers["location"] == f"http://falconframework.org/v2/images/{image['id']}"
    assert answer.headers["openstack-image-import-methods"] == "web-download"
    assert answer.headers["openstack-image-store-ids"] == "fast,cheap,bulk,mirror"
    assert uuid.UUID(image["id"]).version == 4
    assert (image["status"], image["visibility"], image["owner"]) == ("queued", "shared", "default")
    assert image["created_at"] == image["updated_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", image["created_at"])
    assert image["file"] == f"/v2/images/{image['id']}/file"
    assert (image["tags"], image["min_disk"], image["protected"], image["name"]) == ([], 0, False, None)


def test_everything_that_can_be_set_comes_back(client: testing.TestClient) -> None:
    given = {
        "id": ID.upper(),
        "name": "jammy ✓",
        "visibility": "public",
        "protected": True,
        "os_hidden": True,
        "owner": "somebody",
        "container_format": "bare",
        "disk_format": "qcow2",
        "min_disk": 1,
        "min_ram": 2147483647,
        "tags": ["b", "a", "b"],
        "owner_specified.openstack.md5": "",
        "kernel_id": None,
        "os_distro": "debian",
    }

    made = create(client, **given).json

    assert {name: made[name] for name in given} == given | {"tags": ["a", "b"]}
    assert client.simulate_get(f"/v2/images/{ID.upper()}").json == made


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        *(({name: "x"}, 403, name) for name in "direct_url self file schema stores location locations".split()),
        *(({name: "x"}, 403, name) for name in "status checksum size virtual_size created_at updated_at".split()),
        *(({name: "x"}, 403, name) for name in "os_hash_algo os_hash_value deleted deleted_at".split()),
        *(({name: "x"}, 403, name) for name in ("os_glance_foo", "os_glancexyz", "os_glance_import_task")),
        # What is forbidden is said before what is malformed.
        ({"min_disk": "x", "stores": "a"}, 403, "stores"),
        ({"id": "x"}, 400, "id"),
        ({"id": None}, 400, "id"),
        ({"id": ID + "\n"}, 400, "id"),
        ({"name": 1}, 400, "name"),
        ({"name": "x" * 256}, 400, "name"),
        ({"name": "a\0b"}, 400, "name"),
        ({"owner": "x" * 256}, 400, "owner"),
        ({"visibility": "secret"}, 400, "visibility"),
        ({"visibility": None}, 400, "visibility"),
        ({"protected": "true"}, 400, "protected"),
        ({"os_hidden": 1}, 400, "os_hidden"),
        ({"container_format": "jar"}, 400, "container_format"),
        ({"disk_format": "floppy"}, 400, "disk_format"),
        ({"min_disk": -1}, 400, "min_disk"),
        ({"min_ram": 2147483648}, 400, "min_ram"),
        ({"min_ram": True}, 400, "min_ram"),
        ({"min_ram": 1.5}, 400, "min_ram"),
        ({"tags": "a"}, 400, "tags"),
        ({"tags": [1]}, 400, "tags"),
        ({"tags": ["x" * 256]}, 400, "tags"),
        ({"kernel_id": "x"}, 400, "kernel_id"),
        ({"custom": 1}, 400, "custom"),
        ({"custom": None}, 400, "custom"),
        ({"custom": {"a": "b"}}, 400, "custom"),
        ({"x" * 256: "v"}, 400, "256"),
        ({"": "v"}, 400, "0"),
        ({"a\0": "v"}, 400, "NUL"),
        ({f"p{n}": "v" for n in range(5)}, 413, "4 properties"),
        ({"tags": ["a", "b", "c"]}, 413, "2 tags"),
    ],
)
def test_refused_bodies_name_the_field(
    client: testing.TestClient, body: dict[str, Any], status: int, named: str
) -> None:
    answer = create(client, **body)

    assert (answer.status_code, named in answer.text) == (status, True), answer.text
    assert client.simulate_get("/v2/images").json["images"] == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"a"', b"1", b"\xff", b'{"name": "\xff"}', b'{"name": "\\ud800"}', b"[" * 100_000, b"{}{}"],
)
def test_a_body_that_is_no_json_object_is_400(client: testing.TestClient, raw: bytes) -> None:
    assert client.simulate_post("/v2/images", body=raw).status_code == 400


def test_an_overlong_body_is_413(client: testing.TestClient) -> None:
    assert create(client, custom="x" * (4 << 20)).status_code == 413


def test_an_id_is_used_once_even_after_it_was_deleted(client: testing.TestClient) -> None:
    assert create(client, id=ID).status_code == 201
    assert create(client, id=ID).status_code == 409
    assert client.simulate_delete(f"/v2/images/{ID}").status_code == 204
    assert create(client, id=ID).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 201), ({"owner": "mine"}, 201), ({"owner": "yours"}, 403), ({"visibility": "public"}, 403)]
    + [({"visibility": visibility}, 201) for visibility in ("private", "shared", "community")],
)
def test_what_a_member_may_create(tenant: Service, body: dict[str, str], status: int) -> None:
    answer = create(tenant.client, **body)

    assert answer.status_code == status
    assert status != 201 or answer.json["owner"] == "mine"


# -- show


def test_an_image_shows_its_import_and_its_stores_by_weight(service: Service, client: testing.TestClient) -> None:
    # Given an image that an import holds
    image = service.image()
    task = service.importing(image, ["cheap", "bulk"])

    shown = client.simulate_get(f"/v2/images/{image}").json

    assert shown["os_glance_import_task"] == task
    assert shown["os_glance_importing_to_stores"] == "bulk,cheap"
    assert (shown["os_glance_failed_import"], shown["status"], "stores" in shown) == ("", "importing", False)

    # And one that an import has brought to three stores
    whole = client.simulate_get(f"/v2/images/{service.active(dict.fromkeys(['cheap', 'fast', 'bulk'], b'x'))}").json
    assert whole["stores"] == "fast,bulk,cheap"
    assert (whole["os_glance_importing_to_stores"], whole["os_glance_failed_import"]) == ("", "")
    assert (whole["size"], "os_glance_import_task" in whole) == (1, False)


def test_failed_stores_are_named(service: Service, client: testing.TestClient) -> None:
    image = service.image()
    claim = service.entered(service.importing(image, ["cheap", "bulk", "fast"]))
    with service.catalog.fenced(claim) as tx:
        for store in ("cheap", "bulk"):
            tx.set_target(store, "failed", code="store_full", reason="it is full")

    shown = client.simulate_get(f"/v2/images/{image}").json

    assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("fast", "bulk,cheap")


@pytest.mark.parametrize("path", ["", "/file", "/tasks", "/import"])
@pytest.mark.parametrize("headers", [{"Content-Length": "3"}, {"Transfer-Encoding": "chunked"}])
def test_a_body_where_none_belongs_is_400(service: Service, path: str, headers: dict[str, str]) -> None:
    answer = service.client.simulate_get(f"/v2/images/{service.image()}{path}", headers=headers, body=b"{ }")

    assert answer.status_code == 400
    assert "A body is not expected with this request." in answer.text


def test_an_empty_body_of_any_type_is_none(service: Service) -> None:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": "0"}

    assert service.client.simulate_get(f"/v2/images/{service.image()}", headers=headers).status_code == 200


# -- delete


def test_a_deleted_image_is_gone_and_its_objects_are_collected(service: Service, client: testing.TestClient) -> None:
    image = service.active({"cheap": b"x"})

    answer = client.simulate_delete(f"/v2/images/{image}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert service.doorbell.collected == [image]
    for path in ("", "/file", "/tasks", "/import"):
        assert client.simulate_get(f"/v2/images/{image}{path}").status_code == 404
    assert client.simulate_delete(f"/v2/images/{image}").status_code == 404
    assert client.simulate_post(f"/v2/images/{image}/import", json=IMPORT).status_code == 404


def test_deleting_stops_an_import(service: Service, client: testing.TestClient) -> None:
    image = service.image()
    task = service.importing(image)

    assert client.simulate_delete(f"/v2/images/{image}").status_code == 204
    with service.catalog.read() as tx:
        assert tx.tasks.get(task).cancel_requested


def test_a_protected_image_stays(service: Service, client: testing.TestClient) -> None:
    image = service.image(protected=True)

    answer = client.simulate_delete(f"/v2/images/{image}")

    assert answer.status_code == 403
    assert "is protected" in answer.text
    assert client.simulate_get(f"/v2/images/{image}").json["status"] == "queued"
    assert service.doorbell.collected == []


# -- list


def names(answer: testing.Result) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [image["name"] for image in answer.json["images"]]


def test_pages_are_linked_until_one_is_not_full(service: Service, client: testing.TestClient) -> None:
    # Given more images than a page has
    for name in "abcdefg":
        service.image(name=name, tags=("x", "y"))

    # When a client follows the links literally
    answer = client.simulate_get("/v2/images", query_string="tag=x&tag=y&sort_key=name&sort_dir=asc")
    seen = [names(answer)]
    while next_page := answer.json.get("next"):
        assert next_page.startswith("/v2/images?tag=x&tag=y&sort_key=name&sort_dir=asc&marker=")
        path, _, query = next_page.partition("?")
        answer = client.simulate_get(path, query_string=query)
        seen.append(names(answer))

    # Then it sees each once, and no page says `next: null`
    assert seen == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert answer.json["first"] == "/v2/images?tag=x&tag=y&sort_key=name&sort_dir=asc"
    assert set(answer.json) == {"images", "first", "schema"}
    assert answer.json["schema"] == "/v2/schemas/images"


def test_the_last_page_may_be_empty(service: Service, client: testing.TestClient) -> None:
    last = service.image()

    answer = client.simulate_get("/v2/images", params={"limit": 1, "marker": last})

    assert answer.json == {"images": [], "first": "/v2/images?limit=1", "schema": "/v2/schemas/images"}
    assert client.simulate_get("/v2/images").json["first"] == "/v2/images"


@pytest.mark.parametrize(("limit", "shown", "linked"), [(0, 0, False), (1, 1, True), (6, 5, True), (999999, 5, True)])
def test_limit_is_capped(client: testing.TestClient, service: Service, limit: int, shown: int, linked: bool) -> None:
    for _ in range(6):
        service.image()

    page = client.simulate_get("/v2/images", params={"limit": limit}).json

    assert (len(page["images"]), "next" in page) == (shown, linked)


@pytest.mark.parametrize(
    "sort",
    [
        "sort_key=name&sort_dir=asc",
        "sort_key=name",
        "sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc",
        "sort=name:asc,disk_format,id:asc",
        "sort_key=size&sort_dir=asc",
        "sort_key=container_format",
        "",
    ],
)
def test_every_order_is_total_across_pages(service: Service, client: testing.TestClient, sort: str) -> None:
    """Nulls and equal values are where pages lose or repeat images."""
    made = [service.image(name=name, container_format=None) for name in (None, "", "a", "b", "b", "b", None)]

    seen, answer = [], client.simulate_get("/v2/images", query_string=f"limit=2&{sort}")
    while True:
        seen += [image["id"] for image in answer.json["images"]]
        if "next" not in answer.json:
            break
        answer = client.simulate_get("/v2/images", query_string=answer.json["next"].partition("?")[2])

    assert sorted(seen) == sorted(made)
    whole = Service(service.runtime).client.simulate_get("/v2/images", query_string=sort).json["images"]
    assert [image["id"] for image in whole] == seen


def test_newest_first_unless_told(service: Service, client: testing.TestClient) -> None:
    first, second = service.image(name="first"), service.image(name="second")
    with service.catalog.database.begin() as connection:
        connection.exec_driver_sql("UPDATE images SET created_at = created_at - 1000000 WHERE id = ?", (first,))

    assert [image["id"] for image in client.simulate_get("/v2/images").json["images"]] == [second, first]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abcd"),
        ("name=a", "a"),
        ("name=in:a,b", "ab"),
        ('name=in:"a",c', "ac"),
        ("name=in:", ""),
        ("name=eq:a", "a"),
        ("name=x:y", ""),
        ("status=queued", "bcd"),
        ("status=active", "a"),
        ("status=in:active,queued", "abcd"),
        ("disk_format=raw&container_format=bare", "abcd"),
        ("os_hidden=True", "h"),
        ("os_hidden=true", "h"),
        ("os_hidden=false", "abcd"),
        ("visibility=public", "b"),
        ("visibility=community", "co"),
        ("visibility=all", "abcdo"),
        ("visibility=shared&member_status=all", "ad"),
        ("owner=yours", ""),
        ("owner=yours&visibility=all", "o"),
        ("protected=true", "d"),
        ("tag=x", "bc"),
        ("tag=x&tag=y", "c"),
        ("os_distro=debian", "b"),
        ("os_distro=debian&colour=", "b"),
        ("colour=green", ""),
        ("size=3", "a"),
        ("size_min=3&size_max=3", "a"),
        ("size_min=4", ""),
        ("min_disk_min=1", "d"),
        ("min_disk=1", "d"),
        ("checksum=900150983cd24fb0d6963f7d28e17f72", "a"),
        ("nothing_min=1", ""),
    ],
)
def test_filters(service: Service, query: str, found: str) -> None:
    service.active({"cheap": b"abc"}, name="a")
    service.image(name="b", visibility="public", tags=("x",), properties={"os_distro": "debian", "colour": ""})
    service.image(name="c", visibility="community", tags=("x", "y"))
    service.image(name="d", protected=True, min_disk=1)
    service.image(name="h", os_hidden=True)
    service.image(name="o", visibility="community", owner="yours")

    answer = Service(service.runtime).client.simulate_get("/v2/images", query_string=query)

    assert "".join(sorted(names(answer))) == found


@pytest.mark.parametrize(
    "query",
    [
        *("limit=-1", "limit=a", "limit=1.5", "limit=", "limit=٣"),
        *("marker=none", "visibility=secret", "os_hidden=yes", "protected=True", "member_status=x"),
        *("sort_key=owner", "sort_dir=up", "sort_key=name&sort_dir=asc&sort_dir=desc", "sort=name:up", "sort="),
        *("sort=name&sort_key=name", "name=gt:a", 'name=in:"a', "size=a", "size_min=-1", f"size={1 << 63}"),
        *("changes-since=2020-01-01T00:00:00Z", "created_at=gt:now", "name=%ff", "name=a%00"),
    ],
)
def test_a_query_that_makes_no_sense_is_400(client: testing.TestClient, query: str) -> None:
    answer = client.simulate_get("/v2/images", query_string=query, headers={"Accept": "application/json"})

    assert answer.status_code == 400
    assert json.loads(answer.text)["title"] == "Bad Request"


def test_a_deleted_image_is_no_marker(service: Service, client: testing.TestClient) -> None:
    image = service.image()
    client.simulate_delete(f"/v2/images/{image}")

    assert client.simulate_get("/v2/images", params={"marker": image}).status_code == 400


def test_openstacksdk_looks_for_a_name(service: Service, client: testing.TestClient) -> None:
    """It tries the name as an id, then as a filter, then the whole list with the hidden ones (http-api §16.3)."""
    service.image(name="jammy")

    assert client.simulate_get("/v2/images/jammy").status_code == 404
    assert names(client.simulate_get("/v2/images", params={"name": "jammy"})) == ["jammy"]
    assert names(client.simulate_get("/v2/images", params={"os_hidden": "True"})) == []
