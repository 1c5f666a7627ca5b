"""Where uploaded bytes wait until they are imported: a store that users cannot name (import-behaviour §3)."""

from dataclasses import dataclass

from stores.base import Store


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging store, as it is wired. Its objects wait at most `keep_for` seconds.

    `host` is the one host whose workers can read them, through the queue of its name; None when all can.
    """

    store: Store
    host: str | None
    keep_for: float
