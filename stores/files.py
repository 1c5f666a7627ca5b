"""One object as a file: reading it, and the session that writes it, hidden until it is whole.

`docs/decisions/0003-filesystem-store.md` has the reasons.
"""

import errno
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stores.base import CHUNK, Bytes, Reader
from stores.errors import ObjectExists, SessionEnded, StoreDenied, StoreError, StoreFull, StoreUnavailable
from stores.session import WriteSession

_SESSIONS = ".writing"
_HOLE = 1 << 16
_ZEROS = bytes(_HOLE)
_WRITE_BACK = 32 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.EOPNOTSUPP}


class FileReader(Reader):
    """An open file at an offset; see `stores.base.Reader` and `stores.base.FileBacked`."""

    def __init__(self, store: str, file: io.FileIO, size: int, offset: int, chunk_size: int) -> None:
        self.size = size
        self._store = store
        self._file = file
        self._offset = offset
        self._chunk_size = chunk_size

    def read(self, size: int = CHUNK) -> bytes:
        """See `stores.base.Reader.read`."""
        if size < 1:
            raise ValueError(f"not a number of bytes to read: {size}")
        wanted = min(size, self.size - self._offset)
        if not wanted:
            return b""
        try:
            chunk = os.read(self._file.fileno(), wanted)
        except OSError as error:
            raise blame(self._store, error, f"reading failed after {self._progress()}") from error
        if not chunk:
            raise StoreUnavailable(self._store, f"the object ends after {self._progress()}")
        self._offset += len(chunk)
        return chunk

    def fileno(self) -> int:
        """Return the descriptor, positioned where the next `read` would start."""
        return self._file.fileno()

    def close(self) -> None:
        """See `stores.base.Reader.close`."""
        self._file.close()

    def _progress(self) -> str:
        return f"{self._offset} of {self.size} bytes"

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(self._chunk_size):
            yield chunk


class FileWriter(WriteSession):
    """A write session of `store` on `<directory>/.writing/<key>~<random>`. Raises `OSError` when it is made.

    `thin` and `file_perm` are as in `stores.filesystem.FilesystemStore`.
    """

    def __init__(self, store: str, directory: Path, key: str, size: int | None, *, thin: bool, file_perm: int) -> None:
        super().__init__(store, key, size)
        self._directory = directory
        self._thin = thin
        self._file_perm = file_perm
        self._path = directory / key
        sessions = directory / _SESSIONS
        with suppress(FileExistsError):
            # Not its parents: a data directory that is missing is not ours to make in mid-flight.
            sessions.mkdir()
        self._temporary = sessions / f"{key}~{secrets.token_hex(8)}"
        self._file = io.FileIO(self._temporary, "x")
        made = os.fstat(self._file.fileno())
        self._identity = (made.st_dev, made.st_ino)
        self._written_back = 0

    def _append(self, chunk: Bytes) -> None:
        view = memoryview(chunk)
        try:
            if self._thin:
                for start, end in _filled(view, self.written):
                    self._write_at(view[start:end], self.written + start)
            else:
                self._write_at(view, self.written)
        except OSError as error:
            raise blame(self.store, error, f"writing failed after {self.progress()}") from error
        self._write_back(self.written + len(view))

    def _write_back(self, end: int) -> None:
        """Have the kernel bring to disk what it holds, now and then: the commit's fsync then waits for little."""
        length = end - self._written_back
        if length >= _WRITE_BACK:
            with suppress(OSError):  # an advice, which only begins the writing; fsync is what counts
                os.posix_fadvise(self._file.fileno(), self._written_back, length, os.POSIX_FADV_DONTNEED)
            self._written_back = end

    def _write_at(self, view: memoryview, offset: int) -> None:
        descriptor = self._file.fileno()
        while view:
            done = os.pwrite(descriptor, view, offset)
            view = view[done:]
            offset += done

    def _publish(self) -> None:
        descriptor = self._file.fileno()
        try:
            # A hole at the end is no byte yet.
            os.ftruncate(descriptor, self.written)
            if self._file_perm:
                os.fchmod(descriptor, self._file_perm)
            os.fsync(descriptor)
            self._name()
            sync_directory(self._directory)
        except OSError as error:
            if not os.fstat(descriptor).st_nlink and is_there(self._directory):
                raise SessionEnded(self.store, f"the key was deleted after {self.progress()}") from error
            raise blame(self.store, error, f"committing failed after {self.progress()}") from error
        self._remove(self._temporary)
        self._close()

    def _name(self) -> None:
        """Give the file its key as a name, without overwriting. Raises `ObjectExists`, `OSError`."""
        try:
            self._path.hardlink_to(self._temporary)
        except FileExistsError as error:
            # NFS: the answer to a link that worked may be lost, and asking again finds our own.
            if not self._is_ours():
                raise ObjectExists(self.store, "the object was committed by another session") from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._name_by_renaming()

    def _name_by_renaming(self) -> None:
        """Do the same where there are no hard links: an exclusive file keeps others out meanwhile.

        One left by a dead process refuses its key until `delete`, which is safe: keys are never used again.
        """
        turn = self._temporary.with_name(f"{self.key}~publishing")
        try:
            io.FileIO(turn, "x").close()
        except FileExistsError as error:
            raise ObjectExists(self.store, "the object is being committed by another session") from error
        try:
            if self._path.exists():
                raise ObjectExists(self.store, "the object was committed by another session")
            self._temporary.rename(self._path)
        finally:
            self._remove(turn)

    def _discard(self) -> None:
        if self._is_ours():
            self._remove(self._path)
        self._remove(self._temporary)
        self._close()

    def _is_ours(self) -> bool:
        with suppress(OSError):
            found = self._path.stat()
            return (found.st_dev, found.st_ino) == self._identity
        return False

    def _remove(self, path: Path) -> None:
        # What cannot be removed now stays a leftover for `Store.delete`.
        with suppress(OSError):
            path.unlink()

    def _close(self) -> None:
        # Everything that counts was synced; a late complaint of close() says nothing about it.
        with suppress(OSError):
            self._file.close()


def _filled(view: memoryview, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the longest ranges of `view`, to be written at `offset`, that are not all zeros.

    It is cut where the file's 64 KiB blocks are, for only whole blocks become holes. `startswith` is one
    memcmp.
    """
    start: int | None = None
    position = 0
    while position < len(view):
        end = min(position + _HOLE - (offset + position) % _HOLE, len(view))
        if _ZEROS.startswith(view[position:end]):
            if start is not None:
                yield start, position
            start = None
        elif start is None:
            start = position
        position = end
    if start is not None:
        yield start, position


def leftovers(directory: Path, key: str) -> list[Path]:
    """Return the files of all sessions of `key`, dead or alive.

    No key has a `~`, so those of others never match.
    """
    try:
        return [path for path in (directory / _SESSIONS).iterdir() if path.name.startswith(f"{key}~")]
    except FileNotFoundError:
        return []


def is_there(directory: Path) -> bool:
    """Tell whether `directory` is one. A mount that only answers with errors is not."""
    try:
        return directory.is_dir()
    except OSError:
        return False


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable.

    Raises `OSError`; a file system that has no such thing is let off.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def blame(store: str, error: OSError, doing: str) -> StoreError:
    """Translate what the operating system says. The text has its reason and `doing`, but no path."""
    kind: type[StoreError] = StoreUnavailable
    if error.errno in _FULL:
        kind = StoreFull
    elif error.errno in _DENIED:
        kind = StoreDenied
    return kind(store, f"{doing}: {error.strerror or 'input/output error'}")


@contextmanager
def blamed(store: str, doing: str) -> Iterator[None]:
    """Translate every `OSError` of the block by `blame`."""
    try:
        yield
    except OSError as error:
        raise blame(store, error, doing) from error
