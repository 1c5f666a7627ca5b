"""Servers as they are: redirecting, forgetful of ranges, vague about sizes, slow, broken."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from stores.base import Store, StoreSpec
from stores.errors import (
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
)
from stores.http import HttpOptions, HttpStore
from tests.conformance.origin import Origin, serving
from tests.conformance.store_contract import BIG, TEXT, content

IMAGE = "/image.iso"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as origin:
        origin.objects[IMAGE] = TEXT
        yield origin


@pytest.fixture
def store() -> HttpStore:
    return HttpStore("web", HttpOptions(timeouts=(5, 5)))


def test_it_cannot_be_written(store: HttpStore) -> None:
    assert not isinstance(store, Store)


def test_it_asks_for_plain_bytes_from_the_offset(store: HttpStore, origin: Origin) -> None:
    assert content(store, origin.url(IMAGE), 10) == TEXT[10:]
    ((method, path, headers),) = origin.asked
    assert (method, path) == ("GET", IMAGE)
    assert headers["Range"] == "bytes=10-"
    assert headers["Accept-Encoding"] == "identity"
    # And no connection is kept that nobody would use again
    assert headers["Connection"] == "close"


def test_the_size_is_known_without_the_content(store: HttpStore, origin: Origin) -> None:
    origin.objects[IMAGE] = BIG
    assert store.stat(origin.url(IMAGE)).size == len(BIG)
    assert origin.asked[0][2]["Range"] == "bytes=0-0"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ObjectNotFound),
        (410, ObjectNotFound),
        (401, StoreDenied),
        (403, StoreDenied),
        (407, StoreDenied),
        (408, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (503, StoreUnavailable),
        (400, StoreError),
        (204, StoreError),
        (304, StoreError),
    ],
)
@pytest.mark.parametrize("operation", ["open", "stat"])
def test_a_status_tells_whose_fault_it_is(
    store: HttpStore, origin: Origin, status: int, kind: type[StoreError], operation: str
) -> None:
    origin.status = status
    with pytest.raises(StoreError) as caught:
        getattr(store, operation)(origin.url(IMAGE + "?signature=secret"))
    assert type(caught.value) is kind
    assert str(caught.value) == f"store web: the server answers with HTTP status {status}"


class TestSizes:
    def test_a_size_that_is_not_told_is_an_error(self, store: HttpStore, origin: Origin) -> None:
        origin.ranges = False
        origin.headers = {"Content-Length": None}
        for call in (store.open, store.stat):
            with pytest.raises(StoreError, match="does not tell the size"):
                call(origin.url(IMAGE))

    @pytest.mark.parametrize("told", [None, "bytes 0-5/16", "bytes 4-15/*", "bytes */16", "16 bytes", "bytes 5-15/16"])
    def test_a_range_that_is_not_the_asked_one_is_an_error(
        self, store: HttpStore, origin: Origin, told: str | None
    ) -> None:
        origin.headers = {"Content-Range": told}
        with pytest.raises(StoreError, match="answers wrongly to a range"):
            store.open(origin.url(IMAGE), 4)

    def test_a_valid_range_that_is_refused_is_an_error(self, store: HttpStore, origin: Origin) -> None:
        origin.status = 416
        origin.headers = {"Content-Range": "bytes */16"}
        with pytest.raises(StoreError, match="HTTP status 416"):
            store.open(origin.url(IMAGE), 4)

    def test_an_encoded_body_is_not_the_object(self, store: HttpStore, origin: Origin) -> None:
        origin.headers = {"Content-Encoding": "gzip"}
        with pytest.raises(StoreError, match="encodes"):
            store.open(origin.url(IMAGE))

    def test_a_body_longer_than_told_ends_where_it_was_told(self, store: HttpStore, origin: Origin) -> None:
        origin.headers = {"Content-Length": "10"}
        assert content(store, origin.url(IMAGE)) == TEXT[:10]


class TestBreaks:
    @pytest.mark.parametrize("ranges", [True, False])
    def test_a_body_that_breaks_off_is_an_error_with_figures(
        self, store: HttpStore, origin: Origin, ranges: bool
    ) -> None:
        origin.objects[IMAGE] = BIG
        origin.ranges = ranges
        origin.break_after = 100_000
        with store.open(origin.url(IMAGE)) as reader:
            assert reader.read(60_000) == BIG[:60_000]
            with pytest.raises(StoreUnavailable, match=rf"after \d+ of {len(BIG)} bytes"):
                list(reader)

    def test_a_part_of_untold_length_that_breaks_off_is_an_error(self, store: HttpStore, origin: Origin) -> None:
        origin.headers = {"Content-Length": None}
        origin.break_after = 5
        with (
            store.open(origin.url(IMAGE), 4) as reader,
            pytest.raises(StoreUnavailable, match="stopped after 9 of 16 bytes"),
        ):
            list(reader)

    def test_a_break_while_skipping_to_the_offset_is_an_error(self, store: HttpStore, origin: Origin) -> None:
        origin.objects[IMAGE] = BIG
        origin.ranges = False
        origin.break_after = 1000
        with pytest.raises(StoreUnavailable, match=f"of {len(BIG)} bytes"):
            store.open(origin.url(IMAGE), 500_000)

    def test_a_server_that_says_nothing_is_given_up(self, store: HttpStore, origin: Origin) -> None:
        origin.silent = True
        impatient = HttpStore("web", replace(store.options, timeouts=(5, 0.05)))
        for call in (impatient.open, impatient.stat):
            with pytest.raises(StoreUnavailable, match="does not answer in time"):
                call(origin.url(IMAGE))

    def test_a_server_that_falls_silent_is_given_up(self, origin: Origin) -> None:
        # Given a server that promises more than it sends, and keeps the connection open
        origin.stall_after = 5
        impatient = HttpStore("web", HttpOptions(timeouts=(5, 0.05)))
        with impatient.open(origin.url(IMAGE)) as reader:
            assert reader.read(5) == TEXT[:5]
            with pytest.raises(StoreUnavailable, match="fell silent after 5 of 16 bytes"):
                reader.read(5)

    def test_a_server_that_is_not_there_is_unavailable(self, store: HttpStore) -> None:
        with serving() as gone:
            url = gone.url(IMAGE)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.stat(url)

    def test_a_server_that_speaks_no_tls_is_unavailable(self, store: HttpStore, origin: Origin) -> None:
        with pytest.raises(StoreUnavailable, match="no valid certificate"):
            store.stat(origin.url(IMAGE).replace("http:", "https:"))


class TestRedirects:
    def test_they_are_followed_with_the_range(self, store: HttpStore, origin: Origin) -> None:
        origin.redirects = {"/a": "b#part", "/b": origin.url(IMAGE)}
        assert content(store, origin.url("/a"), 12) == TEXT[12:]
        assert [headers["Range"] for _, _, headers in origin.asked] == ["bytes=12-"] * 3

    def test_they_end(self, store: HttpStore, origin: Origin) -> None:
        origin.redirects = {"/a": "/a"}
        with pytest.raises(StoreError, match="more than 5 times"):
            store.open(origin.url("/a"))
        assert len(origin.asked) == 6

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "//user:secret@host/", "http://h:p/", "ftp://host/x"])
    def test_they_lead_to_nothing_but_urls_of_objects(self, store: HttpStore, origin: Origin, target: str) -> None:
        origin.redirects = {"/a": target}
        with pytest.raises(StoreError, match="redirects to what is no URL"):
            store.open(origin.url("/a"))

    @pytest.mark.parametrize("scheme", ["https", "HTTPS"])
    def test_they_do_not_leave_encryption(
        self, store: HttpStore, origin: Origin, monkeypatch: pytest.MonkeyPatch, scheme: str
    ) -> None:
        # Given an encrypted connection, played by a plain one
        real = requests.Session.get
        monkeypatch.setattr(
            requests.Session,
            "get",
            lambda self, url, **options: real(self, f"http{url[5:]}", **options),
        )
        origin.redirects = {"/a": origin.url(IMAGE)}
        with pytest.raises(StoreDenied, match="from https to http"):
            store.open(origin.url("/a").replace("http", scheme, 1))

    def test_every_url_is_submitted_to_the_callers_rule(self, origin: Origin) -> None:
        def admit(url: str) -> None:
            seen.append(url)
            if url.endswith("/forbidden"):
                raise StoreDenied("web", "not there")

        seen: list[str] = []
        origin.redirects = {"/a": "/forbidden"}
        with pytest.raises(StoreDenied, match="not there"):
            HttpStore("web", admit=admit).open(origin.url("/a"))
        assert seen == [origin.url("/a"), origin.url("/forbidden")]
        assert [path for _, path, _ in origin.asked] == ["/a"]


class TestEnvironment:
    def test_nothing_is_taken_from_it(
        self, store: HttpStore, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "netrc").write_text("default login user password secret")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert content(store, origin.url(IMAGE)) == TEXT
        assert "Authorization" not in origin.asked[0][2]


class TestOptions:
    def test_a_configured_proxy_is_asked(self, origin: Origin) -> None:
        # Given a proxy that knows an image of a host that does not exist
        origin.objects["http://image.invalid/x"] = b"by proxy"
        options = {"http_proxy_information": f"http:127.0.0.1:{origin.port}"}
        store = HttpStore.from_spec(StoreSpec("web", "http", options=options))
        assert content(store, "http://image.invalid/x") == b"by proxy"

    @pytest.mark.parametrize(
        ("options", "verify"),
        [
            ({}, True),
            ({"https_insecure": "true"}, False),
            ({"https_insecure": False}, True),
            ({"https_insecure": True, "https_ca_certificates_file": __file__}, __file__),
        ],
    )
    def test_certificates_are_checked_unless_told_otherwise(
        self, options: dict[str, object], verify: bool | str
    ) -> None:
        assert HttpStore.from_spec(StoreSpec("web", "http", options=options)).options.verify == verify

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("https_ca_certificates_file", "/nowhere/ca.pem"),
            ("https_insecure", "perhaps"),
            ("http_proxy_information", "10.0.0.1"),
            ("http_proxy_information", {"ftp": "10.0.0.1:21"}),
        ],
    )
    def test_options_that_make_no_sense_are_named(self, option: str, value: object) -> None:
        with pytest.raises(StoreMisconfigured, match=option):
            HttpStore.from_spec(StoreSpec("web", "http", options={option: value}))
