"""Who may see an image, and who gets it in lists (http-api §14.1, §14.2), as conditions on a row of `images`.

In them the parameters `project` and `answers` stand for the viewer's, so that one statement serves every viewer.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Text, and_, bindparam, or_, select, true

from catalog import tables as t

VISIBILITIES = ("public", "community", "shared", "private")

_PROJECT = bindparam("project", type_=Text)
"""May be null; then nothing equals it."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a member of `project` (None: of none), or, with `sees_all`, one from whom nothing is hidden."""

    project: str | None
    sees_all: bool = False


EVERYTHING = Viewer(None, sees_all=True)
"""Looks without anybody's eyes: the service itself."""


def may_see(sees_all: bool) -> ColumnElement[bool]:
    """Whether the image may be seen by its id: a project that it is shared with sees it whatever it answered."""
    if sees_all:
        return true()
    image, member = t.images.c, t.image_members.c
    shared = select(member.image_id).where(member.image_id == image.id, member.member == _PROJECT).exists()
    return or_(
        image.visibility.in_(("public", "community")),
        image.owner == _PROJECT,
        image.owner.is_(None),
        and_(image.visibility == "shared", shared),
    )


def listed(sees_all: bool, *, strangers: bool, among: Collection[str]) -> list[ColumnElement[bool]]:
    """Which images a list shows: those that meet one of the conditions, and none meets two of them. Each leads to its
    images by an index, which one condition with OR in it could not.

    Only images whose visibility is `among` those are asked for. Of those shared with the viewer's project, a list has
    the ones that it gave one of `answers`; of other projects' community images all (`strangers`) or none.
    """
    image = t.images.c
    if sees_all:
        return [true() if strangers else or_(image.visibility != "community", image.owner == _PROJECT)]
    return [image.owner == _PROJECT, *(and_(theirs, _NOT_OWN) for theirs in _of_others(strangers, among))]


_NOT_OWN = (t.images.c.owner == _PROJECT).is_not(true())


def _of_others(strangers: bool, among: Collection[str]) -> Iterator[ColumnElement[bool]]:
    image, member = t.images.c, t.image_members.c
    if "public" in among:
        yield image.visibility == "public"
    if "community" in among and strangers:
        yield image.visibility == "community"
    if "shared" in among:
        answered = select(member.image_id).where(
            member.member == _PROJECT, member.status.in_(bindparam("answers", expanding=True))
        )
        yield and_(image.visibility == "shared", image.id.in_(answered))
