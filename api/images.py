"""The images of the catalogue: create, list, show, change and delete (http-api §4)."""

from collections.abc import Sequence

import falcon

from api import patches, rights
from api.bodies import answer, no_body, read_array, read_object
from api.changes import Changes
from api.context import Context, caller
from api.image_view import ImageView
from api.listing import Listing
from api.locations import require_may_name
from api.new_image import NewImageReader
from api.options import ApiOptions
from api.patches import Operation
from api.relocation import LOCATIONS, Relocations
from api.stores import keeping
from api.versions import base_url
from catalog.images import ImageRecord
from catalog.locations import NewLocation
from flows.dispatch import Dispatcher
from flows.limits import require_within
from flows.locations import place_of, settled
from flows.relocation import Relocation, find, let_go_of_all, relocate, require_fit
from flows.runtime import Runtime


class Images:
    """`/v2/images`."""

    def __init__(self, runtime: Runtime, options: ApiOptions, view: ImageView) -> None:
        self._runtime = runtime
        self._catalog = runtime.catalog
        self._options = options
        self._view = view
        self._reader = NewImageReader(options)
        self._announced = {"OpenStack-image-store-ids": ",".join(runtime.stores.ids())}
        if runtime.options.methods:
            self._announced["OpenStack-image-import-methods"] = ",".join(runtime.options.methods)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make an image without data: 201. Clients learn here, and only here, how they may bring the data."""
        who = caller(req)
        new = self._reader.read(read_object(req), who)
        require_within(self._runtime, new.owner, images=1)
        with self._catalog.begin() as tx:
            image = tx.images.create(new)
        resp.status = falcon.HTTP_201
        resp.location = f"{base_url(req, self._options)}/v2/images/{image.id}"
        resp.set_headers(self._announced)
        answer(resp, self._view.show(image, who))

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of images."""
        who = caller(req)
        listing = Listing(req.query_string, self._options, who)
        rights.require_rule(who, "get_images")
        with self._catalog.peek() as tx:
            page = tx.images.page(listing.query)
        images = [self._view.show(settled(self._runtime, image), who) for image in rights.listed(who, page)]
        answer(resp, {"images": images, **listing.links(page), "schema": "/v2/schemas/images"})


class Image:
    """`/v2/images/{image_id}`."""

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher, options: ApiOptions, view: ImageView) -> None:
        self._runtime = runtime
        self._catalog = runtime.catalog
        self._dispatcher = dispatcher
        self._changes = Changes(options)
        self._relocations = Relocations(runtime.options, runtime.stores)
        self._view = view

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The image as it is now."""
        no_body(req)
        who = caller(req)
        with self._catalog.peek() as tx:
            image = rights.visible_image(tx, who, image_id)
        answer(resp, self._view.show(settled(self._runtime, image), who))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Change the image: all operations or none, judged by the image as it stands in that moment."""
        dialect, who = patches.dialect(req.content_type), caller(req)
        operations = patches.parse(dialect, read_array(req))
        self._changes.check(operations)
        if any(operation.name == LOCATIONS for operation in operations):
            image = self._relocated(operations, image_id, who)
        else:
            with self._catalog.begin() as tx:
                image = rights.image_to_change(tx, who, image_id)
                if operations:
                    image = tx.images.update(image_id, self._changes.judge(operations, image, who))
        answer(resp, self._view.show(settled(self._runtime, image), who))

    def _relocated(self, operations: Sequence[Operation], image_id: str, who: Context) -> ImageRecord:
        """Do operations of which some change locations. Stores are asked before anything is written, and bytes go
        after it is; a store that does not let go of them keeps that location, and all else is done.
        """
        with self._catalog.read() as tx:
            image = rights.image_for(tx, who, image_id, "modify_image")
        # By the ids of today; and refused now, if it is, for nobody's URL is asked in vain.
        image = settled(self._runtime, image)
        self._changes.judge(operations, image, who)
        found = self._found(self._relocations.judge(operations, image, who), image, who)
        with self._catalog.unheld(image_id) as tx:
            image = rights.image_to_change(tx, who, image_id)
            change, wish = self._changes.judge(operations, image, who), self._relocations.judge(operations, image, who)
            require_fit(image, found.values())
            taken = relocate(self._runtime, tx, tx.images.update(image_id, change), wish, found)
            image = tx.images.get(image_id)
        with keeping(image_id):
            let_go_of_all(self._runtime, taken)
        return image

    def _found(self, wish: Relocation, image: ImageRecord, who: Context) -> dict[str, NewLocation]:
        """What there is at the URLs that are to be added, each of which `who` may name."""
        found = {}
        for url in wish.added:
            place_of(self._runtime, url)
            require_may_name(who, self._runtime.stores, url)
            found[url] = find(self._runtime, url)
        require_within(self._runtime, image.owner, stored=sum(new.size for new in found.values()))
        return found

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Delete the image, whatever its status; what its stores hold goes soon after."""
        no_body(req)
        who = caller(req)
        with self._catalog.peek() as tx:
            image = rights.image_for(tx, who, image_id, "delete_image")
        # Under an id that no store has any more, nobody could delete the bytes.
        settled(self._runtime, image)
        self._catalog.delete_image(image_id)
        self._dispatcher.collect(image_id)
        resp.status = falcon.HTTP_204
