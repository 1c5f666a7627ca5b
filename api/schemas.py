"""The JSON schemas that clients fetch (http-api §10), which are also what their requests are checked against."""

from collections.abc import Mapping
from typing import Any, Final

from api.options import ApiOptions
from catalog.members import STATUSES as MEMBER_STATUSES

Schema = Mapping[str, Any]

UUID: Final = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
VISIBILITIES: Final = ("public", "private", "shared", "community")
STATUSES: Final = "queued saving active killed deleted uploading importing pending_delete deactivated".split()
_LARGEST_INT: Final = (1 << 31) - 1
_TEXT: Final = {"type": "string"}
TAG: Final[Schema] = {"type": "string", "maxLength": 255}
_MAYBE: Final = ["null", "string"]
_READ_ONLY: Final = {"readOnly": True}


def _property(description: str, kind: object, **rules: object) -> dict[str, Any]:
    return {"type": kind, "description": description, **rules}


def image_properties(options: ApiOptions) -> dict[str, Schema]:
    """The properties of the image schema: exactly Glance's, and the deployer-defined ones that it ships with."""
    return _base_properties(options) | _shipped_properties()


def _base_properties(options: ApiOptions) -> dict[str, Schema]:
    return {
        "id": _property("The identifier of the image", "string", pattern=UUID),
        "name": _property("A name for people", _MAYBE, maxLength=255),
        "status": _property("Where the image is in its life", "string", enum=STATUSES, **_READ_ONLY),
        "visibility": _property("Who may see the image", "string", enum=list(VISIBILITIES)),
        "protected": _property("Whether the image cannot be deleted", "boolean"),
        "os_hidden": _property("Whether lists leave the image out", "boolean"),
        "checksum": _property("MD5 of the data, hex", _MAYBE, maxLength=32, **_READ_ONLY),
        "os_hash_algo": _property("Algorithm of os_hash_value", _MAYBE, maxLength=64, **_READ_ONLY),
        "os_hash_value": _property("Hash of the data, hex", _MAYBE, maxLength=128, **_READ_ONLY),
        "owner": _property("The project that owns the image", _MAYBE, maxLength=255),
        "size": _property("Length of the data in bytes", ["null", "integer"], **_READ_ONLY),
        "virtual_size": _property("Length of the disk inside, in bytes", ["null", "integer"], **_READ_ONLY),
        "container_format": _property("What wraps the disk", _MAYBE, enum=[None, *options.container_formats]),
        "disk_format": _property("The format of the disk", _MAYBE, enum=[None, *options.disk_formats]),
        "created_at": _property("When the image was made", "string", **_READ_ONLY),
        "updated_at": _property("When the image was last changed", "string", **_READ_ONLY),
        "tags": _property("Words that group images", "array", items=TAG),
        "direct_url": _property("Where a store has the data", "string", **_READ_ONLY),
        "min_ram": _property("MB of memory to boot it", "integer", minimum=0, maximum=_LARGEST_INT),
        "min_disk": _property("GB of disk to boot it", "integer", minimum=0, maximum=_LARGEST_INT),
        "self": _property("The path of the image", "string", **_READ_ONLY),
        "file": _property("The path of its data", "string", **_READ_ONLY),
        "stores": _property("The stores that hold the data, with commas between", "string", **_READ_ONLY),
        "schema": _property("The path of this schema", "string", **_READ_ONLY),
        "locations": _property("Where the data is", "array", items=_location()),
    }


def _location() -> Schema:
    validation = {
        "type": "object",
        "description": "What the data must hash to",
        "writeOnly": True,
        "additionalProperties": False,
        "properties": {
            "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
            "os_hash_algo": {"type": "string", "maxLength": 64},
            "os_hash_value": {"type": "string", "maxLength": 128},
        },
        "required": ["os_hash_algo", "os_hash_value"],
    }
    return {
        "type": "object",
        "properties": {
            "url": {"type": "string", "maxLength": 255},
            "metadata": {"type": "object"},
            "validation_data": validation,
        },
        "required": ["url", "metadata"],
    }


def _shipped_properties() -> dict[str, Schema]:
    """Properties that are stored as custom ones; clients `add` them because of `is_base: false`."""
    custom = {"is_base": False}
    deletion = ["on_image_deletion", "do_not_delete"]
    return {
        "kernel_id": _property("The kernel to boot with", _MAYBE, pattern=UUID, **custom),
        "ramdisk_id": _property("The initial ramdisk to boot with", _MAYBE, pattern=UUID, **custom),
        "instance_uuid": _property("The server that the image was made of", "string", **custom),
        "architecture": _property("The processor it runs on", "string", **custom),
        "os_distro": _property("The common name of the distribution, in lower case", "string", **custom),
        "os_version": _property("The version of the operating system", "string", **custom),
        "description": _property("A description for people", "string", **custom),
        "cinder_encryption_key_id": _property("The key that the data is encrypted with", "string", **custom),
        "cinder_encryption_key_deletion_policy": _property(
            "What becomes of the key when the image is deleted", "string", enum=deletion, **custom
        ),
    }


MEMBER: Final[Schema] = {
    "member_id": _property("The project that the image is shared with", "string"),
    "image_id": _property("The image", "string", pattern=UUID),
    "status": _property("What the member says", "string", enum=list(MEMBER_STATUSES)),
    "created_at": _property("When the image was shared", "string"),
    "updated_at": _property("When the member last answered", "string"),
    "schema": _TEXT | _READ_ONLY,
}

TASK_TYPES = ("import", "api_image_import", "location_import")
TASK_STATUSES = ("pending", "processing", "success", "failure")

_TASK_SHORT: Final[Schema] = {
    "id": _property("The identifier of the task", "string", pattern=UUID),
    "type": _property("What kind of work it is", "string", enum=list(TASK_TYPES)),
    "status": _property("How far it is", "string", enum=list(TASK_STATUSES)),
    "owner": _property("The project that asked for it", "string"),
    "image_id": _property("The image that it works on", "string"),
    "request_id": _property("The request that made it", "string"),
    "user_id": _property("The user who asked for it", "string"),
    "expires_at": _property("When it is forgotten", _MAYBE),
    "created_at": _property("When it was asked for", "string"),
    "updated_at": _property("When it last changed", "string"),
    "self": _TEXT | _READ_ONLY,
    "schema": _TEXT | _READ_ONLY,
}
TASK: Final[Schema] = {
    **_TASK_SHORT,
    "input": _property("What was asked for", ["null", "object"]),
    "result": _property("What came of it", ["null", "object"]),
    "message": _property("How it goes, or why it failed", "string"),
}


def documents(options: ApiOptions) -> dict[str, Schema]:
    """Every schema by the last part of its path below `/v2/schemas/`."""
    image = {
        "name": "image",
        "properties": image_properties(options),
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }
    member, task = {"name": "member", "properties": MEMBER}, {"name": "task", "properties": TASK}
    return {
        "image": image,
        "images": _collection("images", image, "first", "next", "describedby"),
        "member": member,
        "members": _collection("members", member, "describedby"),
        "task": task,
        "tasks": _collection("tasks", {"name": "task", "properties": _TASK_SHORT}, "first", "next", "describedby"),
    }


def _collection(name: str, item: Schema, *rels: str) -> Schema:
    """A page of `item`s; each of `rels` is a link made of the member of that name (`describedby`: of `schema`)."""
    members = ["schema" if rel == "describedby" else rel for rel in rels]
    return {
        "name": name,
        "properties": {name: {"type": "array", "items": item}} | dict.fromkeys(members, _TEXT),
        "links": [{"rel": rel, "href": f"{{{member}}}"} for rel, member in zip(rels, members, strict=True)],
    }
