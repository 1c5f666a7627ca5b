"""The rules that every write session keeps, whatever it writes to: one use, a counted length, safe abort."""

from abc import ABC, abstractmethod

from stores.base import Bytes, StoredObject
from stores.errors import SessionEnded, SizeMismatch


class WriteSession(ABC):
    """A `stores.base.Writer` whose driver only has to append, publish and discard.

    `written` counts the bytes of all chunks that were taken whole.
    """

    def __init__(self, store: str, key: str, size: int | None) -> None:
        if size is not None and size < 0:
            raise ValueError(f"not a size: {size}")
        self.store = store
        self.key = key
        self.size = size
        self.written = 0
        self._usable = True
        self._finished = False

    @abstractmethod
    def _append(self, chunk: Bytes) -> None:
        """Take all of `chunk`, to stand at offset `written`. Raises `StoreError`."""

    @abstractmethod
    def _publish(self) -> None:
        """Make the object visible and durable.

        Raises `StoreError`; what it half did, `_discard` must undo.
        """

    @abstractmethod
    def _discard(self) -> None:
        """Remove all that this session made. Called once at most, never after a whole `_publish`.

        Never raises.
        """

    def write(self, chunk: Bytes) -> None:
        """See `stores.base.Writer.write`."""
        self._enter()
        length = len(chunk)
        if self.size is not None and self.written + length > self.size:
            raise SizeMismatch(self.store, f"more than the declared {self.size} bytes: {self.written + length} so far")
        self._append(chunk)
        self.written += length
        self._usable = True

    def commit(self) -> StoredObject:
        """See `stores.base.Writer.commit`. A commit that fails has aborted the session."""
        self._enter()
        try:
            if self.size is not None and self.written != self.size:
                raise SizeMismatch(self.store, f"{self.written} of the declared {self.size} bytes")
            self._publish()
        except BaseException:
            self.abort()
            raise
        self._finished = True
        return StoredObject(self.key, self.written)

    def abort(self) -> None:
        """See `stores.base.Writer.abort`."""
        self._usable = False
        if not self._finished:
            self._finished = True
            self._discard()

    def progress(self) -> str:
        """Say how far the session came, for error texts: `5 bytes` or `5 of 9 bytes`."""
        return f"{self.written} bytes" if self.size is None else f"{self.written} of {self.size} bytes"

    def _enter(self) -> None:
        """Begin a call: the session stays closed unless the call ends well."""
        if not self._usable:
            raise SessionEnded(self.store, f"the write session is over, after {self.progress()}")
        self._usable = False
