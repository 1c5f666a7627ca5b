"""What gunicorn serves in `test_served.py`: a service over a database and file stores made by the test."""

import os
from pathlib import Path

from api.app import App, create_app
from api.data import FilePart
from api.options import ApiOptions
from stores.base import StoreSpec
from stores.registry import StoreRegistry
from tests.api.service import Doorbell, runtime

DIRECTORY = "SERVED_DIRECTORY"


def file_stores(directory: Path) -> StoreRegistry:
    """One store of files."""
    return StoreRegistry.build(
        [StoreSpec("files", "file", options={"filesystem_store_datadir": str(directory)})], "files"
    )


def app() -> App:
    """The application over the directory that the environment names."""
    directory = Path(os.environ[DIRECTORY])
    return create_app(runtime(directory, file_stores(directory / "files")), Doorbell(), ApiOptions())


def app_that_reads_no_file() -> App:
    """The same, in which only the kernel can read the data of an image."""

    def read(self: FilePart, size: int = 0) -> bytes:
        raise AssertionError("the data passed through the process")

    FilePart.read = read  # type: ignore[method-assign]
    return app()
