"""The projects that an image is shared with (http-api §8)."""

import falcon

from api import rights
from api.bodies import answer, no_body, read_object
from api.context import caller
from api.options import ApiOptions
from api.schemas import MEMBER
from api.validation import complaint, require_few
from catalog.engine import isoformat
from catalog.images import ImageRecord
from catalog.members import Member
from flows.runtime import Runtime

_ID = {"type": "string", "maxLength": 255}


class Members:
    """`/v2/images/{image_id}/members`."""

    def __init__(self, runtime: Runtime, options: ApiOptions) -> None:
        self._catalog = runtime.catalog
        self._quota = options.member_quota

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Share the image with a project: 200 (not 201), and the member is pending until it answers."""
        member = _text(req, "member", _ID)
        with self._catalog.begin() as tx:
            _require_shared(rights.image_to_change(tx, caller(req), image_id, "add_member"))
            known = [one.member for one in tx.members.of_image(image_id)]
            if member not in known:
                require_few([*known, member], "members", self._quota)
            added = tx.members.add(image_id, member)
        answer(resp, show(added))

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Its owner and administrators see all members, a member sees itself."""
        no_body(req)
        who = caller(req)
        with self._catalog.read() as tx:
            image = rights.visible_image(tx, who, image_id)
            _require_shared(image)
            rights.require(who, "get_members", image)
            members = [one for one in tx.members.of_image(image_id) if rights.may_see_member(who, image, one)]
        answer(resp, {"members": [show(member) for member in members], "schema": "/v2/schemas/members"})


class ImageMember:
    """`/v2/images/{image_id}/members/{member}`."""

    def __init__(self, runtime: Runtime) -> None:
        self._catalog = runtime.catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str, member: str) -> None:
        """The member; 404 for whatever is not to be seen."""
        no_body(req)
        who = caller(req)
        with self._catalog.read() as tx:
            image = rights.visible_image(tx, who, image_id)
            found = tx.members.get(image_id, member)
        shown = image.visibility == "shared" and rights.may(who, "get_member", image)
        if not shown or not rights.may_see_member(who, image, found):
            raise falcon.HTTPNotFound(description=f"Image {image_id} is not shared with {member}.")
        answer(resp, show(found))

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, member: str) -> None:
        """The member's own answer: whether its lists show the image."""
        status, who = _text(req, "status", MEMBER["status"]), caller(req)
        with self._catalog.begin() as tx:
            image = rights.visible_image(tx, who, image_id)
            _require_shared(image)
            rights.require_may_answer(who, image, member)
            answered = tx.members.answer(image_id, member, status)
        answer(resp, show(answered))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, member: str) -> None:
        """Share the image with the project no longer: 204."""
        no_body(req)
        with self._catalog.begin() as tx:
            _require_shared(rights.image_to_change(tx, caller(req), image_id, "delete_member"))
            tx.members.remove(image_id, member)
        resp.status = falcon.HTTP_204


def show(member: Member) -> dict[str, object]:
    """Return the JSON object of a member."""
    return {
        "member_id": member.member,
        "image_id": member.image_id,
        "status": member.status,
        "created_at": isoformat(member.created_at),
        "updated_at": isoformat(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def _text(req: falcon.Request, name: str, schema: dict[str, object]) -> str:
    """The one member of the body that matters. Raises a 400 where it is missing, empty or malformed."""
    body = read_object(req)
    if not body.get(name):
        raise falcon.HTTPBadRequest(description=f"{name!r} is missing.")
    if wrong := complaint(name, body[name], schema):
        raise falcon.HTTPBadRequest(description=wrong)
    return str(body[name])


def _require_shared(image: ImageRecord) -> None:
    if image.visibility != "shared":
        raise falcon.HTTPForbidden(description="Only shared images have members.")
