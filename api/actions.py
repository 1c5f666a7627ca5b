"""Withholding the data of an image from users, and giving it back (http-api §4.6)."""

import falcon

from api import rights
from api.bodies import no_body
from api.context import caller
from flows.runtime import Runtime

_SWITCHED = ("active", "deactivated")


class Switch:
    """`/v2/images/{image_id}/actions/deactivate` and `…/reactivate`: to `status`, if `rule` allows it."""

    def __init__(self, runtime: Runtime, status: str, rule: str) -> None:
        self._catalog = runtime.catalog
        self._status = status
        self._rule = rule

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """204, also when the image is in that status already; 403 when it has no data to withhold."""
        no_body(req)
        with self._catalog.begin() as tx:
            image = rights.image_to_change(tx, caller(req), image_id, self._rule)
            if image.status not in _SWITCHED:
                raise falcon.HTTPForbidden(
                    description=f"Image {image_id} is in status {image.status}, which cannot become {self._status}."
                )
            if image.status != self._status:
                tx.images.switch(image_id, self._status)
        resp.status = falcon.HTTP_204
