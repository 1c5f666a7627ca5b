"""The options of importing, as frozen values. `settings.py` fills them from files, the environment and flags."""

from dataclasses import dataclass

from stores.base import StoreSpec

STAGING_STORE = "os_glance_staging_store"
"""The section, and the id in the catalogue, of the store where uploaded bytes wait for their import, as in Glance."""

STAGED_FOR = 48 * 3600.0
"""Seconds that staged bytes wait for their import, unless the configuration says otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the images of one project may use, see `catalog.usage.Usage`; negative: no limit."""

    stored: int = -1
    staged: int = -1
    images: int = -1
    uploading: int = -1

    def of(self, _project: str, /) -> "Limits":
        """Those of a project: they are the same for each."""
        return self

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return max(self.stored, self.staged, self.images, self.uploading) >= 0


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What every import obeys. Sizes are bytes, times are seconds.

    `md5` fills the legacy `checksum`; `os_hash_*` is the authoritative hash (import-behaviour §1.4). Without
    `secure_hash`, data that is only registered is not read, so that its hash is what was said of it, if anything.
    """

    methods: tuple[str, ...] = ("web-download",)
    hashing_algorithm: str = "sha512"
    md5: bool = True
    image_size_cap: int = 1 << 40
    location_quota: int = 10
    secure_hash: bool = True
    task_time_to_live: float = 48 * 3600.0
    max_attempts: int = 5
    retry_base: float = 5.0
    retry_cap: float = 300.0
    store_idle_timeout: float = 60.0
    store_commit_timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """How long a silent worker keeps an image, and where expiry is kept (`database` or `redis`). Times are seconds.

    A task that has shown no progress for `stale_after`, or that nobody has begun for `stale_pending_after`, loses its
    image to the next import that is asked for (import-behaviour §2).
    """

    keeper: str = "database"
    redis_url: str = ""
    ttl: float = 60.0
    progress_interval: float = 1.0
    stall_timeout: float = 900.0
    stale_after: float = 3600.0
    stale_pending_after: float = 7200.0
    resend_after: float = 60.0
    sweep_interval: float = 10.0
    orphan_grace: float = 3600.0


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """How messages travel. `eager` runs each step in the caller's own thread instead.

    `stop_grace` is how many seconds a worker that is told to go lets its steps go on, before they hand back.
    """

    url: str = "memory://"
    eager: bool = False
    stop_grace: float = 5.0


@dataclass(frozen=True, slots=True)
class StagingOptions:
    """Where uploaded bytes wait for their import, at most `keep_for` seconds.

    `host` is the one host whose workers can read them; None when all can.
    """

    spec: StoreSpec
    host: str | None
    keep_for: float
