"""The body of `POST /v2/tasks`: the old way to import, as what it means today (http-api §7)."""

from collections.abc import Mapping
from typing import Any

import falcon

from api.context import Context
from api.new_image import NewImageReader
from api.options import ApiOptions
from api.schemas import TASK_TYPES
from catalog.images import NewImage
from flows.flow import AskedTask, ImportRequest
from flows.web_download import WEB_DOWNLOAD
from pipeline.uris import mask

IMPORT = "import"
_INPUT = {"import_from": str, "import_from_format": str, "image_properties": dict}


class NewTaskReader:
    """Reads bodies by the rules of `options`."""

    def __init__(self, options: ApiOptions) -> None:
        self._images = NewImageReader(options)

    def read(self, body: Mapping[str, Any], who: Context) -> tuple[NewImage, ImportRequest]:
        """Return the image to make, and the import into it. Raises a 400 naming the field, and as `NewImageReader`."""
        kind, given = body.get("type"), body.get("input")
        if kind not in TASK_TYPES:
            raise _bad(f"'type' must be one of {', '.join(TASK_TYPES)}.")
        if kind != IMPORT:
            raise _bad(f"A task of type {kind} is not asked for by itself: it is made by the call for an image.")
        if not isinstance(given, dict):
            raise _bad("'input' must be an object.")
        for name, type_ in _INPUT.items():
            if not isinstance(given.get(name), type_):
                raise _bad(f"'input.{name}' must be {'an object' if type_ is dict else 'a string'}.")
        # What is fetched is what is kept: nothing here converts.
        formats = {"disk_format": given["import_from_format"], "container_format": "bare"}
        image = self._images.read(formats | given["image_properties"], who)
        uri: str = given["import_from"]
        asked = AskedTask(IMPORT, {**given, "import_from": mask(uri)})
        return image, ImportRequest(WEB_DOWNLOAD.name, uri=uri, asked=asked)


def _bad(text: str) -> falcon.HTTPError:
    return falcon.HTTPBadRequest(description=text)
