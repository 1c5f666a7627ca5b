"""Objects in a bucket of S3, or of a server that speaks like it: one object per key, no name but the key.

A write session is a multipart upload, opened with the session (`stores.s3_writer`); `commit` completes it on the
condition that the key is free, which servers check at once with publishing; those that do not know the condition
are asked beforehand, and sessions of one process then take turns. The reasons are in
`docs/decisions/0007-s3-store.md`.

Other than the contract says of stores in general, a request that the server is too busy for, or that breaks off,
is repeated here: being told to slow down is the everyday speech of S3, and a broken part cannot be sent again by
anybody else. The texts of errors hold the HTTP status and S3's own code, never an address or a key of ours.
"""

import secrets
import time
from collections.abc import Callable
from itertools import count
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from stores.base import CHUNK, ObjectInfo, Reader, StoreSpec, check_key
from stores.errors import ObjectExists, ObjectNotFound, StoreError, StoreMisconfigured, StoreUnavailable
from stores.s3_bucket import Body, Bucket
from stores.s3_errors import NotInside, mistrust, refusal
from stores.s3_options import S3Options
from stores.s3_writer import S3Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")


class S3Store:
    """Keeps objects in one bucket; see the module's docstring. Constructing it asks nothing of the server."""

    remote = True

    def __init__(self, id: str, options: S3Options) -> None:
        self.id = id
        self.options = options
        self._bucket = Bucket(S3Server(id, options), options)

    @classmethod
    def from_spec(cls, spec: StoreSpec) -> Self:
        """Build from Glance's options; see `S3Options.from_spec`. Raises `StoreMisconfigured`."""
        return cls(spec.id, S3Options.from_spec(spec))

    def open(self, key: str, offset: int = 0) -> "S3Reader":
        """See `stores.base.ReadableStore.open`. One request, unless `offset` is not inside the object."""
        check_key(key)
        if offset < 0:
            raise ValueError(f"offset {offset} is negative")
        try:
            size, body = self._bucket.get(key, offset)
        except NotInside:
            size, body = self.stat(key).size, None
            if offset != size:
                raise ValueError(f"offset {offset} is outside an object of {size} bytes") from None
        return S3Reader(self.id, body, size, offset)

    def stat(self, key: str) -> ObjectInfo:
        """See `stores.base.ReadableStore.stat`. A bucket that is missing has lost nothing: that is another error."""
        found = self._bucket.find(check_key(key))
        if found is None:
            self._bucket.require()
            raise ObjectNotFound(self.id, f"there is no object {key}")
        return ObjectInfo(key, found.size)

    def url(self, key: str) -> str:
        """Return the location in Glance's form, but without keys."""
        return self.options.location(check_key(key))

    def properties(self) -> dict[str, object]:
        """See `stores.base.ReadableStore.properties`."""
        return self.options.shown()

    def probe(self) -> None:
        """Open an upload under a name that is no key, and remove it. Tries once only."""
        self._bucket.try_upload(f".probe~{secrets.token_hex(8)}")

    def create(self, key: str, size: int | None = None) -> S3Writer:
        """See `stores.base.Store.create`. Makes the bucket, if that is wanted and it is missing."""
        if size is not None and size < 0:
            raise ValueError(f"not a size: {size}")
        if self._bucket.find(check_key(key)) is not None:
            raise ObjectExists(self.id, "the object is there already")
        upload = self._bucket.begin(key)
        return S3Writer(self._bucket, upload, size, self.options.sizes(size), self.options.in_flight)

    def delete(self, key: str) -> None:
        """See `stores.base.Store.delete`.

        The sessions go first: one that had published by then loses its object next.
        """
        for upload in self._bucket.uploads(check_key(key)):
            self._bucket.drop(upload)
        self._bucket.remove(key)


class S3Reader(Reader):
    """An open answer, whose body begins at `offset` of the object; see `stores.base.Reader`.

    What is not read yet when the object is deleted may be lost.
    """

    def __init__(self, store: str, body: Body | None, size: int, offset: int) -> None:
        self.size = size
        self._store = store
        self._body = body
        self._offset = offset

    def read(self, size: int = CHUNK) -> bytes:
        """See `stores.base.Reader.read`."""
        if size < 1:
            raise ValueError(f"not a number of bytes to read: {size}")
        wanted = min(size, self.size - self._offset)
        if not wanted or self._body is None:
            return b""
        progress = f"{self._offset} of {self.size} bytes"
        try:
            chunk = self._body.read(wanted)
        except ReadTimeoutError as error:
            raise StoreUnavailable(self._store, f"the server fell silent after {progress}") from error
        except (BotoCoreError, OSError) as error:
            raise StoreUnavailable(self._store, f"the server broke off after {progress}") from error
        if not chunk:
            raise StoreUnavailable(self._store, f"the server stopped after {progress}")
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        """See `stores.base.Reader.close`."""
        if self._body is not None:
            self._body.close()


class S3Server:
    """The client of one store: makes it when it is first needed, repeats, and translates what boto3 raises."""

    def __init__(self, store: str, options: S3Options) -> None:
        self.store = store
        self._options = options
        self._lock = Lock()
        # Reading what S3 is takes most of the time of making a client; a session does it once.
        self._session = boto3.session.Session(options.access_key, options.secret_key, region_name=options.region)
        self._made: dict[float, S3Client] = {}

    def ask(
        self,
        request: Callable[["S3Client"], T],
        *,
        stop: Event | None = None,
        attempts: int | None = None,
        within: float = 0.0,
    ) -> T:
        """See `stores.s3_bucket.Server.ask`."""
        patience, until = self._options.patience, time.monotonic() + within
        stop = stop or Event()
        for attempt in count(1):
            try:
                return request(self._client(max(patience.idle, within)))
            except (ClientError, BotoCoreError, ResponseParserError, KeyError) as error:
                blamed = _blame(self.store, error)
                tried = attempt >= (attempts or patience.attempts) and time.monotonic() >= until
                if not blamed.transient or tried or stop.wait(patience.pause(attempt)):
                    raise blamed from error
        raise AssertionError("counting has no end")

    def _client(self, idle: float) -> "S3Client":
        """The client that bears `idle` seconds of silence: boto3 has one such number for all that a client asks."""
        with self._lock:
            if idle not in self._made:
                self._made[idle] = self._make_client(idle)
            return self._made[idle]

    def _make_client(self, idle: float) -> "S3Client":
        given, patience = self._options, self._options.patience
        checks: Any = "when_required"
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": given.addressing, "payload_signing_enabled": not given.unsigned},
            request_checksum_calculation=checks,
            response_checksum_validation=checks,
            connect_timeout=patience.connect,
            read_timeout=idle,
            # `ask` repeats what is worth it, and can be stopped at that.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=max(10, 4 * given.in_flight),
            # Not what the environment says: nobody configured that for this store.
            proxies={},
        )
        try:
            return self._session.client("s3", endpoint_url=given.endpoint, verify=given.ca_file or None, config=config)
        except ValueError as error:
            raise StoreMisconfigured(self.store, "s3_store_host is no host") from error


def _blame(store: str, error: Exception) -> StoreError:
    """Return what `error` of boto3 is in our words. Its own text may hold addresses."""
    if isinstance(error, ClientError):
        status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
        return refusal(store, status, str(error.response.get("Error", {}).get("Code", "")))
    if isinstance(error, ResponseParserError | KeyError):
        return StoreError(store, "the server does not speak S3")
    if isinstance(error, ParamValidationError):
        return StoreMisconfigured(store, "s3_store_bucket cannot be the name of a bucket")
    if isinstance(error, SSLError):
        return StoreUnavailable(store, f"the server cannot be trusted: {mistrust(error)}")
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return StoreUnavailable(store, "the server does not answer in time")
    return StoreUnavailable(store, "the server cannot be reached, or broke off")
