"""Objects in the memory of this process: the store of tests and examples, with the whole contract."""

from threading import Lock
from typing import Self

from stores.base import CHUNK, Bytes, ObjectInfo, Reader, StoreSpec, check_key
from stores.errors import ObjectExists, ObjectNotFound, SessionEnded, StoreFull
from stores.options import number
from stores.session import WriteSession


class MemoryStore:
    """Keeps objects in a dictionary.

    `capacity` bounds the bytes of all objects and open sessions together.
    """

    remote = False

    def __init__(self, id: str, *, capacity: int | None = None) -> None:
        self.id = id
        self.capacity = capacity
        self._lock = Lock()
        self._objects: dict[str, bytes] = {}
        self._sessions: set[MemoryWriter] = set()

    @classmethod
    def from_spec(cls, spec: StoreSpec) -> Self:
        """Build from `memory_store_capacity` in bytes (0: no limit). Raises `StoreMisconfigured`."""
        return cls(spec.id, capacity=number(spec, "memory_store_capacity", 0, least=0) or None)

    def open(self, key: str, offset: int = 0) -> "MemoryReader":
        """See `stores.base.ReadableStore.open`."""
        content = self._content(key)
        if not 0 <= offset <= len(content):
            raise ValueError(f"offset {offset} is outside an object of {len(content)} bytes")
        return MemoryReader(content, offset)

    def stat(self, key: str) -> ObjectInfo:
        """See `stores.base.ReadableStore.stat`."""
        return ObjectInfo(key, len(self._content(key)))

    def url(self, key: str) -> str:
        """Return `memory://<store>/<key>`."""
        return f"memory://{self.id}/{check_key(key)}"

    def properties(self) -> dict[str, object]:
        """See `stores.base.ReadableStore.properties`."""
        return {}

    def keys(self) -> list[str]:
        """The committed keys, sorted: what a test compares with the catalogue."""
        with self._lock:
            return sorted(self._objects)

    def probe(self) -> None:
        """Do nothing: memory that answers at all is in order."""

    def create(self, key: str, size: int | None = None) -> "MemoryWriter":
        """See `stores.base.Store.create`."""
        check_key(key)
        with self._lock:
            if key in self._objects:
                raise ObjectExists(self.id, "the object is there already")
            self._require_room(size or 0)
            writer = MemoryWriter(self, key, size)
            self._sessions.add(writer)
        return writer

    def delete(self, key: str) -> None:
        """See `stores.base.Store.delete`."""
        check_key(key)
        with self._lock:
            self._sessions = {session for session in self._sessions if session.key != key}
            self._objects.pop(key, None)

    def _content(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(self.id, f"there is no object {key}")
            return self._objects[key]

    def _require_room(self, more: int) -> None:
        if self.capacity is None:
            return
        used = sum(map(len, self._objects.values())) + sum(session.written for session in self._sessions)
        if used + more > self.capacity:
            raise StoreFull(self.id, f"{used} of {self.capacity} bytes are used, no room for {more} more")

    def _take(self, session: "MemoryWriter", chunk: Bytes) -> None:
        with self._lock:
            self._require_room(len(chunk))
            session.content += chunk

    def _publish(self, session: "MemoryWriter") -> None:
        with self._lock:
            if session not in self._sessions:
                raise SessionEnded(self.id, f"the key was deleted after {session.progress()}")
            if session.key in self._objects:
                raise ObjectExists(self.id, "the object was committed by another session")
            self._objects[session.key] = bytes(session.content)
            self._sessions.discard(session)

    def _forget(self, session: "MemoryWriter") -> None:
        with self._lock:
            self._sessions.discard(session)


class MemoryWriter(WriteSession):
    """A write session of a `MemoryStore`; its bytes are in nobody else's hands until it commits."""

    def __init__(self, store: MemoryStore, key: str, size: int | None) -> None:
        super().__init__(store.id, key, size)
        self.content = bytearray()
        self._home = store

    def _append(self, chunk: Bytes) -> None:
        self._home._take(self, chunk)

    def _publish(self) -> None:
        self._home._publish(self)

    def _discard(self) -> None:
        self._home._forget(self)
        self.content.clear()


class MemoryReader(Reader):
    """See `stores.base.Reader`.

    The object lives on for its open readers when it is deleted, as a file does.
    """

    def __init__(self, content: bytes, offset: int) -> None:
        self.size = len(content)
        self._content = content
        self._offset = offset

    def read(self, size: int = CHUNK) -> bytes:
        """See `stores.base.Reader.read`."""
        if size < 1:
            raise ValueError(f"not a number of bytes to read: {size}")
        chunk = self._content[self._offset : self._offset + size]
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        """See `stores.base.Reader.close`."""
