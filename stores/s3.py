"""Objects in a bucket of S3, or of a server that speaks like it: one object per key, no name but the key.

A write session is a multipart upload, opened with the session (`stores.s3_writer`); `commit` completes it on the
condition that the key is free, which servers check at once with publishing; those that do not know the condition
are asked beforehand, and sessions of one process then take turns. The reasons are in
`docs/decisions/0007-s3-store.md`.

Other than the contract says of stores in general, a request that the server is too busy for, or that breaks off,
is repeated here: being told to slow down is the everyday speech of S3, and a broken part cannot be sent again by
anybody else. The texts of errors hold the HTTP status and S3's own code, never an address or a key of ours.
"""

import base64
import re
import secrets
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

from stores.base import CHUNK, ObjectInfo, StoreSpec, check_key
from stores.errors import ObjectExists, ObjectNotFound, SessionEnded, StoreError, StoreMisconfigured, StoreUnavailable
from stores.s3_errors import NoBucket, NotInside, refusal
from stores.s3_options import S3Options
from stores.s3_writer import Part, PartBody, S3Writer, Upload

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

_TOKEN = "tranship-session"
_TURNS = 64


class S3Store:
    """Keeps objects in one bucket; see the module's docstring. Constructing it asks nothing of the server."""

    def __init__(self, id: str, options: S3Options) -> None:
        self.id = id
        self.options = options
        self._bucket = Bucket(id, options)

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


class S3Reader:
    """An open answer, whose body begins at `offset` of the object; see `stores.base.Reader`.

    What is not read yet when the object is deleted may be lost.
    """

    def __init__(self, store: str, body: "StreamingBody | None", size: int, offset: int) -> None:
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

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Found:
    """What a HEAD tells of an object: its size, and the token of the session that it came of."""

    size: int
    token: str


class Bucket:
    """The requests that a store makes, with our errors: the only place that knows boto3."""

    def __init__(self, store: str, options: S3Options) -> None:
        self.store = store
        self._options = options
        self._lock = Lock()
        self._made: S3Client | None = None
        self._turns = [Lock() for _ in range(_TURNS)]

    # --- objects ---

    def find(self, key: str) -> Found | None:
        """Look for an object. A bucket that is missing has none."""
        try:
            answer = self._ask(lambda s3: s3.head_object(Bucket=self._options.bucket, Key=key))
        except ObjectNotFound:
            return None
        return Found(answer["ContentLength"], answer.get("Metadata", {}).get(_TOKEN, ""))

    def get(self, key: str, offset: int) -> "tuple[int, StreamingBody]":
        """Return the size of an object and its bytes from `offset` on. Raises `NotInside`."""
        place: Any = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._ask(lambda s3: s3.get_object(Bucket=self._options.bucket, Key=key, **place))
        if not offset:
            return answer["ContentLength"], answer["Body"]
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.get("ContentRange", ""))
        if not told or int(told[1]) != offset:
            answer["Body"].close()
            raise StoreError(self.store, "the server answers wrongly to a range")
        return int(told[2]), answer["Body"]

    def remove(self, key: str) -> None:
        """Remove an object; it is no error if there is none."""
        try:
            self._ask(lambda s3: s3.delete_object(Bucket=self._options.bucket, Key=key))
        except ObjectNotFound:
            return

    def require(self) -> None:
        """Raise `StoreMisconfigured` when there is no bucket."""
        try:
            self._ask(lambda s3: s3.head_bucket(Bucket=self._options.bucket))
        except ObjectNotFound as error:
            raise NoBucket(self.store) from error

    # --- uploads ---

    def begin(self, key: str) -> Upload:
        """Open an upload."""
        try:
            return self._begin(key)
        except NoBucket:
            if not self._options.create_bucket:
                raise
            self._make()
            return self._begin(key)

    def try_upload(self, key: str) -> None:
        """Open an upload and remove it, without patience. A bucket that the first put makes is not missed."""
        try:
            self.drop(self._begin(key, attempts=1), attempts=1)
        except NoBucket:
            if not self._options.create_bucket:
                raise

    def put_part(self, upload: Upload, number: int, content: bytearray, stop: Event) -> Part:
        """See `stores.s3_writer.Uploads.put_part`."""
        crc32 = base64.b64encode(zlib.crc32(content).to_bytes(4)).decode() if self._options.unsigned else ""
        check: Any = {"ChecksumCRC32": crc32} if crc32 else {}

        def put(s3: "S3Client") -> str:
            body: Any = PartBody(content, stop)
            return s3.upload_part(PartNumber=number, Body=body, **self._name(upload), **check)["ETag"]

        return Part(number, self._ask(put, stop=stop), crc32)

    def publish(self, upload: Upload, parts: list[Part]) -> None:
        """See `stores.s3_writer.Uploads.publish`."""
        named: Any = [
            {"PartNumber": part.number, "ETag": part.etag} | ({"ChecksumCRC32": part.crc32} if part.crc32 else {})
            for part in parts
        ]

        def complete(s3: "S3Client") -> None:
            s3.complete_multipart_upload(**self._name(upload), MultipartUpload={"Parts": named}, IfNoneMatch="*")

        with self._turns[zlib.crc32(upload.key.encode()) % _TURNS]:
            if self.find(upload.key) is not None:
                raise ObjectExists(self.store, "the object was committed by another session")
            try:
                self._ask(complete)
            except StoreError as error:
                self._judge(upload, error)

    def _judge(self, upload: Upload, error: StoreError) -> None:
        """Tell what a completion that failed came to: its answer may have been lost, and the next one be no."""
        if error.transient:
            raise error
        found = self.find(upload.key)
        if found is None:
            raise error
        if found.token != upload.token:
            raise ObjectExists(self.store, "the object was committed by another session") from error

    def drop(self, upload: Upload, *, attempts: int | None = None) -> None:
        """See `stores.s3_writer.Uploads.drop`."""
        try:
            self._ask(lambda s3: s3.abort_multipart_upload(**self._name(upload)), attempts=attempts)
        except (SessionEnded, ObjectNotFound):
            return

    def unpublish(self, upload: Upload) -> None:
        """See `stores.s3_writer.Uploads.unpublish`."""
        found = self.find(upload.key)
        if found is not None and found.token == upload.token:
            self.remove(upload.key)

    def uploads(self, key: str) -> list[Upload]:
        """Return the open uploads of `key`, of whatever process."""

        def listed(s3: "S3Client") -> list[Upload]:
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._options.bucket, Prefix=key)
            every = [upload for page in pages for upload in page.get("Uploads", [])]
            return [Upload(key, upload["UploadId"]) for upload in every if upload["Key"] == key]

        try:
            return self._ask(listed)
        except ObjectNotFound as error:
            # A list is there when the bucket is, whatever the server calls it.
            raise NoBucket(self.store) from error

    def _begin(self, key: str, attempts: int | None = None) -> Upload:
        token = secrets.token_hex(16)
        check: Any = {"ChecksumAlgorithm": "CRC32"} if self._options.unsigned else {}

        def begin(s3: "S3Client") -> str:
            return s3.create_multipart_upload(Bucket=self._options.bucket, Key=key, Metadata={_TOKEN: token}, **check)[
                "UploadId"
            ]

        return Upload(key, self._ask(begin, attempts=attempts), token)

    def _make(self) -> None:
        region = self._options.region
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
        try:
            self._ask(lambda s3: s3.create_bucket(Bucket=self._options.bucket, **place))
        except ObjectExists:
            # Another process was faster.
            return

    def _name(self, upload: Upload) -> Any:
        return {"Bucket": self._options.bucket, "Key": upload.key, "UploadId": upload.id}

    # --- the server ---

    def _ask(self, request: Callable[["S3Client"], T], *, stop: Event | None = None, attempts: int | None = None) -> T:
        """Make a request, again while that can help and `stop` is not set."""
        patience = self._options.patience
        stop = stop or Event()
        for attempt in count(1):
            try:
                return request(self._client())
            except (ClientError, BotoCoreError, ResponseParserError, KeyError) as error:
                blamed = _blame(self.store, error)
                last = not blamed.transient or attempt >= (attempts or patience.attempts)
                if last or stop.wait(patience.pause(attempt)):
                    raise blamed from error
        raise AssertionError("counting has no end")

    def _client(self) -> "S3Client":
        with self._lock:
            if self._made is None:
                self._made = self._make_client()
            return self._made

    def _make_client(self) -> "S3Client":
        given, patience = self._options, self._options.patience
        checks: Any = "when_required"
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": given.addressing, "payload_signing_enabled": not given.unsigned},
            request_checksum_calculation=checks,
            response_checksum_validation=checks,
            connect_timeout=patience.connect,
            read_timeout=patience.idle,
            # `_ask` repeats what is worth it, and can be stopped at that.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=max(10, 4 * given.in_flight),
            # Not what the environment says: nobody configured that for this store.
            proxies={},
        )
        session = boto3.session.Session(given.access_key, given.secret_key, region_name=given.region)
        try:
            return session.client("s3", endpoint_url=given.endpoint, verify=given.ca_file or None, config=config)
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
        return StoreUnavailable(store, "the server has no valid certificate")
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return StoreUnavailable(store, "the server does not answer in time")
    return StoreUnavailable(store, "the server cannot be reached, or broke off")
