"""Who may see an image, and who gets it in lists (http-api §14.1, §14.2), as conditions on a row of `images`.

In them the parameters `project` and `answers` stand for the viewer's, so that one statement serves every viewer.
"""

from collections.abc import Iterator
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


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list may have at all: with `strangers` community images of other projects too. Whoever reads it asks for
    images with one of the visibilities `among` alone, and for those of its own project, of `others`, or both.
    """

    sees_all: bool
    strangers: bool
    among: tuple[str, ...] = VISIBILITIES
    own: bool = True
    others: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """One part of a list: the images that meet `condition`.

    `few` says that it is best to find all of them before they are put in order. A database that takes them for many
    would rather look through all images in that order, until it has met enough of them or there are no more.
    """

    condition: ColumnElement[bool]
    few: bool = False


def listed(scope: Scope) -> list[Listed]:
    """Which images a list shows: the parts of it, none of which has an image of another.

    Each part leads to its images by an index, which one condition with OR in it could not. Of images shared with the
    viewer's project, a list has the ones that it gave one of `answers`.
    """
    image = t.images.c
    if scope.sees_all:
        return [Listed(true() if scope.strangers else or_(image.visibility != "community", image.owner == _PROJECT))]
    theirs = list(_of_others(scope)) if scope.others else []
    return [Listed(image.owner == _PROJECT), *theirs] if scope.own or not theirs else theirs


def _of_others(scope: Scope) -> Iterator[Listed]:
    image, member = t.images.c, t.image_members.c
    not_own = (image.owner == _PROJECT).is_not(true())
    if "public" in scope.among:
        yield Listed(and_(image.visibility == "public", not_own))
    if "community" in scope.among and scope.strangers:
        yield Listed(and_(image.visibility == "community", not_own))
    if "shared" in scope.among:
        answered = select(member.image_id).where(
            member.member == _PROJECT, member.status.in_(bindparam("answers", expanding=True))
        )
        yield Listed(and_(image.visibility == "shared", not_own, image.id.in_(answered)), few=True)
