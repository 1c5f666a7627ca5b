"""Imports: asking for one, watching it, calling it off (http-api §6, decision 0005)."""

from collections.abc import Mapping, Sequence
from typing import Any

import falcon

from api import rights
from api.bodies import answer, no_body, read_object
from api.context import Context, caller
from catalog.engine import isoformat
from catalog.errors import NotFound
from catalog.images import ImageRecord
from catalog.tasks import WAITING, Attempt, TaskRecord
from flows.checksums import SOURCE
from flows.dispatch import Dispatcher
from flows.errors import BadImportRequest
from flows.flow import ImportRequest, Step
from flows.methods import ALL_FLOWS, FLOWS
from flows.runtime import Runtime
from flows.submit import Requester, submit

STORE_HEADER = "X-Image-Meta-Store"


class Import:
    """`/v2/images/{image_id}/import`."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Ask for an import: 202 once it is on record. The empty body is what clients expect."""
        request = import_request(read_object(req), req.get_header(STORE_HEADER), self._runtime.options.methods)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, FLOWS[request.method].rule)
        submit(self._runtime, self._dispatcher, image, request, requester(who))
        accepted(resp)

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """How far the newest import is, for who asked for it or may change the image. Glance has no such answer."""
        no_body(req)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.visible_image(tx, who, image_id)
            task = tx.tasks.newest(image_id)
            attempts = tx.tasks.attempts(task.id)
        if not (rights.may(who, "modify_image", image) or rights.may_see_task(who, task)):
            raise falcon.HTTPForbidden(description=f"The import of image {image_id} is not yours to watch.")
        answer(resp, progress(task, attempts, who))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Call the running import off: 202, since its worker has yet to notice. Glance has no such call."""
        no_body(req)
        who = caller(req)
        with self._runtime.catalog.begin() as tx:
            image = rights.visible_image(tx, who, image_id)
            task = tx.tasks.get(image.import_task) if image.import_task else None
            if task is None or not _asked_for(who, image, task):
                rights.require(who, "modify_image", image)
            if task is None or not tx.tasks.cancel(task.id):
                raise NotFound(f"No import of image {image_id} is running.")
            task = tx.tasks.get(task.id)
        if task.flow in ALL_FLOWS:
            # A task that waits for its next try has no worker who could notice.
            self._dispatcher.send_again(ALL_FLOWS[task.flow], task)
        accepted(resp)


def _asked_for(who: Context, image: ImageRecord, task: TaskRecord) -> bool:
    """Whether `who` has asked for the import, and still may: it may call it off, whoever has the image."""
    flow = ALL_FLOWS.get(task.flow)
    return flow is not None and task.owner == who.project and rights.may(who, flow.rule, image)


def requester(who: Context) -> Requester:
    """On whose behalf a task runs that `who` asks for."""
    return Requester(project=who.project, user=who.user, request_id=who.request_id)


def accepted(resp: falcon.Response) -> None:
    """Answer 202 in Glance's manner: the empty body is what clients expect."""
    resp.status = falcon.HTTP_202
    resp.content_type = "text/html; charset=UTF-8"


def import_request(body: Mapping[str, Any], store_header: str | None, methods: tuple[str, ...]) -> ImportRequest:
    """Parse the body of an import (§6.1). Raises `BadImportRequest` naming the field; unknown fields are left alone."""
    if not body:
        raise BadImportRequest("The body is empty: 'method' is missing.")
    method = _member(body, "method", dict, "an object")
    if method is None:
        raise BadImportRequest("'method' is missing.")
    name = _member(method, "name", str, "a string", within="method.")
    if name is None:
        raise BadImportRequest("'method.name' is missing.")
    if name not in methods:
        raise BadImportRequest(f"'method.name' is {name!r}; this service offers: {', '.join(methods)}.")
    return ImportRequest(
        method=name,
        uri=_member(method, "uri", str, "a string", within="method."),
        stores=_stores(body),
        all_stores=_flag(body, "all_stores", default=False),
        all_stores_must_succeed=_flag(body, "all_stores_must_succeed", default=True),
        store_header=store_header or None,
        checksum=_member(method, "checksum", str, "a string", within="method."),
        checksum_of=_checksum_of(method),
        body=body,
    )


def _member(holder: Mapping[str, Any], name: str, kind: type, words: str, *, within: str = "") -> Any:
    """Return `holder[name]`, None when it is absent. Raises `BadImportRequest` when it is of another kind."""
    if name in holder and not isinstance(holder[name], kind):
        raise BadImportRequest(f"'{within}{name}' must be {words}.")
    return holder.get(name)


def _flag(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value: bool | None = _member(body, name, bool, "true or false")
    return default if value is None else value


def _checksum_of(method: Mapping[str, Any]) -> str:
    side: str | None = _member(method, "checksum_of", str, "a string", within="method.")
    return SOURCE if side is None else side


def _stores(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    stores = _member(body, "stores", list, "a list of store ids")
    if stores is None:
        return None
    if not all(isinstance(store, str) for store in stores):
        raise BadImportRequest("'stores' must be a list of strings.")
    return tuple(stores)


def progress(task: TaskRecord, attempts: list[Attempt], who: Context) -> dict[str, object]:
    """The JSON object of an import: what its task, its stores and its attempts have to tell."""
    flow = ALL_FLOWS.get(task.flow)
    steps = flow.steps if flow else ()
    return {
        "task_id": task.id,
        "method": task.flow,
        "status": task.status,
        "phase": _phase(task, who),
        "step": steps[task.step].name if task.live and task.step < len(steps) else None,
        "attempt": task.attempt,
        "message": task.message,
        "error_code": task.error_code,
        "cancel_requested": task.cancel_requested,
        "all_stores_must_succeed": task.all_stores_must_succeed,
        "bytes_done": task.bytes_done,
        "bytes_total": task.bytes_total,
        "created_at": isoformat(task.created_at),
        "updated_at": isoformat(task.updated_at),
        "stores": [
            {
                "store": target.store,
                "state": target.state,
                "bytes_done": target.bytes_done,
                "error_code": target.error_code,
                "reason": target.reason,
            }
            for target in task.targets
        ],
        "attempts": [_attempt(attempt, steps, who) for attempt in attempts],
    }


def _phase(task: TaskRecord, who: Context) -> str:
    """What the import does; to administrators also which host's workers it waits for."""
    return f"{WAITING} on host {task.host}" if who.is_admin and task.host and task.phase == WAITING else task.phase


def _attempt(attempt: Attempt, steps: Sequence[Step], who: Context) -> dict[str, object]:
    shown: dict[str, object] = {
        "step": steps[attempt.step].name if attempt.step < len(steps) else str(attempt.step),
        "number": attempt.number,
        "outcome": attempt.outcome,
        "error_code": attempt.error_code,
        "message": attempt.message,
        "started_at": isoformat(attempt.started_at),
        "ended_at": isoformat(attempt.ended_at) if attempt.ended_at is not None else None,
    }
    if who.is_admin:
        # The name of a worker holds that of a host.
        shown["worker"] = attempt.worker
    return shown
