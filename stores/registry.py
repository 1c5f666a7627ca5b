"""The configured stores by their ids, built once at start. `DRIVERS` lists by hand what can be configured.

What is wrong in the *configuration* refuses the start: an unknown type, a doubled or reserved id, a default
that is not there, an option that is missing or makes no sense, two stores on one path or bucket. What is wrong
with the *world* does not: a data directory that is missing is made with its parents, and where that fails (no
permission, a dead mount) the store is reported and kept, so that the others work meanwhile and it works too
as soon as the world is mended.

`build_store` makes one more store, by the same rules, that users cannot name: the staging store.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Protocol, Self, TypeAlias, TypeVar

from stores.base import ReadableStore, Store, StoreSpec
from stores.errors import ReadOnlyStore, StoreError, StoreMisconfigured, UnknownStore
from stores.filesystem import DATADIR, FilesystemStore
from stores.http import HttpStore
from stores.memory import MemoryStore
from stores.together import Together

log = logging.getLogger(__name__)

Driver: TypeAlias = Callable[[StoreSpec], ReadableStore]


def _s3(spec: StoreSpec) -> ReadableStore:
    # Here, for boto3 takes half a second to import, which only those who have such a store shall pay.
    from stores.s3 import S3Store

    return S3Store.from_spec(spec)


DRIVERS: Mapping[str, Driver] = {
    "file": FilesystemStore.from_spec,
    "filesystem": FilesystemStore.from_spec,
    "http": HttpStore.from_spec,
    "memory": MemoryStore.from_spec,
    "s3": _s3,
}

RESERVED = "os_glance_"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Placed(Protocol):
    """Whatever lies in a store."""

    @property
    def store(self) -> str:
        """The id of the store."""


P = TypeVar("P", bound=Placed)


class StoreRegistry:
    """Maps ids to stores, in the order of the configuration.

    `stores` and `specs` belong together in this order. `build` makes them from a configuration; tests and
    special set-ups may give stores of their own making.
    """

    def __init__(self, stores: Sequence[ReadableStore], default: str, specs: Sequence[StoreSpec] | None = None) -> None:
        given = specs or [StoreSpec(store.id, type(store).__name__) for store in stores]
        self._stores = dict(zip((spec.id for spec in given), stores, strict=True))
        self._specs = {spec.id: spec for spec in given}
        self.default = default
        self._probes: Together[None] = Together()
        self._missed: set[str] = set()

    @classmethod
    def build(cls, specs: Sequence[StoreSpec], default: str, *, deadline: float = 5.0) -> Self:
        """Build every store, or raise `StoreMisconfigured` naming the option (see the module's docstring).

        File systems that do not answer within `deadline` seconds are reported and left to themselves.
        """
        _check_ids(specs)
        stores = [_driver(spec)(spec) for spec in specs]
        files = [store for store in stores if isinstance(store, FilesystemStore)]
        _check_paths(files, deadline)
        _check_locations(stores)
        registry = cls(stores, default, specs)
        registry._check_default()
        for error in _prepare(files, deadline):
            log.error("%s; the other stores can be used meanwhile", error)
        return registry

    def __contains__(self, id: str) -> bool:
        return id in self._stores

    def stores(self) -> list[ReadableStore]:
        """Return all stores, in the order of the configuration."""
        return list(self._stores.values())

    def get(self, id: str) -> ReadableStore:
        """Return a store to read from. Raises `UnknownStore`. Using it may raise `StoreUnavailable`."""
        if id not in self._stores:
            raise UnknownStore(id, "it is not configured")
        return self._stores[id]

    def writable(self, id: str) -> Store:
        """Return a store to write to. Raises `UnknownStore`, `ReadOnlyStore`."""
        store = self.get(id)
        if not isinstance(store, Store):
            raise ReadOnlyStore(id, "it can only be read")
        return store

    def ids(self) -> list[str]:
        """Return all ids, in the order of the configuration."""
        return list(self._stores)

    def writable_ids(self) -> list[str]:
        """Return the ids that can be written, in the order of the configuration: what `all_stores` means."""
        return [id for id, store in self._stores.items() if isinstance(store, Store)]

    def spec(self, id: str) -> StoreSpec:
        """Return what the store was built from. Raises `UnknownStore`."""
        self.get(id)
        return self._specs[id]

    def by_weight(self, places: Iterable[P]) -> list[P]:
        """Sort places as they are shown, read and copied from (import-behaviour §3.5): heaviest store first, then by
        id. A store that is not configured weighs nothing.
        """

        def rank(place: P) -> tuple[int, str]:
            spec = self._specs.get(place.store)
            return -spec.weight if spec else 0, place.store

        return sorted(places, key=rank)

    def successor(self, id: str, key: str, url: str) -> str | None:
        """Return the configured store that would keep `key` at exactly `url`, where store `id`, which is configured no
        more, kept it (§3.7). None if there is none, which the log tells once for each id.
        """
        for candidate, store in self._stores.items():
            if _location(store, key) == url:
                return candidate
        if id not in self._missed:
            self._missed.add(id)
            log.warning("store %s is not configured, and no other one keeps its objects where it did", id)
        return None

    def place_of(self, url: str) -> tuple[str, str] | None:
        """Return the store, and the key in it, of an object at exactly `url`; None if no store would keep one there.

        A store that others fill has URLs for keys; in all others an object is under the last segment of its URL.
        """
        for key in (url, url.rpartition("/")[2]):
            for id, store in self._stores.items():
                if _location(store, key) == url:
                    return id, key
        return None

    def health(self, deadline: float = 5.0) -> dict[str, str | None]:
        """Probe all stores at once; return for each what is wrong with it, `None` for a store in order.

        Takes no longer than `deadline` seconds: one that does not answer by then is reported as that.
        """
        answers = self._probes.ask({id: store.probe for id, store in self._stores.items()}, deadline)
        return {id: None if answer is None else str(answer) for id, answer in answers.items()}

    def _check_default(self) -> None:
        if self.default not in self._stores:
            raise StoreMisconfigured(self.default, "default_backend is not among enabled_backends")
        if self.default not in self.writable_ids():
            raise StoreMisconfigured(self.default, "default_backend can only be read")


def _location(store: ReadableStore, key: str) -> str | None:
    """Where `store` would keep `key`, or None for a text that is no key of it."""
    try:
        return store.url(key)
    except ValueError:
        return None


def build_store(spec: StoreSpec, beside: StoreRegistry, *, deadline: float = 5.0) -> Store:
    """Build a store that is in no registry, so that its id may be reserved; it must not keep its objects where one of
    `beside` does. Raises `StoreMisconfigured` as `StoreRegistry.build`; what is wrong with the world is reported only.
    """
    store = _driver(spec)(spec)
    if not isinstance(store, Store):
        raise StoreMisconfigured(spec.id, f"a store of type {spec.driver} can only be read")
    every = [*beside.stores(), store]
    files = [one for one in every if isinstance(one, FilesystemStore)]
    _check_paths(files, deadline)
    _check_locations(every)
    for error in _prepare([file for file in files if file is store], deadline):
        log.error("%s; it can be used as soon as that is mended", error)
    return store


def _check_ids(specs: Sequence[StoreSpec]) -> None:
    seen: set[str] = set()
    for spec in specs:
        if spec.id.startswith(RESERVED):
            raise StoreMisconfigured(
                spec.id, f"enabled_backends has an id that begins with {RESERVED}, which is reserved"
            )
        if not _ID.fullmatch(spec.id):
            raise StoreMisconfigured(spec.id, "enabled_backends has an id that is not 1 to 64 of A-Z a-z 0-9 . _ -")
        if spec.id in seen:
            raise StoreMisconfigured(spec.id, "enabled_backends has this id twice")
        seen.add(spec.id)


def _driver(spec: StoreSpec) -> Driver:
    if spec.driver not in DRIVERS:
        known = ", ".join(sorted(DRIVERS))
        raise StoreMisconfigured(spec.id, f"enabled_backends has the unknown type {spec.driver!r}, known are {known}")
    return DRIVERS[spec.driver]


def _check_paths(stores: Sequence[FilesystemStore], deadline: float) -> None:
    """Refuse two stores of which one lies in the other, whatever links lead there.

    A path on a dead mount, which cannot be followed in time, is compared as it is written.
    """
    paths = {store.id: store.directory for store in stores}
    followed = Together[Path]().ask({id: _follow(path) for id, path in paths.items()}, deadline)
    for id, answer in followed.items():
        if isinstance(answer, Path):
            paths[id] = answer
    for (first, one), (second, other) in combinations(paths.items(), 2):
        if one == other or one in other.parents or other in one.parents:
            how = "the same as" if one == other else "nested with"
            raise StoreMisconfigured(second, f"{DATADIR} is {how} that of store {first}")


def _check_locations(stores: Sequence[ReadableStore]) -> None:
    """Refuse two stores that would keep the same key at the same place: two S3 stores on one bucket."""
    seen: dict[str, str] = {}
    for store in stores:
        if isinstance(store, Store):
            first = seen.setdefault(store.url("key"), store.id)
            if first != store.id:
                raise StoreMisconfigured(store.id, f"it keeps its objects where store {first} does")


def _prepare(stores: Sequence[FilesystemStore], deadline: float) -> list[StoreError]:
    """Make the data directories and try them; return what is wrong."""
    answers = Together[None]().ask({store.id: _making(store) for store in stores}, deadline)
    return [answer for answer in answers.values() if answer is not None]


def _follow(path: Path) -> Callable[[], Path]:
    def call() -> Path:
        try:
            return path.resolve()
        except (OSError, RuntimeError):
            # A loop of links, or a parent that cannot be entered: using the store will say so.
            return path

    return call


def _making(store: FilesystemStore) -> Callable[[], None]:
    def call() -> None:
        store.prepare()
        store.probe()

    return call
