"""Why an import request is not taken. Every class has a stable `code`; the text is shown to users."""

from typing import ClassVar


class NotAdmitted(Exception):
    """The request cannot be taken as it stands; nothing was recorded."""

    code: ClassVar[str] = "not_admitted"
    transient: ClassVar[bool] = False


class BadImportRequest(NotAdmitted):
    """The request contradicts itself or names something of the wrong kind (400); the text names the field."""

    code = "bad_import_request"


class ImageNotReady(NotAdmitted):
    """The image is not in a state from which this method may import (409)."""

    code = "image_not_ready"


class StoreNotConfigured(NotAdmitted):
    """A named store is unknown here, or reserved (409)."""

    code = "store_not_configured"


class LocationQuota(NotAdmitted):
    """More stores are asked for than an image may have locations (413)."""

    code = "location_quota"
