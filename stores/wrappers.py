"""Stores around stores. `FaultyStore` is how tests make any store fail, stall or lie at a chosen call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal, TypeAlias, TypeVar

from stores.base import CHUNK, Bytes, ObjectInfo, Reader, Store, StoredObject, Writer

T = TypeVar("T")
Operation: TypeAlias = Literal["create", "write", "commit", "abort", "delete", "open", "read", "stat", "probe"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way to the inner store.

    `position` is the number of bytes the session or reader moved before it; `count` is the length of the
    chunk to write, the number of bytes wanted by a read, the size announced by a create, or 0.
    """

    operation: Operation
    key: str
    position: int = 0
    count: int = 0


Hook: TypeAlias = Callable[[Call, Callable[[], Any]], Any]
"""Gets the call and the way to make it, and answers in its place: before, after, instead, or with a lie."""


class FaultyStore:
    """Gives every call to `inner`, through the hook of its operation where there is one."""

    def __init__(self, inner: Store, hooks: Mapping[Operation, Hook] | None = None) -> None:
        self.id = inner.id
        self.remote = inner.remote
        self.inner = inner
        self.hooks: dict[Operation, Hook] = dict(hooks or {})

    def open(self, key: str, offset: int = 0) -> "FaultyReader":
        """See `stores.base.ReadableStore.open`."""
        inner = self.through(Call("open", key, offset), lambda: self.inner.open(key, offset))
        return FaultyReader(self, key, inner, offset)

    def stat(self, key: str) -> ObjectInfo:
        """See `stores.base.ReadableStore.stat`."""
        return self.through(Call("stat", key), lambda: self.inner.stat(key))

    def url(self, key: str) -> str:
        """See `stores.base.ReadableStore.url`."""
        return self.inner.url(key)

    def properties(self) -> Mapping[str, object]:
        """See `stores.base.ReadableStore.properties`."""
        return self.inner.properties()

    def probe(self) -> None:
        """See `stores.base.ReadableStore.probe`."""
        self.through(Call("probe", ""), self.inner.probe)

    def create(self, key: str, size: int | None = None) -> "FaultyWriter":
        """See `stores.base.Store.create`."""
        call = Call("create", key, count=size or 0)
        return FaultyWriter(self, key, self.through(call, lambda: self.inner.create(key, size)))

    def delete(self, key: str) -> None:
        """See `stores.base.Store.delete`."""
        self.through(Call("delete", key), lambda: self.inner.delete(key))

    def through(self, call: Call, go: Callable[[], T]) -> T:
        """Make `call` by way of its hook."""
        hook = self.hooks.get(call.operation)
        if hook is None:
            return go()
        answer: T = hook(call, go)
        return answer


class FaultyWriter:
    """See `FaultyStore`."""

    def __init__(self, store: FaultyStore, key: str, inner: Writer) -> None:
        self._store = store
        self._key = key
        self._inner = inner
        self._written = 0

    def write(self, chunk: Bytes) -> None:
        """See `stores.base.Writer.write`."""
        call = Call("write", self._key, self._written, len(chunk))
        self._store.through(call, lambda: self._inner.write(chunk))
        self._written += len(chunk)

    def commit(self) -> StoredObject:
        """See `stores.base.Writer.commit`."""
        return self._store.through(Call("commit", self._key, self._written), self._inner.commit)

    def abort(self) -> None:
        """See `stores.base.Writer.abort`."""
        self._store.through(Call("abort", self._key, self._written), self._inner.abort)


class FaultyReader(Reader):
    """See `FaultyStore`. It has no `fileno`: the kernel would pass the hooks by."""

    def __init__(self, store: FaultyStore, key: str, inner: Reader, offset: int) -> None:
        self.size = inner.size
        self._store = store
        self._key = key
        self._inner = inner
        self._position = offset

    def read(self, size: int = CHUNK) -> bytes:
        """See `stores.base.Reader.read`."""
        call = Call("read", self._key, self._position, size)
        chunk = self._store.through(call, lambda: self._inner.read(size))
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        """See `stores.base.Reader.close`."""
        self._inner.close()


def fails(error: BaseException, *, after: int = 0) -> Hook:
    """Raise `error` instead of a call that would move more than `after` bytes in all; of any, if it is 0."""

    def hook(call: Call, go: Callable[[], Any]) -> Any:
        if after and call.position + call.count <= after:
            return go()
        raise error

    return hook


def loses_answer(error: BaseException) -> Hook:
    """Let the call do its work, then raise `error` as if nothing had been heard of it."""

    def hook(_: Call, go: Callable[[], Any]) -> Any:
        go()
        raise error

    return hook


def waits(entered: Event, proceed: Event, *, seconds: float = 30) -> Hook:
    """Set `entered`, then hold the call back until `proceed` is set. `TimeoutError` if it never is."""

    def hook(call: Call, go: Callable[[], Any]) -> Any:
        entered.set()
        if not proceed.wait(seconds):
            raise TimeoutError(f"{call.operation} was held back for {seconds} s")
        return go()

    return hook
