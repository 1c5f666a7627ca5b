"""What a project may have: 413 before anything is taken, and while bytes come; and what it is told of that."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.context import caller_of, implied
from api.options import ApiOptions
from flows.errors import LimitsUnknown
from flows.limits import limits_of
from flows.options import Limits
from tests.api.house import House, faulty_stores
from tests.api.sending import DATA, put, put_chunked, show
from tests.api.service import IMPORT, ask, runtime

MIB = 1 << 20
METHODS = ("glance-direct", "web-download", "copy-image")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    wired = runtime(tmp_path, faulty_stores())
    yield House(replace(wired, options=replace(wired.options, methods=METHODS)))
    wired.close()


def limited(house: House, **limits: int) -> House:
    """The same service with limits."""
    return House(replace(house.runtime, limits=Limits(**limits)))


def usage(house: House) -> Any:
    return house.client.simulate_get("/v2/info/usage").json


class TestTold:
    def test_without_limits(self, house: House) -> None:
        assert usage(house) == {"usage": {}}

    def test_with_some(self, house: House) -> None:
        """Given limits, then each is told with what is used of it, sizes in MiB; what has none says -1."""
        house = limited(house, stored=10 * MIB, images=7)
        house.active({"cheap": b"x" * MIB, "fast": b"x" * MIB})
        house.image()
        assert usage(house) == {
            "usage": {
                "image_size_total": {"limit": 10, "usage": 2},
                "image_stage_total": {"limit": -1, "usage": 0},
                "image_count_total": {"limit": 7, "usage": 2},
                "image_count_uploading": {"limit": -1, "usage": 0},
            }
        }


class TestKept:
    def test_images(self, house: House) -> None:
        house = limited(house, images=2)
        answers = [house.client.simulate_post("/v2/images", json={"name": "x"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 413]
        assert "may have 2 images: it has 2, and 1 more are asked for" in answers[2].text

    @pytest.mark.parametrize("to", ["file", "stage"])
    def test_images_on_their_way(self, house: House, to: str) -> None:
        house = limited(house, uploading=1)
        first, second = house.image(), house.image()
        house.importing(first)
        assert put(house, second, to=to).status_code == 413
        assert ask(house, second).status_code == 413
        assert show(house, second)["status"] == "queued"

    def test_uploaded_bytes_that_are_announced(self, house: House) -> None:
        """Given a size that does not fit, then nothing is read; one that just fits is taken."""
        house = limited(house, stored=2 * len(DATA))
        images = [house.image() for _ in range(3)]
        codes = [put(house, image, to="file").status_code for image in images]
        assert codes == [204, 204, 413]
        assert show(house, images[2])["status"] == "queued"

    @pytest.mark.parametrize(("to", "limit"), [("file", "stored"), ("stage", "staged")])
    def test_bytes_that_nobody_announced(self, house: House, to: str, limit: str) -> None:
        """Given a body without a size, then it is cut off where it becomes too much, and nothing of it stays."""
        house = limited(house, **{limit: len(DATA) + 10})
        first, second = house.image(), house.image()
        assert put_chunked(house, first, io.BytesIO(DATA), to=to).status_code == 204
        answer = put_chunked(house, second, io.BytesIO(DATA), to=to)
        assert (answer.status_code, "more than the 10 bytes allowed" in answer.text) == (413, True)
        assert show(house, second)["status"] == "queued"

    def test_staged_bytes_that_are_announced(self, house: House) -> None:
        house = limited(house, staged=len(DATA))
        first, second = house.image(), house.image()
        assert (put(house, first).status_code, put(house, second, b"1").status_code) == (204, 413)

    def test_what_takes_the_place_of_something_wrong(self, house: House) -> None:
        """Given data that an import has found to be wrong, then what comes instead has its room, and no more."""
        house = limited(house, staged=len(DATA), uploading=1)
        image = house.image()
        assert put(house, image).status_code == 204
        assert put(house, image).status_code == 409
        assert ask(house, image, {"method": {"name": "glance-direct"}}).status_code == 202
        with house.catalog.fenced(house.entered(show(house, image)["os_glance_import_task"])) as tx:
            tx.restage()
            tx.fail(code="checksum_mismatch", message="It is another.", keep_for=60)
        assert put(house, image, DATA + b"1").status_code == 413
        assert put_chunked(house, image, io.BytesIO(DATA)).status_code == 204
        assert (show(house, image)["status"], show(house, image)["size"]) == ("uploading", len(DATA))

    def test_what_is_imported_into_several_stores(self, house: House) -> None:
        """Given staged data that fits once, then it cannot be imported into two stores; what is staged counts once."""
        house = limited(house, stored=len(DATA), staged=len(DATA), uploading=1)
        image = house.image()
        put(house, image)
        body = {"method": {"name": "glance-direct"}, "stores": ["cheap", "fast"]}
        assert ask(house, image, body).status_code == 413
        assert show(house, image)["status"] == "uploading"
        assert ask(house, image, body | {"stores": ["cheap"]}).status_code == 202

    def test_what_is_copied(self, house: House) -> None:
        house = limited(house, stored=2 * len(DATA))
        image = house.active({"cheap": DATA})
        copy = {"method": {"name": "copy-image"}}
        assert ask(house, image, copy | {"stores": ["fast", "bulk"]}).status_code == 413
        assert ask(house, image, copy | {"stores": ["fast"]}).status_code == 202

    @pytest.mark.parametrize(
        ("project", "roles", "figures"), [("mine", (), True), ("yours", (), False), ("yours", ("admin",), True)]
    )
    def test_what_another_project_uses_is_not_told(
        self, house: House, tmp_path: Path, project: str, roles: tuple[str, ...], figures: bool
    ) -> None:
        """Given a public image that everybody may copy, then who copies it learns no figures of its owner."""
        (tmp_path / "policy.json").write_text('{"copy_image": "@"}')
        image = house.active({"cheap": DATA}, owner="mine", visibility="public")
        copies = limited(house, stored=len(DATA)).runtime
        who = caller_of(project, "u", implied(frozenset({"member", *roles})), "req-1")
        asked = House(copies, ApiOptions(policy_file=str(tmp_path / "policy.json")), lambda *_: who)
        answer = ask(asked, image, {"method": {"name": "copy-image"}, "stores": ["fast"]}, Accept="application/json")
        assert answer.status_code == 413
        assert (f"it has {len(DATA)}" in answer.text) == figures
        assert answer.json["message"].startswith("Project mine ")

    def test_who_has_too_much_already(self, house: House) -> None:
        """Given a project over its limit, then nothing more is brought, whatever its size; what is there stays."""
        image = house.active({"cheap": DATA})
        house = limited(house, stored=len(DATA) - 1)
        assert ask(house, house.image(), IMPORT).status_code == 413
        assert house.client.simulate_get(f"/v2/images/{image}/file").content == DATA

    def test_an_import_the_old_way(self, house: House) -> None:
        house = limited(house, images=0)
        given = {"import_from": "http://example.org/x", "import_from_format": "raw", "image_properties": {}}
        answer = house.client.simulate_post("/v2/tasks", json={"type": "import", "input": given})
        assert (answer.status_code, house.client.simulate_get("/v2/images").json["images"]) == (413, [])

    def test_only_its_own(self, house: House) -> None:
        """Given what another project has, then it does not count."""
        house = limited(house, images=1)
        house.image(owner="other")
        assert house.client.simulate_post("/v2/images", json={}).status_code == 201


class Say:
    """Who says what each project may have, and knows only some."""

    def __init__(self, **limits: Limits) -> None:
        self._limits = limits

    def of(self, project: str, /) -> Limits:
        if project not in self._limits:
            raise LimitsUnknown("Nobody can be asked.")
        return self._limits[project]


class TestSaidByOthers:
    """Limits that differ from project to project, and that may not be known."""

    def test_each_has_its_own(self, house: House) -> None:
        """Given limits by project, then an image counts for the project that owns it, whoever makes it."""
        house = House(replace(house.runtime, limits=Say(default=Limits(images=1), little=Limits(images=0))))
        assert house.client.simulate_post("/v2/images", json={"owner": "little"}).status_code == 413
        assert house.client.simulate_post("/v2/images", json={}).status_code == 201
        assert house.client.simulate_post("/v2/images", json={}).status_code == 413

    @pytest.mark.parametrize("to", ["file", "stage"])
    def test_nothing_is_brought_while_nobody_knows(self, house: House, to: str) -> None:
        """Given a source of limits that is away, then what needs one is refused for now, and leaves no trace; what
        needs none goes on.
        """
        away = House(replace(house.runtime, limits=Say()))
        image, active = house.image(), house.active({"cheap": DATA})
        old = {"import_from": "http://example.org/x", "import_from_format": "raw", "image_properties": {}}
        copy = {"method": {"name": "copy-image"}, "stores": ["fast"]}
        answers = [
            away.client.simulate_post("/v2/images", json={}),
            put(away, image, to=to),
            ask(away, image),
            ask(away, active, copy),
            away.client.simulate_post("/v2/tasks", json={"type": "import", "input": old}),
            away.client.simulate_get("/v2/info/usage"),
        ]
        assert [(answer.status_code, "Nobody can be asked" in answer.text) for answer in answers] == [(503, True)] * 6
        assert len(away.client.simulate_get("/v2/images").json["images"]) == 2
        assert show(away, image)["status"] == "queued"
        assert away.client.simulate_get(f"/v2/images/{active}/file").content == DATA
        assert away.client.simulate_delete(f"/v2/images/{image}").status_code == 204

    def test_in_the_words_of_glance(self) -> None:
        """Given limits in Glance's words, then sizes are MiB, -1 is none, and what is not said is nothing."""
        said = limits_of({"image_size_total": 3, "image_count_total": -1, "image_count_uploading": 2, "other": 1})
        assert said == Limits(stored=3 * MIB, staged=0, images=-1, uploading=2)
