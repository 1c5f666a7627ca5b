"""`locations` and `direct_url` of an image: who sees them, and when (http-api §3.1)."""

from dataclasses import replace
from pathlib import Path

import pytest

from api.options import ApiOptions
from tests.api.house import SHOWN, House
from tests.api.places import add, show
from tests.api.service import Service, runtime
from tests.api.test_delete_from_store import DATA
from tests.api.test_patch_image import patch
from tests.api.walks import OWNER, PEOPLE, VISIBILITIES, WALKS, an_image, seen_by, sees


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("direct", [False, True])
def test_shown_only_where_the_operator_says_so(tmp_path: Path, multiple: bool, direct: bool) -> None:
    """Given either option or none, then every answer with an image has what is switched on; without data there is an
    empty list, and no URL.
    """
    options = ApiOptions(show_multiple_locations=multiple, show_image_direct_url=direct)
    service = Service(runtime(tmp_path), options)
    image = service.active({"cheap": DATA, "fast": DATA})
    made = service.client.simulate_post("/v2/images", json={}).json
    key = service.key(image, "fast")

    for answer in (
        show(service, image),
        next(one for one in service.client.simulate_get("/v2/images").json["images"] if one["id"] == image),
        patch(service, image).json,
    ):
        # `fast` is the heaviest, from which it is read
        assert answer.get("direct_url") == (f"memory://fast/{key}" if direct else None)
        assert answer.get("locations") == (
            [
                {"url": f"memory://fast/{key}", "metadata": {"store": "fast"}},
                {"url": f"memory://cheap/{key}", "metadata": {"store": "cheap"}},
            ]
            if multiple
            else None
        )
        assert answer["stores"] == "fast,cheap"
    assert (made.get("locations"), "direct_url" in made) == ([] if multiple else None, False)


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("status", ["active", "deactivated"])
def test_shown_to_the_project_that_owns_the_image(tmp_path: Path, visibility: str, status: str) -> None:
    """Given everybody, then readers of the owner's project and administrators see where the data is, and nobody else
    by any call; of a deactivated image, only administrators.
    """
    service = Service(runtime(tmp_path))
    call = next(call for call in WALKS if call.status == "active")
    image = an_image(service, call, visibility)
    with service.catalog.begin() as tx:
        tx.images.switch(image, status)
    urls = [f"memory://{store}/{service.key(image, store)}" for store in ("bulk", "cheap")]

    for who, caller in PEOPLE.items():
        client = seen_by(service, caller)
        entitled = who == "admin" or (who in ("owner", "reader") and status == "active")
        listed = client.simulate_get("/v2/images?visibility=all&member_status=all").json["images"]
        answers = listed + ([client.simulate_get(f"/v2/images/{image}").json] if sees(who, visibility) else [])
        for shown in answers:
            assert ([at["url"] for at in shown.get("locations", [])] == urls) == entitled, who
            assert (shown.get("direct_url") == urls[0]) == entitled, who
            assert ("locations" in shown) == ("direct_url" in shown) == entitled
        assert entitled or not any("memory://" in str(shown) for shown in answers)


def test_a_rule_may_show_them_to_nobody(house: House, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text('{"get_image_location": "!"}')
    closed = House(house.runtime, replace(SHOWN, policy_file=str(tmp_path / "policy.json")))
    image = closed.active({"cheap": DATA})

    assert not {"locations", "direct_url"} & show(closed, image).keys()
    assert patch(closed, image, add()).status_code == 403


def test_a_rule_by_a_protected_property_sees_it(house: House, tmp_path: Path) -> None:
    """Given a property that the caller may not read, then a rule that asks for it is not misled by that."""
    (tmp_path / "policy.json").write_text(
        '{"get_image_location": "role:reader and not \'yes\':%(secret)s", "modify_image": "role:reader"}'
    )
    (tmp_path / "protected").write_text(
        "[secret]\ncreate = @\nread = boss\nupdate = @\ndelete = @\n[.*]\ncreate = @\nread = @\nupdate = @\ndelete = @"
    )
    options = replace(
        SHOWN, policy_file=str(tmp_path / "policy.json"), property_protection_file=str(tmp_path / "protected")
    )
    careful = House(house.runtime, options, lambda *_: PEOPLE["owner"])
    image = careful.active({"cheap": DATA}, owner=OWNER, properties={"secret": "yes"})

    assert not {"locations", "secret"} & show(careful, image).keys()
    assert patch(careful, image, add()).status_code == 403


def test_schema_and_description_have_both(house: House) -> None:
    properties = house.client.simulate_get("/v2/schemas/image").json["properties"]
    assert properties["locations"]["items"]["required"] == ["url", "metadata"]
    assert properties["direct_url"]["readOnly"] is True
    assert properties["locations"]["items"]["properties"]["validation_data"]["writeOnly"] is True
