"""Registering a location: data that lies where a configured store can read it becomes an image's (http-api §12).

No byte is copied, but every byte is read before the image is active, unless the operator has switched that off: so its
hash is known, and its format looked at, as of any other image.
"""

from dataclasses import asdict

from catalog.facts import DataFacts
from catalog.fenced import Fenced
from catalog.images import ImageRecord, Location
from catalog.locations import NewLocation
from flows.bring import image_of, take_back_and_requeue
from flows.data import Expected, checks, hashes, known_of
from flows.flow import Admission, Facts, Flow, ImportRequest, Record, Step, StepContext
from flows.limits import room_of
from flows.locations import is_ours, place_of
from flows.reception import require_fitting
from flows.runtime import Runtime
from pipeline.stored import Copy, StoreSource
from pipeline.taps import ProgressTap, StopTap, Tap
from pipeline.transfer import read_through


def _admit(runtime: Runtime, request: ImportRequest, _image: ImageRecord) -> Admission:
    store, key = place_of(runtime, request.uri or "")
    return Admission({"key": key, "checksum": request.checksum}, store=store)


def _verify(ctx: StepContext) -> Record:
    """Find out what a reader of the image has to know, and let every tap have its veto."""
    image = image_of(ctx)
    store, key = _place(ctx)
    ctx.monitor.show("connecting")
    size = ctx.runtime.stores.get(store).stat(key).size
    require_fitting(size, room_of(ctx.runtime, ctx.task, image))
    promised: str | None = ctx.task.source["checksum"]
    algorithm, _, value = promised.partition(":") if promised else (None, "", "")
    if ctx.runtime.options.secure_hash:
        known = _read(ctx, image, size, algorithm, value)
    else:
        known = DataFacts(
            size, None, None, algorithm, value or None, str(image.disk_format), str(image.container_format)
        )
    return lambda _tx: {"data": asdict(known), "key": key}


def _read(ctx: StepContext, image: ImageRecord, size: int, algorithm: str | None, value: str) -> DataFacts:
    store, key = _place(ctx)
    patience = ctx.runtime.options.store_idle_timeout
    source = StoreSource([Copy(ctx.runtime.stores.get(store), key)], size, idle_timeout=patience)
    seen = ProgressTap(lambda count: ctx.monitor.moved(count, {store: count}))
    taps: list[Tap] = [StopTap(ctx.monitor.stopping), *checks(ctx.runtime, image, cap=size), seen]
    expected = Expected(algorithm, value, "data at the location") if algorithm else None
    taps += hashes(ctx.runtime, image, expected, main=algorithm)
    ctx.monitor.show("reading", total=size)
    with ctx.monitor.interrupting(source.interrupt):
        return known_of(ctx.runtime, image, read_through(source, taps), main=algorithm)


def _place(ctx: StepContext) -> tuple[str, str]:
    """The store and the key of the location."""
    return ctx.task.targets[0].store, ctx.task.source["key"]


def _publish(ctx: StepContext) -> Record:
    """Let what was verified be the image's data. Only now is it ours to delete, where the store is one that we fill."""
    store, key = _place(ctx)
    known = DataFacts(**ctx.task.facts["data"])
    url = ctx.runtime.stores.get(store).url(key)
    new = NewLocation(Location(store, key, url), known.size, ours=is_ours(ctx.runtime, store))

    def published(tx: Fenced) -> Facts:
        tx.adopt_location(new)
        tx.activate(known)
        return {}

    return published


def _finish(ctx: StepContext) -> Record:
    known = DataFacts(**ctx.task.facts["data"])
    hashed = f" Its {known.os_hash_algo} is known." if known.os_hash_algo else ""
    said = f"Registered {known.size} bytes in {ctx.task.targets[0].store}.{hashed}"
    return lambda _tx: {"message": said}


LOCATION_IMPORT = Flow(
    name="location-import",
    task_type="location_import",
    steps=(
        Step("verify", _verify, reads_source=True),
        Step("publish", _publish),
        Step("finish", _finish, can_be_called_off=False),
    ),
    begins_from="queued",
    rule="add_image_location",
    admit=_admit,
    undo=take_back_and_requeue,
)
