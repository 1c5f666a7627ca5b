"""Taps: what they find, what they veto, and that a threaded one leaves nothing behind."""

import hashlib
import random
import threading

import pytest

from pipeline.errors import ChecksumMismatch, Interrupted, SourceBroken, TooBig
from pipeline.facts import Facts, Tap
from pipeline.taps import HashTap, ProgressTap, SizeTap, StopTap, Threaded

DATA = random.Random(3).randbytes(3_000_000)
CHUNKS = [DATA[i : i + 70_000] for i in range(0, len(DATA), 70_000)]


def run(tap: Tap, chunks: list[bytes] = CHUNKS) -> Facts:
    for chunk in chunks:
        tap.feed(chunk)
    return tap.finish()


# Facts


def test_facts_merge_and_the_later_wins() -> None:
    one = Facts(size=1, hashes={"md5": "a"}, virtual_size=7, warnings=("x",))
    two = Facts(size=2, hashes={"sha512": "b"}, detected_format="raw", warnings=("y",))
    assert one | two == Facts(2, {"md5": "a", "sha512": "b"}, 7, "raw", ("x", "y"))


def test_every_tap_is_asked_for_its_facts() -> None:
    taps = [SizeTap(), HashTap("md5")]
    for tap in taps:
        tap.feed(b"abc")
    assert Facts.of(taps) == Facts(size=3, hashes={"md5": hashlib.md5(b"abc").hexdigest()})


# Size


def test_size_is_counted() -> None:
    assert run(SizeTap(cap=len(DATA), declared=len(DATA))).size == len(DATA)


def test_the_first_byte_over_the_cap_is_a_veto() -> None:
    tap = SizeTap(cap=10)
    tap.feed(bytes(10))
    with pytest.raises(TooBig, match="10 bytes allowed"):
        tap.feed(b"x")


def test_more_than_declared_is_a_veto_at_once_and_less_at_the_end() -> None:
    tap = SizeTap(declared=10)
    with pytest.raises(TooBig, match="10 bytes that were declared"):
        tap.feed(bytes(11))
    short = SizeTap(declared=10)
    short.feed(bytes(9))
    with pytest.raises(SourceBroken, match="9 bytes instead of the 10"):
        short.finish()


def test_only_a_declared_size_vouches_for_the_end() -> None:
    assert SizeTap(declared=1).vouches_for_end
    assert not SizeTap(cap=1).vouches_for_end


# Hashes


@pytest.mark.parametrize("algorithm", ["sha512", "md5", "sha256"])
def test_hashes_are_those_of_hashlib(algorithm: str) -> None:
    assert run(HashTap(algorithm)).hashes == {algorithm: hashlib.new(algorithm, DATA).hexdigest()}


def test_an_expected_hash_is_met_in_any_case() -> None:
    expected = hashlib.sha256(DATA).hexdigest()
    assert run(HashTap("sha256", f" {expected.upper()}\n")).hashes == {"sha256": expected}


def test_another_hash_than_expected_is_a_veto_with_both_values() -> None:
    with pytest.raises(ChecksumMismatch, match="md5 of the download is") as caught:
        run(HashTap("md5", "0" * 32, of="the download"))
    assert hashlib.md5(DATA).hexdigest() in str(caught.value)
    assert "0" * 32 in str(caught.value)


def test_only_an_expected_hash_vouches_for_the_end() -> None:
    assert HashTap("md5", "0" * 32).vouches_for_end
    assert not HashTap("md5").vouches_for_end


# Progress and stop


def test_progress_is_the_sum_so_far() -> None:
    seen: list[int] = []
    run(ProgressTap(seen.append), [b"abc", b"de"])
    assert seen == [3, 5]


def test_a_stop_is_seen_at_the_next_chunk() -> None:
    why: list[str] = []
    tap = StopTap(lambda: why[0] if why else None)
    tap.feed(b"x")
    why.append("cancelled")
    with pytest.raises(Interrupted, match="stopped: cancelled"):
        tap.feed(b"x")


def test_a_stop_after_the_last_chunk_is_seen_before_the_commit() -> None:
    with pytest.raises(Interrupted):
        StopTap(lambda: "cancelled").finish()


# Threads


class Slow(Tap):
    """Takes nothing until it is let go; remembers what it got, and where."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: list[bytes] = []
        self.threads: set[str] = set()
        self.closed = 0

    def feed(self, chunk: bytes) -> None:
        self.go.wait(10)
        self.threads.add(threading.current_thread().name)
        self.seen.append(chunk)

    def close(self) -> None:
        self.closed += 1


class Vetoing(Tap):
    vouches_for_end = True

    def feed(self, chunk: bytes) -> None:
        raise TooBig("enough")


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_threaded_tap_finds_the_same() -> None:
    assert run(Threaded(HashTap("sha512"), "hash 1")) == run(HashTap("sha512"))
    assert not named("hash 1")


def test_a_threaded_tap_that_was_never_fed_has_no_thread() -> None:
    before = threading.active_count()
    tap = Threaded(HashTap("md5"), "hash 0")
    assert threading.active_count() == before
    assert tap.finish().hashes == {"md5": hashlib.md5(b"").hexdigest()}
    tap.close()


def test_a_threaded_tap_works_in_its_named_thread_and_small_chunks_are_joined() -> None:
    slow = Slow()
    tap = Threaded(slow, "hash 2")
    slow.go.set()
    run(tap, [b"x" * 1000] * 600 + [b"y"])
    assert b"".join(slow.seen) == b"x" * 600_000 + b"y"
    assert len(slow.seen) == 3
    assert slow.threads == {"hash 2"}


def test_the_queue_of_a_threaded_tap_is_bounded() -> None:
    slow = Slow()
    tap = Threaded(slow, "hash 3", depth=2)
    fed = 0

    def feed() -> None:
        nonlocal fed
        for _ in range(10):
            tap.feed(bytes(1 << 20))
            fed += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(0.3)
    assert feeder.is_alive()
    assert fed == 3
    slow.go.set()
    feeder.join(10)
    tap.finish()
    assert len(slow.seen) == 10


def test_a_veto_in_a_thread_surfaces_while_feeding() -> None:
    tap = Threaded(Vetoing(), "hash 4", depth=1)
    with pytest.raises(TooBig, match="enough"):
        run(tap, [bytes(1 << 20)] * 100)
    tap.close()
    assert not named("hash 4")


def test_a_veto_in_a_thread_surfaces_at_the_end() -> None:
    tap = Threaded(Vetoing(), "hash 5")
    tap.feed(b"little")
    with pytest.raises(TooBig, match="enough"):
        tap.finish()
    assert not named("hash 5")


def test_a_threaded_tap_vouches_as_its_inner_one_does() -> None:
    tap = Threaded(Vetoing(), "hash 6")
    assert tap.vouches_for_end
    tap.close()


def test_closing_in_the_middle_ends_the_thread_without_the_rest_and_twice_is_safe() -> None:
    slow = Slow()
    tap = Threaded(slow, "hash 7", depth=4)
    for _ in range(4):
        tap.feed(bytes(1 << 20))
    closer = threading.Thread(target=tap.close)
    closer.start()
    slow.go.set()
    closer.join(10)
    tap.close()
    assert not named("hash 7")
    assert len(slow.seen) < 4
    assert slow.closed == 2
