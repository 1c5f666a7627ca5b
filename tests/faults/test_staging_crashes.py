"""A process that receives data dies at every commit and at every call to the staging store, before it and after it;
whatever it left, the image takes data again, and nothing unowned stays.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.flow import ImportRequest
from flows.runtime import Runtime
from flows.staging import stage
from flows.submit import Requester, submit
from pipeline.errors import SourceBroken
from pipeline.sources import ChunkSource
from settings import Settings
from tests.catalog.rows import image_of, new_image
from tests.faults.test_crash_matrix import CRASHED, DATA, Fuse, runtime_of, whole
from tests.flows.service import load
from workers.app import eager
from workers.sweeper import sweep

LEASE, KEPT = 900.0, 3600.0


def body(*, breaks: bool) -> Iterator[bytes]:
    """Three chunks; with `breaks`, the third never comes."""
    third = len(DATA) // 3
    yield DATA[:third]
    yield DATA[third : 2 * third]
    if breaks:
        raise SourceBroken("The body broke off.")
    yield DATA[2 * third :]


def dies(settings: Settings, receive: Callable[[Runtime], object], at: int, skew: float) -> bool:
    """Receive in a child process that dies at point `at`; False when it got to its end alive. `skew` is its clock's."""
    child = os.fork()
    if child == 0:
        try:
            runtime = runtime_of(settings, Fuse(at))
            runtime.catalog.database.skew = skew
            # Every chunk renews, so that every renewal is a point.
            runtime = replace(runtime, lease=replace(runtime.lease, progress_interval=0.0))
            receive(runtime)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == CRASHED


def pass_by(settings: Settings, runtime: Runtime, seconds: float) -> None:
    """What a sweeper elsewhere finds so much later."""
    runtime.catalog.database.skew += seconds
    sweep(runtime, eager(runtime, settings))


def wrong(settings: Settings, runtime: Runtime) -> tuple[str, str]:
    """An image with staged data that an import has found to be wrong; and the key of the data."""
    image_id = new_image(runtime.catalog)
    stage(runtime, image_id, ChunkSource([DATA]), None)
    request = ImportRequest("glance-direct", stores=("a",), checksum=f"md5:{'0' * 32}")
    submit(runtime, eager(runtime, settings), image_of(runtime.catalog, image_id), request, Requester())
    with runtime.catalog.read() as tx:
        staged = tx.uploads.staged(image_id)
    assert staged is not None
    return image_id, staged.key


@pytest.mark.parametrize("breaks", [False, True], ids=["succeeds", "fails"])
def test_a_crash_while_wrong_data_is_replaced_is_survived(tmp_path: Path, breaks: bool) -> None:
    """Given a process that dies at point n of replacing what is wrong, when its time is over, then that, or the other,
    or nothing is staged, and nothing besides; and data can be staged again.
    """
    settings = load(tmp_path, None, stall_timeout=LEASE, staging_ttl=10 * LEASE)
    staging = settings.data / "staging"
    runtime = runtime_of(settings, Fuse(0))
    runtime.catalog.database.create()
    points, ends = 0, []
    while True:
        points += 1
        image_id, before = wrong(settings, runtime)
        runtime.close()

        def receive(runtime: Runtime, image_id: str = image_id) -> None:
            stage(runtime, image_id, ChunkSource(body(breaks=breaks)), None)

        crashed = dies(settings, receive, points, runtime.catalog.database.skew)
        pass_by(settings, runtime, LEASE + 1)
        with runtime.catalog.read() as tx:
            staged = tx.uploads.staged(image_id)
        ends.append("nothing" if staged is None else "wrong" if staged.key == before else "other")
        assert image_of(runtime.catalog, image_id).size == (len(DATA) if staged else None)
        assert whole(staging, image_id) == ({staged.key} if staged else set())
        if ends[-1] != "other":
            stage(runtime, image_id, ChunkSource([DATA]), None)
            assert len(whole(staging, image_id)) == 1
        if not crashed:
            break
    order = ["wrong", "nothing"] if breaks else ["wrong", "nothing", "other"]
    assert sorted(set(ends), key=ends.index) == order, "each of them was seen"
    assert ends == sorted(ends, key=order.index), "and none came back"


@pytest.mark.parametrize("breaks", [False, True], ids=["succeeds", "fails"])
def test_a_crash_anywhere_is_survived(tmp_path: Path, breaks: bool) -> None:
    """Given a process that dies at point n of an upload, when its time is over, then it was whole, or nothing is left;
    and when that was not imported in time either, nothing is left of it.
    """
    settings = load(tmp_path, None, stall_timeout=LEASE, staging_ttl=KEPT)
    staging = settings.data / "staging"
    runtime = runtime_of(settings, Fuse(0))
    runtime.catalog.database.create()
    points, ends = 0, []
    while True:
        points += 1
        image_id = new_image(runtime.catalog)
        runtime.close()

        def receive(runtime: Runtime, image_id: str = image_id) -> None:
            stage(runtime, image_id, ChunkSource(body(breaks=breaks)), None)

        crashed = dies(settings, receive, points, runtime.catalog.database.skew)
        pass_by(settings, runtime, LEASE + 1)
        now = image_of(runtime.catalog, image_id)
        ends.append(now.status)
        with runtime.catalog.read() as tx:
            staged = tx.uploads.staged(image_id)
        assert (now.status, now.size) == (("uploading", len(DATA)) if staged else ("queued", None))
        assert whole(staging, image_id) == ({staged.key} if staged else set())
        pass_by(settings, runtime, KEPT + 1)
        assert image_of(runtime.catalog, image_id).status == "queued"
        assert whole(staging, image_id) == set()
        stage(runtime, image_id, ChunkSource([DATA]), None)
        assert whole(staging, image_id)
        if not crashed:
            break
    assert points > 14, "the fuse must have been passed in every phase"
    assert ends == sorted(ends), "queued until it is recorded, and never again after that"
    assert ends[-1] == ("queued" if breaks else "uploading")
