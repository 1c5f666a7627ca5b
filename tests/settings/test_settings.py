"""Options: Glance's names from INI files, the environment, what follows from the data directory, and refusals."""

import re
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import settings
from catalog.errors import CatalogError
from flows.runtime import Runtime
from option_files import BadSettings
from settings import Settings
from stores.errors import StoreMisconfigured

SECRET = "hunter2"


GLANCE_API_CONF = """
# As a deployment tool writes it.
[DEFAULT]
debug = False
use_stderr = False
log_file = /var/log/glance/glance-api.log
bind_host = 10.1.2.3
bind_port = 9393
workers = 5
image_cache_dir = /var/lib/glance/image_cache
enabled_backends = rack1:file, rack2:file, mirror:http
enabled_import_methods = [glance-direct,web-download,copy-image]
node_staging_uri = file:///var/lib/glance/staging
hashing_algorithm = sha256
image_size_cap = 1099511627776
limit_param_default = 50
public_endpoint = https://image.example.org
transport_url = rabbit://openstack:hunter2@10.1.2.3:5672//
[glance_store]
default_backend = rack2
[rack1]
filesystem_store_datadir = /srv/rack1
store_description = "the first rack"
weight = 200
[rack2]
filesystem_store_datadir = /srv/rack2
filesystem_thin_provisioning = true
rbd_store_pool = images
[mirror]
https_insecure = false
[database]
connection = postgresql+psycopg2://glance:hunter2@10.1.2.3/glance
max_retries = -1
[keystone_authtoken]
www_authenticate_uri = https://identity.example.org:5000
password = hunter2
[paste_deploy]
flavor = keystone
[task]
task_time_to_live = 24
task_executor = taskflow
[image_format]
disk_formats = raw,qcow2,iso
[import_filtering_opts]
allowed_schemes = ['http','https']
disallowed_schemes = []
allowed_hosts = []
disallowed_hosts = [intern.example.org,10.0.0.1]
allowed_ports = [80,443,8080]
disallowed_ports = []
"""


def test_a_glance_api_conf_is_understood(load: Callable[[str], Settings]) -> None:
    """Given an operator's glance-api.conf, when it is read, then what we know counts and the rest is left alone."""
    got = load(GLANCE_API_CONF)

    assert (got.api.host, got.api.port, got.api.workers) == ("10.1.2.3", 9393, 5)
    assert (got.api.public_endpoint, got.api.limit_param_default) == ("https://image.example.org", 50)
    assert got.api.disk_formats == ("raw", "qcow2", "iso")
    assert got.imports.methods == ("glance-direct", "web-download", "copy-image"), "brackets or not"
    assert (got.imports.hashing_algorithm, got.imports.image_size_cap) == ("sha256", 1 << 40)
    assert got.imports.task_time_to_live == 24 * 3600
    assert got.database_url == "postgresql+psycopg2://glance:hunter2@10.1.2.3/glance"
    assert got.default_store == "rack2"
    assert got.staging.spec.options == {"filesystem_store_datadir": "/var/lib/glance/staging"}
    assert [(store.id, store.driver, store.weight) for store in got.stores] == [
        ("rack1", "file", 200),
        ("rack2", "file", 0),
        ("mirror", "http", 0),
    ]
    assert got.stores[0].description == "the first rack"
    assert got.stores[1].options == {
        "filesystem_store_datadir": "/srv/rack2",
        "filesystem_thin_provisioning": "true",
    }
    assert got.uris.allowed_schemes == ("http", "https")
    assert got.uris.disallowed_hosts == ("intern.example.org", "10.0.0.1")
    assert got.uris.allowed_ports == (80, 443, 8080)
    assert (got.uris.allowed_hosts, got.uris.disallowed_schemes, got.uris.disallowed_ports) == ((), (), ())


S3_STORE = f"""
[DEFAULT]
enabled_backends = cold:s3
image_size_cap = 1000000
[cold]
s3_store_host = https://s3.example.org
s3_store_access_key = AKIA{SECRET}
s3_store_secret_key = a/{SECRET}
s3_store_bucket = images
s3_store_thread_pools = 3
"""


def test_an_s3_store_is_configured_as_in_glance(load: Callable[[str], Settings]) -> None:
    """Given the section of an S3 store, then the store gets it with the size cap, and nothing shows its keys."""
    got = load(S3_STORE)
    assert got.stores[0].options == {
        "s3_store_host": "https://s3.example.org",
        "s3_store_access_key": f"AKIA{SECRET}",
        "s3_store_secret_key": f"a/{SECRET}",
        "s3_store_bucket": "images",
        "s3_store_thread_pools": "3",
        "image_size_cap": 1_000_000,
        "store_commit_timeout": 600.0,
    }
    assert SECRET not in repr(got)


@pytest.mark.parametrize("written", ["a.example, b.example", "[a.example,b.example]", "['a.example', \"b.example\"]"])
def test_lists_are_read_in_either_form(load: Callable[[str], Settings], written: str) -> None:
    """Given a list as oslo.config has it or as Glance has it, in brackets, then it has the same members."""
    got = load(f"[import_filtering_opts]\ndisallowed_hosts = {written}\n")
    assert got.uris.disallowed_hosts == ("a.example", "b.example")


def test_without_any_option_all_is_below_the_data_directory(tmp_path: Path) -> None:
    """Given nothing but a data directory, then the embedded service is configured: SQLite, memory://, three stores."""
    got = settings.load(data=str(tmp_path))

    assert got.data == tmp_path
    assert got.database_url == f"sqlite:///{tmp_path}/tranship.db"
    assert (got.broker.url, got.broker.eager) == ("memory://", False)
    assert (got.lease.keeper, got.lease.redis_url) == ("database", "")
    assert [(store.id, store.driver, dict(store.options)) for store in got.stores] == [
        (name, "file", {"filesystem_store_datadir": f"{tmp_path}/stores/{name}"}) for name in ("a", "b", "c")
    ]
    assert got.default_store == "a"
    assert (got.api.host, got.api.port, got.api.auth_strategy) == ("127.0.0.1", 9292, "none")
    assert got.uris.allowed_networks == (), "nothing on this machine or its networks may be read"


def test_a_relative_data_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a relative directory, then a later change of the working directory does not move the service."""
    monkeypatch.chdir(tmp_path)
    assert settings.load(data="var/x").data == tmp_path / "var/x"


ENVIRONMENT = [
    ("OS_DEFAULT__BIND_PORT", "7777", lambda s: s.api.port, 7777),
    ("OS_DATABASE__CONNECTION", "sqlite:////srv/x.db", lambda s: s.database_url, "sqlite:////srv/x.db"),
    ("OS_TRANSHIP__BROKER_URL", "redis://r/1", lambda s: s.broker.url, "redis://r/1"),
    ("OS_TRANSHIP__EAGER", "true", lambda s: s.broker.eager, True),
    ("OS_DEFAULT__ENABLED_BACKENDS", "x:memory,y:memory", lambda s: [x.id for x in s.stores], ["x", "y"]),
    ("OS_IMPORT_FILTERING_OPTS__ALLOWED_PORTS", "[81,82]", lambda s: s.uris.allowed_ports, (81, 82)),
]


@pytest.mark.parametrize(("name", "value", "read", "expected"), ENVIRONMENT, ids=[row[0] for row in ENVIRONMENT])
def test_the_environment_wins_over_the_file(
    load: Callable[[str], Settings],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    read: Callable[[Settings], Any],
    expected: object,
) -> None:
    """Given an option in the file, when the environment has it too, then the environment's counts."""
    text = """
        [DEFAULT]
        bind_port = 1111
        enabled_backends = file1:file
        [database]
        connection = sqlite:////from/the/file.db
        [tranship]
        broker_url = redis://file/0
        [import_filtering_opts]
        allowed_ports = 1
        """
    text = re.sub(r"^ +", "", text, flags=re.MULTILINE)
    assert read(load(text)) != expected
    monkeypatch.setenv(name, value)
    assert read(load(text)) == expected


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an option in the environment, when the command line has it too, then the command line's counts."""
    monkeypatch.setenv("OS_DEFAULT__BIND_PORT", "7777")
    assert settings.load(overrides=[("DEFAULT", "bind_port", 8888)]).api.port == 8888


def test_a_host_is_called_as_the_system_calls_it(
    load: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no name for this host, then it is the system's; one that no queue can have is refused."""
    monkeypatch.setattr(socket, "gethostname", lambda: "node-7.rack_2.example")
    assert load("").host == "node-7.rack_2.example"
    monkeypatch.setattr(socket, "gethostname", lambda: "büro")
    with pytest.raises(BadSettings, match=r"^\[tranship\] host: 'büro' is not 1 to 64 of A-Z a-z 0-9 \. _ -$"):
        load("")
    assert load("[tranship]\nhost = office\n").host == "office"


def test_when_an_import_is_stale(load: Callable[[str], Settings]) -> None:
    """Given nothing, then an import may be superseded after Glance's 60 and 120 minutes; else as it is said."""
    assert (load("").lease.stale_after, load("").lease.stale_pending_after) == (3600, 7200)
    got = load("[tranship]\nstale_after = 5\nstale_pending_after = 7.5\nstaging_ttl = 60\n")
    assert (got.lease.stale_after, got.lease.stale_pending_after, got.staging.keep_for) == (5, 7.5, 60)


REDIS_KEEPER = [
    ("broker_url = redis://r:6379/0", "redis://r:6379/0"),
    ("broker_url = rediss://r/0", "rediss://r/0"),
    ("broker_url = redis://r/0\nredis_url = redis://other/1", "redis://other/1"),
    ("broker_url = amqp://q\nredis_url = redis://other/1", "redis://other/1"),
]


@pytest.mark.parametrize(("options", "expected"), REDIS_KEEPER)
def test_where_a_redis_keeper_keeps_its_leases(load: Callable[[str], Settings], options: str, expected: str) -> None:
    """Given leases in Redis, then they are in the Redis that is named, or else in the broker."""
    assert load(f"[tranship]\nlease_keeper = redis\n{options}\n").lease.redis_url == expected


REFUSED = {
    "port too high": ("[DEFAULT]\nbind_port = 65536", "[DEFAULT] bind_port"),
    "port no number": ("[DEFAULT]\nbind_port = http", "[DEFAULT] bind_port"),
    "unknown hash": ("[DEFAULT]\nhashing_algorithm = crc32", "[DEFAULT] hashing_algorithm"),
    "no page": ("[DEFAULT]\nlimit_param_default = 0", "[DEFAULT] limit_param_default"),
    "backend without type": ("[DEFAULT]\nenabled_backends = fast", "[DEFAULT] enabled_backends"),
    "backend twice": ("[DEFAULT]\nenabled_backends = a:file,a:http", "[DEFAULT] enabled_backends"),
    "weight no number": ("[DEFAULT]\nenabled_backends = a:file\n[a]\nweight = much", "[a] weight"),
    "bad CIDR": ("[tranship]\nallowed_networks = 10.0.0.0/33", "[tranship] allowed_networks"),
    "host bits in CIDR": ("[tranship]\nallowed_networks = 10.0.0.1/8", "[tranship] allowed_networks"),
    "port in list": ("[import_filtering_opts]\nallowed_ports = [80,x]", "[import_filtering_opts] allowed_ports"),
    "open list": ("[import_filtering_opts]\nallowed_hosts = [a,b", "[import_filtering_opts] allowed_hosts"),
    "no flag": ("[image_format]\nrequire_image_format_match = maybe", "[image_format] require_image_format_match"),
    "unknown keeper": ("[tranship]\nlease_keeper = memcached", "[tranship] lease_keeper"),
    "lease too short": ("[tranship]\nlease_ttl = 0.1", "[tranship] lease_ttl"),
    "lease no number": ("[tranship]\nlease_ttl = long", "[tranship] lease_ttl"),
    "unknown auth": ("[tranship]\nauth_strategy = basic", "[tranship] auth_strategy"),
    "host with a blank": ("[tranship]\nhost = my host", "[tranship] host"),
    "host too long": (f"[tranship]\nhost = {65 * 'x'}", "[tranship] host"),
    "staging elsewhere": ("[DEFAULT]\nnode_staging_uri = http://h/staging", "[DEFAULT] node_staging_uri"),
    "staging on a host": ("[DEFAULT]\nnode_staging_uri = file://h/staging", "[DEFAULT] node_staging_uri"),
    "staging in the root": ("[DEFAULT]\nnode_staging_uri = file:///", "[DEFAULT] node_staging_uri"),
    "staging without path": ("[DEFAULT]\nnode_staging_uri = file://[", "[DEFAULT] node_staging_uri"),
    "staging by tape": ("[tranship]\nstaging_driver = tape", "[tranship] staging_driver"),
    "unknown scope": ("[tranship]\nstaging_scope = some", "[tranship] staging_scope"),
    "no time to stage": ("[tranship]\nstaging_ttl = 0", "[tranship] staging_ttl"),
    "stale at once": ("[tranship]\nstale_after = 0", "[tranship] stale_after"),
    "stale before it began": ("[tranship]\nstale_pending_after = soon", "[tranship] stale_pending_after"),
    "unknown broker": (f"[tranship]\nbroker_url = kafka://u:{SECRET}@k", "[tranship] broker_url"),
    "no broker": (f"[tranship]\nbroker_url = {SECRET}", "[tranship] broker_url"),
    "keeper without Redis": (
        f"[tranship]\nlease_keeper = redis\nbroker_url = amqp://u:{SECRET}@q", "[tranship] redis_url"
    ),
    "$ in a broker's password": (f"[tranship]\nbroker_url = redis://:pa${SECRET}@r", "[tranship] broker_url"),
    "$ in a database's password": (f"[database]\nconnection = postgresql://u:${SECRET}@d", "[database] connection"),
    "$ in S3's secret": (
        f"[DEFAULT]\nenabled_backends = cold:s3\n[cold]\ns3_store_secret_key = ${SECRET}", "[cold] s3_store_secret_key"
    ),
    "$ in Redis's password": (f"[tranship]\nredis_url = redis://u:${{{SECRET}}}@r", "[tranship] redis_url"),
    "no section": (f"connection = postgresql://u:{SECRET}@d", "tranship.conf, line 1"),
    "half a section": ("[DEFAULT]\ndebug = 1\n[database", "tranship.conf, line 3"),
    "no assignment": (f"[database]\npostgresql//u;{SECRET}@d", "tranship.conf, line 2"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "named"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_name(load: Callable[[str], Settings], text: str, named: str) -> None:
    """Given an option that makes no sense, when it is read, then the refusal names it and tells no secret."""
    with pytest.raises(BadSettings) as refused:
        load(text + "\n")
    assert named in str(refused.value)
    assert "LocationInfo" not in str(refused.value), "that is a word of oslo.config's"
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_a_bad_option_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a bad value in the environment, then the refusal names the option and the variable."""
    monkeypatch.setenv("OS_TRANSHIP__WORKER_CONCURRENCY", "0")
    with pytest.raises(BadSettings, match=r"^\[tranship\] worker_concurrency \(OS_TRANSHIP__WORKER_CONCURRENCY\): "):
        settings.load()


def test_a_bad_option_on_the_command_line_is_named() -> None:
    """Given a bad value from the command line, then the refusal names the option."""
    with pytest.raises(BadSettings, match=r"\[DEFAULT\] bind_port"):
        settings.load(overrides=[("DEFAULT", "bind_port", 65536)])


def unreadable(path: Path) -> None:
    """A folder: root may read any file, but nobody can read this as one."""
    path.mkdir()


def binary(path: Path) -> None:
    """Not text."""
    path.write_bytes(b"\xff\xfe[DEFAULT]\n")


def absent(path: Path) -> None:
    """Nothing at all."""


@pytest.mark.parametrize("make", [absent, unreadable, binary])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Given the name of something that is no configuration file, then the refusal names it."""
    path = tmp_path / "tranship.conf"
    make(path)
    with pytest.raises(BadSettings, match=re.escape(str(path))):
        settings.load([str(path)])


REFUSED_BY_THE_STORES = {
    "unknown type": ("[DEFAULT]\nenabled_backends = fast:floppy", "floppy"),
    "unknown default": (
        "[DEFAULT]\nenabled_backends = m:memory\n[glance_store]\ndefault_backend = x", "default_backend"
    ),
    "no directory": ("[DEFAULT]\nenabled_backends = fast:file", "filesystem_store_datadir"),
    "reserved id": ("[DEFAULT]\nenabled_backends = os_glance_x:memory", "os_glance_"),
    "staging among stores": ("[DEFAULT]\nenabled_backends = os_glance_staging_store:file", "os_glance_"),
    "no bucket for staging": ("[tranship]\nstaging_driver = s3", "os_glance_staging_store: s3_store_"),
    "relative staging": (
        "[os_glance_staging_store]\nfilesystem_store_datadir = staging",
        "os_glance_staging_store: filesystem_store_datadir must be an absolute path",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "named"), REFUSED_BY_THE_STORES.values(), ids=REFUSED_BY_THE_STORES)
def test_stores_that_make_no_sense_are_refused_when_they_are_built(
    build: Callable[[str], Runtime], text: str, named: str
) -> None:
    """Given stores that make no sense, when they are wired, then the registry refuses and names the option."""
    with pytest.raises(StoreMisconfigured, match=named):
        build(text + "\n")


BAD_URLS = [
    f"[database]\nconnection = mysql+pymysql://glance:{SECRET}@d/glance",
    f"[database]\nconnection = postgresql+psycopg2://glance:{SECRET}@d:port/glance",
    f"[database]\nconnection = glance:{SECRET}@d/glance",
    f"[tranship]\nlease_keeper = redis\nredis_url = redis://u:{SECRET}@r:port/0",
    f"[tranship]\nlease_keeper = redis\nredis_url = http://u:{SECRET}@r/0",
]


@pytest.mark.parametrize("text", BAD_URLS)
def test_a_url_that_makes_no_sense_is_refused_without_its_password(build: Callable[[str], Runtime], text: str) -> None:
    """Given a URL of a kind that is not known, when it is wired, then it is refused and its password not told."""
    with pytest.raises((CatalogError, ValueError)) as refused:
        build(text + "\n")
    assert SECRET not in str(refused.value)
