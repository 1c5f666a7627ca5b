"""The tasks of an image, as Glance's own records (http-api §6.3)."""

from datetime import UTC, datetime

import falcon

from api import rights
from api.bodies import answer, no_body
from api.context import caller
from catalog.engine import SECOND
from catalog.tasks import TaskRecord
from flows.runtime import Runtime


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
        answer(resp, {"tasks": [show(task) for task in tasks if rights.may_see_task(who, task)]})


def show(task: TaskRecord) -> dict[str, object]:
    """Return the JSON object of a task: these keys and no others."""
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
        "input": task.input,
        "result": task.result,
        "message": task.message,
    }


def _raw(microseconds: int) -> str:
    """A time as it stands in Glance's records: UTC without saying so, to the microsecond."""
    seconds, fraction = divmod(microseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}"
