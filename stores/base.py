"""The store contract. `tests/conformance/store_contract.py` proves it for every driver, fakes included.

A *key* is a name of 1 to 200 characters from `[A-Za-z0-9._-]`, not starting with a dot: the importer makes it
as `<image id>.<fence>` (architecture §5.4). A driver whose objects are named by others (http) has its own
rule. A text that is no key of the store is a `ValueError` in every call. Sizes and offsets are bytes.

Errors are `stores.errors.StoreError`, nothing else: a driver translates what its backend raises at the
border. Retrying is not done here, except where a protocol leaves it to its client (S3): the error says whether it
can help, the caller decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias, runtime_checkable

CHUNK = 1 << 20

Bytes: TypeAlias = bytes | bytearray | memoryview
"""What can be written: any flat buffer of bytes, so that a pool can reuse its own."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """One configured store: what the registry builds a driver from. `options` has Glance's option names.

    Some of them are secret, so none is shown.
    """

    id: str
    driver: str
    description: str = ""
    weight: int = 0
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of a committed object: its key and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The receipt of a committed write session: key and number of bytes kept."""

    key: str
    size: int


class Reader(Protocol):
    """An open object, positioned where `open` was asked to. Iterating yields non-empty chunks until its end.

    Used by one thread at a time. An object that ends before its `size` is an error, never a short success.
    Inherit from it to get what follows from `read` and `close`.
    """

    size: int
    """Size of the whole object in bytes, whatever the offset."""

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most `size` (≥ 1) bytes, `b""` only at the end of the object. Raises `StoreError`."""

    def close(self) -> None:
        """Let go of the object. Safe to call twice."""

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@runtime_checkable
class FileBacked(Protocol):
    """A further power of some readers: the kernel can send the object without copying it through us."""

    def fileno(self) -> int:
        """Return a descriptor positioned where the next `read` would start. The reader closes it."""


class Writer(Protocol):
    """One write session (habit H4): nothing is visible under its key before `commit` has returned.

    Used by one thread at a time. A process that dies in a session leaves nothing visible; what it may leave
    behind under a temporary name goes with `Store.delete(key)`. After a commit, an abort or any error,
    `write` and `commit` raise `SessionEnded`.
    """

    def write(self, chunk: Bytes) -> None:
        """Append `chunk`. The buffer is the caller's again when this returns.

        On an error the session can only be aborted.

        Raises `SizeMismatch` as soon as more than the declared size was given.
        """

    def commit(self) -> StoredObject:
        """Make the object visible and durable.

        On an error nothing is visible and the session can only be aborted.

        Raises `SizeMismatch` when a size was declared and not met, `ObjectExists` when the key was taken
        meanwhile, `SessionEnded` when the key was deleted meanwhile.
        """

    def abort(self) -> None:
        """Drop the session and all it wrote.

        Never raises; safe twice; does nothing after a successful `commit`.
        """


@runtime_checkable
class Moving(Protocol):
    """A further power of some writers: a call that takes long can be told from one that is stuck."""

    @property
    def moved_at(self) -> float:
        """When bytes were last on their way to the store, by `time.monotonic()`. Any thread may ask."""


@runtime_checkable
class ReadableStore(Protocol):
    """The half that every store has."""

    id: str

    @property
    def remote(self) -> bool:
        """Whether a call may wait on a network for as long as that likes; such a store is given a thread of its own."""

    def open(self, key: str, offset: int = 0) -> Reader:
        """Open a committed object at `offset` (0 ≤ offset ≤ size).

        Raises `ObjectNotFound`, `ValueError` for a bad offset.
        """

    def stat(self, key: str) -> ObjectInfo:
        """Tell the size of a committed object. Raises `ObjectNotFound`."""

    def url(self, key: str) -> str:
        """The location of `key`, without any credential; the same text for the same key for ever."""

    def properties(self) -> Mapping[str, object]:
        """What operators may see of its options (import-behaviour §3.4), in Glance's words; never a credential."""

    def probe(self) -> None:
        """Raise a `StoreError` when the store could not take or give bytes at this moment.

        Cheap; leaves nothing behind.
        """


@runtime_checkable
class Store(ReadableStore, Protocol):
    """A store that can be written.

    Whether a driver is one is the capability that `all_stores` asks for ([R] §3.2).
    """

    def create(self, key: str, size: int | None = None) -> Writer:
        """Open a write session. `size` is the promised length in bytes, if known.

        Raises `ObjectExists`, `StoreFull`, …

        Several sessions may be open on one key: the first to commit wins, the others get `ObjectExists`.
        """

    def delete(self, key: str) -> None:
        """Remove the object and whatever dead sessions left of it.

        Removing what is not there is success (204, §3.6).

        A session that a late writer still has open on `key` is ended: its commit raises `SessionEnded`, so a
        key that was deleted does not come back.
        """


def check_key(key: str) -> str:
    """Return `key` if it is one, else raise `ValueError`: no crap in, no crap out."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key
