"""Imports whose checksum is promised: what is taken, what is verified, and what is left when it is not kept."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.images import ImageRecord
from catalog.tasks import TaskRecord
from flows import data
from flows.checksums import admit_checksum, refuse_checksum
from flows.errors import BadImportRequest
from flows.flow import ImportRequest
from flows.methods import FLOWS
from flows.policy import Denied, UriPolicy
from flows.submit import Requester, submit
from pipeline.taps import HashTap
from tests.flows.service import DATA, Service, eager_service

PACKED = gzip.compress(DATA, 1, mtime=0)
SOURCES = {"raw": DATA, "gzip": PACKED}
ALGORITHMS = ("md5", "sha256", "sha512")
OTHER = {algorithm: hashlib.new(algorithm, b"other").hexdigest() for algorithm in ALGORITHMS}
SHA256 = hashlib.sha256(DATA).hexdigest()
NOUNS = {"source": "download", "image": "image"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that gives up at the second failure of a source."""
    with eager_service(tmp_path / "data", max_attempts=2, http_resume_attempts=0) as made:
        yield made


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, data).hexdigest()


def bring_in(service: Service, checksum: str, of: str = "source", **image: str) -> tuple[ImageRecord, TaskRecord]:
    """Import `/image` into two stores; what became of image and task, once all that must hold was looked at."""
    made = service.image(**image)
    task = service.task(service.ask(made, stores=("a", "b"), checksum=checksum, checksum_of=of))
    service.assert_clean(made)
    return service.look(made), task


# -- written out


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("of", ["source", "image"])
@pytest.mark.parametrize("packed", SOURCES)
def test_a_promise_that_is_kept(service: Service, packed: str, of: str, algorithm: str) -> None:
    """Given the right hash of either side, when it is imported, then the image is active and the task says so."""
    service.origin.objects["/image"] = SOURCES[packed]
    value = digest(SOURCES[packed] if of == "source" else DATA, algorithm)
    image, task = bring_in(service, f"{algorithm.upper()}:{value.upper()}", of)
    assert (image.status, image.os_hash_value) == ("active", digest(DATA, "sha512"))
    assert image.checksum == digest(DATA, "md5")
    assert f"{algorithm} of the {NOUNS[of]} verified." in task.message


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("of", ["source", "image"])
@pytest.mark.parametrize("packed", SOURCES)
def test_a_promise_that_is_broken(service: Service, packed: str, of: str, algorithm: str) -> None:
    """Given another hash, when it is imported, then it fails for good, leaves nothing, and both values are told."""
    service.origin.objects["/image"] = SOURCES[packed]
    found = digest(SOURCES[packed] if of == "source" else DATA, algorithm)
    image, task = bring_in(service, f"{algorithm}:{OTHER[algorithm]}", of)
    assert (image.status, image.failed) == ("queued", ("a", "b"))
    assert (task.status, task.error_code) == ("failure", "checksum_mismatch")
    assert task.message == f"The {algorithm} of the {NOUNS[of]} is {found} instead of {OTHER[algorithm]}."
    assert {target.reason for target in task.targets} == {task.message}
    assert len(service.origin.asked) == 1


@pytest.mark.parametrize("of", ["source", "image"])
def test_the_sides_are_not_mixed_up(service: Service, of: str) -> None:
    """Given a compressed source and the hash of its other side, then that is a mismatch."""
    service.origin.objects["/image"] = PACKED
    image, task = bring_in(service, f"sha256:{digest(DATA if of == 'source' else PACKED)}", of)
    assert (image.status, task.error_code) == ("queued", "checksum_mismatch")


@pytest.mark.parametrize("of", ["source", "image"])
def test_what_stays_compressed_has_one_side(service: Service, of: str) -> None:
    """Given container_format compressed, then the bytes as they come are the image, whichever is named."""
    service.origin.objects["/image"] = PACKED
    image, task = bring_in(service, f"sha256:{digest(PACKED)}", of, container_format="compressed")
    assert (image.status, image.size) == ("active", len(PACKED))
    assert f"sha256 of the {NOUNS[of]} verified." in task.message
    image, task = bring_in(service, f"sha256:{OTHER['sha256']}", of, container_format="compressed")
    assert (image.status, task.error_code) == ("queued", "checksum_mismatch")


@pytest.mark.parametrize(
    ("algorithm", "of", "container", "hashed"),
    [
        ("sha256", "source", "bare", ["sha256", "sha512", "md5"]),
        ("sha256", "image", "bare", ["sha512", "md5", "sha256"]),
        ("sha512", "image", "bare", ["sha512", "md5"]),
        ("md5", "image", "bare", ["sha512", "md5"]),
        ("sha512", "source", "compressed", ["sha512", "md5"]),
    ],
)
def test_nothing_is_hashed_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch, algorithm: str, of: str, container: str, hashed: list[str]
) -> None:
    """Given a hash that is made anyway, then it is the one that is compared."""
    made: list[str] = []

    class Counted(HashTap):
        def __init__(self, algorithm: str, *rest: Any, **more: Any) -> None:
            made.append(algorithm)
            super().__init__(algorithm, *rest, **more)

    monkeypatch.setattr(data, "HashTap", Counted)
    image, _ = bring_in(service, f"{algorithm}:{digest(DATA, algorithm)}", of, container_format=container)
    assert (image.status, made) == ("active", hashed)


@pytest.mark.parametrize("of", ["source", "image"])
def test_a_known_checksum_vouches_for_the_end(service: Service, of: str) -> None:
    """Given a source that tells no length, then its checksum says whether it was whole; cut short is never active."""
    service.origin.headers = {"Content-Length": None}
    image, _ = bring_in(service, f"sha256:{SHA256}", of)
    assert image.status == "active"
    service.origin.break_after = 70_000
    image, task = bring_in(service, f"sha256:{SHA256}", of)
    assert (image.status, task.error_code) == ("queued", "checksum_mismatch")
    assert digest(DATA[:70_000]) in task.message


def test_without_length_and_checksum_the_refusal_says_what_helps(service: Service) -> None:
    """Given neither, then the reason names a checksum as a way out."""
    service.origin.headers = {"Content-Length": None}
    image = service.image()
    task = service.task(service.ask(image))
    assert task.error_code == "source_end_unknown"
    assert "a known checksum" in task.message


# -- in a file


def sums(service: Service, text: str, path: str = "/SHA256SUMS", of: str = "source") -> tuple[ImageRecord, TaskRecord]:
    """Publish `text`, and import with the file at `path`, which may have a fragment."""
    service.origin.objects[path.partition("#")[0]] = text.encode()
    return bring_in(service, service.origin.url(path), of)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"{OTHER['sha256']}  other\n{SHA256} *image\n", "/SHA256SUMS"),
        (f"{OTHER['sha256']}  image\n{SHA256}  disk one.img\n", "/SHA256SUMS#disk%20one.img"),
        (f"MD5 (./x/disk) = {digest(DATA, 'md5')}\n", "/CHECKSUM?token=abc#x/disk"),
        (f"{digest(DATA, 'sha512')}\n", "/image.sha512"),
    ],
)
def test_a_file_of_sums(service: Service, text: str, path: str) -> None:
    """Given a file of sums, then the entry of the fragment, or else of the URI's file name, is what is verified."""
    image, task = sums(service, text, path)
    assert image.status == "active"
    assert "of the download verified against http://127.0.0.1" in task.message
    assert "abc" not in task.message
    assert [path for _, path, _ in service.origin.asked][1:] == ["/image"]


def test_a_file_of_sums_of_the_image(service: Service) -> None:
    """Given sums of what is inside of a compressed source, then these can be asked for."""
    service.origin.objects["/image"] = PACKED
    image, task = sums(service, f"{SHA256}  image.raw\n", "/SHA256SUMS#image.raw", of="image")
    assert image.status == "active"
    assert "sha256 of the image verified against" in task.message


def test_a_file_of_sums_that_says_otherwise(service: Service) -> None:
    """Given another value in the file, then it is a mismatch with both values."""
    image, task = sums(service, f"{OTHER['sha256']}  image\n")
    assert (image.status, task.error_code) == ("queued", "checksum_mismatch")
    assert SHA256 in task.message
    assert OTHER["sha256"] in task.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "have no md5, sha256 or sha512 of image."),
        ("<html>not here</html>", "have no md5, sha256 or sha512 of image."),
        (f"{SHA256}  image\n{OTHER['sha256']}  ./image\n", "two values for the sha256 of image"),
        ("x" * (1 << 20) + "x", "more than 1048576 bytes"),
    ],
)
def test_a_file_that_does_not_tell(service: Service, text: str, words: str) -> None:
    """Given a file of sums without a clear answer, then it fails for good, naming the file; nothing is fetched."""
    image, task = sums(service, text)
    assert (image.status, task.status, task.error_code) == ("queued", "failure", "checksum_unknown")
    assert words in task.message
    assert "/SHA256SUMS" in task.message
    assert [path for _, path, _ in service.origin.asked] == ["/SHA256SUMS"]


def test_a_file_that_is_not_there(service: Service) -> None:
    """Given 404 for the file of sums, then the import fails at once and says so."""
    image, task = bring_in(service, service.origin.url("/SHA256SUMS"))
    assert (image.status, task.error_code, task.attempt) == ("queued", "checksum_unknown", 1)
    assert "checksums cannot be read: " in task.message
    assert "/SHA256SUMS answered 404" in task.message


def test_a_redirect_to_where_nobody_may_go(service: Service) -> None:
    """Given a file of sums that leads to a denied host, then it is refused as for the image itself."""
    service.origin.redirects["/SHA256SUMS"] = "http://169.254.169.254/SHA256SUMS"
    image, task = bring_in(service, service.origin.url("/SHA256SUMS"))
    assert (image.status, task.error_code) == ("queued", "checksum_unknown")
    assert "Redirect to http://169.254.169.254/SHA256SUMS does not pass filtering" in task.message


def test_a_file_that_is_away_for_now(service: Service) -> None:
    """Given 503 for the file of sums, then it is tried again, and counted as any attempt."""
    service.origin.status = 503
    image = service.image()
    task_id = service.ask(image, checksum=service.origin.url("/SHA256SUMS"))
    task = service.task(task_id)
    assert (task.status, task.attempt, task.phase) == ("processing", 1, "waiting to try again")
    assert "/SHA256SUMS answered 503" in task.message
    assert service.kept() == {"a": [], "b": [], "c": []}
    # When it is back
    service.origin.status = None
    service.origin.objects["/SHA256SUMS"] = f"{SHA256}  image\n".encode()
    service.dispatcher.send(FLOWS["web-download"], task_id)
    assert service.look(image).status == "active"
    service.assert_clean(image)


# -- asking


@pytest.mark.parametrize(
    ("checksum", "of", "field", "words"),
    [
        ("", "source", "checksum", "begin with one of md5:, sha256:, sha512:"),
        ("sha1:" + "0" * 40, "source", "checksum", "begin with one of"),
        ("sha256:abc", "source", "checksum", "64 hex digits"),
        ("ftp://example.org/SUMS", "source", "checksum", r"or be an http\(s\) URI"),
        ("sha256:" + SHA256, "both", "checksum_of", "'source' or 'image'"),
        ("sha256:" + SHA256, "", "checksum_of", "'source' or 'image'"),
        (None, "image", "checksum_of", r"needs 'method\.checksum'"),
        ("https://example.org/SUMS", "source", "checksum", "no entry"),
        ("https://example.org/SUMS#", "source", "checksum", "no entry"),
    ],
)
def test_what_is_malformed_is_refused(checksum: str | None, of: str, field: str, words: str) -> None:
    """Given a request that makes no sense, then the field is named; a URI without a file name gives no entry."""
    request = ImportRequest("web-download", checksum=checksum, checksum_of=of)
    with pytest.raises(BadImportRequest, match=rf"'method\.{field}' .*{words}"):
        admit_checksum(UriPolicy(), request, uri="https://example.org?x=/y")


@pytest.mark.parametrize(
    ("uri", "entry"),
    [
        ("https://h/x/disk.img", "disk.img"),
        ("https://h/disk%20one.img?a=/b#c/d", "disk%20one.img"),
        ("http://h/größe", "größe"),
    ],
)
def test_the_entry_is_the_last_segment_of_the_uri(uri: str, entry: str) -> None:
    request = ImportRequest("web-download", checksum="https://example.org/SUMS?q")
    kept = admit_checksum(UriPolicy(), request, uri=uri)
    assert kept == {"checksum": f"https://example.org/SUMS?q#{entry}", "checksum_of": "source"}


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1/SUMS", "https://example.org:22/SUMS", "http:///SUMS", "https://a b/"]
)
def test_a_file_of_sums_passes_the_same_filter(uri: str) -> None:
    """Given a URI that could not be imported from, then it is refused at once, and the field named."""
    with pytest.raises(Denied, match=r"'method\.checksum': URI .* does not pass filtering"):
        admit_checksum(UriPolicy(), ImportRequest("web-download", checksum=uri), uri="https://example.org/x")


@pytest.mark.parametrize("more", [{"checksum": f"sha256:{SHA256}"}, {"checksum_of": "image"}])
def test_a_method_that_verifies_by_itself_takes_none(more: dict[str, str]) -> None:
    (field,) = more
    with pytest.raises(BadImportRequest, match=rf"'method\.{field}' cannot be used with copy-image"):
        refuse_checksum(ImportRequest("copy-image", **more))  # type: ignore[arg-type]
    refuse_checksum(ImportRequest("copy-image"))


def test_credentials_of_a_file_of_sums_are_shown_to_nobody(service: Service) -> None:
    """Given a URI of sums with password and query, then the worker sends them, and no user ever sees them."""
    service.origin.objects["/SUMS?token=secret"] = f"{SHA256}  image\n".encode()
    uri = service.origin.url("/SUMS?token=secret").replace("http://", "http://user:secret@")
    body = {"method": {"name": "web-download", "uri": service.origin.url("/image"), "checksum": uri}}
    request = ImportRequest("web-download", uri=service.origin.url("/image"), checksum=uri, body=body)
    for status in ("success", "failure"):
        task = service.task(submit(service.runtime, service.dispatcher, service.image(), request, Requester()))
        assert task.status == status
        assert "secret" not in str((task.input, task.message, task.targets, task.facts))
        assert "Authorization" in next(headers for _, path, headers in service.origin.asked if "SUMS" in path)
        service.origin.objects["/SUMS?token=secret"] = b""
