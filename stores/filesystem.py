"""Objects as plain files in one directory, one file per key.

A write session owns `<directory>/.writing/<key>~<random>`; a commit is fsync, then a hard link to
`<directory>/<key>` (which cannot overwrite), then fsync of the directory. Only whole, durable objects ever
have a name that is a key. The reasons, and what happens where there are no hard links, are in
`docs/decisions/0003-filesystem-store.md`.
"""

import errno
import io
import os
import secrets
import stat
from pathlib import Path
from typing import Self

from stores.base import CHUNK, ObjectInfo, StoreSpec, check_key
from stores.errors import (
    ObjectExists,
    ObjectInUse,
    ObjectNotFound,
    StoreError,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from stores.files import FileReader, FileWriter, blame, blamed, is_there, leftovers, sync_directory
from stores.mounts import on_network
from stores.options import flag, number, text

DATADIR = "filesystem_store_datadir"


class FilesystemStore:
    """Keeps objects under `directory`, an absolute path.

    Constructing it touches nothing; `prepare` makes the directory.

    `thin` leaves runs of zeros unwritten (§3.8), `chunk_size` is what iterating a reader yields, `file_perm`
    is the mode of new objects (0: as the umask says). A missing directory is `StoreUnavailable`, never
    `ObjectNotFound`: a disk that is not mounted has lost nothing. The directory is not created again after
    `prepare`, for the same reason.
    """

    def __init__(
        self, id: str, directory: Path, *, thin: bool = False, chunk_size: int = CHUNK, file_perm: int = 0
    ) -> None:
        if not directory.is_absolute():
            raise StoreMisconfigured(id, f"{DATADIR} must be an absolute path")
        self.id = id
        self.directory = directory
        self.thin = thin
        self.chunk_size = chunk_size
        self.file_perm = file_perm

    @property
    def remote(self) -> bool:
        """Whether the directory is on a network file system, by what is mounted there now."""
        return on_network(self.directory)

    @classmethod
    def from_spec(cls, spec: StoreSpec) -> Self:
        """Build from Glance's options.

        The digits of `filesystem_store_file_perm` are octal, as Glance reads them.

        Raises `StoreMisconfigured`.
        """
        directory = text(spec, DATADIR)
        if not directory:
            raise StoreMisconfigured(spec.id, f"{DATADIR} is not set")
        return cls(
            spec.id,
            Path(directory),
            thin=flag(spec, "filesystem_thin_provisioning", default=False),
            chunk_size=number(spec, "filesystem_store_chunk_size", CHUNK, least=1),
            file_perm=number(spec, "filesystem_store_file_perm", 0, least=0, base=8),
        )

    def prepare(self) -> None:
        """Make the directory and its parents where they are missing.

        Raises `StoreDenied`, `StoreUnavailable`.
        """
        with blamed(self.id, "the data directory cannot be made"):
            self.directory.mkdir(parents=True, exist_ok=True)

    def open(self, key: str, offset: int = 0) -> FileReader:
        """See `stores.base.ReadableStore.open`."""
        path = self.directory / check_key(key)
        try:
            file = io.FileIO(path)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise self._missing(key) from error
        except OSError as error:
            raise blame(self.id, error, "opening an object failed") from error
        try:
            size = os.fstat(file.fileno()).st_size
            if not 0 <= offset <= size:
                raise ValueError(f"offset {offset} is outside an object of {size} bytes")
            file.seek(offset)
        except BaseException:
            file.close()
            raise
        return FileReader(self.id, file, size, offset, self.chunk_size)

    def stat(self, key: str) -> ObjectInfo:
        """See `stores.base.ReadableStore.stat`."""
        path = self.directory / check_key(key)
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise self._missing(key) from error
        except OSError as error:
            raise blame(self.id, error, "looking for an object failed") from error
        if not stat.S_ISREG(found.st_mode):
            raise self._missing(key)
        return ObjectInfo(key, found.st_size)

    def url(self, key: str) -> str:
        """Return the `file://` URL of the object, from the path as it was configured."""
        return (self.directory / check_key(key)).as_uri()

    def properties(self) -> dict[str, object]:
        """See `stores.base.ReadableStore.properties`. The chunk is in bytes."""
        return {"data_dir": str(self.directory), "chunk_size": self.chunk_size, "thin_provisioning": self.thin}

    def probe(self) -> None:
        """Write one byte under a name that is no key, and remove it."""
        path = self.directory / f".probe~{secrets.token_hex(8)}"
        with blamed(self.id, "a trial write failed"):
            try:
                with io.FileIO(path, "x") as file:
                    file.write(b"\0")
            finally:
                path.unlink(missing_ok=True)

    def create(self, key: str, size: int | None = None) -> FileWriter:
        """See `stores.base.Store.create`.

        Without `thin`, a size above the free space is `StoreFull` at once.
        """
        check_key(key)
        try:
            self.stat(key)
        except ObjectNotFound:
            pass
        else:
            raise ObjectExists(self.id, "the object is there already")
        with blamed(self.id, "a write session cannot begin"):
            if size is not None and not self.thin:
                self._require_room(size)
            return FileWriter(self.id, self.directory, key, size, thin=self.thin, file_perm=self.file_perm)

    def delete(self, key: str) -> None:
        """See `stores.base.Store.delete`.

        The sessions go first: one that had published by then loses its object next.
        """
        path = self.directory / check_key(key)
        with blamed(self.id, "deleting an object failed"):
            for leftover in leftovers(self.directory, key):
                leftover.unlink(missing_ok=True)
            self._unlink(path)
            sync_directory(self.directory)

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise ObjectInUse(self.id, "the object is in use") from error

    def _missing(self, key: str) -> StoreError:
        if is_there(self.directory):
            return ObjectNotFound(self.id, f"there is no object {key}")
        return StoreUnavailable(self.id, "the data directory is missing")

    def _require_room(self, size: int) -> None:
        room = os.statvfs(self.directory)
        free = room.f_bavail * room.f_frsize
        # Some network and FUSE file systems do not tell; the write itself will.
        if room.f_blocks and size > free:
            raise StoreFull(self.id, f"{size} bytes are announced and {free} are free")
