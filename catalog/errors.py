"""What can go wrong with rows. Every class has a stable `code`; the text is shown to users."""

from typing import ClassVar


class CatalogError(Exception):
    """The catalogue refuses."""

    code: ClassVar[str] = "catalog_error"
    transient: ClassVar[bool] = False


class NotFound(CatalogError):
    """No such image or task (or it is deleted)."""

    code = "not_found"


def no_image(image_id: str) -> NotFound:
    """There is none, or it is deleted, or who asks may not see it: nobody can tell which."""
    return NotFound(f"No image found with ID {image_id}")


class Duplicate(CatalogError):
    """The id is taken, also by a deleted image."""

    code = "duplicate"


class Conflict(CatalogError):
    """The image is not in a state that allows this move (import-behaviour §1.1)."""

    code = "conflict"


class FormatChanged(CatalogError):
    """The image declares other formats than those that its data was inspected as."""

    code = "format_changed"


class UploadOver(CatalogError):
    """Data that is being received is wanted no more: its image was deleted, or its sender was silent for too long."""

    code = "upload_over"


class Protected(CatalogError):
    """The image must not be deleted as long as its `protected` is set."""

    code = "protected"


class LastLocation(CatalogError):
    """The data is in one place only, and stays there as long as the image lives (import-behaviour §3.6)."""

    code = "last_location"


class BadValue(CatalogError):
    """A value that no column can hold: a NUL or half a surrogate pair in text, an integer beyond 64 bits."""

    code = "bad_value"


class RuleBroken(CatalogError):
    """A rule of `schema.sql` refused the change, and nothing of it is done; `rule` is the name of the constraint."""

    code = "rule_broken"

    def __init__(self, rule: str) -> None:
        super().__init__(f"The change breaks the rule {rule}.")
        self.rule = rule


class BadMarker(CatalogError):
    """The paging marker names no image that the caller may see (http-api §1.6)."""

    code = "bad_marker"


class LockHeld(CatalogError):
    """Another task holds the image: `task_id`, of which `state` says how it is.

    From `stale_from` on, unless it shows progress before, another import may take the image over; when it is asked
    for after that, the task is `stale`.
    """

    code = "lock_held"

    def __init__(self, image_id: str, task_id: str, state: str, *, stale_from: str, stale: bool) -> None:
        super().__init__(
            f"Image {image_id} has active task {task_id}; {state}, and without progress it can be taken over from "
            f"{stale_from} on. DELETE /v2/images/{image_id}/import calls it off (tranship cancel)."
        )
        self.task_id = task_id
        self.stale = stale


class Preempted(CatalogError):
    """The task showed no progress for so long that another import has taken its image over (import-behaviour §2.3)."""

    code = "preempted"

    def __init__(self, by: str, since: str) -> None:
        super().__init__(f"Expired lock preempted by task {by}: no progress since {since}.")


class LockLost(CatalogError):
    """The claim's fence is no longer the current one, or its lease ran out: nothing may be written with it."""

    code = "lock_lost"


class CatalogUnavailable(CatalogError):
    """The database does not answer."""

    code = "catalog_unavailable"
    transient = True
