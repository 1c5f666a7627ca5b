"""A process that receives an image's data dies at every commit and at every call to the store, before it and after it;
whatever it left, the image is active and whole, or takes data again, and nothing unowned stays.
"""

from pathlib import Path

import pytest

from flows.runtime import Runtime
from flows.upload import upload
from pipeline.sources import ChunkSource
from tests.catalog.rows import image_of, new_image
from tests.faults.test_crash_matrix import DATA, STORES, Fuse, runtime_of, whole
from tests.faults.test_staging_crashes import LEASE, body, dies, pass_by
from tests.flows.service import load


@pytest.mark.parametrize("breaks", [False, True], ids=["succeeds", "fails"])
def test_a_crash_anywhere_is_survived(tmp_path: Path, breaks: bool) -> None:
    """Given a process that dies at point n of an upload, when its time is over, then the image is active and whole, or
    it is queued, nothing is left, and it takes data again.
    """
    settings = load(tmp_path, None, stall_timeout=LEASE)
    store = settings.data / "stores" / STORES[0]
    runtime = runtime_of(settings, Fuse(0))
    runtime.catalog.database.create()
    points, ends = 0, []
    while True:
        points += 1
        image_id = new_image(runtime.catalog)
        runtime.close()

        def receive(runtime: Runtime, image_id: str = image_id) -> None:
            upload(runtime, image_id, STORES[0], ChunkSource(body(breaks=breaks)), None)

        crashed = dies(settings, receive, points, runtime.catalog.database.skew)
        pass_by(settings, runtime, LEASE + 1)
        now = image_of(runtime.catalog, image_id)
        ends.append(now.status)
        assert (now.status, now.size) in {("queued", None), ("active", len(DATA))}
        assert whole(store, image_id) == {place.object_key for place in now.locations}
        if now.status == "queued":
            upload(runtime, image_id, STORES[0], ChunkSource([DATA]), None)
        (place,) = image_of(runtime.catalog, image_id).locations
        with runtime.stores.get(STORES[0]).open(place.object_key) as reader:
            assert b"".join(reader) == DATA
        assert whole(store, image_id) == {place.object_key}
        if not crashed:
            break
    assert points > 14, "the fuse must have been passed in every phase"
    assert ends == sorted(ends, reverse=True), "queued until it is recorded, and never again after that"
    assert ends[-1] == ("queued" if breaks else "active")
