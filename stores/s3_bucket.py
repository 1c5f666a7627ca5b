"""What an S3 store asks of its server: about objects, and about the uploads that become objects.

Nothing here knows boto3 but by the shape of its client; `stores.s3` makes the client, and turns its errors into ours.
"""

import base64
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stores.errors import ObjectExists, ObjectNotFound, SessionEnded, StoreError
from stores.s3_errors import NoBucket
from stores.s3_options import S3Options
from stores.s3_writer import Line, Part, PartBody, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

_TOKEN = "tranship-session"
_TURNS = 64


class Server(Protocol):
    """Whoever makes requests."""

    store: str

    def ask(
        self,
        request: Callable[["S3Client"], T],
        *,
        stop: Event | None = None,
        attempts: int | None = None,
        within: float = 0.0,
    ) -> T:
        """Make a request, again while that can help, `stop` is not set and it was not tried `attempts` times.

        One that may be long in the making is made again for `within` seconds, however often, and waited for as long.
        Raises `StoreError`.
        """


class Body(Protocol):
    """The bytes of an open answer."""

    def read(self, size: int) -> bytes:
        """Return up to `size` of the next bytes, nothing at their end."""

    def close(self) -> None:
        """Let go of the answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a HEAD tells of an object: its size, and the token of the session that it came of."""

    size: int
    token: str


class Bucket:
    """One bucket on `server`: the requests that a store makes, and what their refusals mean for it."""

    def __init__(self, server: Server, options: S3Options) -> None:
        self.store = server.store
        self._ask = server.ask
        self._options = options
        self._turns = [Lock() for _ in range(_TURNS)]

    # --- objects ---

    def find(self, key: str) -> Found | None:
        """Look for an object. A bucket that is missing has none."""
        try:
            answer = self._ask(lambda s3: s3.head_object(Bucket=self._options.bucket, Key=key))
        except ObjectNotFound:
            return None
        return Found(answer["ContentLength"], answer.get("Metadata", {}).get(_TOKEN, ""))

    def get(self, key: str, offset: int) -> tuple[int, Body]:
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

    def put_part(self, upload: Upload, number: int, content: bytearray, stop: Line) -> Part:
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
                # It may take minutes. Whoever is between us and the server may lose patience with it, and a server that
                # is still at it may refuse to begin anew.
                self._ask(complete, within=self._options.patience.complete)
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
