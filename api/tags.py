"""The tags of an image, one at a time (http-api §9)."""

import falcon

from api import rights
from api.bodies import no_body
from api.context import caller
from api.options import ApiOptions
from api.schemas import TAG
from api.validation import complaint, require_few
from catalog.changes import ImageChange
from flows.runtime import Runtime


class ImageTag:
    """`/v2/images/{image_id}/tags/{tag}`."""

    def __init__(self, runtime: Runtime, options: ApiOptions) -> None:
        self._catalog = runtime.catalog
        self._quota = options.tag_quota

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Give the image the tag, if it has not got it: 204 either way."""
        no_body(req)
        if not tag:
            raise falcon.HTTPNotFound
        if wrong := complaint("tag", tag, TAG):
            raise falcon.HTTPBadRequest(description=wrong)
        with self._catalog.begin() as tx:
            image = rights.image_to_change(tx, caller(req), image_id)
            if tag not in image.tags:
                tags = (*image.tags, tag)
                require_few(tags, "tags", self._quota)
                tx.images.update(image_id, ImageChange(tags=tags))
        resp.status = falcon.HTTP_204

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Take the tag from the image: 204, or 404 when it has no such tag."""
        no_body(req)
        with self._catalog.begin() as tx:
            image = rights.image_to_change(tx, caller(req), image_id)
            if tag not in image.tags:
                raise falcon.HTTPNotFound(description=f"Image {image_id} has no tag {tag!r}.")
            tx.images.update(image_id, ImageChange(tags=tuple(word for word in image.tags if word != tag)))
        resp.status = falcon.HTTP_204
