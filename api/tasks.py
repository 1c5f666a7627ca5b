"""Tasks: those of an image, as Glance's own records (http-api §6.3), and all of them, for administrators (§7)."""

import contextlib
from datetime import UTC, datetime

import falcon

from api import rights
from api.bodies import answer, no_body, read_object
from api.context import Context, caller
from api.imports import requester
from api.new_task import NewTaskReader
from api.options import ApiOptions
from api.paging import links, parameters_of
from api.task_listing import task_query
from api.versions import base_url
from catalog.changes import ImageChange
from catalog.engine import SECOND, isoformat
from catalog.errors import CatalogError, NotFound
from catalog.task_listing import TaskQuery
from catalog.tasks import TaskRecord
from flows.dispatch import Dispatcher
from flows.limits import require_within
from flows.runtime import Runtime
from flows.submit import submit


class ImageTasks:
    """`/v2/images/{image_id}/tasks`."""

    def __init__(self, runtime: Runtime) -> None:
        self._catalog = runtime.catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The tasks that the caller's project asked for, an administrator's all of them, oldest first."""
        no_body(req)
        who = caller(req)
        with self._catalog.read() as tx:
            rights.visible_image(tx, who, image_id)
            tasks = tx.tasks.of_image(image_id)
        answer(resp, {"tasks": [show(task, who) for task in tasks if rights.may_see_task(who, task)]})


class Tasks:
    """`/v2/tasks`."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher, options: ApiOptions) -> None:
        self._runtime = runtime
        self._catalog = runtime.catalog
        self._dispatcher = dispatcher
        self._options = options
        self._reader = NewTaskReader(options)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of tasks, the newest first unless something else is asked for."""
        no_body(req)
        who = caller(req)
        rights.require_rule(who, "tasks_api_access")
        parameters = parameters_of(req.query_string)
        query = task_query(parameters, self._options, who)
        with self._catalog.read() as tx:
            page = tx.tasks.page(query)
        shown = [_short(task) for task in page]
        linked = links("/v2/tasks", parameters, [task.id for task in page], query.limit)
        answer(resp, {"tasks": shown, **linked, "schema": "/v2/schemas/tasks"})

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make an image and import into it, the old way: 201 with the task."""
        who = caller(req)
        rights.require_rule(who, "tasks_api_access")
        new, request = self._reader.read(read_object(req), who)
        require_within(self._runtime, new.owner, images=1)
        with self._catalog.begin() as tx:
            image = tx.images.create(new)
        try:
            task_id = submit(self._runtime, self._dispatcher, image, request, requester(who))
        except Exception:
            # Nobody was told of an image, so there is none, and nothing to protect.
            with contextlib.suppress(CatalogError):
                with self._catalog.begin() as tx:
                    tx.images.update(image.id, ImageChange(columns={"protected": False}))
                self._catalog.delete_image(image.id)
            raise
        with self._catalog.read() as tx:
            task = tx.tasks.get(task_id)
        resp.status = falcon.HTTP_201
        resp.location = f"{base_url(req, self._options)}/v2/tasks/{task_id}"
        answer(resp, _full(task, who))


class Task:
    """`/v2/tasks/{task_id}`."""

    def __init__(self, runtime: Runtime) -> None:
        self._catalog = runtime.catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> None:
        """One task, with all there is to tell."""
        no_body(req)
        who = caller(req)
        rights.require_rule(who, "tasks_api_access")
        with self._catalog.read() as tx:
            found = tx.tasks.page(TaskQuery(limit=1, equal={"id": task_id}, viewer=rights.viewer(who)))
        if not found:
            raise NotFound(f"No task found with ID {task_id}")
        answer(resp, _full(found[0], who))


def _short(task: TaskRecord) -> dict[str, object]:
    """A task in a list. What is not known is left out."""
    shown = {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "user_id": task.user_id,
        "expires_at": None if task.expires_at is None else isoformat(task.expires_at),
        "created_at": isoformat(task.created_at),
        "updated_at": isoformat(task.updated_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
    return {name: value for name, value in shown.items() if value is not None}


def _full(task: TaskRecord, who: Context) -> dict[str, object]:
    """A task by itself."""
    return _short(task) | {"input": _input(task, who), "result": task.result, "message": task.message}


def _input(task: TaskRecord, who: Context) -> object:
    """What was asked for, as far as `who` may read it."""
    given = task.input
    if not isinstance(given.get("image_properties"), dict):
        return given
    return {**given, "image_properties": rights.as_asked(who, given["image_properties"])}


def show(task: TaskRecord, who: Context) -> dict[str, object]:
    """Return the JSON object of a task as `who` sees it: these keys and no others."""
    return {
        "id": task.id,
        "image_id": task.image_id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "created_at": _raw(task.created_at),
        "updated_at": _raw(task.updated_at),
        "expires_at": _raw(task.expires_at) if task.expires_at is not None else None,
        "deleted": False,
        "deleted_at": None,
        "input": _input(task, who),
        "result": task.result,
        "message": task.message,
    }


def _raw(microseconds: int) -> str:
    """A time as it stands in Glance's records: UTC without saying so, to the microsecond."""
    seconds, fraction = divmod(microseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}"
