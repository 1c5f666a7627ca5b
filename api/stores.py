"""One image in one store (import-behaviour §3.6). What stores there are is told by `api/info.py`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import falcon

from api import rights
from api.bodies import no_body
from api.context import caller
from flows.locations import remove, settled
from flows.runtime import Runtime
from stores.errors import ObjectInUse, StoreError

log = logging.getLogger(__name__)


class StoreImage:
    """`/v2/stores/{store}/{image_id}`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_delete(self, req: falcon.Request, resp: falcon.Response, store: str, image_id: str) -> None:
        """Delete the image's data from one store, for administrators: 204, also when it was gone already."""
        no_body(req)
        self._runtime.stores.get(store)
        who = caller(req)
        with self._runtime.catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, "get_image_location")
        rights.require(who, "delete_image_location", image)
        settled(self._runtime, image)
        with keeping(image_id):
            remove(self._runtime, image_id, store)
        resp.status = falcon.HTTP_204


@contextmanager
def keeping(image_id: str) -> Iterator[None]:
    """Tell why a store does not let go of the image's data, which is then where it was."""
    try:
        yield
    except ObjectInUse:
        raise
    except StoreError as error:
        # A backend that is away is 503 elsewhere; here clients know 500 for all that it may say.
        log.error("image %s stays in store %s: %s", image_id, error.store, error)
        raise falcon.HTTPInternalServerError(description=f"Image {image_id} stays where it is: {error}.") from error
