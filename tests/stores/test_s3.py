"""S3Store against a real, strict server: parts, leftovers, busy and dead servers, keys that stay secret."""

import logging
import os
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from stores.base import StoreSpec
from stores.errors import (
    ObjectExists,
    ObjectNotFound,
    SessionEnded,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
)
from stores.s3 import S3Store
from stores.s3_options import Patience, S3Options
from tests.conformance.origin import serving
from tests.conformance.store_contract import KEY, OTHER, TEXT, assert_nothing_at, content, write
from tests.servers import LOOPBACK, Port, SwiftServer
from tests.stores.s3_gate import Asked, Fault, Gate, gate_before, only

PART = 5 << 20
DATA = os.urandom(1 << 20) * 12 + b"the odd end"
SOON = Patience(attempts=3, first=0.001, longest=0.01, connect=5.0, idle=20.0, complete=0.01)
UNHURRIED = replace(SOON, idle=0.3, complete=60.0)
"""Bears little silence, but gives a completion its time."""

Make = Callable[..., S3Store]


@pytest.fixture
def make(swift_server: SwiftServer, s3_bucket: str) -> Make:
    """Makes a store on the server, by way of `host` if given, with options of `S3Options` changed."""

    def make(host: str = "", **changes: object) -> S3Store:
        given = swift_server.options(s3_bucket) | ({"s3_store_host": host} if host else {})
        options = S3Options.from_spec(StoreSpec("s3", "s3", options=given))
        return S3Store("s3", replace(options, **{"part": PART, "patience": SOON, **changes}))  # type: ignore[arg-type]

    return make


@pytest.fixture
def gate(swift_server: SwiftServer) -> Iterator[Gate]:
    with gate_before(swift_server.url) as gate:
        yield gate


def sends_part(number: int) -> Callable[[Asked], bool]:
    return lambda asked: asked.part == number


def chunks(data: bytes) -> list[bytes]:
    return [data[i : i + (1 << 20)] for i in range(0, len(data), 1 << 20)]


def told(error: BaseException) -> str:
    """All that a log would show of `error`."""
    return "".join(traceback.format_exception(error))


class TestParts:
    @pytest.mark.parametrize("unsigned", [False, True])
    @pytest.mark.parametrize("size", [None, len(DATA)])
    def test_an_object_of_several_parts(self, make: Make, gate: Gate, unsigned: bool, size: int | None) -> None:
        # Given a store that sends parts of 5 MiB
        store = make(gate.url, unsigned=unsigned)
        # When an object of 12 MiB is written, whether its size was told before or not
        write(store, KEY, *chunks(DATA), size=size)
        # Then it came in three parts, and is read from anywhere, also across their borders
        assert sorted(asked.part for asked in gate.asked if asked.part) == [1, 2, 3]
        assert content(store, KEY) == DATA
        assert content(store, KEY, PART - 3) == DATA[PART - 3 :]
        with store.open(KEY, 2 * PART - 1) as reader:
            assert (reader.size, reader.read(3)) == (len(DATA), DATA[2 * PART - 1 : 2 * PART + 2])

    def test_an_announced_size_up_to_the_limit_is_one_part(self, make: Make, gate: Gate) -> None:
        store = make(gate.url, single=len(DATA))
        write(store, KEY, *chunks(DATA), size=len(DATA))
        assert [asked.part for asked in gate.asked if asked.part] == [1]
        assert content(store, KEY) == DATA

    def test_an_aborted_session_leaves_no_part(self, make: Make, swift_server: SwiftServer, s3_bucket: str) -> None:
        writer = make().create(KEY)
        for chunk in chunks(DATA):
            writer.write(chunk)
        writer.abort()
        assert swift_server.open_uploads(s3_bucket) == []
        assert swift_server.parts(s3_bucket) == []

    @pytest.mark.parametrize("gone", [False, True])
    def test_deleting_what_the_server_has_not(self, make: Make, gate: Gate, gone: bool) -> None:
        """A server that answers 410 has lost no more than one that answers 404 (import-behaviour §3.6 [R])."""
        if gone:
            gate.fault = only(1, "gone", lambda asked: asked.method == "DELETE")
        store = make(gate.url)
        store.delete(KEY)
        gate.fault = only(1, "gone", lambda asked: asked.method == "GET" and asked.path.endswith(KEY))
        with pytest.raises(ObjectNotFound):
            store.open(KEY)
        assert gate.times(lambda asked: asked.method == "DELETE") == 1

    def test_delete_removes_what_a_dead_process_left(
        self, make: Make, swift_server: SwiftServer, s3_bucket: str
    ) -> None:
        # Given a session that another store, as if of another process, left with parts, and its neighbour
        dead = make().create(KEY)
        for chunk in chunks(DATA):
            dead.write(chunk)
        neighbour = make().create(OTHER)
        assert sorted(swift_server.open_uploads(s3_bucket)) == [KEY, OTHER]
        # When the key is deleted
        make().delete(KEY)
        # Then only the neighbour's upload is there
        assert swift_server.open_uploads(s3_bucket) == [OTHER]
        neighbour.abort()
        dead.abort()


class TestBusyServers:
    @pytest.mark.parametrize("fault", ["slow down", "cut", "lose answer", "flip a byte"])
    @pytest.mark.parametrize("part", [1, 3])
    @pytest.mark.parametrize("unsigned", [False, True])
    def test_a_broken_part_is_sent_again(self, make: Make, gate: Gate, fault: str, part: int, unsigned: bool) -> None:
        # Given a server that fails on one part, twice
        gate.fault = only(2, fault, sends_part(part))  # type: ignore[arg-type]
        store = make(gate.url, unsigned=unsigned)
        # When an object is written
        write(store, KEY, *chunks(DATA))
        # Then that part alone was sent three times, and the object is whole
        assert [gate.times(sends_part(number)) for number in (1, 2, 3)] == [3 if n == part else 1 for n in (1, 2, 3)]
        assert content(store, KEY) == DATA

    @pytest.mark.parametrize("fault", ["slow down", "cut"])
    def test_a_server_that_stays_busy_is_given_up(
        self, make: Make, gate: Gate, swift_server: SwiftServer, s3_bucket: str, fault: str
    ) -> None:
        gate.fault = only(1000, fault, sends_part(2))  # type: ignore[arg-type]
        writer = make(gate.url).create(KEY)
        # When its part 2 cannot be sent, this is known at the next write or at the commit
        with pytest.raises(StoreUnavailable) as caught:
            self._write_all(writer.write, writer.commit)
        # Then trying later may help, and nothing is left
        assert caught.value.transient
        assert gate.times(sends_part(2)) == SOON.attempts
        writer.abort()
        assert_nothing_at(make(), KEY)
        assert swift_server.open_uploads(s3_bucket) == []
        assert swift_server.parts(s3_bucket) == []

    def _write_all(self, write: Callable[[bytes], None], commit: Callable[[], object]) -> None:
        for chunk in chunks(DATA):
            write(chunk)
        commit()

    def test_every_request_is_repeated(self, make: Make, gate: Gate) -> None:
        # Given a server that refuses every other request
        turns = iter(range(1_000_000))
        gate.fault = lambda asked: None if next(turns) % 2 else "slow down"
        store = make(gate.url)
        write(store, KEY, TEXT)
        assert store.stat(KEY).size == len(TEXT)
        assert content(store, KEY) == TEXT
        store.delete(KEY)
        assert_nothing_at(store, KEY)

    def test_a_commit_whose_answer_was_lost(self, make: Make, gate: Gate) -> None:
        gate.fault = only(1, "lose answer", lambda asked: asked.completes)
        store = make(gate.url)
        write(store, KEY, TEXT)
        assert gate.times(lambda asked: asked.completes) == 2
        assert content(store, KEY) == TEXT

    def test_a_commit_whose_answers_are_all_lost_leaves_nothing(self, make: Make, gate: Gate) -> None:
        gate.fault = only(1000, "lose answer", lambda asked: asked.completes)
        store = make(gate.url)
        with pytest.raises(StoreUnavailable):
            write(store, KEY, TEXT)
        assert_nothing_at(store, KEY)

    def test_a_server_takes_its_time_to_complete(self, make: Make, gate: Gate) -> None:
        """Given a server that is silent over a completion for longer than over anything else, then it is waited for."""
        gate.fault = lambda asked: time.sleep(0.6) if asked.completes else None
        store = make(gate.url, patience=UNHURRIED)
        write(store, KEY, TEXT)
        assert gate.times(lambda asked: asked.completes) == 1
        assert content(store, KEY) == TEXT

    def test_a_server_keeps_the_line_alive_while_it_completes(self, make: Make, gate: Gate) -> None:
        gate.fault = only(1, "blanks first", lambda asked: asked.completes)
        store = make(gate.url)
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT

    @pytest.mark.parametrize("fault", ["slow down", "cut"])
    def test_a_completion_is_asked_for_again_for_as_long_as_it_may_take(
        self, make: Make, gate: Gate, fault: str
    ) -> None:
        """Given a server that is still at it, or somebody in between who cuts the line, for more than a few times."""
        gate.fault = only(4 * SOON.attempts, fault, lambda asked: asked.completes)  # type: ignore[arg-type]
        store = make(gate.url, patience=UNHURRIED)
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT

    def test_an_upload_that_is_gone_since_it_was_completed(self, make: Make, gate: Gate) -> None:
        """Given a lost answer, and a server that has forgotten the upload by then, but has the object: it is ours."""
        answers: deque[Fault] = deque(["lose answer", "no such upload"])
        gate.fault = lambda asked: answers.popleft() if asked.completes else None
        store = make(gate.url)
        write(store, KEY, TEXT)
        assert (not answers, content(store, KEY)) == (True, TEXT)

    def test_an_upload_that_is_gone_and_left_nothing(self, make: Make, gate: Gate) -> None:
        gate.fault = lambda asked: "no such upload" if asked.completes else None
        with pytest.raises(SessionEnded):
            write(make(gate.url), KEY, TEXT)
        assert_nothing_at(make(), KEY)

    def test_a_read_that_breaks_can_go_on(self, make: Make, gate: Gate) -> None:
        # Given an object whose download breaks off in the middle
        store = make(gate.url)
        write(store, KEY, *chunks(DATA))
        gate.fault = only(1, "half the answer", lambda asked: asked.method == "GET")
        got = bytearray()
        with store.open(KEY) as reader, pytest.raises(StoreUnavailable, match=f"of {len(DATA)} bytes") as caught:
            # Other than `+=`, this keeps what came before the error.
            deque(map(got.extend, reader))
        # Then the error says how far it came, and reading goes on from there
        assert f" {len(got)} of" in str(caught.value)
        assert 0 < len(got) < len(DATA)
        assert bytes(got) + content(store, KEY, len(got)) == DATA


class TestOtherProcesses:
    """Whatever another process does between our last look at the key and our commit, the server decides."""

    def test_one_that_commits_first(self, make: Make, gate: Gate) -> None:
        other = make().create(KEY)
        other.write(b"theirs")
        gate.fault = self._at_our_commit(other.commit)
        with pytest.raises(ObjectExists):
            write(make(gate.url), KEY, TEXT)
        assert content(make(), KEY) == b"theirs"

    def test_one_that_deletes_the_key(self, make: Make, gate: Gate) -> None:
        gate.fault = self._at_our_commit(lambda: make().delete(KEY))
        with pytest.raises(SessionEnded):
            write(make(gate.url), KEY, TEXT)
        assert_nothing_at(make(), KEY)

    def _at_our_commit(self, call: Callable[[], object]) -> Callable[[Asked], None]:
        def hold(asked: Asked) -> None:
            if asked.completes:
                call()

        return hold


class TestDeadServers:
    def test_nobody_listens(self, make: Make) -> None:
        port = Port()
        store = make(f"http://{LOOPBACK}:{port.number}")
        self._assert_unavailable(store, within=5.0)
        port.close()

    def test_nobody_answers(self, make: Make) -> None:
        with socket.create_server((LOOPBACK, 0)) as silent:
            patience = replace(SOON, attempts=2, connect=0.2, idle=0.2)
            store = make(f"http://{LOOPBACK}:{silent.getsockname()[1]}", patience=patience)
            self._assert_unavailable(store, within=5.0)

    def _assert_unavailable(self, store: S3Store, within: float) -> None:
        for call in (store.stat, store.open, store.create, store.delete):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                call(KEY)
            assert time.monotonic() - began < within
        with pytest.raises(StoreUnavailable):
            store.probe()

    def test_a_server_that_dies_in_a_session(self, make: Make, swift_server: SwiftServer) -> None:
        with gate_before(swift_server.url) as gate:
            store = make(gate.url)
            writer = store.create(KEY)
            writer.write(TEXT)
        # When it is gone, commit says so and abort keeps still
        with pytest.raises(StoreUnavailable):
            writer.commit()
        writer.abort()
        assert_nothing_at(make(), KEY)

    def test_a_web_page_for_everything(self, make: Make, gate: Gate) -> None:
        store = make(gate.url)
        gate.fault = lambda asked: "web page" if asked.method == "POST" else None
        with pytest.raises(StoreError, match="the server does not speak S3"):
            store.create(KEY)

    def test_not_found_for_everything_does_not_pass_for_a_deletion(self, make: Make) -> None:
        with serving() as web, pytest.raises(StoreMisconfigured, match="s3_store_bucket"):
            make(web.url(""), bucket="web").delete(KEY)

    def test_what_cannot_be_a_bucket(self, make: Make) -> None:
        with pytest.raises(StoreMisconfigured, match="s3_store_bucket"):
            make(bucket="no bucket at all").stat(KEY)


class TestBuckets:
    def test_a_missing_bucket_is_named_and_has_lost_nothing(self, make: Make) -> None:
        store = make(bucket="no-such-bucket")
        for call in (store.create, store.open, store.stat, store.delete):
            with pytest.raises(StoreMisconfigured, match="the bucket that s3_store_bucket names does not exist"):
                call(KEY)
        with pytest.raises(StoreMisconfigured):
            store.probe()

    def test_a_missing_bucket_is_made_if_that_is_wanted(self, make: Make, s3_bucket: str) -> None:
        store = make(bucket=f"made-after-{s3_bucket}", create_bucket=True)
        store.probe()
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT

    def test_a_probe_leaves_nothing(self, make: Make, swift_server: SwiftServer, s3_bucket: str) -> None:
        make().probe()
        assert swift_server.open_uploads(s3_bucket) == []


class TestSecrets:
    SECRET = "not-the/secret+of=tester"

    def test_a_wrong_secret_is_refused_and_not_shown(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        store = make(secret_key=self.SECRET)
        for call in (store.create, store.open, store.stat, store.delete):
            with pytest.raises(StoreDenied, match="HTTP status 403") as caught:
                call(KEY)
            assert self.SECRET not in told(caught.value)
        with pytest.raises(StoreDenied):
            store.probe()
        assert self.SECRET not in caplog.text

    def test_no_text_shows_a_key(self, make: Make, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        store = make(gate.url, access_key="test:tester")
        secret = store.options.secret_key
        write(store, KEY, TEXT)
        errors = self._errors(store, gate)
        shown = [repr(store.options), repr(store), store.url(KEY), *map(told, errors), caplog.text]
        assert all(secret not in text for text in shown)
        assert all("test:tester" not in text for text in shown[:3])
        assert all("tester" not in str(error) and gate.url not in str(error) for error in errors)

    def _errors(self, store: S3Store, gate: Gate) -> list[StoreError]:
        errors: list[StoreError] = []
        for fault, key in (("", OTHER), ("slow down", KEY), ("cut", KEY)):
            gate.fault = only(3, fault, lambda _: True) if fault else lambda _: None  # type: ignore[arg-type]
            with pytest.raises((ObjectNotFound, StoreUnavailable)) as caught:
                store.stat(key)
            errors.append(caught.value)
        return errors

    def test_a_location_has_glances_form_without_keys(self, make: Make) -> None:
        store = make("https://s3.example.org:8443", bucket="images")
        assert store.url(KEY) == f"s3+https://s3.example.org:8443/images/{KEY}"
        assert make("s3.example.org", bucket="images").url(KEY) == f"s3://s3.example.org/images/{KEY}"


def test_no_thread_outlives_its_session(make: Make) -> None:
    def senders() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("s3-part")]

    store = make()
    write(store, KEY, *chunks(DATA))
    assert senders() == []
    writer = store.create(OTHER)
    for chunk in chunks(DATA):
        writer.write(chunk)
    assert senders() != []
    writer.abort()
    assert senders() == []
