"""Members, and who sees what because of them: http-api §8, §14.1 and §14.2, on both databases."""

from collections.abc import Callable
from functools import partial

import pytest

from catalog.catalog import Catalog
from catalog.errors import BadMarker, Duplicate, NotFound
from catalog.listing import ImageQuery
from catalog.members import STATUSES, Member
from catalog.visibility import EVERYTHING, Viewer
from tests.catalog.at_once import at_once
from tests.catalog.rows import new_image

VISIBILITIES = ("public", "private", "shared", "community")


class TestRows:
    """`Members`."""

    def test_the_life_of_a_member(self, catalog: Catalog) -> None:
        """Given a shared image, when it is shared, answered, no longer shared, and shared again, then it is so."""
        image_id = new_image(catalog)
        with catalog.begin() as tx:
            added = tx.members.add(image_id, "q")
        assert added == Member(image_id, "q", "pending", added.created_at, added.created_at)
        catalog.database.skew = 1.0
        with catalog.begin() as tx:
            answered = tx.members.answer(image_id, "q", "accepted")
            tx.members.add(image_id, "a")
        assert (answered.status, answered.created_at) == ("accepted", added.created_at)
        assert answered.updated_at > added.updated_at
        with catalog.begin() as tx:
            assert [member.member for member in tx.members.of_image(image_id)] == ["a", "q"]
            assert tx.members.get(image_id, "q") == answered
            tx.members.remove(image_id, "q")
            assert tx.members.add(image_id, "q").status == "pending"

    def test_what_is_not_there(self, catalog: Catalog) -> None:
        image_id, other = new_image(catalog), new_image(catalog)
        with catalog.begin() as tx:
            tx.members.add(other, "q")
            assert tx.members.of_image(image_id) == []
        for act in ("get", "remove"):
            with pytest.raises(NotFound, match="q"), catalog.begin() as tx:
                getattr(tx.members, act)(image_id, "q")
        with pytest.raises(NotFound, match="q"), catalog.begin() as tx:
            tx.members.answer(image_id, "q", "accepted")

    def test_shared_once(self, catalog: Catalog) -> None:
        """Given an image, when it is shared with one project many times at once, then once."""
        image_id = new_image(catalog)

        def share() -> bool:
            try:
                with catalog.begin() as tx:
                    tx.members.add(image_id, "q")
            except Duplicate:
                return False
            return True

        assert sorted(at_once(*[share] * 4)) == [False, False, False, True]


def everybodys(catalog: Catalog) -> dict[str, str]:
    """Images of three owners in every visibility, and one shared with `me` for each answer; name → id."""
    made = {}
    for owner in ("me", "you", None):
        for visibility in VISIBILITIES:
            name = f"{owner} {visibility}"
            made[name] = new_image(catalog, name=name, owner=owner, visibility=visibility)
    for answer in STATUSES:
        for visibility in ("shared", "private"):
            name = f"{answer} {visibility}"
            made[name] = new_image(catalog, name=name, owner="you", visibility=visibility)
            with catalog.begin() as tx:
                tx.members.add(made[name], "me")
                tx.members.add(made[name], "she")
                tx.members.answer(made[name], "me", answer)
    return made


ME, ADMIN, NOBODY = Viewer("me"), Viewer("me", sees_all=True), Viewer(None)
MINE = {f"me {visibility}" for visibility in VISIBILITIES}
PUBLIC = {"you public", "None public"}
COMMUNITY = {"you community", "None community"}
ALL = {f"{owner} {visibility}" for owner in ("me", "you", None) for visibility in VISIBILITIES}
ALL |= {f"{answer} {visibility}" for answer in STATUSES for visibility in ("shared", "private")}


def listed(catalog: Catalog, viewer: Viewer, visibility: str | None, *answers: str) -> set[str]:
    query = ImageQuery(
        limit=100,
        viewer=viewer,
        answers=answers or ("accepted",),
        strangers=visibility is not None,
        one_of={"visibility": (visibility,)} if visibility in VISIBILITIES else {},
    )
    with catalog.read() as tx:
        return {str(image.name) for image in tx.images.page(query)}


@pytest.mark.parametrize(
    ("viewer", "visibility", "answers", "shown"),
    [
        (ME, None, (), MINE | PUBLIC | {"accepted shared"}),
        (ME, None, ("pending",), MINE | PUBLIC | {"pending shared"}),
        (ME, None, STATUSES, MINE | PUBLIC | {f"{answer} shared" for answer in STATUSES}),
        (ME, "public", (), {"me public"} | PUBLIC),
        (ME, "private", (), {"me private"}),
        (ME, "community", (), {"me community"} | COMMUNITY),
        (ME, "shared", (), {"me shared", "accepted shared"}),
        (ME, "shared", ("rejected",), {"me shared", "rejected shared"}),
        (ME, "all", (), MINE | PUBLIC | COMMUNITY | {"accepted shared"}),
        (ADMIN, None, (), ALL - COMMUNITY),
        (ADMIN, "community", (), {"me community"} | COMMUNITY),
        (ADMIN, "shared", (), {name for name in ALL if name.endswith("shared")}),
        (ADMIN, "all", (), ALL),
        (NOBODY, None, (), PUBLIC | {"me public"}),
        (NOBODY, None, STATUSES, PUBLIC | {"me public"}),
        (NOBODY, "shared", STATUSES, set()),
        (NOBODY, "private", (), set()),
        (NOBODY, "community", (), COMMUNITY | {"me community"}),
        (Viewer("she"), "shared", ("pending",), {f"{answer} shared" for answer in STATUSES}),
        (Viewer("she"), "shared", ("accepted",), set()),
    ],
)
def test_who_gets_what_in_lists(
    catalog: Catalog, viewer: Viewer, visibility: str | None, answers: tuple[str, ...], shown: set[str]
) -> None:
    everybodys(catalog)

    assert listed(catalog, viewer, visibility, *answers) == shown


UNOWNED = {name for name in ALL if name.startswith("None")}
SHARED_WITH_ME = {f"{answer} shared" for answer in STATUSES}


@pytest.mark.parametrize(
    ("viewer", "seen"),
    [
        (EVERYTHING, ALL),
        (ADMIN, ALL),
        (ME, MINE | PUBLIC | COMMUNITY | UNOWNED | SHARED_WITH_ME),
        (NOBODY, PUBLIC | COMMUNITY | UNOWNED | {"me public", "me community"}),
        (Viewer("she"), PUBLIC | COMMUNITY | UNOWNED | SHARED_WITH_ME | {"me public", "me community"}),
    ],
)
def test_who_sees_what_by_its_id(catalog: Catalog, viewer: Viewer, seen: set[str]) -> None:
    """The same for who reads it, who wants to change it, and who goes on after it in a list."""
    found: dict[str, set[str]] = {"get": set(), "get_to_change": set(), "marker": set()}
    for name, image_id in everybodys(catalog).items():
        with catalog.begin() as tx:
            looks: dict[str, Callable[[], object]] = {
                "get": partial(tx.images.get, image_id, viewer),
                "get_to_change": partial(tx.images.get_to_change, image_id, viewer),
                "marker": partial(tx.images.page, ImageQuery(limit=1, marker=image_id, viewer=viewer)),
            }
            for how, look in looks.items():
                try:
                    look()
                except (NotFound, BadMarker):
                    continue
                found[how].add(name)
    assert found == dict.fromkeys(found, seen)
