"""Who may do what with an image (http-api §14): the one place that decides.

What the caller may not see does not exist for it: 404. What it may see but not touch is 403 (§14.3).
"""

import falcon

from api.context import Context
from catalog.catalog import Tx
from catalog.images import ImageRecord
from catalog.members import Member
from catalog.tasks import TaskRecord
from catalog.visibility import Viewer


def viewer(who: Context) -> Viewer:
    """With whose eyes `who` looks at images."""
    return Viewer(who.project, sees_all=who.is_admin)


def visible_image(tx: Tx, who: Context, image_id: str) -> ImageRecord:
    """The image, if `who` may see it (§14.1). Raises `NotFound`, in the same words as for one that does not exist."""
    return tx.images.get(image_id, viewer(who))


def image_to_change(tx: Tx, who: Context, image_id: str) -> ImageRecord:
    """The image, locked until the transaction ends, if `who` may change it. Raises as `require_may_modify`."""
    image = tx.images.get_to_change(image_id, viewer(who))
    require_may_modify(who, image)
    return image


def require_may_modify(who: Context, image: ImageRecord) -> None:
    """Raise a 403 unless `who` may change or delete an image that it sees: its owner or an administrator."""
    if not may_modify(who, image):
        raise falcon.HTTPForbidden(description=f"Image {image.id} is not yours to change.")


def may_modify(who: Context, image: ImageRecord) -> bool:
    """Whether `who` may change an image that it sees."""
    return who.is_admin or _owns(who, image)


def require_may_upload(who: Context, image: ImageRecord) -> None:
    """Raise a 403 unless `who` may send the data of an image that it sees."""
    require_may_modify(who, image)


def require_may_add_location(who: Context, image: ImageRecord) -> None:
    """Raise a 403 unless `who` may say where the data of an image that it sees is: its owner, or a service."""
    if not (_serves(who) or may_modify(who, image)):
        raise falcon.HTTPForbidden(description=f"Image {image.id} is not yours to change.")


def may_name_any_location(who: Context) -> bool:
    """Whether `who` may register what is in any store; others only what is on the web anyway."""
    return _serves(who)


def require_may_see_locations(who: Context) -> None:
    """Raise a 403 unless `who` may know where the data of an image that it sees is."""
    if not _serves(who):
        raise falcon.HTTPForbidden(description="Where the data of an image is, is told to services only.")


def require_may_see_store_details(who: Context) -> None:
    """Raise a 403 unless `who` may know how the stores are set up."""
    if not _serves(who):
        raise falcon.HTTPForbidden(description="The details of stores are for administrators.")


def require_may_import(who: Context, image: ImageRecord, rule: str) -> None:
    """Raise a 403 unless `who` may import into the image by a method of this `Flow.rule` (bug 1884587: that is said
    before the import is accepted). Copying is for administrators, into images of other projects too.
    """
    if rule == "copy_image" and not who.is_admin:
        raise falcon.HTTPForbidden(description=f"To copy image {image.id} is for administrators.")
    require_may_modify(who, image)


def require_may_remove_location(who: Context) -> None:
    """Raise a 403 unless `who` may delete an image's data from one store."""
    if not who.is_admin:
        raise falcon.HTTPForbidden(description="Deleting an image from a store is for administrators.")


def require_owner(who: Context, owner: str | None) -> None:
    """Raise a 403 unless `who` may make an image that belongs to `owner`."""
    if not who.is_admin and owner != who.project:
        raise falcon.HTTPForbidden(description="'owner' must be your own project.")


def require_may_give_away(who: Context) -> None:
    """Raise a 403 unless `who` may set the owner of an image that exists."""
    if not who.is_admin:
        raise falcon.HTTPForbidden(description="'owner' of an image is changed by administrators only.")


def require_may_show(who: Context, visibility: str) -> None:
    """Raise a 403 unless `who` may give an image of its own this visibility."""
    if visibility == "public" and not who.is_admin:
        raise falcon.HTTPForbidden(description="'visibility' public is for administrators.")


def may_see_task(who: Context, task: TaskRecord) -> bool:
    """Whether a task is shown to `who`: those that its own project asked for, to an administrator all."""
    return who.is_admin or (who.project is not None and task.owner == who.project)


def require_tasks_access(who: Context) -> None:
    """Raise a 403 unless `who` may use the tasks API, which shows those of every project."""
    if not who.is_admin:
        raise falcon.HTTPForbidden(
            description="The tasks API is for administrators; an image's tasks are told with it."
        )


def may_see_member(who: Context, image: ImageRecord, member: Member) -> bool:
    """Whether a member of an image is shown to `who`: to the image's owner all, to a member itself."""
    return may_modify(who, image) or member.member == who.project


def require_may_answer(who: Context, member: str) -> None:
    """Raise a 403 unless `who` may answer for the project `member`; the owner of the image may not."""
    if not (who.is_admin or who.project == member):
        raise falcon.HTTPForbidden(description=f"Whether {member} accepts the image is for itself to say.")


def _serves(who: Context) -> bool:
    """Whether an administrator or another service asks, for itself or on a user's behalf."""
    return who.is_admin or "service" in who.roles | who.service_roles


def _owns(who: Context, image: ImageRecord) -> bool:
    return who.project is not None and image.owner == who.project
