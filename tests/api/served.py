"""What gunicorn serves in the tests of real sockets: a service over a database and file stores made by the test."""

import os
from dataclasses import replace
from pathlib import Path

from api import lingering
from api.app import App, create_app
from api.data import FilePart
from api.options import ApiOptions
from flows.options import STAGING_STORE
from flows.runtime import Runtime
from flows.staging import Staging
from stores.base import Store, StoreSpec
from stores.errors import StoreUnavailable
from stores.filesystem import FilesystemStore
from stores.registry import StoreRegistry
from stores.wrappers import FaultyStore, fails
from tests.api.service import Doorbell, runtime

DIRECTORY = "SERVED_DIRECTORY"

PATIENCE = 1.0
"""Seconds that `app_in_a_hurry` waits for clients."""

BREAKS = 16 << 20
"""So many bytes of an object can be read from the store `breaking`."""

Wired = tuple[Runtime, App]


def file_stores(directory: Path) -> StoreRegistry:
    """One store of files, and one more whose objects break off when they are read."""
    specs = [
        StoreSpec(name, "file", options={"filesystem_store_datadir": str(directory / name)}, weight=weight)
        for name, weight in (("files", 0), ("breaking", -1))
    ]
    stores: list[Store] = [FilesystemStore.from_spec(spec) for spec in specs]
    for store in stores:
        assert isinstance(store, FilesystemStore)
        store.prepare()
    broken = fails(StoreUnavailable("breaking", "the disk is gone"), after=BREAKS)
    return StoreRegistry([stores[0], FaultyStore(stores[1], {"read": broken})], "files", specs)


def wired(directory: Path) -> Runtime:
    """A runtime of which everything is in `directory`, with every import method."""
    made = runtime(directory, file_stores(directory))
    staging = FilesystemStore(STAGING_STORE, directory / "staging")
    staging.prepare()
    options = replace(made.options, methods=("glance-direct", "web-download"))
    return replace(made, staging=Staging(staging, None), options=options)


def app() -> Wired:
    """The application over the directory that the environment names."""
    made = wired(Path(os.environ[DIRECTORY]))
    return made, create_app(made, Doorbell(), ApiOptions())


def app_in_a_hurry() -> Wired:
    """The same, in which nobody waits long for a client."""
    lingering.LINGER = PATIENCE
    made = wired(Path(os.environ[DIRECTORY]))
    made = replace(made, lease=replace(made.lease, stall_timeout=PATIENCE))
    return made, create_app(made, Doorbell(), ApiOptions(client_socket_timeout=PATIENCE))


def app_that_reads_no_file() -> Wired:
    """The same, in which only the kernel can read the data of an image."""

    def read(self: FilePart, size: int = 0) -> bytes:
        raise AssertionError("the data passed through the process")

    FilePart.read = read  # type: ignore[method-assign]
    return app()
