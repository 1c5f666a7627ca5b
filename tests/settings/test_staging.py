"""Where uploads wait for their import, and whose workers can read them there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.runtime import Runtime
from settings import Settings
from stores.errors import StoreMisconfigured

SECRET = "hunter2"

STAGING = {
    "in the section": (
        "[DEFAULT]\nnode_staging_uri = file:///srv/uri\n"
        "[os_glance_staging_store]\nfilesystem_store_datadir = /srv/section\nfilesystem_store_file_perm = 640",
        {"filesystem_store_datadir": "/srv/section", "filesystem_store_file_perm": "640"},
    ),
    "as a URI": (
        "[DEFAULT]\nnode_staging_uri = file:///srv/a%20place/",
        {"filesystem_store_datadir": "/srv/a place/"},
    ),
    "nowhere": ("", {"filesystem_store_datadir": "{data}/staging"}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "options"), STAGING.values(), ids=STAGING)
def test_where_staging_is(load: Callable[[str], Settings], text: str, options: dict[str, str]) -> None:
    """Given Glance's section, its older URI, or neither, then the staging store is there or under the data."""
    got = load(text + "\n")
    spec = got.staging.spec
    assert (spec.id, spec.driver) == ("os_glance_staging_store", "file")
    assert spec.options == {name: value.format(data=got.data) for name, value in options.items()}
    assert got.staging.keep_for == 48 * 3600


def test_staging_in_a_bucket(load: Callable[[str], Settings]) -> None:
    """Given the driver s3, then the section has what a store of that type has, and no directory."""
    got = load(
        "[DEFAULT]\nimage_size_cap = 1000\n[tranship]\nbroker_url = redis://r/0\nstaging_driver = s3\n"
        f"[os_glance_staging_store]\ns3_store_bucket = staging\ns3_store_secret_key = {SECRET}\n"
    )
    assert got.staging.spec.driver == "s3"
    assert got.staging.spec.options == {
        "s3_store_bucket": "staging",
        "s3_store_secret_key": SECRET,
        "image_size_cap": 1000,
        "store_commit_timeout": 600.0,
    }
    assert got.staging.host is None, "any worker can read it"
    assert SECRET not in repr(got)


WHO_READS_STAGING = [
    ("broker_url = redis://r/0", False, "me"),
    ("broker_url = redis://r/0", True, None),
    ("broker_url = amqp://q", False, "me"),
    ("broker_url = redis://r/0\nstaging_scope = shared", False, None),
    ("broker_url = redis://r/0\nstaging_scope = local", True, "me"),
    ("broker_url = redis://r/0\nstaging_driver = s3\nstaging_scope = local", False, "me"),
    ("", False, None),
    ("eager = true\nbroker_url = redis://r/0", False, None),
    ("staging_scope = local", False, "me"),
]


@pytest.mark.parametrize(("options", "on_network", "host"), WHO_READS_STAGING)
def test_whose_workers_read_what_is_staged(
    load: Callable[[str], Settings],
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    on_network: bool,
    host: str | None,
) -> None:
    """Given a local disk or a network mount, one process or many, then staging is of this host or of all."""
    monkeypatch.setattr("settings.on_network", lambda path: on_network and path == Path("/srv/staging"))
    got = load(f"[DEFAULT]\nnode_staging_uri = file:///srv/staging\n[tranship]\nhost = me\n{options}\n")
    assert (got.host, got.staging.host) == ("me", host)


def test_the_runtime_has_the_staging_store(build: Callable[[str], Runtime]) -> None:
    """Given a configuration, when it is wired, then bytes can be staged, and their garbage found by the store's id."""
    runtime = build("[tranship]\nhost = me\nstaging_scope = local\n")
    assert (runtime.host, runtime.staging.host) == ("me", "me")
    runtime.staging.store.probe()
    assert runtime.keeper("os_glance_staging_store") is runtime.staging.store
    assert runtime.keeper("a") is runtime.stores.writable("a")
    assert "os_glance_staging_store" not in runtime.stores.ids()


@pytest.mark.parametrize("place", ["stores", "stores/a", "stores/a/staging"])
def test_staging_and_stores_keep_their_distance(build: Callable[[str], Runtime], tmp_path: Path, place: str) -> None:
    """Given a staging directory around, on or in a store's, when it is wired, then it is refused by its option."""
    where = f"[DEFAULT]\nnode_staging_uri = file://{tmp_path}/data/{place}\n"
    with pytest.raises(StoreMisconfigured, match="store os_glance_staging_store: filesystem_store_datadir is"):
        build(where)
