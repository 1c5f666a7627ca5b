"""What refuses the start, what is only reported, and how stores are found."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from stores.base import ReadableStore, Store, StoreSpec
from stores.errors import (
    ReadOnlyStore,
    StoreDenied,
    StoreMisconfigured,
    StoreUnavailable,
    UnknownStore,
)
from stores.filesystem import FilesystemStore
from stores.http import HttpStore
from stores.memory import MemoryStore
from stores.registry import DRIVERS, StoreRegistry, build_store
from stores.wrappers import Call, FaultyStore, fails, waits
from tests.conformance.store_contract import KEY, TEXT, content, write


def file_spec(id: str, directory: Path | str) -> StoreSpec:
    return StoreSpec(id, "file", options={"filesystem_store_datadir": str(directory)})


@dataclass(frozen=True)
class Place:
    store: str


def memory(id: str) -> StoreSpec:
    return StoreSpec(id, "memory")


def bucket_options(bucket: str) -> dict[str, str]:
    keys = {"s3_store_access_key": "access", "s3_store_secret_key": "secret"}
    return {"s3_store_host": "s3.example.org", "s3_store_bucket": bucket, **keys}


class TestRefusals:
    @pytest.mark.parametrize(
        ("specs", "default", "sentence"),
        [
            (
                [StoreSpec("a", "rbd")],
                "a",
                "store a: enabled_backends has the unknown type 'rbd', known are file",
            ),
            ([memory("a"), memory("a")], "a", "store a: enabled_backends has this id twice"),
            ([memory("os_glance_x")], "os_glance_x", "an id that begins with os_glance_, which is reserved"),
            ([memory("a,b")], "a,b", "store a,b: enabled_backends has an id that is not"),
            ([memory("")], "", "enabled_backends has an id that is not"),
            ([memory("a")], "b", "store b: default_backend is not among enabled_backends"),
            ([], "a", "store a: default_backend is not among enabled_backends"),
            ([memory("a"), StoreSpec("w", "http")], "w", "store w: default_backend can only be read"),
            ([StoreSpec("a", "file")], "a", "store a: filesystem_store_datadir is not set"),
            ([file_spec("a", "  ")], "a", "store a: filesystem_store_datadir is not set"),
            (
                [file_spec("a", "var/images")],
                "a",
                "store a: filesystem_store_datadir must be an absolute path",
            ),
        ],
    )
    def test_a_configuration_that_makes_no_sense(self, specs: list[StoreSpec], default: str, sentence: str) -> None:
        with pytest.raises(StoreMisconfigured) as caught:
            StoreRegistry.build(specs, default)
        assert sentence in str(caught.value)

    @pytest.mark.parametrize(
        ("option", "value", "sentence"),
        [
            ("filesystem_thin_provisioning", "perhaps", "must be true or false"),
            ("filesystem_store_chunk_size", "64k", "must be a whole number"),
            ("filesystem_store_chunk_size", 0, "must not be below 1"),
            ("filesystem_store_file_perm", 648, "must be an octal number"),
            ("filesystem_store_file_perm", -640, "must not be below 0"),
        ],
    )
    def test_an_option_that_makes_no_sense(self, tmp_path: Path, option: str, value: object, sentence: str) -> None:
        options = {"filesystem_store_datadir": str(tmp_path), option: value}
        with pytest.raises(StoreMisconfigured, match=f"store a: {option} {sentence}"):
            StoreRegistry.build([StoreSpec("a", "file", options=options)], "a")

    @pytest.mark.parametrize(
        ("one", "other", "how"),
        [
            ("data", "data", "the same as"),
            ("data", "data/", "the same as"),
            ("data", "x/../data", "the same as"),
            ("data", "link", "the same as"),
            ("data", "data/inner", "nested with"),
            ("data/inner", "data", "nested with"),
            ("link/inner", "data", "nested with"),
            ("later/a", "later", "nested with"),
        ],
    )
    def test_two_stores_in_one_place(self, tmp_path: Path, one: str, other: str, how: str) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "link").symlink_to("data")
        specs = [file_spec("a", f"{tmp_path}/{one}"), memory("m"), file_spec("b", f"{tmp_path}/{other}")]
        with pytest.raises(StoreMisconfigured) as caught:
            StoreRegistry.build(specs, "a")
        assert str(caught.value) == f"store b: filesystem_store_datadir is {how} that of store a"
        # And nothing was made on the way to the refusal
        assert {path.name for path in tmp_path.rglob("*")} == {"data", "link"}

    def test_two_stores_on_one_bucket(self) -> None:
        specs = [StoreSpec(id, "s3", options=bucket_options("images")) for id in ("a", "b")]
        with pytest.raises(StoreMisconfigured, match="store b: it keeps its objects where store a does"):
            StoreRegistry.build(specs, "a")
        specs[1] = StoreSpec("b", "s3", options=bucket_options("others"))
        assert StoreRegistry.build(specs, "a").writable_ids() == ["a", "b"]

    def test_neighbours_are_not_in_one_place(self, tmp_path: Path) -> None:
        specs = [file_spec("a", tmp_path / "data"), file_spec("b", tmp_path / "data2")]
        assert StoreRegistry.build(specs, "a").ids() == ["a", "b"]


class TestOneBeside:
    """`build_store`: the staging store, which users cannot name."""

    ID = "os_glance_staging_store"

    def test_it_is_ready_and_nobody_finds_it(self, tmp_path: Path) -> None:
        registry = StoreRegistry.build([file_spec("a", tmp_path / "a")], "a")
        store = build_store(file_spec(self.ID, tmp_path / "new" / "staging"), registry)
        write(store, KEY, TEXT)
        assert content(store, KEY) == TEXT
        assert registry.ids() == ["a"]
        with pytest.raises(UnknownStore):
            registry.get(self.ID)

    @pytest.mark.parametrize(
        ("place", "how"),
        [("a", "the same as"), ("a/staging", "nested with"), (".", "nested with"), ("link", "the same as")],
    )
    def test_it_keeps_its_distance(self, tmp_path: Path, place: str, how: str) -> None:
        (tmp_path / "link").symlink_to("a")
        registry = StoreRegistry.build([memory("m"), file_spec("a", tmp_path / "a")], "a")
        with pytest.raises(StoreMisconfigured) as caught:
            build_store(file_spec(self.ID, tmp_path / place), registry)
        assert str(caught.value) == f"store {self.ID}: filesystem_store_datadir is {how} that of store a"

    def test_it_has_a_bucket_of_its_own(self) -> None:
        registry = StoreRegistry.build([StoreSpec("cold", "s3", options=bucket_options("images"))], "cold")
        with pytest.raises(StoreMisconfigured, match="it keeps its objects where store cold does"):
            build_store(StoreSpec(self.ID, "s3", options=bucket_options("images")), registry)
        other = StoreSpec(self.ID, "s3", options=bucket_options("staging"))
        assert build_store(other, registry).url(KEY) == f"s3://s3.example.org/staging/{KEY}"

    def test_it_can_be_written(self) -> None:
        with pytest.raises(StoreMisconfigured, match=f"store {self.ID}: a store of type http can only be read"):
            build_store(StoreSpec(self.ID, "http"), StoreRegistry.build([memory("m")], "m"))

    def test_a_dead_one_is_reported_and_kept(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        # Given a file in the way of its directory
        (tmp_path / "file").touch()
        registry = StoreRegistry.build([file_spec("a", tmp_path / "a")], "a")
        store = build_store(file_spec(self.ID, tmp_path / "file" / "staging"), registry)
        # Then the log says so, once, and it works as soon as the way is free
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith(f"store {self.ID}: the data directory cannot be made")
        (tmp_path / "file").unlink()
        (tmp_path / "file" / "staging").mkdir(parents=True)
        store.probe()


class TestLookup:
    @pytest.fixture
    def registry(self, tmp_path: Path) -> StoreRegistry:
        specs = [memory("slow"), StoreSpec("web", "http"), file_spec("fast", tmp_path / "a" / "b")]
        return StoreRegistry.build(specs, "fast")

    def test_ids_are_in_the_order_of_the_configuration(self, registry: StoreRegistry) -> None:
        assert registry.ids() == ["slow", "web", "fast"]
        assert registry.writable_ids() == ["slow", "fast"]
        assert registry.default == "fast"

    def test_stores_are_found_by_id(self, registry: StoreRegistry) -> None:
        assert isinstance(registry.get("web"), HttpStore)
        assert isinstance(registry.get("slow"), MemoryStore)
        assert registry.writable("fast") is registry.get("fast")
        assert registry.get("fast").id == "fast"
        assert registry.spec("web") == StoreSpec("web", "http")

    def test_a_missing_directory_was_made_with_its_parents(self, registry: StoreRegistry) -> None:
        write(registry.writable("fast"), KEY, TEXT)
        assert content(registry.get("fast"), KEY) == TEXT

    def test_places_are_sorted_by_weight_then_id(self) -> None:
        """The order of reading, showing and copying (import-behaviour §3.5); a store that is gone weighs nothing."""
        weights = {"b": 0, "light": -1, "a": 0, "heavy": 7}
        specs = [StoreSpec(id, "memory", weight=weight) for id, weight in weights.items()]
        registry = StoreRegistry.build(specs, "a")
        places = [Place(store) for store in ("light", "gone", "b", "heavy", "a")]
        assert [place.store for place in registry.by_weight(places)] == ["heavy", "a", "b", "gone", "light"]

    def test_a_store_with_another_id_is_found_by_its_places(
        self, registry: StoreRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The whole URL of the key counts, not how it begins (§3.7)."""
        directory = (tmp_path / "a" / "b").as_uri()
        published = "http://example.org/x.img"
        assert registry.successor("old", KEY, f"{directory}/{KEY}") == "fast"
        assert registry.successor("old", published, published) == "web"
        for url in (f"{directory}2/{KEY}", f"{directory}/{KEY}2", f"{directory}/x/{KEY}", f"s3://host/{KEY}", ""):
            assert registry.successor("old", KEY, url) is None
        assert registry.successor("old", "no key", f"{directory}/no key") is None
        # And what cannot be found is told once for each id
        registry.successor("older", KEY, "file:///elsewhere")
        assert [record.getMessage().partition(" is not configured")[0] for record in caplog.records] == [
            "store old",
            "store older",
        ]

    def test_what_is_configured_is_in_it(self, registry: StoreRegistry) -> None:
        assert "slow" in registry
        assert "os_glance_staging_store" not in registry

    def test_an_unknown_id_is_said_to_be(self, registry: StoreRegistry) -> None:
        for call in (registry.get, registry.writable, registry.spec):
            with pytest.raises(UnknownStore, match="store os_glance_staging_store: it is not configured"):
                call("os_glance_staging_store")

    def test_a_read_only_store_is_not_given_to_writers(self, registry: StoreRegistry) -> None:
        with pytest.raises(ReadOnlyStore, match="store web"):
            registry.writable("web")

    def test_stores_of_ones_own_making_can_be_registered(self) -> None:
        faulty = FaultyStore(MemoryStore("m"))
        registry = StoreRegistry([faulty, HttpStore("web")], "m")
        assert registry.writable("m") is faulty
        assert registry.spec("m").driver == "FaultyStore"
        assert registry.writable_ids() == ["m"]

    @pytest.mark.parametrize("name", DRIVERS)
    def test_every_driver_is_a_store(self, tmp_path: Path, name: str) -> None:
        options = {"filesystem_store_datadir": str(tmp_path)} if name.startswith("file") else bucket_options("images")
        store = DRIVERS[name](StoreSpec("s", name, options=options))
        assert isinstance(store, ReadableStore)
        assert isinstance(store, Store) == (name != "http")


class TestDeadStores:
    def test_one_is_reported_and_the_others_work(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        # Given a directory that cannot be made, for a file is in the way
        (tmp_path / "file").touch()
        specs = [file_spec("dead", tmp_path / "file" / "data"), file_spec("alive", tmp_path / "alive")]
        with caplog.at_level(logging.ERROR):
            registry = StoreRegistry.build(specs, "alive")
        # Then the log names the store, once
        (line,) = [record.getMessage() for record in caplog.records]
        assert "store dead: the data directory cannot be made" in line
        # And the others work
        write(registry.writable("alive"), KEY, TEXT)
        with pytest.raises(StoreUnavailable):
            registry.writable("dead").create(KEY)
        health = registry.health()
        assert health["alive"] is None
        assert "store dead: a trial write failed" in (health["dead"] or "")

    def test_one_comes_back_without_a_restart(self, tmp_path: Path) -> None:
        (tmp_path / "data").touch()
        registry = StoreRegistry.build([file_spec("a", tmp_path / "data")], "a")
        assert registry.health()["a"] is not None
        (tmp_path / "data").unlink()
        (tmp_path / "data").mkdir()
        assert registry.health() == {"a": None}

    def test_a_mount_that_hangs_at_start_does_not_block_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Given a mount where every call hangs until the end of the test
        released = Event()
        hang_at(monkeypatch, Path, "resolve", lambda path: path.name == "hung", released)
        hang_at(monkeypatch, FilesystemStore, "prepare", lambda store: store.id == "hung", released)
        try:
            specs = [file_spec("hung", tmp_path / "hung"), file_spec("alive", tmp_path / "alive")]
            registry = StoreRegistry.build(specs, "alive", deadline=0.05)
            assert "store hung: no answer within 0.05 s" in caplog.text
            write(registry.writable("alive"), KEY, TEXT)
            # And a second store on its path is refused all the same
            with pytest.raises(StoreMisconfigured, match="the same as that of store hung"):
                StoreRegistry.build([*specs, file_spec("b", tmp_path / "hung")], "alive", deadline=0.05)
        finally:
            released.set()


class TestHealth:
    def test_it_says_what_is_wrong_with_each(self) -> None:
        sick = FaultyStore(MemoryStore("sick"), {"probe": fails(StoreDenied("sick", "keep out"))})
        registry = StoreRegistry([MemoryStore("well"), sick], "well")
        assert registry.health() == {"well": None, "sick": "store sick: keep out"}

    def test_one_that_hangs_is_asked_by_one_thread_only(self) -> None:
        calls: list[str] = []
        entered, proceed = Event(), Event()

        def hang(call: Call, go: Callable[[], Any]) -> Any:
            calls.append(call.operation)
            return waits(entered, proceed)(call, go)

        hung = FaultyStore(MemoryStore("hung"), {"probe": hang})
        registry = StoreRegistry([MemoryStore("well"), hung], "well")
        try:
            for _ in range(3):
                assert registry.health(0.02) == {"well": None, "hung": "store hung: no answer within 0.02 s"}
            assert calls == ["probe"]
        finally:
            proceed.set()
        # And when it answers at last, the next round hears it
        assert registry.health(10) == {"well": None, "hung": None}

    def test_a_bug_in_a_probe_is_no_answer(self) -> None:
        buggy = FaultyStore(MemoryStore("b"), {"probe": fails(ZeroDivisionError("a bug"))})
        with pytest.raises(ZeroDivisionError):
            StoreRegistry([buggy], "b").health()


def hang_at(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    concerned: Callable[[Any], bool],
    released: Event,
) -> None:
    """Let a method hang, for the objects it concerns, until `released` is set."""
    real = getattr(owner, name)

    def hanging(self: object) -> object:
        if concerned(self):
            assert released.wait(30)
        return real(self)

    monkeypatch.setattr(owner, name, hanging)
