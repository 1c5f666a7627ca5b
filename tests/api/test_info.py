"""What the service says of itself: import methods, stores, schemas."""

import re
from pathlib import Path

import jsonschema
import pytest
from falcon import testing

from stores.base import StoreSpec
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from tests.api.service import Service, runtime


def test_import_methods(client: testing.TestClient) -> None:
    assert client.simulate_get("/v2/info/import").json == {
        "import-methods": {
            "description": "Import methods available.",
            "type": "array",
            "value": ["web-download"],
        }
    }


STORES = [
    {"id": "fast", "description": "the fast one"},
    {"id": "cheap", "description": "the cheap one", "default": "true"},
    {"id": "bulk", "description": "the bulk one"},
    {"id": "mirror", "read-only": "true"},
]


def test_stores_and_their_details(client: testing.TestClient, tenant: Service) -> None:
    assert client.simulate_get("/v2/info/stores").json == {"stores": STORES}
    assert tenant.client.simulate_get("/v2/info/stores").json == {"stores": STORES}
    assert tenant.client.simulate_get("/v2/info/stores/detail").status_code == 403
    detail = client.simulate_get("/v2/info/stores/detail").json["stores"]
    assert detail[0] == STORES[0] | {"type": "memory", "weight": 10, "properties": {}}
    assert detail[3] == STORES[3] | {"type": "http", "weight": 0, "properties": {}}


def test_a_file_store_tells_its_properties(tmp_path: Path) -> None:
    options = {"filesystem_store_datadir": str(tmp_path / "a"), "filesystem_thin_provisioning": "true"}
    stores = StoreRegistry.build([StoreSpec("a", "file", options=options)], "a")

    [shown] = Service(runtime(tmp_path, stores)).client.simulate_get("/v2/info/stores/detail").json["stores"]

    assert shown == {
        "id": "a",
        "default": "true",
        "type": "file",
        "weight": 0,
        "properties": {"data_dir": str(tmp_path / "a"), "chunk_size": 1 << 20, "thin_provisioning": True},
    }


def test_an_s3_store_tells_its_properties_and_no_key(tmp_path: Path) -> None:
    secrets = {"s3_store_access_key": "AKIA-THE-KEY", "s3_store_secret_key": "the-secret"}
    options = {"s3_store_host": "s3.example.org", "s3_store_bucket": "images", **secrets}
    stores = StoreRegistry.build([StoreSpec("a", "s3", options=options)], "a")

    answer = Service(runtime(tmp_path, stores)).client.simulate_get("/v2/info/stores/detail")

    assert answer.json["stores"][0]["properties"] == {
        "s3_store_large_object_size": 10,
        "s3_store_large_object_chunk_size": 10,
        "s3_store_thread_pools": 4,
    }
    assert not any(secret in answer.text for secret in secrets.values())


def test_a_single_store_is_a_store_all_the_same(tmp_path: Path) -> None:
    """A deployment of one store has stores, ids and places to delete from, as Glance with `enabled_backends` has."""
    client = Service(runtime(tmp_path, StoreRegistry([MemoryStore("only")], "only"))).client

    assert client.simulate_get("/v2/info/stores").json == {"stores": [{"id": "only", "default": "true"}]}


@pytest.mark.parametrize("path", ["/v2/info/stores", "/v2/info/stores/detail"])
def test_internal_stores_are_told_of_nowhere(client: testing.TestClient, path: str) -> None:
    created = client.simulate_post("/v2/images", json={})

    assert "os_glance" not in client.simulate_get(path).text
    assert created.headers["openstack-image-store-ids"] == ",".join(store["id"] for store in STORES)


BASE = (
    "id name status visibility protected os_hidden checksum os_hash_algo os_hash_value owner size virtual_size "
    "container_format disk_format created_at updated_at tags direct_url min_ram min_disk self file stores schema "
    "locations"
).split()
SHIPPED = (
    "kernel_id ramdisk_id instance_uuid architecture os_distro os_version description cinder_encryption_key_id "
    "cinder_encryption_key_deletion_policy"
).split()
READ_ONLY = (
    "status checksum os_hash_algo os_hash_value size virtual_size created_at updated_at direct_url self file stores "
    "schema"
).split()


def test_the_image_schema_is_what_glanceclient_builds_on(client: testing.TestClient) -> None:
    schema = client.simulate_get("/v2/schemas/image").json

    properties = schema["properties"]
    assert sorted(properties) == sorted(BASE + SHIPPED)
    assert sorted(n for n, p in properties.items() if p.get("is_base") is False) == sorted(SHIPPED)
    assert sorted(n for n, p in properties.items() if p.get("readOnly")) == sorted(READ_ONLY)
    assert schema["additionalProperties"] == {"type": "string"}
    assert properties["disk_format"]["enum"][:2] == [None, "ami"]
    assert properties["name"]["type"] == ["null", "string"]
    assert {link["rel"]: link["href"] for link in schema["links"]} == {
        "self": "{self}",
        "enclosure": "{file}",
        "describedby": "{schema}",
    }


@pytest.mark.parametrize("name", ["image", "images", "member", "members", "task", "tasks"])
def test_every_schema_is_a_schema(client: testing.TestClient, name: str) -> None:
    answer = client.simulate_get(f"/v2/schemas/{name}", headers={"Content-Type": "application/octet-stream"})

    assert (answer.status_code, answer.json["name"]) == (200, name)
    jsonschema.Draft7Validator.check_schema({"type": "object", **answer.json})
    linked = {part for link in answer.json.get("links", ()) for part in re.findall(r"{(\w+)}", link["href"])}
    assert linked <= set(answer.json["properties"])


def test_answers_keep_to_the_schemas(service: Service, client: testing.TestClient) -> None:
    """glanceclient refuses an answer that breaks the schema (http-api §16.1)."""
    image = service.active({"fast": b"x"}, name="n", tags=("t",), properties={"kernel_id": None, "a": None, "b": "c"})
    service.image()
    service.importing(service.image())

    shown = client.simulate_get(f"/v2/images/{image}").json
    jsonschema.validate(shown, client.simulate_get("/v2/schemas/image").json)
    jsonschema.validate(client.simulate_get("/v2/images").json, client.simulate_get("/v2/schemas/images").json)
    assert (shown["kernel_id"], shown["a"], shown["b"]) == (None, "", "c")
