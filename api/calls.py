"""Every call with what it takes and what it may answer, for the OpenAPI description (`api/openapi.py`).

What follows from the path, or is the same for many calls, is added there. A route without an entry here, or an entry
without a route, fails a test (tests/api/test_openapi.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from api.imports import STORE_HEADER
from api.patches import V20, V21
from api.received import MEDIA_TYPE, SIZE

JSON: Final = "application/json"
HTML: Final = "text/html"
TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class Answer:
    """What it means that a call did what was asked; `schema` names a component of `api/shapes.py`, if it has a body."""

    says: str
    schema: str = ""
    media: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one path.

    `codes` are those of our errors (`api.errors.STATUSES` has their statuses, `WORDS` their meaning); `refusals` are
    statuses that come otherwise, with their meaning. `takes` names parameters beside those in the path; `body` maps
    each media type to a component, of which `example` is one, and `optional` tells that there may be none.
    """

    group: str
    summary: str
    answers: Mapping[int, Answer]
    codes: tuple[str, ...] = ()
    refusals: Mapping[int, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    body: Mapping[str, str] = field(default_factory=dict)
    example: Any = None


WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not_found": "There is nothing of this name, or it is not for the caller to see.",
        "duplicate": "It is there already.",
        "conflict": "The status of the image does not allow it.",
        "protected": "The image is protected.",
        "last_location": "It is the only store that has the data.",
        "bad_marker": "The marker names no image.",
        "lock_held": "Another import has the image.",
        "catalog_unavailable": "The database does not answer.",
        "bad_import_request": "The request contradicts itself, or a field is missing or malformed.",
        "image_not_ready": "The image is not in a state, or has not got the formats, that the method needs.",
        "store_not_configured": "A store is not known here.",
        "location_quota": "More stores than an image may be in.",
        "over_limit": "The project would have more than it may.",
        "limits_unknown": "What the project may have cannot be asked for at the moment.",
        "source_refused": "The source refuses.",
        "uri_denied": "The URI does not pass filtering.",
        "store_unknown": "The store is not known here.",
        "store_read_only": "The store can only be read.",
        "object_in_use": "The store keeps the data, since somebody still uses it.",
        "store_unavailable": "The store does not answer.",
        "store_denied": "The store refuses this service.",
        "store_full": "The store has no room.",
        "formats_missing": "The image declares no formats yet.",
        "format_mismatch": "The data is of another format than the image declares.",
        "unsafe_image": "The data refers to files of its host, or is otherwise unsafe.",
        "source_broken": "The body broke off, or has another size than announced.",
        "source_stalled": "Nothing came for too long.",
        "interrupted": "The service is being stopped.",
        "too_big": "More bytes than an image may have.",
        "upload_over": "The image was deleted meanwhile.",
        "staging_full": "The staging area has no room.",
        "staging_unavailable": "The staging area does not take the data.",
    }
)
"""What the codes of our errors tell who asks."""

_DONE = Answer("Done.")
_ACCEPTED = Answer("On record; it happens in the background.")
_IMAGE = Answer("The image.", "Image")
_MEMBER = Answer("The member.", "Member")
_SCHEMA = Answer("The schema.", "Schema")
_VERSIONS = Answer("The versions.", "Versions")
_ANNOUNCED = ("Location", "OpenStack-image-import-methods", "OpenStack-image-store-ids")
_QUOTA = "More of them than the quota allows."
_FILTERED = "A parameter makes no sense."
_NOT_SHARED = "The image is not `shared`, or not the caller's."

_READS = ("not_found",)
_LIMITS = ("over_limit", "limits_unknown")
_CHANGES = ("not_found", "conflict")
_RECEIVES = (*_CHANGES, "source_broken", "source_stalled", "interrupted", "too_big", "upload_over", *_LIMITS)
_SUBMITS = (
    *("not_found", "conflict", "lock_held", "bad_import_request", "image_not_ready", "store_not_configured"),
    *("store_read_only", "location_quota", *_LIMITS, "uri_denied", "source_refused"),
)

CALLS: Final[Mapping[str, Call]] = MappingProxyType(
    {
        "GET /v2/images": Call(
            "Images",
            "List images, a page at a time",
            {200: Answer("A page; `next` is there when there may be another.", "Images")},
            ("bad_marker",),
            {400: _FILTERED},
            takes=("limit", "marker", "sort_key", "sort_dir", "sort", "filters"),
        ),
        "POST /v2/images": Call(
            "Images",
            "Make an image, without data yet",
            {201: Answer("The image.", "Image", headers=_ANNOUNCED)},
            ("duplicate", *_LIMITS),
            {400: "An attribute has a value that it cannot have.", 413: _QUOTA},
            body={JSON: "NewImage"},
            example={"name": "debian", "disk_format": "qcow2", "container_format": "bare"},
        ),
        "GET /v2/images/{image_id}": Call("Images", "Show an image", {200: _IMAGE}, _READS),
        "PATCH /v2/images/{image_id}": Call(
            "Images",
            "Change attributes, properties and locations, all or none",
            {200: _IMAGE},
            (
                *(*_CHANGES, "lock_held", "bad_import_request", "uri_denied", "formats_missing", "too_big"),
                *(*_LIMITS, "store_unknown", "object_in_use", "store_unavailable", "store_denied"),
            ),
            {
                400: "An operation is malformed, or its value cannot be.",
                403: "The attribute is read-only, the last location stays, or a URL is for services to name.",
                409: "A property is not there, or is there already.",
                413: _QUOTA,
                500: "A store does not delete the data at a location: that stays, and all else is done.",
                415: "The type of the body is neither of the two; `Accept-Patch` names them.",
            },
            body={V21: "Patch21", V20: "Patch20"},
            example=[{"op": "replace", "path": "/name", "value": "debian-13"}],
        ),
        "DELETE /v2/images/{image_id}": Call(
            "Images", "Delete an image with its data", {204: _DONE}, (*_CHANGES, "protected")
        ),
        "POST /v2/images/{image_id}/actions/deactivate": Call(
            "Images",
            "Withhold the data from users",
            {204: _DONE},
            _CHANGES,
            {403: "The image has no data, or is not the caller's."},
        ),
        "POST /v2/images/{image_id}/actions/reactivate": Call(
            "Images",
            "Give the data back to users",
            {204: _DONE},
            _CHANGES,
            {403: "The image has no data, or is not the caller's."},
        ),
        "GET /v2/images/{image_id}/file": Call(
            "Data",
            "Download the data, whole or a range",
            {
                200: Answer("The data.", "Data", MEDIA_TYPE, ("Content-MD5",)),
                204: Answer("There is no data (yet)."),
                206: Answer("The range.", "Data", MEDIA_TYPE, ("Content-MD5", "Content-Range")),
            },
            (*_READS, "store_unavailable"),
            {
                400: "Several ranges, or a store that is not known here.",
                403: "The image is deactivated.",
                416: "The range is malformed, or not within the data.",
            },
            takes=("prefer", "Range"),
        ),
        "PUT /v2/images/{image_id}/file": Call(
            "Data",
            "Upload the data; then the image is active",
            {204: _DONE},
            (
                *(*_RECEIVES, "formats_missing", "format_mismatch", "unsafe_image"),
                *("store_full", "store_denied", "store_unavailable"),
            ),
            {
                400: "The store is not known here.",
                410: "The store can only be read.",
                415: f"The body is not {MEDIA_TYPE}.",
            },
            takes=(STORE_HEADER, SIZE),
            body={MEDIA_TYPE: "Data"},
        ),
        "PUT /v2/images/{image_id}/stage": Call(
            "Data",
            "Upload data, to be imported later",
            {204: _DONE},
            (*_RECEIVES, "staging_full", "staging_unavailable"),
            {
                404: "There is no such image, or no method that imports staged data.",
                409: "The image takes no data in its status. If data waits that its last import has found to be wrong"
                " (a checksum, a format), other data may take its place.",
                415: f"The body is not {MEDIA_TYPE}.",
            },
            takes=(SIZE,),
            body={MEDIA_TYPE: "Data"},
        ),
        "POST /v2/images/{image_id}/import": Call(
            "Import",
            "Bring data: from a URL, from what was staged, or from other stores",
            {202: _ACCEPTED},
            _SUBMITS,
            takes=(STORE_HEADER,),
            body={JSON: "ImportRequest"},
            example={"method": {"name": "web-download", "uri": "https://example.org/debian.qcow2"}, "all_stores": True},
        ),
        "GET /v2/images/{image_id}/import": Call(
            "Import",
            "Watch the newest import: stores, bytes, attempts",
            {200: Answer("How far it is.", "ImportProgress")},
            _READS,
            {403: "The import is not the caller's to watch."},
        ),
        "DELETE /v2/images/{image_id}/import": Call(
            "Import", "Call the running import off", {202: Answer("Its worker will notice.")}, _CHANGES
        ),
        "GET /v2/images/{image_id}/tasks": Call(
            "Import", "List an image's tasks", {200: Answer("Those that the caller may see.", "ImageTasks")}, _READS
        ),
        "GET /v2/images/{image_id}/locations": Call(
            "Locations",
            "Tell services where the data is",
            {200: Answer("Where, in the order in which it is read.", "Locations")},
            _READS,
        ),
        "POST /v2/images/{image_id}/locations": Call(
            "Locations",
            "Make data that is there already the image's",
            {202: _ACCEPTED},
            _SUBMITS,
            {400: "`url` is missing or malformed, or the hash is.", 403: "The URL is for services to name."},
            body={JSON: "NewLocation"},
            example={"url": "https://example.org/debian.qcow2", "validation_data": {}},
        ),
        "GET /v2/tasks": Call(
            "Tasks",
            "List tasks, a page at a time, for administrators",
            {200: Answer("A page; `next` is there when there may be another.", "Tasks")},
            ("bad_marker",),
            {400: _FILTERED},
            takes=("limit", "marker", "tasks"),
        ),
        "POST /v2/tasks": Call(
            "Tasks",
            "Make an image and import into it, the old way",
            {201: Answer("The task.", "Task", headers=("Location",))},
            (*_SUBMITS, "duplicate"),
            {400: "A field is missing or malformed.", 413: _QUOTA},
            body={JSON: "NewTask"},
            example={
                "type": "import",
                "input": {
                    "import_from": "https://example.org/debian.qcow2",
                    "import_from_format": "qcow2",
                    "image_properties": {"name": "debian"},
                },
            },
        ),
        "GET /v2/tasks/{task_id}": Call(
            "Tasks", "Show a task, for administrators", {200: Answer("The task.", "Task")}, _READS
        ),
        "DELETE /v2/stores/{store}/{image_id}": Call(
            "Stores",
            "Delete an image's data from one store",
            {204: _DONE},
            (*_CHANGES, "last_location", "object_in_use", "store_unknown", "store_read_only"),
            {500: "The store does not delete it: the image stays where it is."},
        ),
        "GET /v2/info/stores": Call("Stores", "List stores", {200: Answer("The stores.", "Stores")}),
        "GET /v2/info/stores/detail": Call(
            "Stores", "List stores with types, weights and properties", {200: Answer("The stores.", "StoresDetail")}
        ),
        "GET /v2/info/import": Call("Stores", "List import methods", {200: Answer("The methods.", "ImportMethods")}),
        "GET /v2/info/usage": Call(
            "Stores",
            "Tell the project's limits and use",
            {200: Answer("Sizes in MiB, -1 for no limit; empty when there are no limits at all.", "Usage")},
            ("limits_unknown",),
        ),
        "GET /v2/images/{image_id}/members": Call(
            "Members",
            "List with whom an image is shared",
            {200: Answer("The members that the caller may see.", "Members")},
            _READS,
            {403: "The image is not `shared`."},
        ),
        "POST /v2/images/{image_id}/members": Call(
            "Members",
            "Share an image with a project",
            {200: Answer("The member, pending.", "Member")},
            ("not_found", "duplicate"),
            {400: "`member` is missing or malformed.", 403: _NOT_SHARED, 413: _QUOTA},
            body={JSON: "Invitation"},
            example={"member": "PROJECT_ID"},
        ),
        "GET /v2/images/{image_id}/members/{member}": Call("Members", "Show a member", {200: _MEMBER}, _READS),
        "PUT /v2/images/{image_id}/members/{member}": Call(
            "Members",
            "Accept or reject an image, as the member",
            {200: _MEMBER},
            _READS,
            {400: "`status` is missing, or none of the three.", 403: "The caller is not the member."},
            body={JSON: "Reply"},
            example={"status": "accepted"},
        ),
        "DELETE /v2/images/{image_id}/members/{member}": Call(
            "Members", "Share it with the project no longer", {204: _DONE}, _READS, {403: _NOT_SHARED}
        ),
        "PUT /v2/images/{image_id}/tags/{tag}": Call(
            "Tags",
            "Give an image a tag",
            {204: _DONE},
            _CHANGES,
            {400: "The tag is longer than 255 characters.", 413: _QUOTA},
        ),
        "DELETE /v2/images/{image_id}/tags/{tag}": Call("Tags", "Take a tag from an image", {204: _DONE}, _CHANGES),
        **{
            f"GET /v2/schemas/{name}": Call("Schemas", f"The schema of {words}", {200: _SCHEMA})
            for name, words in {
                "image": "an image",
                "images": "a page of images",
                "member": "a member",
                "members": "the members of an image",
                "task": "a task",
                "tasks": "a page of tasks",
            }.items()
        },
        "GET /": Call("Service", "List versions", {300: _VERSIONS}),
        "GET /versions": Call("Service", "List versions, for glanceclient", {200: _VERSIONS}),
        "GET /healthcheck": Call(
            "Service",
            "Ask whether this process wants requests",
            {200: Answer("It does.", "Text", TEXT), 503: Answer("It does not.", "Text", TEXT)},
        ),
        "HEAD /healthcheck": Call(
            "Service", "Ask whether this process wants requests, in a word", {200: _DONE, 503: Answer("It does not.")}
        ),
        "GET /openapi.json": Call("Service", "This description", {200: Answer("OpenAPI 3.1.", "Description")}),
        "GET /docs": Call("Service", "This description as a page", {200: Answer("The page.", "Text", HTML)}),
    }
)
"""Every call by its method and path."""
