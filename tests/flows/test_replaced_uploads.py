"""What is staged in place of what an import has found to be wrong."""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import Conflict
from flows.options import STAGING_STORE
from flows.staging import stage
from pipeline.errors import TooBig
from pipeline.sources import ChunkSource
from stores.errors import StoreDenied
from stores.wrappers import Call, fails
from tests.flows.service import DATA, Service, eager_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with eager_service(tmp_path / "data", max_attempts=1) as made:
        yield made


WRONG: dict[str, tuple[bytes, dict[str, str], str]] = {
    "checksum": (b"other", {"checksum": f"md5:{hashlib.md5(DATA).hexdigest()}"}, "checksum_mismatch"),
    "format": (b"QFI\xfb" + bytes(1000), {}, "unsafe_image"),
    "archive": (gzip.compress(DATA)[:-9], {}, "corrupt"),
}


@pytest.mark.parametrize(("data", "asked", "code"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_can_be_replaced(service: Service, data: bytes, asked: dict[str, str], code: str) -> None:
    """Given data that its import has found to be wrong, when other data is staged, then the wrong goes at once, and the
    other is imported.
    """
    image = service.image()
    service.stage(image, data)
    task = service.task(service.ask_staged(image, **asked))
    assert (task.error_code, service.look(image).status) == (code, "uploading")
    (wrong,) = service.staged.keys()

    def no_room(call: Call, go: Callable[[], Any]) -> Any:
        kept = service.staged.keys()
        assert wrong not in kept, "there may be room for one of them only"
        return go()

    service.fail(STAGING_STORE, "create", no_room)
    assert service.stage(image) == len(DATA)
    service.assert_clean(image)
    assert service.task(service.ask_staged(image, **asked)).status == "success"
    assert service.read(image, "a") == DATA
    service.assert_clean(image)


@pytest.mark.parametrize("store", ["a", STAGING_STORE])
def test_what_is_not_to_blame_stays(service: Service, store: str) -> None:
    """Given an import that a store has failed, then what is staged is not replaced."""
    image = service.image()
    service.stage(image)
    service.fail(store, "create" if store == "a" else "open", fails(StoreDenied(store, "it says so")))
    assert service.task(service.ask_staged(image)).status == "failure"
    with pytest.raises(Conflict, match="is staged already"):
        service.stage(image, b"other")
    assert service.look(image).size == len(DATA)
    service.assert_clean(image)


def test_what_is_too_big_replaces_nothing(service: Service) -> None:
    """Given a size that is refused before the first byte, then what was staged stays, wrong as it is."""
    image = service.image()
    service.stage(image)
    service.ask_staged(image, checksum=f"md5:{'0' * 32}")
    options = replace(service.runtime.options, image_size_cap=10)
    with pytest.raises(TooBig):
        stage(replace(service.runtime, options=options), image.id, ChunkSource([b"x" * 11]), 11)
    service.assert_clean(image)
    assert service.look(image).size == len(DATA)
