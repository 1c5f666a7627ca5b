"""The store contract. `tests/conformance/store_contract.py` proves it for every driver, fakes included.

A *key* is a name of 1 to 200 characters from `[A-Za-z0-9._-]`, not starting with a dot: the importer makes it as
`<image id>.<fence>` (architecture §5.4). Sizes and offsets are bytes.

Errors are `stores.errors.StoreError`, nothing else: a driver translates what its backend raises at the border.
Retrying is never done here: the error says whether it can help, the caller decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

CHUNK = 1 << 20

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """One configured store: what the registry builds a driver from. `options` has Glance's option names."""

    id: str
    driver: str
    description: str = ""
    weight: int = 0
    options: Mapping[str, object] = field(default_factory=dict)


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

    A driver whose objects are files also has `fileno()`, which lets a web server send them without copying.
    """

    size: int
    """Size of the whole object in bytes, whatever the offset."""

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most `size` bytes, `b""` only at the end of the object. Raises `StoreError`."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """Let go of the object. Safe to call twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Writer(Protocol):
    """One write session (habit H4): nothing is visible under its key before `commit` has returned.

    Used by one thread at a time. A process that dies in a session leaves nothing visible; what it may leave
    behind under a temporary name goes with `Store.delete(key)`.
    """

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. The buffer is the caller's again when this returns. On an error the session can only be aborted."""

    def commit(self) -> StoredObject:
        """Make the object visible and durable. On an error nothing is visible and the session can only be aborted.

        Raises `SizeMismatch` when a size was declared and not met, `ObjectExists` when the key was taken meanwhile.
        """

    def abort(self) -> None:
        """Drop the session and all it wrote. Never raises; safe twice; does nothing after a successful `commit`."""


@runtime_checkable
class ReadableStore(Protocol):
    """The half that every store has."""

    id: str

    def open(self, key: str, offset: int = 0) -> Reader:
        """Open a committed object at `offset` (0 ≤ offset ≤ size). Raises `ObjectNotFound`, `ValueError` for a bad offset."""

    def stat(self, key: str) -> ObjectInfo:
        """Tell the size of a committed object. Raises `ObjectNotFound`."""

    def url(self, key: str) -> str:
        """The location of `key`, without any credential; the same text for the same key for ever."""

    def probe(self) -> None:
        """Raise a `StoreError` when the store could not take or give bytes at this moment. Cheap; leaves nothing behind."""


@runtime_checkable
class Store(ReadableStore, Protocol):
    """A store that can be written. Whether a driver is one is the capability that `all_stores` asks for ([R] §3.2)."""

    def create(self, key: str, size: int | None = None) -> Writer:
        """Open a write session. `size` is the promised length in bytes, if known. Raises `ObjectExists`, `StoreFull`, …"""

    def delete(self, key: str) -> None:
        """Remove the object and whatever dead sessions left of it. Removing what is not there is success (204, §3.6)."""


def check_key(key: str) -> str:
    """Return `key` if it is one, else raise `ValueError`: no crap in, no crap out."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key
