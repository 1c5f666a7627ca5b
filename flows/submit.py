"""Asking for an import: checks, one transaction, one knock (architecture §6.1 to §6.4)."""

import contextlib
import logging
import uuid
from dataclasses import dataclass, replace

from catalog.errors import CatalogError, Preempted
from catalog.fenced import Fenced
from catalog.images import ImageRecord
from catalog.preempt import Preemption
from catalog.tasks import NewTask, TaskRecord
from flows.admission import choose_stores, require_ready
from flows.dispatch import Dispatcher
from flows.errors import BadImportRequest
from flows.flow import Admission, Flow, ImportRequest
from flows.limits import require_room_to_import
from flows.locations import settled
from flows.methods import ALL_FLOWS, FLOWS, undo
from flows.runtime import Runtime
from pipeline.uris import mask

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Requester:
    """On whose behalf a task runs."""

    project: str | None = None
    user: str | None = None
    request_id: str | None = None


def submit(runtime: Runtime, dispatcher: Dispatcher, image: ImageRecord, request: ImportRequest, who: Requester) -> str:
    """Record the import of `image` and wake a worker; the id of the task is returned.

    Everything that can be known to be wrong is refused before the first row is written: `NotAdmitted`, a policy's
    `Denied`, `LockHeld`, `Conflict`. An image that another task holds is judged as it will be without that task, which
    gives way if it is stale. Once this returns, the import survives the loss of every message and process.
    """
    if request.method in FLOWS and request.method not in runtime.options.methods:
        offered = ", ".join(runtime.options.methods)
        raise BadImportRequest(f"'method.name' is {request.method!r}; this service offers: {offered}.")
    flow = ALL_FLOWS[request.method]
    once_free = _once_free(runtime, image)
    require_ready(flow, image, once_free)
    admission = flow.admit(runtime, request, replace(image, status=once_free))
    places = tuple(place.store for place in settled(runtime, image).locations)
    holding = tuple(dict.fromkeys(places))
    stores = (admission.store,) if admission.store else _chosen(runtime, request, places)
    limited = require_room_to_import(runtime, image, stores, flow.begins_from)
    admission = replace(admission, source={**admission.source, **limited})
    new = _new_task(image, request, who, flow, admission, stores, holding)
    task_id = new.id
    how = Preemption(_undo, runtime.options.task_time_to_live)
    if not stores:
        # Decided in http-api §17 (f): who asks for a copy in all stores, and has it, gets a task that says so.
        said = f"Nothing to copy: the image is in {', '.join(sorted(holding))} already."
        runtime.catalog.record_fulfilled(new, said, how, keep_for=runtime.options.task_time_to_live)
        return task_id
    runtime.catalog.request_import(new, how)
    log.info("task %s: %s of image %s into %s is on record", task_id, flow.name, image.id, ", ".join(new.stores))
    if not dispatcher.send(flow, task_id, host=admission.host):
        # The wish is recorded; without this note the sweeper would only wait longer before it rings.
        with contextlib.suppress(CatalogError), runtime.catalog.begin() as tx:
            tx.tasks.not_sent(task_id)
    return task_id


def _new_task(
    image: ImageRecord,
    request: ImportRequest,
    who: Requester,
    flow: Flow,
    admission: Admission,
    stores: tuple[str, ...],
    holding: tuple[str, ...],
) -> NewTask:
    return NewTask(
        id=str(uuid.uuid4()),
        image_id=image.id,
        flow=flow.name,
        stores=stores or holding,
        input=request.asked.input if request.asked else _shown(request, image, stores),
        source=admission.source,
        begins_from=flow.begins_from,
        host=admission.host,
        upload=admission.upload,
        type=request.asked.type if request.asked else flow.task_type,
        all_stores_must_succeed=request.all_stores_must_succeed,
        owner=who.project,
        user_id=who.user,
        request_id=who.request_id,
    )


def _chosen(runtime: Runtime, request: ImportRequest, holding: tuple[str, ...]) -> tuple[str, ...]:
    return choose_stores(
        request,
        ids=runtime.stores.ids(),
        writable=runtime.stores.writable_ids(),
        default=runtime.stores.default,
        quota=runtime.options.location_quota,
        holding=holding,
    )


def _once_free(runtime: Runtime, image: ImageRecord) -> str:
    """The status that the image falls back to when the task that holds it, if one does, is undone (§1.6 [R])."""
    if image.import_task is None or image.status != "importing":
        return image.status
    with runtime.catalog.read() as tx:
        return "uploading" if tx.uploads.staged(image.id) else "queued"


def _undo(tx: Fenced, task: TaskRecord, why: Preempted) -> None:
    """Take back what a stale task did."""
    undo(tx, task.flow, why, why.code, str(why))


def _shown(request: ImportRequest, image: ImageRecord, stores: tuple[str, ...]) -> dict[str, object]:
    """The body as it came, without the credentials that its URIs may hold (import-behaviour §1.9 [R])."""
    body = dict(request.body or {"method": {"name": request.method, "uri": request.uri}})
    method = body.get("method")
    if isinstance(method, dict):
        uris = {name: mask(method[name]) for name in ("uri", "checksum") if isinstance(method.get(name), str)}
        body["method"] = method | uris
    if isinstance(body.get("url"), str):
        body["url"] = mask(str(body["url"]))
    return {"image_id": image.id, "import_req": body, "backend": list(stores)}
