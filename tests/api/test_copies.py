"""Asking for copies of an image (http-api §6)."""

import dataclasses

import pytest

from tests.api.service import Service, ask

COPY = {"method": {"name": "copy-image"}}


@pytest.fixture
def copying(service: Service) -> Service:
    """The service, which offers copies too."""
    options = dataclasses.replace(service.runtime.options, methods=("web-download", "copy-image"))
    return Service(dataclasses.replace(service.runtime, options=options))


def test_a_copy_is_accepted_and_the_image_stays_active(copying: Service) -> None:
    # Given an image in the default store
    image = copying.active({"cheap": b"data"})

    answer = ask(copying, image, COPY | {"stores": ["bulk", "fast"]})

    assert (answer.status_code, answer.content) == (202, b"")
    shown = copying.client.simulate_get(f"/v2/images/{image}").json
    assert (shown["status"], shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == (
        "active",
        "bulk,fast",
        "",
    )
    assert copying.doorbell.rung == [(shown["os_glance_import_task"], 0)]
    # And its data is served meanwhile, and nothing else is begun
    assert copying.client.simulate_get(f"/v2/images/{image}/file").content == b"data"
    assert ask(copying, image, COPY | {"stores": ["bulk"]}).status_code == 409


@pytest.mark.parametrize(
    ("body", "header", "status", "named"),
    [
        (COPY, "", 400, "cheap"),
        (COPY, "cheap", 400, "cheap"),
        (COPY | {"stores": ["bulk", "cheap"]}, "", 400, "cheap"),
        (COPY | {"stores": ["mirror"]}, "", 400, "read-only"),
        (COPY | {"stores": ["moon"]}, "", 409, "moon"),
        (COPY | {"all_stores": True}, "bulk", 400, "'all_stores'"),
    ],
)
def test_a_copy_that_is_refused(copying: Service, body: object, header: str, status: int, named: str) -> None:
    image = copying.active({"cheap": b"data"})

    answer = ask(copying, image, body, **{"X-Image-Meta-Store": header, "Accept": "text/plain"})

    assert (answer.status_code, named in answer.text) == (status, True), answer.text
    assert copying.doorbell.rung == []


def test_only_an_active_image_is_copied(copying: Service) -> None:
    answer = ask(copying, copying.image(), COPY | {"stores": ["bulk"]}, Accept="text/plain")

    assert (answer.status_code, "in status queued" in answer.text) == (409, True)


def test_with_nothing_left_to_copy_a_finished_task_says_so(copying: Service) -> None:
    image = copying.active({"cheap": b"data", "fast": b"data", "bulk": b"data"})

    answer = ask(copying, image, COPY | {"all_stores": True})

    assert (answer.status_code, answer.content) == (202, b"")
    shown = copying.client.simulate_get(f"/v2/images/{image}").json
    assert (shown["status"], shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == (
        "active",
        "",
        "",
    )
    assert "os_glance_import_task" not in shown
    task = copying.client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"][-1]
    assert (task["status"], task["message"]) == (
        "success",
        "Nothing to copy: the image is in bulk, cheap, fast already.",
    )
    assert task["request_id"] == answer.headers["x-openstack-request-id"]
    assert copying.doorbell.rung == []
