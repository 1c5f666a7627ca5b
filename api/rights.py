"""Who may do what with an image (http-api §14): the one place that asks the rules, and that says no.

What the caller may not see does not exist for it: 404. What it may see but not touch is 403 (§14.3).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import falcon

from api.context import Context
from api.names import WRITABLE
from catalog.catalog import Tx
from catalog.errors import no_image
from catalog.images import ImageRecord, NewImage
from catalog.members import Member
from catalog.tasks import TaskRecord
from catalog.visibility import Viewer

_VISIBILITIES: Mapping[str, str] = {"public": "publicize_image", "community": "communitize_image"}
"""What takes a rule of its own to make of an image."""

_BY_SERVICES = frozenset({"add_image_location", "fetch_image_location"})
"""What services ask for on behalf of users: the roles of both count (§1.2)."""


def viewer(who: Context) -> Viewer:
    """With whose eyes `who` looks at images."""
    return Viewer(who.project, sees_all=who.is_admin)


def visible_image(tx: Tx, who: Context, image_id: str) -> ImageRecord:
    """The image, if `who` may see it (§14.1). Raises `NotFound`, in the same words as for one that does not exist."""
    return image_for(tx, who, image_id, "get_image")


def image_for(tx: Tx, who: Context, image_id: str, rule: str) -> ImageRecord:
    """The image, if the rule lets `who` do with it what it asks for. Raises as `require`."""
    image = tx.images.get(image_id, viewer(who))
    require(who, rule, image)
    return image


def image_to_change(tx: Tx, who: Context, image_id: str, rule: str = "modify_image") -> ImageRecord:
    """The image, locked until the transaction ends, if the rule lets `who` change it. Raises as `require`."""
    image = tx.images.get_to_change(image_id, viewer(who))
    require(who, rule, image)
    return image


def require(who: Context, rule: str, image: ImageRecord) -> None:
    """Raise a 403 unless the rule lets `who` do with the image what it is about; a 404 if it may not even see it."""
    if may(who, rule, image):
        return
    if rule == "get_image" or not may(who, "get_image", image):
        raise no_image(image.id)
    raise _forbidden(rule, f"image {image.id}")


def may(who: Context, rule: str, image: ImageRecord) -> bool:
    """Whether the rule lets `who` do with the image, one that its `viewer` sees, what it is about."""
    return _allows(who, rule, _ImageTarget(image, who))


def require_rule(who: Context, rule: str) -> None:
    """Raise a 403 unless the rule lets `who` do what it is about, which is nothing that belongs to a project."""
    if not _allows(who, rule, {"project_id": who.project}):
        raise _forbidden(rule)


def require_may_add(who: Context, new: NewImage) -> None:
    """Raise a 403 unless `who` may make this image."""
    target = _ImageTarget(new, who)
    if not _allows(who, "add_image", target):
        if new.owner != who.project:
            raise falcon.HTTPForbidden(description="'owner' must be your own project.")
        raise _forbidden("add_image")
    rule = _VISIBILITIES.get(new.visibility)
    if rule is not None and not _allows(who, rule, target):
        raise _forbidden(rule, f"'visibility' {new.visibility}")
    for name in new.properties:
        require_property(who, "create", name)


def require_may_show(who: Context, image: ImageRecord, visibility: str) -> None:
    """Raise a 403 unless `who` may give the image this visibility."""
    rule = _VISIBILITIES.get(visibility)
    if rule is not None and not may(who, rule, image):
        raise _forbidden(rule, f"'visibility' {visibility}")


def require_may_give_away(who: Context) -> None:
    """Raise a 403 unless `who` may set the owner of an image that exists."""
    if not who.is_admin:
        raise falcon.HTTPForbidden(description="'owner' of an image is changed by administrators only.")


def listed(who: Context, images: list[ImageRecord]) -> list[ImageRecord]:
    """Those of a list's images that `who` may get."""
    # With its default, a reader may get whatever its lists have, and an administrator everything.
    settled = "admin" in who.roles or ("reader" in who.roles and not who.is_admin)
    if not (settled and who.rules.is_default("get_image")):
        images = [image for image in images if may(who, "get_image", image)]
    return images


def may_see_locations(who: Context, image: ImageRecord) -> bool:
    """Whether `who` may see where the image's data is; of one that is deactivated, only an administrator."""
    return may(who, "get_image_location", image) and (image.status != "deactivated" or who.is_admin)


def may_name_any_location(who: Context) -> bool:
    """Whether `who` may register what is in any store, as administrators and services, also on a user's behalf; others
    only what is on the web anyway (§12).
    """
    return who.is_admin or "service" in who.roles | who.service_roles


# -- properties that are protected (§14.5)


def as_seen(who: Context, image: ImageRecord) -> ImageRecord:
    """The image without the properties that `who` may not read."""
    if not (who.rules.protections and image.properties):
        return image
    seen = {name: value for name, value in image.properties.items() if may_with_property(who, "read", name)}
    return replace(image, properties=seen)


def as_asked(who: Context, given: Mapping[str, object]) -> dict[str, object]:
    """What an image was asked to be, without the properties that `who` may not read."""
    return {name: value for name, value in given.items() if name in WRITABLE or may_with_property(who, "read", name)}


def require_property(who: Context, operation: str, name: str) -> None:
    """Raise a 403 unless `who` may create, update or delete the property."""
    if not may_with_property(who, operation, name):
        raise falcon.HTTPForbidden(description=f"Property {name!r} is protected: you may not {operation} it.")


def may_with_property(who: Context, operation: str, name: str) -> bool:
    """Whether `who` may do the operation (of `api.protections.OPERATIONS`) to the property."""
    protections = who.rules.protections
    if not protections:
        return True
    if not protections.by_policies:
        return protections.permit(operation, name, (who.roles | who.service_roles).__contains__)
    values = _credentials(who, with_service=True)
    return protections.permit(operation, name, lambda rule: who.rules.allows(rule, {}, values))


# -- tasks and members, which are shown to whom they concern


def may_see_task(who: Context, task: TaskRecord) -> bool:
    """Whether a task is shown to `who`: those that its own project asked for, to an administrator all."""
    return who.is_admin or (who.project is not None and task.owner == who.project)


def may_see_member(who: Context, image: ImageRecord, member: Member) -> bool:
    """Whether a member of an image is shown to `who`: to the image's owner all, to a member itself."""
    return who.is_admin or _owns(who, image) or member.member == who.project


def require_may_answer(who: Context, image: ImageRecord, member: str) -> None:
    """Raise a 403 unless `who` may answer for the project `member`; the owner of the image may not."""
    require(who, "modify_member", image)
    if not (who.is_admin or who.project == member):
        raise falcon.HTTPForbidden(description=f"Whether {member} accepts the image is for itself to say.")


class _ImageTarget(dict[str, Any]):
    """An image, also one that is to be made, under the names that rules know, filled in as they ask.

    What has no value is not there, so nobody without a project counts as the owner of an image without one.
    """

    __slots__ = ("_image", "_who")

    def __init__(self, image: ImageRecord | NewImage, who: Context) -> None:
        super().__init__()
        self._image = image
        self._who = who

    def __missing__(self, name: str) -> Any:
        value = self._value(name)
        if value is None:
            raise KeyError(name)
        return value

    def _value(self, name: str) -> Any:
        image = self._image
        if name in ("project_id", "owner", "tenant"):
            return image.owner
        if name == "member_id":
            return _invited(self._who, image) if isinstance(image, ImageRecord) else None
        if name == "image_id":
            return image.id
        return getattr(image, name, None) if name in _ATTRIBUTES else image.properties.get(name)


_ATTRIBUTES = frozenset(ImageRecord.__dataclass_fields__) - {"properties", "locations"}


def _invited(who: Context, image: ImageRecord) -> str | None:
    """The project that the image is shared with, if it is that of `who`: who sees a shared image of others is a member
    of it, whatever its answer was (§14.1).
    """
    others = image.visibility == "shared" and image.owner is not None and not _owns(who, image)
    return who.project if others and not who.is_admin else None


def _owns(who: Context, image: ImageRecord) -> bool:
    return who.project is not None and image.owner == who.project


def _allows(who: Context, rule: str, target: Mapping[str, Any]) -> bool:
    return who.rules.allows(rule, target, _credentials(who, with_service=rule in _BY_SERVICES))


def _credentials(who: Context, *, with_service: bool) -> Mapping[str, Any]:
    values = who.to_policy_values()
    if with_service and who.service_roles:
        values["roles"] = sorted(who.roles | who.service_roles)
    return values


def _forbidden(rule: str, what: str = "") -> falcon.HTTPForbidden:
    """The refusal by a rule; its name is what an operator is asked about."""
    return falcon.HTTPForbidden(
        description=f"You may not do this{f' with {what}' if what else ''} (policy rule {rule})."
    )
