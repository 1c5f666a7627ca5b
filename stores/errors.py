"""What can go wrong while bytes are kept: one class per kind of blame.

Every class has a stable `code` and says in `transient` whether trying again later can help (habit H6).
The text of an error is shown to users: it names the store and what happened, never a path or a credential.
"""

from typing import ClassVar


class StoreError(Exception):
    """A store could not do what it was asked. `store` is the id from the configuration."""

    code: ClassVar[str] = "store_error"
    transient: ClassVar[bool] = False

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"store {store}: {reason}")
        self.store = store
        self.reason = reason


class ObjectNotFound(StoreError):
    """No committed object has this key."""

    code = "object_not_found"


class ObjectExists(StoreError):
    """An object of this key is already committed; objects are never overwritten."""

    code = "object_exists"


class ObjectInUse(StoreError):
    """The backend keeps the object, since somebody else still uses it."""

    code = "object_in_use"


class StoreFull(StoreError):
    """The backend has no room (ENOSPC, EDQUOT, EFBIG, or a quota of the backend)."""

    code = "store_full"


class StoreDenied(StoreError):
    """The backend refuses this service (EACCES, EROFS, 403)."""

    code = "store_denied"


class ReadOnlyStore(StoreError):
    """The driver cannot write, by its nature or by configuration."""

    code = "store_read_only"


class SizeMismatch(StoreError):
    """The session was given another number of bytes than were declared when it was opened."""

    code = "store_size_mismatch"


class SessionEnded(StoreError):
    """The write session is over: committed, aborted, broken by an error, or its key was deleted meanwhile."""

    code = "store_session_ended"


class StoreUnavailable(StoreError):
    """The backend does not answer, or answers that it cannot at the moment."""

    code = "store_unavailable"
    transient = True


class UnknownStore(StoreError):
    """No store of this id is configured here."""

    code = "store_unknown"


class StoreMisconfigured(StoreError):
    """The options of a store make no sense; the text names the option."""

    code = "store_misconfigured"
