"""Who may see an image, and who gets it in lists (http-api §14.1, §14.2), as conditions on a row of `images`."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, false, or_, select, true

from catalog import tables as t
from catalog.members import STATUSES


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a member of `project` (None: of none), or, with `sees_all`, one from whom nothing is hidden."""

    project: str | None
    sees_all: bool = False


EVERYTHING = Viewer(None, sees_all=True)
"""Looks without anybody's eyes: the service itself."""


def may_see(viewer: Viewer) -> ColumnElement[bool]:
    """Whether the image may be seen by its id: a project that it is shared with sees it whatever it answered."""
    if viewer.sees_all:
        return true()
    return or_(_offered(viewer, STATUSES), t.images.c.owner.is_(None))


def is_listed(viewer: Viewer, answers: Sequence[str], *, strangers: bool) -> ColumnElement[bool]:
    """Whether a list shows the image: of those shared with the viewer's project, what it gave one of `answers`; of
    other projects' community images all (`strangers`) or none.
    """
    seen = true() if viewer.sees_all else _offered(viewer, answers)
    return seen if strangers else and_(seen, or_(t.images.c.visibility != "community", _own(viewer)))


def _offered(viewer: Viewer, answers: Sequence[str]) -> ColumnElement[bool]:
    image, member = t.images.c, t.image_members.c
    # Not correlated, so that a database looks the project's images up once for a whole list.
    shared = select(member.image_id).where(member.member == viewer.project, member.status.in_(answers))
    return or_(
        image.visibility.in_(("public", "community")),
        _own(viewer),
        and_(image.visibility == "shared", image.id.in_(shared)),
    )


def _own(viewer: Viewer) -> ColumnElement[bool]:
    return t.images.c.owner == viewer.project if viewer.project is not None else false()
