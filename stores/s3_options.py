"""What the section of an S3 store says, under Glance's names, as typed values.

As in Glance, sizes are in MiB, a host without a scheme is spoken to over http, and the region of an Amazon host
follows from its name. Other than in Glance, keys are never part of a location, and the size up to which an
object is sent in one part applies to announced sizes only and is that of a part unless it is set.
"""

import random
import re
import ssl
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

from stores.base import StoreSpec
from stores.errors import StoreMisconfigured
from stores.options import flag, number, seconds, text
from stores.s3_parts import LARGEST_PART, LEAST_PART, PartSizes, part_sizes

Addressing: TypeAlias = Literal["auto", "virtual", "path"]

_MIB = 1 << 20
_AMAZON = re.compile(r"s3[.-](?:dualstack\.)?(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on with a server that is slow or busy.

    A request is tried `attempts` times, after pauses that double from `first` to `longest` seconds and are cut
    at random, so that many clients do not come back at once. `connect` and `idle` are seconds of silence. To make one
    object of its parts, a server gets `complete` seconds, in silence or saying all the while that it is busy.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 20.0
    connect: float = 10.0
    idle: float = 60.0
    complete: float = 600.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the failed `attempt`, counted from 1."""
        return min(self.longest, self.first * 2.0 ** min(attempt - 1, 30)) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where the bucket is, who we are there, and how bytes are sent. Its repr shows no key.

    A write session holds at most `in_flight` parts on their way and one that is being filled.

    `unsigned` leaves the bytes of parts out of the signature and lets the server check their CRC32 instead:
    measured with parts of 16 MiB, 1.9 instead of 5.3 to 5.8 CPU-seconds per GB, that is about a third. It needs
    a server that knows `x-amz-checksum-crc32`, and a network where only accidents change bytes, or https.
    """

    endpoint: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    addressing: Addressing = "auto"
    create_bucket: bool = False
    single: int = 0
    part: int = 10 * _MIB
    in_flight: int = 4
    largest: int = 1 << 40
    ca_file: str = ""
    unsigned: bool = False
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def from_spec(cls, spec: StoreSpec) -> "S3Options":
        """Read Glance's `s3_store_*`, our `s3_store_unsigned_payload`, `image_size_cap` in bytes, and
        `store_commit_timeout` in seconds.

        Raises `StoreMisconfigured`.
        """
        endpoint = _endpoint(spec)
        return cls(
            endpoint=endpoint,
            bucket=_required(spec, "s3_store_bucket"),
            access_key=_required(spec, "s3_store_access_key"),
            secret_key=_required(spec, "s3_store_secret_key"),
            region=text(spec, "s3_store_region_name", _region(endpoint)),
            addressing=_addressing(spec),
            create_bucket=flag(spec, "s3_store_create_bucket_on_put", default=False),
            single=_mebibytes(spec, "s3_store_large_object_size", 0, least=1),
            part=_mebibytes(spec, "s3_store_large_object_chunk_size", 10, least=LEAST_PART // _MIB),
            in_flight=number(spec, "s3_store_thread_pools", 4, least=1),
            largest=number(spec, "image_size_cap", 1 << 40, least=1),
            ca_file=_authorities(spec),
            unsigned=flag(spec, "s3_store_unsigned_payload", default=False),
            patience=Patience(complete=seconds(spec, "store_commit_timeout", Patience().complete)),
        )

    def sizes(self, size: int | None) -> PartSizes:
        """The sizes of the parts of an object of `size` bytes, if that is known."""
        return part_sizes(self.part, size, single=max(self.single, self.part), largest=self.largest)

    def shown(self) -> dict[str, object]:
        """What operators may see: sizes in MiB under Glance's names, as they are in effect."""
        return {
            "s3_store_large_object_size": max(self.single, self.part) // _MIB,
            "s3_store_large_object_chunk_size": self.part // _MIB,
            "s3_store_thread_pools": self.in_flight,
        }

    def location(self, key: str) -> str:
        """The URL of `key` in Glance's form, without keys: `s3://host/bucket/key`, `s3+https://…` over https."""
        parts = urlsplit(self.endpoint)
        scheme = "s3" if parts.scheme == "http" else "s3+https"
        return f"{scheme}://{parts.netloc}/{self.bucket}/{key}"


def _endpoint(spec: StoreSpec) -> str:
    given = _required(spec, "s3_store_host")
    endpoint = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError as error:
        raise StoreMisconfigured(spec.id, "s3_store_host is no host") from error
    plain = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in ("http", "https") or not parts.hostname or endpoint not in (plain, f"{plain}/"):
        raise StoreMisconfigured(spec.id, "s3_store_host must be a host, with http:// or https:// before it if need be")
    if "@" in parts.netloc:
        raise StoreMisconfigured(spec.id, "s3_store_host must not hold a user or password")
    return plain


def _authorities(spec: StoreSpec) -> str:
    path = text(spec, "s3_store_cacert")
    if not path:
        return ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise StoreMisconfigured(spec.id, "s3_store_cacert names a file without certificates") from error
    except OSError as error:
        raise StoreMisconfigured(spec.id, "s3_store_cacert names no file that can be read") from error
    return path


def _region(endpoint: str) -> str:
    amazon = _AMAZON.fullmatch(urlsplit(endpoint).hostname or "")
    return amazon["region"] if amazon else "us-east-1"


def _addressing(spec: StoreSpec) -> Addressing:
    given = text(spec, "s3_store_bucket_url_format", "auto").lower()
    if given not in get_args(Addressing):
        raise StoreMisconfigured(spec.id, "s3_store_bucket_url_format must be auto, virtual or path")
    return cast(Addressing, given)


def _required(spec: StoreSpec, name: str) -> str:
    value = text(spec, name)
    if not value:
        raise StoreMisconfigured(spec.id, f"{name} is not set")
    return value


def _mebibytes(spec: StoreSpec, name: str, default: int, *, least: int) -> int:
    value = number(spec, name, default, least=least) * _MIB
    if value > LARGEST_PART:
        raise StoreMisconfigured(spec.id, f"{name} must not be above {LARGEST_PART // _MIB}")
    return value
