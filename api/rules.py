"""Every rule there is, with what it says unless a policy file says otherwise: Glance's names and defaults (§14.4).

Each names the calls that it decides about; together with `WITHOUT_RULE` these are all routes, as a test makes sure of.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from oslo_policy import policy

_ADMIN = "role:admin"
_OWN = "project_id:%(project_id)s"
_MEMBER = f"{_ADMIN} or (role:member and {_OWN})"
_READER = f"{_ADMIN} or (role:reader and {_OWN})"
_INVITED = "project_id:%(member_id)s"
_OPEN = " or ".join(f'"{visibility}":%(visibility)s' for visibility in ("community", "public", "shared"))
"""A shared image looks open here. Who may see which one by its id has been decided before (§14.1)."""
_DOWNLOADER = f"{_ADMIN} or (role:member and ({_OWN} or {_INVITED} or {_OPEN}))"
_ADMIN_OR_SERVICE = f"{_ADMIN} or role:service"

IMAGE: Final = "/v2/images/{image_id}"
_IMPORT = f"{IMAGE}/import"
_MEMBERS = f"{IMAGE}/members"
_MEMBER_OF = f"{_MEMBERS}/{{member}}"
_TAG = f"{IMAGE}/tags/{{tag}}"


def _rule(name: str, check: str, description: str, *calls: str) -> Any:
    """A rule for `calls`, each written as method and path."""
    operations = [policy.Operation(method=method, path=path) for method, path in (call.split() for call in calls)]
    scopes = ["system", "project"]
    if not operations:
        return policy.RuleDefault(name, check, description, scope_types=scopes)
    return policy.DocumentedRuleDefault(name, check, description, operations, scope_types=scopes)


_RULES = (
    policy.RuleDefault("default", "", "What rules of a file that refer to it mean by it."),
    policy.RuleDefault("context_is_admin", _ADMIN, "Sees every image and every task, and gives images away."),
    _rule(
        "add_image",
        f"{_ADMIN} or (role:member and {_OWN} and project_id:%(owner)s)",
        "Make an image.",
        "POST /v2/images",
    ),
    _rule("get_images", _READER, "List images.", "GET /v2/images"),
    _rule(
        "get_image",
        f"{_ADMIN} or (role:reader and ({_OWN} or {_INVITED} or {_OPEN}))",
        "See an image, in lists too.",
        f"GET {IMAGE}",
        f"GET {IMAGE}/tasks",
        f"GET {_IMPORT}",
    ),
    _rule(
        "modify_image",
        _MEMBER,
        "Change an image; stage data; import by any method but copy-image, and call an import off.",
        f"PATCH {IMAGE}",
        f"PUT {IMAGE}/stage",
        f"POST {_IMPORT}",
        f"DELETE {_IMPORT}",
        f"PUT {_TAG}",
        f"DELETE {_TAG}",
    ),
    _rule("delete_image", _MEMBER, "Delete an image.", f"DELETE {IMAGE}"),
    _rule("publicize_image", _ADMIN, "Make an image public.", "POST /v2/images", f"PATCH {IMAGE}"),
    _rule("communitize_image", _MEMBER, "Make an image a community's.", "POST /v2/images", f"PATCH {IMAGE}"),
    _rule("copy_image", _ADMIN, "Copy an image into more stores (copy-image).", f"POST {_IMPORT}"),
    _rule("upload_image", _MEMBER, "Upload data.", f"PUT {IMAGE}/file"),
    _rule(
        "download_image",
        _DOWNLOADER,
        "Download data.",
        f"GET {IMAGE}/file",
    ),
    _rule(
        "download_from_store",
        _DOWNLOADER,
        "Say which store to download from (?prefer).",
        f"GET {IMAGE}/file",
    ),
    _rule("deactivate", _MEMBER, "Withhold the data of an image.", f"POST {IMAGE}/actions/deactivate"),
    _rule("reactivate", _MEMBER, "Give it back.", f"POST {IMAGE}/actions/reactivate"),
    _rule(
        "get_image_location",
        _READER,
        "Learn where the data is; without that, whoever asks sees no `locations` and no `direct_url`.",
        f"PATCH {IMAGE}",
        "DELETE /v2/stores/{store}/{image_id}",
    ),
    _rule("set_image_location", _MEMBER, "Say where the data is, in a PATCH.", f"PATCH {IMAGE}"),
    _rule(
        "delete_image_location",
        _ADMIN,
        "Delete the data from one store.",
        f"PATCH {IMAGE}",
        "DELETE /v2/stores/{store}/{image_id}",
    ),
    _rule(
        "add_image_location",
        f"{_ADMIN_OR_SERVICE} or (role:member and {_OWN})",
        "Say where the data is.",
        f"POST {IMAGE}/locations",
    ),
    _rule("fetch_image_location", _ADMIN_OR_SERVICE, "Learn where the data is.", f"GET {IMAGE}/locations"),
    _rule("add_member", _MEMBER, "Share an image with a project.", f"POST {_MEMBERS}"),
    _rule("delete_member", _MEMBER, "Share it with the project no longer.", f"DELETE {_MEMBER_OF}"),
    _rule(
        "get_members",
        f"{_ADMIN} or (role:reader and ({_OWN} or {_INVITED}))",
        "See with whom an image is shared.",
        f"GET {_MEMBERS}",
    ),
    _rule(
        "get_member",
        f"{_ADMIN} or (role:reader and ({_OWN} or {_INVITED}))",
        "See whether it is shared with a project.",
        f"GET {_MEMBER_OF}",
    ),
    _rule("modify_member", f"{_ADMIN} or (role:member and {_INVITED})", "Accept or reject.", f"PUT {_MEMBER_OF}"),
    _rule(
        "tasks_api_access", _ADMIN, "Use the tasks API.", "GET /v2/tasks", "POST /v2/tasks", "GET /v2/tasks/{task_id}"
    ),
    _rule("stores_info_detail", _ADMIN_OR_SERVICE, "See the types of stores.", "GET /v2/info/stores/detail"),
)

RULES: Final[Mapping[str, Any]] = MappingProxyType({rule.name: rule for rule in _RULES})
"""Every rule by its name."""

WITHOUT_RULE: Final = frozenset(
    {
        "GET /healthcheck",
        "HEAD /healthcheck",
        "GET /openapi.json",
        "GET /docs",
        "GET /v2/info/import",
        "GET /v2/info/stores",
        "GET /v2/info/usage",
        *(f"GET /v2/schemas/{name}" for name in ("image", "images", "member", "members", "task", "tasks")),
    }
)
"""Calls that tell nothing of anybody else: who is let in may have them, and those without `/v2` even who is not."""

_METADEFS = (
    "metadef_admin metadef_default get_metadef_namespace get_metadef_namespaces add_metadef_namespace "
    "modify_metadef_namespace delete_metadef_namespace get_metadef_object get_metadef_objects add_metadef_object "
    "modify_metadef_object delete_metadef_object get_metadef_resource_type list_metadef_resource_types "
    "add_metadef_resource_type_association remove_metadef_resource_type_association get_metadef_property "
    "get_metadef_properties add_metadef_property modify_metadef_property remove_metadef_property get_metadef_tag "
    "get_metadef_tags add_metadef_tag add_metadef_tags modify_metadef_tag delete_metadef_tag delete_metadef_tags"
).split()
NOT_HERE: Final = frozenset(
    {
        *_METADEFS,
        *"get_task get_tasks add_task modify_task".split(),
        *"manage_image_cache cache_image cache_list cache_delete cache_clean cache_prune list_cached_nodes".split(),
    }
)
"""Glance's rules for what this service has not, or never asks about: a file may have them, to no effect."""


def list_rules() -> list[Any]:
    """Every rule, as `oslopolicy-sample-generator --namespace tranship` asks for them."""
    return list(RULES.values())
