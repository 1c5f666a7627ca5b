"""The query of `GET /v2/tasks` as a `TaskQuery` (http-api §7)."""

import falcon

from api.context import Context
from api.options import ApiOptions
from api.paging import Parameters, bad, page_size
from api.rights import viewer
from api.schemas import TASK_STATUSES, TASK_TYPES
from catalog.task_listing import TASK_SORT_KEYS, TaskQuery

EQUAL = ("id", "owner", "image_id", "request_id", "user_id")
CHOICES = {"type": TASK_TYPES, "status": TASK_STATUSES, "sort_key": TASK_SORT_KEYS, "sort_dir": ("asc", "desc")}


def task_query(parameters: Parameters, options: ApiOptions, who: Context) -> TaskQuery:
    """Read the query; a parameter that comes twice counts as its last value. Raises a 400 that names the parameter."""
    given = dict(parameters)
    for name, choices in CHOICES.items():
        if name in given and given[name] not in choices:
            raise bad(name, f"must be one of {', '.join(choices)}")
    query = TaskQuery(
        limit=page_size(given.pop("limit", None), options),
        marker=given.pop("marker", None),
        sort=given.pop("sort_key", "created_at"),
        descending=given.pop("sort_dir", "desc") == "desc",
        equal=given,
        viewer=viewer(who),
    )
    for name in given:
        if name not in (*EQUAL, "type", "status"):
            raise falcon.HTTPBadRequest(description=f"Query parameter {name!r} is no filter of tasks.")
    return query
