"""Every store under the contract: each class is a constructor for `StoreContract`."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from stores.base import StoreSpec
from stores.filesystem import FilesystemStore
from stores.http import HttpStore
from stores.memory import MemoryStore
from stores.s3 import S3Store
from stores.wrappers import FaultyStore
from tests.conformance.origin import Origin, serving
from tests.conformance.store_contract import Keep, ReadableContract, StoreContract
from tests.servers import SwiftServer


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore("memory")


class TestMemoryWithRoom(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore("memory", capacity=1 << 26)


class TestFaultyWithoutHooks(StoreContract):
    @pytest.fixture
    def store(self) -> FaultyStore:
        return FaultyStore(MemoryStore("memory"))


class TestFilesystem(StoreContract):
    thin = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[FilesystemStore]:
        yield FilesystemStore("files", tmp_path, thin=self.thin, chunk_size=50_000)
        # Whatever a test did, every session it ended took its temporary name along.
        sessions = tmp_path / ".writing"
        assert not sessions.exists() or not list(sessions.iterdir())


class TestThinFilesystem(TestFilesystem):
    thin = True


class TestFilesystemWithoutHardLinks(TestFilesystem):
    @pytest.fixture(autouse=True)
    def _no_hard_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **options: object) -> NoReturn:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)


@pytest.fixture(scope="module")
def s3_store(swift_server: SwiftServer) -> S3Store:
    """One for all tests: making its client takes longer than most of them."""
    options = swift_server.options(swift_server.create_bucket())
    return S3Store.from_spec(StoreSpec("s3", "s3", options=options))


class TestS3(StoreContract):
    @pytest.fixture
    def store(self, swift_server: SwiftServer, s3_store: S3Store) -> Iterator[S3Store]:
        yield s3_store
        # Whatever a test did, every session it ended took its upload along.
        bucket = s3_store.options.bucket
        assert swift_server.open_uploads(bucket) == []
        for key in swift_server.objects(bucket):
            s3_store.delete(key)


class TestHttp(ReadableContract):
    ranges = True
    bad_keys = (
        *("", "..", "image.7", "file:///etc/passwd", "ftp://host/x", "http://", "http:///x", "//host/x"),
        *("http://user@host/x", "http://user:secret@host/x", "http://host/x#part"),
        *("http://host/a b", "http://host/a\r\nHost: b", "http://host/ä", "http://host/" + "x" * 2048),
        *("http://host:port/", "http://host:99999/", "http://[::1/"),
    )

    @pytest.fixture
    def origin(self) -> Iterator[Origin]:
        with serving() as origin:
            origin.ranges = self.ranges
            yield origin

    @pytest.fixture(autouse=True)
    def _absent(self, origin: Origin) -> None:
        self.absent_key = origin.url("/absent")

    @pytest.fixture
    def keep(self, origin: Origin) -> Keep:
        def keep(data: bytes) -> str:
            origin.objects["/image.iso"] = data
            return origin.url("/image.iso")

        return keep

    @pytest.fixture
    def store(self, origin: Origin) -> HttpStore:
        return HttpStore("web")


class TestHttpWithoutRanges(TestHttp):
    ranges = False
