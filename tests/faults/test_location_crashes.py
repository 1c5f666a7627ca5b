"""A worker that registers a location dies at every commit, before it and after it; whatever it left, one later attempt
brings the image to its end, and the object, which somebody else has put there, is never touched.
"""

from pathlib import Path

import pytest

from flows.flow import ImportRequest
from flows.location_import import LOCATION_IMPORT
from flows.runtime import Runtime
from flows.submit import Requester, submit
from tests.catalog.rows import image_of, new_image
from tests.faults.test_crash_matrix import DATA, STORES, Fuse, dies, recover, runtime_of, whole
from tests.flows.service import load


class Silent:
    """A doorbell that rings nowhere."""

    def send(self, *_: object, **__: object) -> bool:
        return True


def registered(runtime: Runtime) -> tuple[str, str, str]:
    """A queued image and a task that nobody was told of; returns their ids, and the key of somebody's object."""
    image_id = new_image(runtime.catalog)
    store, key = runtime.stores.writable(STORES[0]), f"{image_id}.theirs"
    session = store.create(key)
    session.write(DATA)
    session.commit()
    request = ImportRequest(LOCATION_IMPORT.name, uri=store.url(key))
    task_id = submit(runtime, Silent(), image_of(runtime.catalog, image_id), request, Requester())  # type: ignore[arg-type]
    return image_id, task_id, key


@pytest.mark.parametrize("broken", [False, True], ids=["succeeds", "fails"])
def test_a_crash_anywhere_is_survived(tmp_path: Path, broken: bool) -> None:
    settings = load(tmp_path, None, lease_ttl=30.0, progress_interval=10.0, max_attempts=2)
    runtime = runtime_of(settings, Fuse(0), breaks=broken)
    runtime.catalog.database.create()
    points = 0
    while True:
        points += 1
        image_id, task_id, key = registered(runtime)
        runtime.close()
        crashed = dies(settings, LOCATION_IMPORT, task_id, points, breaks=broken)
        recover(settings, runtime, task_id)
        now = image_of(runtime.catalog, image_id)
        assert (now.status, now.import_task) == ("queued" if broken else "active", None)
        assert [(at.store, at.object_key) for at in now.locations] == ([] if broken else [(STORES[0], key)])
        assert whole(settings.data / "stores" / STORES[0], image_id) == {key}
        if not crashed:
            break
    assert points > 6, "the fuse must have been passed in every step"
