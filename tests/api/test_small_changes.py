"""Tags one at a time, and images withheld: http-api §9 and §4.6."""

from urllib.parse import quote

import pytest
from falcon import testing

from tests.api.service import Service


def tag(service: Service, method: str, image: str, word: str, **more: object) -> testing.Result:
    path = f"/v2/images/{image}/tags/{quote(word)}"
    return service.client.simulate_request(method, path, **more)


def tags(service: Service, image: str) -> list[str]:
    with service.catalog.read() as tx:
        return list(tx.images.get(image).tags)


# -- tags


@pytest.mark.parametrize("word", ["a", "A", " a b ", "ä中", "a%b", "a?b#c", "x" * 255])
def test_a_tag_comes_and_goes(service: Service, word: str) -> None:
    image = service.image(tags=("old",))

    for _ in range(2):
        answer = tag(service, "PUT", image, word)
        assert (answer.status_code, answer.content) == (204, b"")
        assert tags(service, image) == sorted(["old", word])
    assert tag(service, "DELETE", image, word).status_code == 204
    assert tags(service, image) == ["old"]
    assert tag(service, "DELETE", image, word).status_code == 404


@pytest.mark.parametrize(
    ("method", "word", "status"),
    [
        ("PUT", "x" * 256, 400),
        ("PUT", "a\0", 400),
        ("PUT", "third", 413),
        ("PUT", "b", 204),
        ("DELETE", "third", 404),
        ("DELETE", "x" * 256, 404),
        ("GET", "a", 405),
        ("PUT", "", 404),
        ("PUT", "a/b", 404),
    ],
)
def test_tags_that_are_refused(service: Service, method: str, word: str, status: int) -> None:
    image = service.image(tags=("a", "b"))

    assert tag(service, method, image, word).status_code == status
    assert tags(service, image) == ["a", "b"]


def test_a_tag_that_is_there_changes_nothing(service: Service) -> None:
    image = service.image(tags=("a",))
    service.catalog.database.skew = 5.0

    tag(service, "PUT", image, "a")
    with service.catalog.read() as tx:
        assert tx.images.get(image).updated_at == tx.images.get(image).created_at
    tag(service, "PUT", image, "b")
    with service.catalog.read() as tx:
        assert tx.images.get(image).updated_at > tx.images.get(image).created_at


# -- deactivate, reactivate


def act(service: Service, image: str, action: str, **more: object) -> testing.Result:
    return service.client.simulate_post(f"/v2/images/{image}/actions/{action}", **more)


def test_a_deactivated_image_is_for_administrators_until_it_is_given_back(service: Service, tenant: Service) -> None:
    image = service.active({"cheap": b"abc"}, owner="mine")
    before = service.client.simulate_get(f"/v2/images/{image}").json

    def downloads() -> list[int]:
        return [s.client.simulate_get(f"/v2/images/{image}/file").status_code for s in (service, tenant)]

    for _ in range(2):
        answer = act(tenant, image, "deactivate")
        assert (answer.status_code, answer.content) == (204, b"")
        assert downloads() == [200, 403]
    shown = service.client.simulate_get(f"/v2/images/{image}").json
    assert shown == before | {"status": "deactivated", "updated_at": shown["updated_at"]}
    for _ in range(2):
        assert act(tenant, image, "reactivate").status_code == 204
        assert downloads() == [200, 200]


@pytest.mark.parametrize("action", ["deactivate", "reactivate"])
def test_what_has_no_data_cannot_be_withheld(service: Service, action: str) -> None:
    queued, importing = service.image(), service.image()
    service.importing(importing)

    for image, status in ((queued, "queued"), (importing, "importing")):
        answer = act(service, image, action)
        assert (answer.status_code, status in answer.text) == (403, True)
        assert service.client.simulate_get(f"/v2/images/{image}").json["status"] == status


def test_an_action_takes_no_body(service: Service) -> None:
    image = service.active({"cheap": b"abc"})

    assert act(service, image, "deactivate", body="{}").status_code == 400
    # glanceclient posts nothing, of this type
    nothing = {"Content-Type": "application/octet-stream", "Content-Length": "0"}
    assert act(service, image, "deactivate", headers=nothing).status_code == 204
    assert tag(service, "PUT", image, "a", body="{}").status_code == 400
    assert tag(service, "DELETE", image, "a", body="{}").status_code == 400


def test_there_is_no_other_action(service: Service) -> None:
    assert act(service, service.image(), "explode").status_code == 404
