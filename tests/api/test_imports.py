"""Imports and tasks: asking, watching, calling off."""

import dataclasses
from typing import Any

import pytest

from api.imports import import_request
from catalog.tasks import TaskRecord
from flows.errors import BadImportRequest
from flows.flow import Admission, ImportRequest
from flows.methods import FLOWS
from tests.api.service import IMPORT, URI, Service, ask

METHOD = {"name": "web-download", "uri": URI}


def only_task(service: Service, image: str) -> TaskRecord:
    with service.catalog.read() as tx:
        [task] = tx.tasks.of_image(image)
    return task


# -- asking


def test_an_accepted_import_is_on_record_before_the_answer(service: Service) -> None:
    image = service.image()

    answer = ask(service, image, **{"X-OpenStack-Request-ID": "req-42"})

    # Then the answer is empty, and everything a poller looks at is there
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["x-openstack-request-id"] == "req-42"
    task = only_task(service, image)
    assert (task.request_id, task.owner, task.user_id) == ("req-42", "default", "admin")
    assert (task.status, task.source, [t.store for t in task.targets]) == ("pending", {"uri": URI}, ["cheap"])
    assert service.doorbell.rung == [(task.id, 0)]
    shown = service.client.simulate_get(f"/v2/images/{image}").json
    assert (shown["status"], shown["os_glance_import_task"]) == ("importing", task.id)


@pytest.mark.parametrize(
    ("body", "header", "stores"),
    [
        ({}, "", ["cheap"]),
        ({}, "bulk", ["bulk"]),
        ({"stores": ["fast", "bulk"]}, "", ["fast", "bulk"]),
        ({"stores": ["fast"]}, "fast", ["fast"]),
        ({"all_stores": True}, "", ["fast", "cheap", "bulk"]),
        ({"all_stores_must_succeed": True, "method": METHOD | {"glance_region": ""}, "extra": 1}, "", ["cheap"]),
    ],
)
def test_target_stores(service: Service, body: dict[str, Any], header: str, stores: list[str]) -> None:
    image = service.image()

    assert ask(service, image, IMPORT | body, **{"X-Image-Meta-Store": header}).status_code == 202
    assert [target.store for target in only_task(service, image).targets] == stores


@pytest.mark.parametrize(
    ("body", "header", "status", "named"),
    [
        ({}, "", 400, "'method'"),
        ([], "", 400, "object"),
        ({"stores": ["cheap"]}, "", 400, "'method'"),
        ({"method": None}, "", 400, "'method'"),
        ({"method": "web-download"}, "", 400, "'method'"),
        ({"method": {}}, "", 400, "'method.name'"),
        ({"method": {"name": 1}}, "", 400, "'method.name'"),
        ({"method": {"name": "teleport"}}, "", 400, "offers: web-download"),
        ({"method": {"name": "web-download"}}, "", 400, "does not pass filtering"),
        ({"method": {"name": "web-download", "uri": 1}}, "", 400, "'method.uri'"),
        ({"method": {"name": "web-download", "uri": "ftp://h/x"}}, "", 400, "does not pass filtering"),
        ({"method": {"name": "web-download", "uri": "http://127.0.0.1/x"}}, "", 400, "does not pass filtering"),
        ({"method": {"name": "web-download", "uri": "http://h:99999/x"}}, "", 400, "does not pass filtering"),
        ({"method": METHOD | {"checksum": 1}}, "", 400, "'method.checksum'"),
        ({"method": METHOD | {"checksum": None}}, "", 400, "'method.checksum'"),
        ({"method": METHOD | {"checksum": "sha256:"}}, "", 400, "'method.checksum'"),
        ({"method": METHOD | {"checksum": "http://127.0.0.1/SUMS"}}, "", 400, "'method.checksum'"),
        ({"method": METHOD | {"checksum_of": []}}, "", 400, "'method.checksum_of'"),
        ({"method": METHOD | {"checksum_of": "both"}}, "", 400, "'method.checksum_of'"),
        (IMPORT | {"all_stores": "true"}, "", 400, "'all_stores'"),
        (IMPORT | {"all_stores": 1}, "", 400, "'all_stores'"),
        (IMPORT | {"all_stores": None}, "", 400, "'all_stores'"),
        (IMPORT | {"all_stores_must_succeed": "false"}, "", 400, "'all_stores_must_succeed'"),
        (IMPORT | {"stores": "cheap"}, "", 400, "'stores'"),
        (IMPORT | {"stores": [1]}, "", 400, "'stores'"),
        (IMPORT | {"stores": []}, "", 400, "'stores'"),
        (IMPORT | {"stores": ["cheap", "cheap"]}, "", 400, "'stores'"),
        (IMPORT | {"stores": ["mirror"]}, "", 400, "read-only"),
        (IMPORT | {"stores": ["cheap"], "all_stores": True}, "", 400, "'all_stores'"),
        (IMPORT | {"all_stores": True}, "cheap", 400, "'all_stores'"),
        (IMPORT | {"stores": ["cheap", "bulk"]}, "cheap", 400, "'stores'"),
        (IMPORT | {"stores": ["moon"]}, "", 409, "moon"),
        (IMPORT | {"stores": ["os_glance_staging_store"]}, "", 409, "os_glance_staging_store"),
        (IMPORT, "moon", 409, "moon"),
    ],
)
def test_a_refused_import_leaves_no_trace(service: Service, body: object, header: str, status: int, named: str) -> None:
    image = service.image()

    answer = ask(service, image, body, **{"X-Image-Meta-Store": header, "Accept": "text/plain"})

    assert (answer.status_code, named in answer.text) == (status, True), answer.text
    shown = service.client.simulate_get(f"/v2/images/{image}").json
    assert (shown["status"], "os_glance_import_task" in shown) == ("queued", False)
    assert service.doorbell.rung == []
    assert service.client.simulate_get(f"/v2/images/{image}/tasks").json == {"tasks": []}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"checksum": "MD5:" + "A" * 32}, {"checksum": "md5:" + "a" * 32, "checksum_of": "source"}),
        (
            {"checksum": "https://me:secret@example.org/SUMS", "checksum_of": "image"},
            {"checksum": "https://me:secret@example.org/SUMS#disk.img", "checksum_of": "image"},
        ),
    ],
)
def test_a_checksum_is_kept_for_the_worker(service: Service, asked: dict[str, str], kept: dict[str, str]) -> None:
    image = service.image()

    assert ask(service, image, {"method": METHOD | asked}).status_code == 202
    assert only_task(service, image).source == {"uri": URI} | kept
    assert "secret" not in service.client.simulate_get(f"/v2/images/{image}/tasks").text
    assert "secret" not in service.client.simulate_get(f"/v2/images/{image}/import").text


@pytest.mark.parametrize("raw", [b"", b"{", b"null"])
def test_an_import_without_a_body_is_400(service: Service, raw: bytes) -> None:
    assert service.client.simulate_post(f"/v2/images/{service.image()}/import", body=raw).status_code == 400


def test_what_is_malformed_is_said_before_what_is_unknown(service: Service) -> None:
    assert ask(service, "none", {}).status_code == 400
    assert ask(service, "none", {"method": {"name": "teleport"}}).status_code == 400
    assert ask(service, "none").status_code == 404


@pytest.mark.parametrize("missing", ["container_format", "disk_format"])
def test_formats_are_needed(service: Service, missing: str) -> None:
    answer = ask(service, service.image(**{missing: None}))

    assert (answer.status_code, missing in answer.text) == (409, True)


def test_one_import_at_a_time_and_none_into_an_active_image(service: Service) -> None:
    image = service.image()

    assert [ask(service, image).status_code for _ in range(2)] == [202, 409]
    assert ask(service, service.active({"cheap": b"x"})).status_code == 409
    assert len(service.doorbell.rung) == 1


def test_more_stores_than_locations_are_413(service: Service) -> None:
    options = dataclasses.replace(service.runtime.options, location_quota=2)
    small = Service(dataclasses.replace(service.runtime, options=options))

    assert ask(small, small.image(), IMPORT | {"all_stores": True}).status_code == 413


def test_the_request_is_frozen_as_it_was_asked() -> None:
    body = {"method": METHOD, "stores": ["a"], "all_stores_must_succeed": False}

    assert import_request(body, "", ("web-download",)) == ImportRequest(
        method="web-download", uri=URI, stores=("a",), all_stores_must_succeed=False, store_header=None, body=body
    )
    with pytest.raises(BadImportRequest):
        import_request(body, None, ())


# -- tasks

TASK_KEYS = (
    "id image_id type status owner user_id request_id created_at updated_at expires_at deleted deleted_at "
    "input result message"
).split()


def test_tasks_are_glances_records(service: Service) -> None:
    # Given an import that has come to an end
    image = service.image()
    ask(service, image, {"method": METHOD | {"uri": "http://me:secret@example.org/x"}, "stores": ["bulk"]})
    claim = service.entered(only_task(service, image).id)
    live = service.client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"][0]
    with service.catalog.fenced(claim) as tx:
        tx.set_target("bulk", "failed", code="store_full", reason="it is full")
        tx.fail(code="store_full", message="store bulk: it is full", keep_for=3600.0)

    [task] = service.client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"]

    # Then its task has these keys and no others, with raw times, and no secret
    assert sorted(task) == sorted(TASK_KEYS)
    assert (live["status"], live["expires_at"], live["result"]) == ("processing", None, None)
    assert (task["status"], task["message"], task["type"]) == ("failure", "store bulk: it is full", "api_image_import")
    assert (task["deleted"], task["deleted_at"], task["result"]) == (False, None, None)
    for key in ("created_at", "updated_at", "expires_at"):
        assert len(task[key]) == len("2026-11-22T10:00:00.000000")
    assert task["input"]["backend"] == ["bulk"]
    assert task["input"]["import_req"]["stores"] == ["bulk"]
    assert "secret" not in str(task)


def test_the_request_id_of_a_task_is_that_of_the_answer(service: Service) -> None:
    image = service.image()

    answer = ask(service, image)

    [task] = service.client.simulate_get(f"/v2/images/{image}/tasks").json["tasks"]
    assert task["request_id"] == answer.headers["x-openstack-request-id"]


def test_a_member_sees_the_tasks_of_its_project(service: Service, tenant: Service) -> None:
    image = service.image(owner="mine")
    service.importing(image)

    assert tenant.client.simulate_get(f"/v2/images/{image}/tasks").json == {"tasks": []}


# -- watching


def test_progress_tells_of_task_stores_and_attempts(service: Service, tenant: Service) -> None:
    # Given an import whose first try failed and whose second has brought some bytes
    image = service.image(owner="mine")
    task = service.importing(image, ["cheap", "bulk"], must_all=False)
    claim = service.entered(task)
    with service.catalog.fenced(claim) as tx:
        tx.retry_later(-1.0, code="source_broken", message="the source broke off after 5 of 10 bytes")
    service.catalog.lock.keeper.drop(claim)
    claim = service.entered(task)
    with service.catalog.fenced(claim) as tx:
        tx.begin_objects({"cheap": "k", "bulk": "k"})
        tx.progress("downloading", 7, 10, {"cheap": 7, "bulk": 3})
        tx.set_target("bulk", "failed", code="store_full", reason="store bulk: no room")

    shown = service.client.simulate_get(f"/v2/images/{image}/import").json

    first, second = shown.pop("attempts")
    for time in ("created_at", "updated_at"):
        assert shown.pop(time).endswith("Z")
    assert shown == {
        "task_id": task,
        "method": "web-download",
        "status": "processing",
        "phase": "downloading",
        "step": "transfer",
        "attempt": 2,
        "message": "Copied 0 MiB",
        "error_code": None,
        "cancel_requested": False,
        "all_stores_must_succeed": False,
        "bytes_done": 7,
        "bytes_total": 10,
        "stores": [
            {"store": "cheap", "state": "copying", "bytes_done": 7, "error_code": None, "reason": ""},
            {
                "store": "bulk",
                "state": "failed",
                "bytes_done": 3,
                "error_code": "store_full",
                "reason": "store bulk: no room",
            },
        ],
    }
    assert (first["outcome"], first["error_code"]) == ("retry", "source_broken")
    assert first["message"] == "the source broke off after 5 of 10 bytes"
    assert (second["step"], second["number"], second["outcome"], second["ended_at"]) == ("transfer", 2, "running", None)

    # And only an administrator learns where it runs
    seen = tenant.client.simulate_get(f"/v2/images/{image}/import").json["attempts"]
    assert (second["worker"], ["worker" in attempt for attempt in seen]) == ("worker-1", [False, False])


def test_the_newest_import_is_shown(service: Service) -> None:
    image = service.image()
    for _ in range(2):
        task = service.importing(image)
        with service.catalog.fenced(service.entered(task)) as tx:
            tx.requeue()
            tx.fail(code="c", message="m", keep_for=3600.0)

    shown = service.client.simulate_get(f"/v2/images/{image}/import").json

    assert (shown["task_id"], shown["step"], shown["error_code"]) == (task, None, "c")


def test_there_is_nothing_to_watch_or_to_call_off(service: Service) -> None:
    for image in (service.image(), "none"):
        assert service.client.simulate_get(f"/v2/images/{image}/import").status_code == 404
        assert service.client.simulate_delete(f"/v2/images/{image}/import").status_code == 404
    done = service.active({"cheap": b"x"})
    assert service.client.simulate_get(f"/v2/images/{done}/import").json["status"] == "success"
    assert service.client.simulate_delete(f"/v2/images/{done}/import").status_code == 404


# -- calling off


def test_a_cancelled_import_is_told_so_and_its_worker_woken(service: Service) -> None:
    image = service.image()
    task = service.importing(image)

    answer = service.client.simulate_delete(f"/v2/images/{image}/import")

    assert (answer.status_code, answer.content) == (202, b"")
    assert service.doorbell.rung == [(task, 0)]
    shown = service.client.simulate_get(f"/v2/images/{image}/import").json
    assert (shown["status"], shown["cancel_requested"]) == ("pending", True)
    # And saying it again does no harm
    assert service.client.simulate_delete(f"/v2/images/{image}/import").status_code == 202


@pytest.mark.parametrize("steps_done", [0, 1, 2])
def test_calling_off_wakes_any_worker(service: Service, steps_done: int) -> None:
    # Given an import whose source only the workers of one host can read, at any of its steps
    image = service.image()
    task = service.importing(image, host="there")
    for step in range(steps_done):
        with service.catalog.fenced(service.entered(task, step)) as tx:
            tx.advance({})

    assert service.client.simulate_delete(f"/v2/images/{image}/import").status_code == 202

    # Then that host, which may be gone for ever, is not waited for: nothing more is read
    assert (service.doorbell.rung, service.doorbell.hosts) == ([(task, steps_done)], [None])


# -- an import for the workers of one host


def test_an_import_for_one_host_says_so_and_wakes_its_workers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = Admission({"uri": URI}, host="there")
    monkeypatch.setitem(FLOWS, METHOD["name"], dataclasses.replace(FLOWS[METHOD["name"]], admit=lambda *_: admitted))
    image = service.image()

    assert ask(service, image).status_code == 202

    assert only_task(service, image).host == "there"
    assert service.doorbell.hosts == ["there"]
    shown = service.client.simulate_get(f"/v2/images/{image}/import").json
    assert shown["phase"] == "waiting for a worker on host there"


def test_which_host_it_is_is_for_administrators_to_know(service: Service, tenant: Service) -> None:
    """Given an import that only one host can do, then its owner reads that it waits, and not for whom."""
    image = service.image(owner="mine")
    service.importing(image, host="there")

    shown = tenant.client.simulate_get(f"/v2/images/{image}/import")

    assert shown.json["phase"] == "waiting for a worker"
    assert "there" not in shown.text


# -- a broker that is away


def test_an_import_is_accepted_although_nobody_can_be_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.doorbell, "send", lambda *_, **__: False)
    image = service.image()

    assert ask(service, image).status_code == 202
    assert only_task(service, image).sent_at is None
