"""What gunicorn serves in `test_served.py`: a service over a database and file stores made by the test."""

import os
from dataclasses import replace
from pathlib import Path

from api.app import App, create_app
from api.data import FilePart
from api.options import ApiOptions
from flows.options import STAGING_STORE
from flows.runtime import Runtime
from flows.staging import Staging
from stores.base import StoreSpec
from stores.filesystem import FilesystemStore
from stores.registry import StoreRegistry
from tests.api.service import Doorbell, runtime

DIRECTORY = "SERVED_DIRECTORY"


def file_stores(directory: Path) -> StoreRegistry:
    """One store of files."""
    return StoreRegistry.build(
        [StoreSpec("files", "file", options={"filesystem_store_datadir": str(directory)})], "files"
    )


def wired(directory: Path) -> Runtime:
    """A runtime of which everything is in `directory`, with every import method."""
    made = runtime(directory, file_stores(directory / "files"))
    staging = FilesystemStore(STAGING_STORE, directory / "staging")
    staging.prepare()
    options = replace(made.options, methods=("glance-direct", "web-download"))
    return replace(made, staging=Staging(staging, None), options=options)


def app() -> App:
    """The application over the directory that the environment names."""
    return create_app(wired(Path(os.environ[DIRECTORY])), Doorbell(), ApiOptions())


def app_that_reads_no_file() -> App:
    """The same, in which only the kernel can read the data of an image."""

    def read(self: FilePart, size: int = 0) -> bytes:
        raise AssertionError("the data passed through the process")

    FilePart.read = read  # type: ignore[method-assign]
    return app()
