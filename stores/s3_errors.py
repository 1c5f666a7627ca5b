"""What an S3 server's refusal means: one table from its status and code to one of our errors.

A server names what is wrong by a code of its own; the status decides where the code is unknown, or where there is
none, as in the answer to a HEAD.
"""

import re
import ssl
from collections.abc import Mapping

from stores.errors import (
    ObjectExists,
    ObjectNotFound,
    SessionEnded,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")

_CODES: Mapping[str, type[StoreError]] = {
    **dict.fromkeys(["NoSuchKey"], ObjectNotFound),
    **dict.fromkeys(["NoSuchUpload"], SessionEnded),
    **dict.fromkeys(["PreconditionFailed", "BucketAlreadyOwnedByYou", "BucketAlreadyExists"], ObjectExists),
    **dict.fromkeys(
        ["QuotaExceeded", "EntityTooLarge", "InsufficientStorage", "XMinioStorageFull", "TooManyParts"], StoreFull
    ),
    **dict.fromkeys(
        ["SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "Throttling", "InternalError"],
        StoreUnavailable,
    ),
    # Bytes that changed on the way: they are still right here.
    **dict.fromkeys(["BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"], StoreUnavailable),
    "NotImplemented": StoreError,
    **dict.fromkeys(["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "AccountProblem"], StoreDenied),
    **dict.fromkeys(["InvalidBucketName"], StoreMisconfigured),
}

_STATUSES: Mapping[int, type[StoreError]] = {
    **dict.fromkeys([401, 403, 407], StoreDenied),
    **dict.fromkeys([404, 410], ObjectNotFound),
    **dict.fromkeys([408, 425, 429], StoreUnavailable),
    412: ObjectExists,
    **dict.fromkeys([413, 507], StoreFull),
}


_EXPIRED = 10
_OTHER_HOSTS = (62, 64)
"""Codes of OpenSSL (X509_V_ERR_*): the certificate is not valid any more; it is of another name, or address."""


class NoBucket(StoreMisconfigured):
    """The bucket does not exist.

    That is a definite answer of a server in order, which waiting does not change; an import that kept trying would
    only tell its user later. It is never "not found" either: a misspelt bucket has lost nothing.
    """

    def __init__(self, store: str) -> None:
        super().__init__(store, "the bucket that s3_store_bucket names does not exist")


class NotInside(StoreError):
    """The range that was asked for begins at the end of the object or behind it."""

    code = "store_range_outside"


def mistrust(error: BaseException) -> str:
    """Say why a connection over TLS did not come about, from the error at the bottom of `error`; the option to look at
    is named.
    """
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
        return "it does not speak TLS as https in s3_store_host asks for"
    code = getattr(error, "verify_code", 0)
    if code == _EXPIRED:
        return "its certificate has expired"
    if code in _OTHER_HOSTS or not isinstance(error, ssl.SSLError):
        # urllib3 compares names by itself in places, and has an error of its own for it.
        return "its certificate is of another host than s3_store_host names"
    return "no authority in s3_store_cacert, or without it of those that everybody trusts, vouches for its certificate"


def refusal(store: str, status: int, code: str) -> StoreError:
    """Return the error that `status` and `code` of an answer mean, `code` being what S3 calls the error."""
    if code == "NoSuchBucket":
        return NoBucket(store)
    if status == 416 or code == "InvalidRange":
        return NotInside(store, "the range lies outside the object")
    kind = _CODES.get(code) or _STATUSES.get(status) or (StoreUnavailable if status >= 500 else StoreError)
    if kind is SessionEnded:
        return SessionEnded(store, "the key was deleted")
    told = f" ({code})" if _WORD.fullmatch(code) else ""
    return kind(store, f"the server answers with HTTP status {status}{told}")
