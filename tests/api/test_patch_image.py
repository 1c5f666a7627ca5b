"""`PATCH /v2/images/{id}`: every row of http-api §4.4."""

import json
import threading
from typing import Any

import pytest
from falcon import testing

from catalog.changes import ImageChange
from tests.api.service import Service
from tests.api.test_patches import V20, V21, v21
from tests.workers.desk import wait_for


def patch(service: Service, image: str, *operations: Any, media: str = V21, **headers: str) -> testing.Result:
    """Send the operations."""
    headers = {"Content-Type": media, "Accept": "application/json"} | headers
    return service.client.simulate_patch(f"/v2/images/{image}", body=json.dumps(operations), headers=headers)


def shown(service: Service, image: str) -> dict[str, Any]:
    answer: dict[str, Any] = Service(service.runtime).client.simulate_get(f"/v2/images/{image}").json
    return answer


def old(operation: dict[str, Any]) -> dict[str, Any]:
    """The same operation in the older dialect."""
    return {operation["op"]: operation["path"]} | {k: v for k, v in operation.items() if k == "value"}


def add(name: str, value: Any) -> dict[str, Any]:
    return v21("add", f"/{name}", value=value)


def replace(name: str, value: Any) -> dict[str, Any]:
    return v21("replace", f"/{name}", value=value)


def remove(name: str) -> dict[str, Any]:
    return v21("remove", f"/{name}")


# -- what is done


BASE = {
    "name": "new",
    "visibility": "public",
    "protected": True,
    "os_hidden": True,
    "owner": "other",
    "container_format": "ovf",
    "disk_format": "iso",
    "min_disk": 3,
    "min_ram": 4,
    "tags": ["b", "a"],
}


@pytest.mark.parametrize("make", [add, replace, lambda name, value: old(replace(name, value))])
def test_every_attribute_that_can_be_set(service: Service, make: Any) -> None:
    image = service.image(name="old", tags=("z",))
    media = V21 if "op" in make("x", 1) else V20

    answer = patch(service, image, *(make(name, value) for name, value in BASE.items()), media=media)

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert {name: answer.json[name] for name in BASE} == BASE | {"tags": ["a", "b"]}
    assert answer.json == shown(service, image)


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ([], {"p": "1", "q": ""}),
        ([add("p", "2")], {"p": "2", "q": ""}),
        ([replace("p", "2")], {"p": "2", "q": ""}),
        ([remove("p")], {"q": ""}),
        ([add("n", "")], {"p": "1", "q": "", "n": ""}),
        ([add("n", "1"), replace("n", "2"), remove("p")], {"n": "2", "q": ""}),
        ([remove("p"), add("p", "3")], {"p": "3", "q": ""}),
        ([add("n", "1"), remove("n")], {"p": "1", "q": ""}),
        ([remove("p"), remove("q")], {}),
        ([add("kernel_id", None)], {"p": "1", "q": "", "kernel_id": None}),
        # The names of attributes in another spelling are names like any others.
        ([add("Name", "x"), add("n~1a~0", "y")], {"p": "1", "q": "", "Name": "x", "n/a~": "y"}),
        ([add("店舗stores", "x")], {"p": "1", "q": "", "店舗stores": "x"}),
    ],
)
def test_custom_properties(service: Service, operations: list[Any], left: dict[str, str]) -> None:
    image = service.image(properties={"p": "1", "q": ""})
    base = shown(service, service.image()).keys()

    answer = patch(service, image, *operations)

    assert answer.status_code == 200, answer.text
    assert {name: value for name, value in answer.json.items() if name not in base} == left
    assert answer.json == shown(service, image)


def test_a_change_moves_updated_at_and_nothing_leaves_it(service: Service) -> None:
    image = service.image()
    made = shown(service, image)["created_at"]
    service.catalog.database.skew = 5.0

    assert patch(service, image).json["updated_at"] == made
    assert patch(service, image, add("p", "1")).json["updated_at"] > made


def test_all_or_nothing(service: Service) -> None:
    image = service.image(name="old", properties={"p": "1"}, tags=("t",))
    before = shown(service, image)
    done = [replace("name", "new"), add("n", "1"), remove("p"), replace("tags", [])]

    assert patch(service, image, *done, remove("none")).status_code == 409
    assert shown(service, image) == before


def test_tempest_and_openstacksdk(service: Service) -> None:
    """The older dialect for flags, and an addition of what is there (http-api §16.3, §16.5)."""
    image = service.image(protected=True)

    answer = patch(service, image, {"add": "/hw_cpu_cores", "value": "1"}, {"replace": "/protected", "value": False},
                   media=V20)  # fmt: skip
    assert (answer.json["hw_cpu_cores"], answer.json["protected"]) == ("1", False)
    # openstacksdk sends an empty Accept, and shows the words of a page only
    answer = patch(service, image, add("name", "n"), Accept="")
    assert (answer.status_code, answer.json["name"]) == (200, "n")
    answer = patch(service, image, add("name", 1), Accept="")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=UTF-8")


# -- what is refused

READ_ONLY = (
    "id status checksum size virtual_size created_at updated_at direct_url self file schema os_hash_algo os_hash_value"
)
RESERVED = [
    *("stores", "location", "deleted", "deleted_at", "os_glance", "os_glancexyz", "os_glance_import_task"),
    *("OS_GLANCE_x", "Stores", "os_glance~1x", "os_glance~0", " stores", "\tos_glance_x", "stores ", "os%5Fglance_x"),
    *("%73tores", "ｏｓ＿ｇｌａｎｃｅ＿x", "ｓtores", "os_\u200bglance"),
]


@pytest.mark.parametrize("name", [*READ_ONLY.split(), *RESERVED])
@pytest.mark.parametrize("media", [V21, V20])
@pytest.mark.parametrize("make", [add, replace, lambda name, _: remove(name)])
def test_what_only_the_service_says_is_403(service: Service, name: str, media: str, make: Any) -> None:
    image = service.active({"cheap": b"x"})
    before = shown(service, image)
    operation = make(name, "x")

    answer = patch(service, image, operation if media == V21 else old(operation), media=media)

    assert (answer.status_code, "Attribute" in answer.text) == (403, True)
    assert shown(service, image) == before


@pytest.mark.parametrize("name", [name.replace("~1", "/").replace("~0", "~") for name in RESERVED])
def test_nor_can_it_be_said_on_creation(service: Service, name: str) -> None:
    assert service.client.simulate_post("/v2/images", json={name: "x"}).status_code == 403


def test_bug_1889676_a_forged_stores_is_never_shown(service: Service) -> None:
    image = service.image()
    for operation in (add("stores", "fast"), replace("stores", "fast"), remove("stores")):
        assert patch(service, image, operation).status_code == 403
    assert "stores" not in shown(service, image)


@pytest.mark.parametrize(
    ("operations", "status", "named"),
    [
        *(([add("locations/-", {})], 403, "locations"), ([remove("locations/0")], 403, "locations")),
        ([replace("locations", [])], 403, "locations"),
        *(([remove(name)], 403, name) for name in BASE),
        ([replace("none", "x")], 409, "'none' does not exist"),
        ([remove("none")], 409, "'none' does not exist"),
        ([remove("p"), remove("p")], 409, "'p' does not exist"),
        ([old(add("p", "x"))], 409, "'p' is already there"),
        ([old(add("n", "x")), old(add("n", "x"))], 409, "'n' is already there"),
        *(([old(add(name, value))], 409, f"'{name}' is already there") for name, value in BASE.items()),
        ([add("tags/-", "x")], 400, "/tags/-"),
        ([add("name", 1)], 400, "name"),
        ([replace("name", "x" * 256)], 400, "name"),
        ([add("visibility", "secret")], 400, "visibility"),
        ([add("visibility", None)], 400, "visibility"),
        ([add("protected", "true")], 400, "protected"),
        ([add("min_disk", -1)], 400, "min_disk"),
        ([add("min_ram", 1 << 31)], 400, "min_ram"),
        ([add("min_ram", 1.5)], 400, "min_ram"),
        ([add("disk_format", "floppy")], 400, "disk_format"),
        ([add("tags", "a")], 400, "tags"),
        ([add("tags", ["x" * 256])], 400, "tags"),
        ([add("n", 1)], 400, "n"),
        ([add("n", None)], 400, "n"),
        ([add("n", "a\0")], 400, "NUL"),
        ([add("n\0", "a")], 400, "NUL"),
        ([add("n" * 256, "a")], 400, "256"),
        ([add("kernel_id", "x")], 400, "kernel_id"),
        # What is malformed or forbidden is said before what is not there.
        ([remove("none"), add("name", 1)], 400, "name"),
        ([remove("none"), add("stores", "x")], 403, "stores"),
        ([add(f"n{n}", "x") for n in range(4)], 413, "4 properties"),
        ([replace("tags", ["a", "b", "c"])], 413, "2 tags"),
    ],
)
def test_refusals(service: Service, operations: list[dict[str, Any]], status: int, named: str) -> None:
    image = service.image(properties={"p": "1"}, tags=("t",))
    before = shown(service, image)

    answer = patch(service, image, *operations, media=V21 if "op" in operations[0] else V20)

    assert (answer.status_code, named in answer.json["message"]) == (status, True), answer.text
    assert shown(service, image) == before


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'"a"', b"null", b"\xff", b"[" * 100_000, b'[{"op": "\\ud800"}]'])
def test_a_body_that_is_no_json_array_is_400(service: Service, raw: bytes) -> None:
    headers = {"Content-Type": V21}
    answer = service.client.simulate_patch(f"/v2/images/{service.image()}", body=raw, headers=headers)
    assert answer.status_code == 400


def test_another_content_type_is_415_and_says_which(service: Service) -> None:
    answer = patch(service, service.image(), media="application/json")

    assert answer.status_code == 415
    assert answer.headers["accept-patch"] == f"{V21}, {V20}"


def test_properties_over_the_quota_may_stay_but_not_grow(service: Service) -> None:
    """Given an image with more properties than are allowed by now, then those can be changed and removed."""
    image = service.image(properties={f"p{n}": "1" for n in range(6)})

    assert patch(service, image, replace("p0", "2"), remove("p1")).status_code == 200
    assert patch(service, image, remove("p2"), add("n", "1")).status_code == 413
    assert patch(service, image, remove("p2"), remove("p3"), add("n", "1")).status_code == 200


@pytest.mark.parametrize("name", ["disk_format", "container_format"])
@pytest.mark.parametrize("status", ["queued", "uploading", "importing", "active"])
@pytest.mark.parametrize("value", ["ami", None])
def test_formats_change_until_the_image_is_active(service: Service, name: str, status: str, value: str | None) -> None:
    image = service.active({"cheap": b"x"}) if status == "active" else service.image()
    if status == "importing":
        service.importing(image)
    if status == "uploading":
        with service.catalog.database.begin() as connection:
            connection.exec_driver_sql("UPDATE images SET status = 'uploading'")
    before = shown(service, image)
    assert before["status"] == status

    answer = patch(service, image, replace(name, value))

    allowed = status in ("queued", "uploading") or (status == "importing" and value is not None)
    assert answer.status_code == (200 if allowed else 403)
    assert shown(service, image)[name] == (value if allowed else before[name])
    # To say again what it is already changes nothing.
    assert patch(service, image, replace(name, shown(service, image)[name])).status_code == 200


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (replace("visibility", "public"), 403),
        (add("visibility", "public"), 403),
        *((replace("visibility", visibility), 200) for visibility in ("community", "shared", "private")),
        (replace("owner", "yours"), 403),
        (add("owner", "yours"), 403),
        (replace("owner", None), 403),
        (add("p", "1"), 200),
    ],
)
def test_what_an_owner_may_change(tenant: Service, operation: dict[str, Any], status: int) -> None:
    image = tenant.image(owner="mine")

    assert patch(tenant, image, operation).status_code == status


def test_an_owner_may_change_a_published_image(tenant: Service) -> None:
    image = tenant.image(owner="mine", visibility="public")

    assert patch(tenant, image, add("p", "1")).status_code == 200
    assert patch(tenant, image, replace("visibility", "private")).status_code == 200


# -- others at the same time


def test_an_import_loses_nothing(service: Service) -> None:
    image = service.image()
    claim = service.entered(service.importing(image, ["cheap", "fast"]))
    with service.catalog.fenced(claim) as tx:
        tx.set_target("fast", "failed", code="store_full", reason="it is full")
    before = shown(service, image)

    answer = patch(service, image, replace("name", "new"), add("p", "1"))

    assert answer.status_code == 200
    changed = {"name": "new", "p": "1", "updated_at": answer.json["updated_at"]}
    assert answer.json == before | changed
    service.catalog.lock.renew(claim)


def test_two_at_once_are_judged_one_after_the_other(service: Service) -> None:
    """Given somebody who is about to commit, when a PATCH comes, then it sees and keeps what that was."""
    image = service.image(properties={"p": "1"})
    answers: list[testing.Result] = []
    operations = [remove("p"), add("q", "1"), replace("tags", ["mine"])]
    late = threading.Thread(target=lambda: answers.append(patch(service, image, *operations)))
    begun = threading.Event()
    seen = service.catalog.database.begin

    def begin() -> Any:
        begun.set()
        return seen()

    with service.catalog.begin() as tx:
        service.catalog.database.begin = begin  # type: ignore[method-assign]
        late.start()
        wait_for(begun.is_set)
        tx.images.update(image, ImageChange(properties={"r": "1"}, removed=frozenset({"p"}), tags=("theirs",)))
    late.join(30)

    assert answers[0].status_code == 409
    now = shown(service, image)
    assert ("p" in now, "q" in now, now["r"], now["tags"]) == (False, False, "1", ["theirs"])
