"""Runs the four servers of a one-node Swift in one process: `swift_node.py HOME`, where HOME has a node.json.

A program of its own, for Swift bends Python's sockets and threads to eventlet: nothing of it is imported by tests.
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import eventlet
import eventlet.wsgi
from swift.common import utils, wsgi
from swift.common.ring import RingBuilder

STORAGE = ("account", "container", "object")

_SWIFT = """
    [swift-hash]
    swift_hash_path_suffix = tests
    swift_hash_path_prefix = tests
    [storage-policy:0]
    name = only
    default = yes
"""

_STORAGE = """
    [DEFAULT]
    bind_ip = {host}
    bind_port = {port}
    swift_dir = {home}
    devices = {home}/devices
    mount_check = false
    disable_fallocate = true
    [pipeline:main]
    pipeline = {name}-server
    [app:{name}-server]
    use = egg:swift#{name}
"""

_PROXY = """
    [DEFAULT]
    bind_ip = {host}
    bind_port = {port}
    swift_dir = {home}
    [pipeline:main]
    pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo dlo proxy-server
    [app:proxy-server]
    use = egg:swift#proxy
    account_autocreate = true
    [filter:tempauth]
    use = egg:swift#tempauth
    user_{user} = {secret_key} .admin
    [filter:s3api]
    use = egg:swift#s3api
    location = us-east-1
    check_bucket_owner = false
    storage_domain = {domain}
"""

_PLAIN_FILTERS = ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "copy", "slo", "dlo")


def write_settings(home: Path, node: dict[str, Any]) -> None:
    """Write what Swift reads: the secret of its hashes, and one file for each server."""
    (home / "swift.conf").write_text(textwrap.dedent(_SWIFT))
    host, ports = node["host"], node["ports"]
    for name in STORAGE:
        text = _STORAGE.format(host=host, port=ports[name], home=home, name=name)
        (home / f"{name}.conf").write_text(textwrap.dedent(text))
    user = node["access_key"].replace(":", "_")
    known = {name: node[name] for name in ("secret_key", "domain")}
    text = _PROXY.format(host=host, port=ports["proxy"], home=home, user=user, **known)
    filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _PLAIN_FILTERS)
    (home / "proxy.conf").write_text(textwrap.dedent(text) + filters)


def write_rings(home: Path, node: dict[str, Any]) -> None:
    """Write the three maps that say: everything is on the one device."""
    (home / "devices" / "only").mkdir(parents=True, exist_ok=True)
    for name in STORAGE:
        ring = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
        place = {"ip": node["host"], "port": node["ports"][name], "device": "only"}
        ring.add_dev({"region": 1, "zone": 1, "weight": 1.0, **place})
        ring.rebalance()
        ring.get_ring().save(str(home / f"{name}.ring.gz"))


def main(home: Path) -> None:
    """Serve until the process is ended."""
    if not (home / "swift.conf").exists():
        node = json.loads((home / "node.json").read_text())
        write_settings(home, node)
        write_rings(home, node)
    utils.set_swift_dir(str(home))
    eventlet.hubs.use_hub(wsgi.get_hub())
    servers = [eventlet.spawn(serve, home / f"{name}.conf") for name in (*STORAGE, "proxy")]
    for server in servers:
        server.wait()


def serve(config: Path) -> None:
    """Serve one of the four. What Swift itself calls for this takes a whole process."""
    conf, _, global_conf, _ = wsgi.check_config(str(config), f"{config.stem}-server", verbose=True)
    eventlet.wsgi.server(
        wsgi.get_socket(conf),
        wsgi.loadapp(str(config), global_conf=global_conf),
        utils.NullLogger(),
        protocol=wsgi.SwiftHttpProtocol,
        socket_timeout=60.0,
        capitalize_response_headers=False,
        url_length_limit=8192,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
