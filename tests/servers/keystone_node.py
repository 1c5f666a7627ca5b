"""Runs a Keystone in one process: `keystone_node.py HOME`, where HOME has a node.json.

A program of its own, for Keystone keeps its configuration in the process: nothing of it is imported by tests.
"""

import getpass
import grp
import json
import multiprocessing
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from keystone.cmd import cli
from keystone.server.flask import core
from werkzeug.serving import run_simple

_CONFIG = """
    [DEFAULT]
    default_log_levels = keystone=WARNING,alembic=WARNING,oslo=WARNING
    [database]
    connection = sqlite:///{home}/keystone.db
    sqlite_synchronous = false
    [fernet_tokens]
    key_repository = {home}/fernet
    [fernet_receipts]
    key_repository = {home}/fernet
    [credential]
    key_repository = {home}/credential
    [cache]
    backend = dogpile.cache.memory
    [identity]
    password_hash_rounds = 4
    [oslo_policy]
    enforce_scope = true
"""


def manage(config: Path, *words: str) -> None:
    """Run `keystone-manage` in a child: it reads its command line but once, and what was imported here is there."""
    command = ["keystone-manage", "--config-file", str(config), *words]
    child = multiprocessing.get_context("fork").Process(target=cli.main, args=(command,))
    child.start()
    child.join()
    if child.exitcode != 0:
        sys.exit(f"keystone-manage {words[0]} ended with status {child.exitcode}")


def make(home: Path, config: Path, node: dict[str, Any]) -> None:
    """Write the configuration, the keys and the database, with one administrator."""
    for folder in ("fernet", "credential"):
        (home / folder).mkdir(mode=0o700)
    config.write_text(textwrap.dedent(_CONFIG.format(home=home)))
    manage(config, "db_sync")
    owner = ("--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name)
    manage(config, "fernet_setup", *owner)
    names = ("--bootstrap-username", node["admin"], "--bootstrap-password", node["password"])
    manage(config, "bootstrap", *names, "--bootstrap-public-url", node["url"], "--bootstrap-region-id", node["region"])


def main(home: Path) -> None:
    """Serve until the process is ended."""
    node = json.loads((home / "node.json").read_text())
    config = home / "keystone.conf"
    if not config.exists():
        make(home, config, node)
    # Keystone would take our words for its own.
    del sys.argv[1:]
    application = core.initialize_application(name="public", config_files=[str(config)])
    run_simple(node["host"], node["port"], application, threaded=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
