"""Checksums that somebody promised: how they are written, and what a file of sums says of one name."""

import hashlib
import time
from itertools import count

import pytest

from pipeline.checksums import SUMS_LIMIT, Checksum, read_sums, sums_entry
from pipeline.errors import ChecksumUnknown, Interrupted, SourceAnswered, SourceRefused
from pipeline.sources import ChunkSource, HttpSource
from tests.conformance.origin import serving
from tests.pipeline.fetching import QUICK, Open

NAME = "disk.qcow2"
MD5, SHA256, SHA512 = (hashlib.new(name, b"data").hexdigest() for name in ("md5", "sha256", "sha512"))
SHA1 = hashlib.sha1(b"data").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
LABEL = "https://example.org/SUMS"

# Written out


@pytest.mark.parametrize(
    ("text", "algorithm", "value"),
    [
        (f"sha256:{SHA256}", "sha256", SHA256),
        (f"SHA256:{SHA256.upper()}", "sha256", SHA256),
        (f"sha512:{SHA512}", "sha512", SHA512),
        (f"Md5:{MD5}", "md5", MD5),
    ],
)
def test_a_checksum_is_read_in_any_case(text: str, algorithm: str, value: str) -> None:
    checksum = Checksum.parse(text)
    assert (checksum.algorithm, checksum.value) == (algorithm, value)
    assert Checksum.parse(str(checksum)) == checksum


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begin with one of md5:, sha256:, sha512:"),
        (SHA256, "begin with one of"),
        (f"sha1:{SHA1}", "begin with one of"),
        (f" sha256:{SHA256}", "begin with one of"),
        ("sha256:", "64 hex digits"),
        (f"sha256:{SHA256}0", "64 hex digits"),
        (f"sha256:{SHA256[:-1]}g", "64 hex digits"),
        (f"sha256:{SHA256}\n", "64 hex digits"),
        (f"sha256: {SHA256[1:]}", "64 hex digits"),
        (f"sha256:{'٣' * 64}", "64 hex digits"),
        (f"sha512:{SHA256}", "128 hex digits"),
        (f"md5:{SHA256}", "32 hex digits"),
    ],
)
def test_what_is_no_checksum_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Checksum.parse(text)


# Files of sums


def signed(body: str) -> str:
    """`body` inside a clear-signed message, with hashes outside of what is signed."""
    outside = f"{OTHER}  {NAME}"
    return "\n".join(
        [
            outside,
            "-----BEGIN PGP SIGNED MESSAGE-----",
            "Hash: SHA512",
            "",
            body,
            "-----BEGIN PGP SIGNATURE-----",
            "",
            "iQIzBAEBCgAdFiEEsomethingthatisnosum",
            outside,
            "-----END PGP SIGNATURE-----",
            outside,
        ]
    )


SUMS = {
    "text mode": (f"{OTHER}  other\n{SHA256}  {NAME}\n", SHA256),
    "binary mode": (f"{OTHER} *other\n{SHA256} *{NAME}\n", SHA256),
    "no end of line": (f"{OTHER}  other\n{SHA256}  {NAME}", SHA256),
    "one space": (f"{SHA256} {NAME}", SHA256),
    "tab": (f"{SHA256}\t{NAME}", SHA256),
    "many spaces": (f"{SHA256}     {NAME}", SHA256),
    "upper case": (f"{SHA256.upper()}  {NAME}", SHA256),
    "md5": (f"{MD5}  {NAME}\n", MD5),
    "sha512": (f"{SHA512}  {NAME}\n", SHA512),
    "here": (f"{SHA256}  ./{NAME}\n", SHA256),
    "here, binary": (f"{SHA256} *.//{NAME}\n", SHA256),
    "bsd": (f"SHA256 (other) = {OTHER}\nSHA256 ({NAME}) = {SHA256}\n", SHA256),
    "bsd, md5": (f"MD5 ({NAME}) = {MD5}\n", MD5),
    "bsd, here": (f"SHA512 (./{NAME}) = {SHA512}\n", SHA512),
    "openssl": (f"SHA256({NAME})= {SHA256}\n", SHA256),
    "openssl 3": (f"SHA2-512({NAME})= {SHA512}\n", SHA512),
    "comments": (f"# {NAME}: 4 bytes\n\n{SHA256}  {NAME}\n# {OTHER}  {NAME}\n", SHA256),
    "crlf": (f"{OTHER}  other\r\n{SHA256}  {NAME}\r\n", SHA256),
    "bom": (f"\ufeff{SHA256}  {NAME}\n", SHA256),
    "alone": (f"{SHA256}\n", SHA256),
    "alone, stdin": (f"{SHA256}  -\n", SHA256),
    "alone, crlf": (f"\ufeff{SHA512.upper()}\r\n", SHA512),
    "alone, commented": (f"# of the image\n{MD5}", MD5),
    "said twice": (f"{SHA256}  {NAME}\n{SHA256} *./{NAME}\n", SHA256),
    "several algorithms": (f"{SHA512}  {NAME}\n{MD5}  {NAME}\nSHA256 ({NAME}) = {SHA256}\n", SHA512),
    "and one that is not offered": (f"SHA1 ({NAME}) = {SHA1}\nSHA256 ({NAME}) = {SHA256}\n", SHA256),
    "signed": (signed(f"{OTHER}  other\n{SHA256}  {NAME}"), SHA256),
    "signed, crlf": (signed(f"SHA256 ({NAME}) = {SHA256}").replace("\n", "\r\n"), SHA256),
    "signed, dash escaped": (signed(f"- ----\n- {SHA256}  {NAME}"), SHA256),
    "signed, alone": (signed(SHA256), SHA256),
}


@pytest.mark.parametrize("case", SUMS)
def test_an_entry_is_found(case: str) -> None:
    text, value = SUMS[case]
    assert sums_entry(text.encode(), NAME, LABEL).value == value


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (rf"\{SHA256}  a\\b", "a\\b"),
        (rf"\{SHA256} *a\nb", "a\nb"),
        (rf"\SHA256 (a\rb) = {SHA256}", "a\rb"),
        (f"{SHA256}  a\\nb", "a\\nb"),
        (f"{SHA256}  *star", "*star"),
        (f"{SHA256}  two words", "two words"),
        (f"SHA256 (a) = (b) = c) = {SHA256}", "a) = (b) = c"),
        (f"{SHA256}  ./x/disk", "x/disk"),
        (f"{SHA256}  disk", "./disk"),
        (f"{SHA256}  größe", "größe"),
    ],
)
def test_odd_names_are_compared_whole(line: str, name: str) -> None:
    assert sums_entry(f"{OTHER}  other\n{line}\n".encode(), name, LABEL).value == SHA256


def test_a_name_that_is_no_utf8_is_compared_as_its_bytes() -> None:
    text = f"{OTHER}  \xe8\n{SHA256}  \xe9\n".encode("latin-1")
    assert sums_entry(text, b"\xe9".decode("utf-8", "surrogateescape"), LABEL).value == SHA256


UNKNOWN = {
    "empty": "",
    "another name": f"{SHA256}  other\n",
    "a longer name": f"{SHA256}  {NAME}.sig\n",
    "another folder": f"{SHA256}  x/{NAME}\n",
    "another case": f"{SHA256}  {NAME.upper()}\n",
    "several without a name": f"{SHA256}\n{OTHER}\n",
    "no hash": f"hello  {NAME}\n",
    "a digit short": f"{SHA256[1:]}  {NAME}\n",
    "an algorithm that is not offered": f"{SHA1}  {NAME}\nSHA512/256 ({NAME}) = {SHA256}\n",
    "another length than the algorithm's": f"SHA512 ({NAME}) = {SHA256}\n",
    "outside of what is signed": signed(""),
    "signed without a body": f"-----BEGIN PGP SIGNED MESSAGE-----\n{SHA256}  {NAME}",
    "a web page": f"<html>\n<p>{NAME}\n",
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_without_an_entry_the_file_and_the_name_are_told(case: str) -> None:
    with pytest.raises(ChecksumUnknown, match=rf"{LABEL} have no md5, sha256 or sha512 of {NAME}") as caught:
        sums_entry(UNKNOWN[case].encode(), NAME, LABEL)
    assert (caught.value.code, caught.value.transient) == ("checksum_unknown", False)


def test_different_values_for_one_name_are_told() -> None:
    with pytest.raises(ChecksumUnknown, match=f"two values for the sha256 of {NAME}") as caught:
        sums_entry(f"{SHA256}  {NAME}\nSHA256 (./{NAME}) = {OTHER}\n".encode(), NAME, LABEL)
    assert SHA256 in str(caught.value)
    assert OTHER in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        bytes(range(256)) * 4096,
        b"\0" * SUMS_LIMIT,
        b"\n" * SUMS_LIMIT,
        b"\xff\xfe" + f"{SHA256}  {NAME}\n".encode("utf-16-le"),
        b"a" * SUMS_LIMIT,
        b"(" * SUMS_LIMIT,
        b"\n".join([b"SHA256 (" + b")=a" * 5000] * 60),
        b"\n".join([b"SHA256 (" + b") " * 8000] * 60),
        SHA256.encode() + b" " * SUMS_LIMIT,
        SHA256.encode() + b"  " + b"x" * SUMS_LIMIT,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_files_are_read_quickly_and_have_no_entry(text: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ChecksumUnknown):
        sums_entry(text, NAME, LABEL)
    assert time.process_time() - began < 5


def test_a_hostile_name_is_told_in_one_printable_line() -> None:
    with pytest.raises(ChecksumUnknown) as caught:
        sums_entry(b"", "\udce9\n\x1b[31m" + "x" * 5000, LABEL)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# Fetching them


def test_sums_are_fetched_and_looked_up() -> None:
    with serving() as origin:
        origin.objects["/SUMS"] = f"{SHA256}  {NAME}\n".encode()
        found = read_sums(HttpSource(origin.url("/SUMS"), Open(), QUICK), NAME)
    assert found == Checksum("sha256", SHA256)


@pytest.mark.parametrize(("status", "transient"), [(404, False), (503, True)])
def test_a_status_is_told_with_the_file_and_tried_again_where_that_may_help(status: int, transient: bool) -> None:
    with serving() as origin:
        origin.status = status
        with pytest.raises(ChecksumUnknown, match=f"checksums cannot be read: .*/SUMS answered {status}") as caught:
            read_sums(HttpSource(origin.url("/SUMS"), Open(), QUICK), NAME)
    assert caught.value.transient is transient
    assert isinstance(caught.value.__cause__, SourceAnswered)


def test_a_refused_redirect_is_told() -> None:
    with serving() as origin:
        origin.redirects["/SUMS"] = "http://169.254.169.254/SUMS"
        with pytest.raises(ChecksumUnknown, match=r"Redirect to .* does not pass filtering") as caught:
            read_sums(HttpSource(origin.url("/SUMS"), Open(), QUICK), NAME)
    assert isinstance(caught.value.__cause__, SourceRefused)
    assert not caught.value.transient


def test_no_more_is_read_than_a_file_of_sums_may_have() -> None:
    endless = count()
    with pytest.raises(ChecksumUnknown, match="checksums at endless have more than 1048576 bytes"):
        read_sums(ChunkSource((bytes(1 << 18) for _ in endless), label="endless"), NAME)
    assert next(endless) == 5


def test_a_stop_is_no_failure_of_the_sums() -> None:
    source = ChunkSource([b"x"])
    source.interrupt("cancelled")
    with pytest.raises(Interrupted, match="cancelled"):
        read_sums(source, NAME)
