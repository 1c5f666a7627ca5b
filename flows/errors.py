"""Why an import request is not taken, and what goes wrong with staged data.

Every class has a stable `code`; the text is shown to users.
"""

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


class FormatsMissing(NotAdmitted):
    """Data is uploaded for an image that does not say what it is (400); the text names the attribute."""

    code = "formats_missing"


class StoreNotConfigured(NotAdmitted):
    """A named store is unknown here, or reserved (409)."""

    code = "store_not_configured"


class LocationQuota(NotAdmitted):
    """More stores are asked for than an image may have locations (413)."""

    code = "location_quota"


class OverLimit(NotAdmitted):
    """`project` would use more than it may (413); the text says how much that is, which is its own affair."""

    code = "over_limit"

    def __init__(self, project: str, said: str) -> None:
        super().__init__(f"Project {project} {said}")
        self.project = project


class LimitsUnknown(NotAdmitted):
    """Who says what a project may have cannot be asked (503); the text names it."""

    code = "limits_unknown"
    transient = True


class StagingError(Exception):
    """The staging area does not do what it is there for."""

    code: ClassVar[str] = "staging_error"
    transient: ClassVar[bool] = False


class StagingFull(StagingError):
    """There is no room for what is being staged (413)."""

    code = "staging_full"


class StagingUnavailable(StagingError):
    """The staging store refuses, does not answer, or cannot be reached from this host (503)."""

    code = "staging_unavailable"
    transient = True


class StagedDataGone(StagingError):
    """What was staged is lost, or is not whole any more: it has to be staged again."""

    code = "staged_data_gone"
