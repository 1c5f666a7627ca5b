"""Staging in a bucket, which any worker on any host can read: with a real S3 server."""

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.options import STAGING_STORE
from flows.staging import stage
from pipeline.errors import SourceBroken
from pipeline.sources import ChunkSource
from stores.base import StoreSpec
from stores.s3 import S3Store
from tests.flows.service import Service, eager_service
from tests.servers import SwiftServer

pytestmark = pytest.mark.e2e

PART = 5 << 20
DATA = random.Random(5).randbytes((11 << 20) + 7)
"""More than two parts of a multipart upload."""


@pytest.fixture
def service(tmp_path: Path, swift_server: SwiftServer, s3_bucket: str) -> Iterator[Service]:
    """A service that stages in the bucket."""
    spec = StoreSpec(STAGING_STORE, "s3", options=swift_server.options(s3_bucket))
    with eager_service(tmp_path / "data", max_attempts=1) as made:
        staging = made.faulty[STAGING_STORE]
        staging.inner, staging.remote = S3Store.from_spec(spec), True
        yield made


@pytest.fixture
def bucket(swift_server: SwiftServer, s3_bucket: str) -> Callable[[], list[str]]:
    """What is in the bucket, or on its way there. (This server removes the parts of a deleted object later.)"""
    return lambda: [*swift_server.objects(s3_bucket), *swift_server.open_uploads(s3_bucket)]


@pytest.mark.parametrize("size", [None, len(DATA)], ids=["chunked", "announced"])
def test_staged_imported_and_gone(service: Service, bucket: Callable[[], list[str]], size: int | None) -> None:
    """Given a bucket to stage in, when data is staged and imported, then the stores have it and the bucket nothing."""
    image = service.image()
    assert service.stage(image, DATA, size) == len(DATA)
    assert bucket()
    assert (service.look(image).status, service.look(image).size) == ("uploading", len(DATA))
    task = service.task(service.ask_staged(image, ("a", "b")))
    now = service.look(image)
    assert (task.status, now.status, now.os_hash_value) == ("success", "active", hashlib.sha512(DATA).hexdigest())
    assert service.read(image, "b") == DATA
    assert bucket() == []


def test_what_breaks_off_leaves_no_part(
    service: Service, bucket: Callable[[], list[str]], swift_server: SwiftServer, s3_bucket: str
) -> None:
    """Given a body that breaks off when parts are up already, then none of them stays."""
    image = service.image()

    def body() -> Iterator[bytes]:
        yield from (DATA[:PART], DATA[PART : 2 * PART])
        raise SourceBroken("The body broke off.")

    with pytest.raises(SourceBroken):
        stage(service.runtime, image.id, ChunkSource(body()), None)
    assert service.look(image).status == "queued"
    assert bucket() == swift_server.parts(s3_bucket) == []


def test_lost_in_the_bucket(service: Service, bucket: Callable[[], list[str]]) -> None:
    """Given an object that somebody has removed from the bucket, then the import says that it is lost."""
    image = service.image()
    service.stage(image, DATA)
    with service.runtime.catalog.read() as tx:
        staged = tx.uploads.staged(image.id)
    assert staged is not None
    service.runtime.staging.store.delete(staged.key)
    task = service.task(service.ask_staged(image))
    assert (task.error_code, service.look(image).status) == ("staged_data_gone", "queued")
    assert bucket() == []
