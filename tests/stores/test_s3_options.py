"""What the section of an S3 store may say, and what a server's refusals mean."""

import ssl
from pathlib import Path

import pytest

from stores.base import StoreSpec
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
from stores.s3_errors import NoBucket, NotInside, mistrust, refusal
from stores.s3_options import Patience, S3Options
from tests.certificates import Authority

MIB = 1 << 20
NO_CERTIFICATE = str(Path(__file__))
LEAST = {
    "s3_store_host": "s3.example.org",
    "s3_store_access_key": "AKIA-THE-ACCESS-KEY",
    "s3_store_secret_key": "the/secret+key",
    "s3_store_bucket": "images",
}


def options(**given: object) -> S3Options:
    return S3Options.from_spec(StoreSpec("s3", "s3", options=LEAST | given))


def test_what_is_not_said() -> None:
    assert options() == S3Options("http://s3.example.org", "images", "AKIA-THE-ACCESS-KEY", "the/secret+key")
    assert options() == options(s3_store_bucket_url_format="", s3_store_cacert=" ", s3_store_region_name="")


def test_everything_said(tmp_path: Path) -> None:
    authorities = Authority(tmp_path).file
    assert options(
        s3_store_host="https://s3.example.org:8443/",
        s3_store_region_name="eu-north-1",
        s3_store_create_bucket_on_put="true",
        s3_store_bucket_url_format="Virtual",
        s3_store_large_object_size="100",
        s3_store_large_object_chunk_size=16,
        s3_store_thread_pools="10",
        s3_store_cacert=str(authorities),
        s3_store_unsigned_payload=True,
        image_size_cap=12345,
        store_commit_timeout=7.5,
    ) == S3Options(
        endpoint="https://s3.example.org:8443",
        bucket="images",
        access_key="AKIA-THE-ACCESS-KEY",
        secret_key="the/secret+key",
        region="eu-north-1",
        addressing="virtual",
        create_bucket=True,
        single=100 * MIB,
        part=16 * MIB,
        in_flight=10,
        largest=12345,
        ca_file=str(authorities),
        unsigned=True,
        patience=Patience(complete=7.5),
    )


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "eu-west-1"),
        ("s3-us-west-2.amazonaws.com", "us-west-2"),
        ("https://s3.dualstack.eu-central-1.amazonaws.com", "eu-central-1"),
        ("s3.amazonaws.com", "us-east-1"),
        ("10.0.0.1:9000", "us-east-1"),
    ],
)
def test_the_region_follows_from_amazons_hosts(host: str, region: str) -> None:
    assert options(s3_store_host=host).region == region


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, "") for name in LEAST),
        *(("s3_store_host", host) for host in ("ftp://host", "http://", "http://host/path", "http://host:port")),
        ("s3_store_host", "https://user:hidden@host"),
        ("s3_store_bucket_url_format", "subdomain"),
        ("s3_store_create_bucket_on_put", "maybe"),
        ("s3_store_large_object_size", "0"),
        ("s3_store_large_object_size", "5121"),
        ("s3_store_large_object_chunk_size", "4"),
        ("s3_store_large_object_chunk_size", "5121"),
        ("s3_store_thread_pools", "0"),
        ("s3_store_cacert", "/no/such/file.pem"),
        ("s3_store_cacert", NO_CERTIFICATE),
        ("s3_store_unsigned_payload", "perhaps"),
        *(("store_commit_timeout", value) for value in ("0", "nan", "inf", "soon")),
    ],
)
def test_what_makes_no_sense_is_named(option: str, value: str) -> None:
    with pytest.raises(StoreMisconfigured, match=option) as caught:
        options(**{option: value})
    assert not any(secret in str(caught.value) for secret in ("hidden", "AKIA", "the/secret"))


def test_neither_the_options_nor_their_section_show_a_key() -> None:
    for shown in (repr(options()), repr(StoreSpec("s3", "s3", options=LEAST))):
        assert "AKIA" not in shown
        assert "secret+" not in shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, (10, 10, 4)),
        ({"s3_store_large_object_size": "100", "s3_store_thread_pools": "8"}, (100, 10, 8)),
        ({"s3_store_large_object_chunk_size": "32"}, (32, 32, 4)),
    ],
)
def test_operators_see_sizes_and_no_key(given: dict[str, str], shown: tuple[int, int, int]) -> None:
    names = ("s3_store_large_object_size", "s3_store_large_object_chunk_size", "s3_store_thread_pools")
    assert options(**given).shown() == dict(zip(names, shown, strict=True))


def test_pauses_double_up_to_a_limit_and_differ() -> None:
    patience = Patience(first=1.0, longest=10.0)
    for attempt, most in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (2000, 10.0)):
        pauses = {patience.pause(attempt) for _ in range(50)}
        assert all(most / 2 <= pause <= most for pause in pauses)
        assert len(pauses) > 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchBucket", NoBucket),
        (404, "NoSuchKey", ObjectNotFound),
        (404, "404", ObjectNotFound),
        (410, "Gone", ObjectNotFound),
        (404, "NoSuchUpload", SessionEnded),
        (403, "AccessDenied", StoreDenied),
        (403, "403", StoreDenied),
        (401, "", StoreDenied),
        (403, "QuotaExceeded", StoreFull),
        (507, "", StoreFull),
        (413, "413", StoreFull),
        (400, "EntityTooLarge", StoreFull),
        (503, "SlowDown", StoreUnavailable),
        (503, "", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
        (200, "InternalError", StoreUnavailable),
        (429, "TooManyRequests", StoreUnavailable),
        (400, "RequestTimeout", StoreUnavailable),
        (400, "BadDigest", StoreUnavailable),
        (409, "ConditionalRequestConflict", StoreUnavailable),
        (412, "PreconditionFailed", ObjectExists),
        (416, "InvalidRange", NotInside),
        (400, "InvalidBucketName", StoreMisconfigured),
        (400, "MalformedXML", StoreError),
        (301, "PermanentRedirect", StoreError),
        (501, "NotImplemented", StoreError),
    ],
)
def test_what_a_refusal_means(status: int, code: str, kind: type[StoreError]) -> None:
    assert type(refusal("s3", status, code)) is kind


def test_a_refusal_tells_status_and_code_but_no_odd_text() -> None:
    assert str(refusal("s3", 418, "Teapot")) == "store s3: the server answers with HTTP status 418 (Teapot)"
    assert str(refusal("s3", 418, "<b>AKIA")) == "store s3: the server answers with HTTP status 418"


@pytest.mark.parametrize(
    ("code", "said"), [(10, "has expired"), (20, "s3_store_cacert"), (62, "another host"), (64, "another host")]
)
def test_what_is_wrong_with_a_certificate(code: int, said: str) -> None:
    bottom = ssl.SSLCertVerificationError("certificate verify failed for https://10.0.0.1")
    bottom.verify_code = code
    error = ValueError("wrapped")
    error.__cause__ = bottom
    assert said in mistrust(error)
    assert "10.0.0.1" not in mistrust(error)
