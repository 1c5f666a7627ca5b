"""An image as clients see it (http-api §3.1)."""

import msgspec

from api import rights
from api.context import Context
from api.options import ApiOptions
from catalog.engine import isoformat
from catalog.images import ImageRecord, Location
from stores.registry import StoreRegistry

_NULLABLE = frozenset({"kernel_id", "ramdisk_id"})
"""Custom properties whose schema knows null; any other stored null is shown as an empty string."""


class ImageView:
    """Knows the stores, since by their weights they are shown."""

    def __init__(self, stores: StoreRegistry, options: ApiOptions) -> None:
        self._stores = stores
        self._direct_url = options.show_image_direct_url
        self._locations = options.show_multiple_locations

    def show(self, image: ImageRecord, who: Context) -> dict[str, object]:
        """Return the JSON object of an image as `who` sees it: custom properties flat beside the base attributes."""
        shown = self._attributes(rights.as_seen(who, image))
        if (self._direct_url or self._locations) and rights.may_see_locations(who, image):
            places = located(self._stores, image)
            if self._locations:
                shown["locations"] = places
            if self._direct_url and places:
                shown["direct_url"] = places[0]["url"]
        return shown

    def _attributes(self, image: ImageRecord) -> dict[str, object]:
        path = f"/v2/images/{image.id}"
        shown: dict[str, object] = {
            name: "" if value is None and name not in _NULLABLE else value for name, value in image.properties.items()
        }
        shown |= {
            "id": image.id,
            "name": image.name,
            "status": image.status,
            "visibility": image.visibility,
            "protected": image.protected,
            "os_hidden": image.os_hidden,
            "checksum": image.checksum,
            "os_hash_algo": image.os_hash_algo,
            "os_hash_value": image.os_hash_value,
            "owner": image.owner,
            "size": image.size,
            "virtual_size": image.virtual_size,
            "container_format": image.container_format,
            "disk_format": image.disk_format,
            "min_disk": image.min_disk,
            "min_ram": image.min_ram,
            "created_at": isoformat(image.created_at),
            "updated_at": isoformat(image.updated_at),
            "tags": image.tags,
            "self": path,
            "file": f"{path}/file",
            "schema": "/v2/schemas/image",
        }
        if image.locations:
            # A dictionary, because a store that holds the data twice is still one store.
            shown["stores"] = ",".join(dict.fromkeys(at.store for at in self._stores.by_weight(image.locations)))
        if image.import_task is not None:
            shown["os_glance_import_task"] = image.import_task
        if image.importing_to is not None:
            shown["os_glance_importing_to_stores"] = ",".join(image.importing_to)
        if image.failed is not None:
            shown["os_glance_failed_import"] = ",".join(image.failed)
        return shown


def located(stores: StoreRegistry, image: ImageRecord) -> list[dict[str, object]]:
    """The image's locations as they are shown, in the order in which they are read (import-behaviour §3.5)."""
    return [{"url": at.url, "metadata": said_of(at) | {"store": at.store}} for at in stores.by_weight(image.locations)]


def said_of(at: Location) -> dict[str, object]:
    """What users have said of a location."""
    return msgspec.json.decode(at.metadata, type=dict[str, object]) if at.metadata else {}
