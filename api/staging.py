"""Staging: data is uploaded first, and imported later (http-api §5.3)."""

import falcon

from api import rights
from api.context import caller
from api.received import data_of, require_data
from flows.limits import largest, require_within
from flows.methods import import_what_is_staged
from flows.runtime import Runtime
from flows.staging import stage


class Stage:
    """`/v2/images/{image_id}/stage`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._offered = import_what_is_staged(runtime.options.methods)

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Keep the body until it is imported: 204. Nothing of it is looked at, and it may well be empty.

        An image that waits with data takes other data if that is why its last import failed, else it is 409.
        """
        if not self._offered:
            raise falcon.HTTPNotFound(description="This service has no import method that begins with staged data.")
        size = require_data(req)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, "modify_image")
        # What is staged already counts, and may be about to make way.
        held = image.size if image.status == "uploading" else None
        require_within(self._runtime, image.owner, staged=(size or 0) - (held or 0), uploading=1 if held is None else 0)
        cap = largest(self._runtime, image.owner, place="staged", freed=held or 0)
        body = data_of(req, size, patience=self._runtime.lease.stall_timeout)
        stage(self._runtime, image_id, body, size, cap=cap)
        resp.status = falcon.HTTP_204
