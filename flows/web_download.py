"""The import method `web-download`: fetch a URI once, into every store at once (import-behaviour §1, architecture
§6).
"""

from catalog.images import ImageRecord
from flows.bring import bring, finish, image_of, publish, take_back_and_requeue
from flows.checksums import admit_checksum
from flows.flow import Admission, Flow, ImportRequest, Record, Step, StepContext
from flows.runtime import Runtime
from pipeline.sources import HttpSource


def _admit(runtime: Runtime, request: ImportRequest, image: ImageRecord) -> Admission:
    """Row 16 of import-behaviour §1.2. The host is resolved and judged later, by the worker that connects."""
    uri = request.uri or ""
    runtime.uris.check_uri(uri)
    return Admission({"uri": uri} | admit_checksum(runtime.uris, request, uri=uri))


def _transfer(ctx: StepContext) -> Record:
    image = image_of(ctx)
    return bring(ctx, HttpSource(ctx.task.source["uri"], ctx.runtime.uris, ctx.runtime.http), image)


WEB_DOWNLOAD = Flow(
    name="web-download",
    steps=(
        Step("transfer", _transfer, reads_source=True),
        Step("publish", publish),
        Step("finish", finish, can_be_called_off=False),
    ),
    begins_from="queued",
    admit=_admit,
    undo=take_back_and_requeue,
)
