"""Real servers for tests: PostgreSQL, Redis, RabbitMQ, Keystone, memcached, nginx and Swift (for S3), our own
processes on loopback.

Every class is a `Server`: `start()` returns once it answers, `stop()` leaves no process and no file behind,
and both are what a `with` block does. `kill()`, `pause()`/`resume()` and `restart()` are for tests of faults;
the port and what is on disk survive them. A server that does not come up raises `ServerFailed` with the end
of its log; a program that is not installed raises `ServerMissing` with the command that installs it.
"""

from tests.servers.keystone import KeystoneServer
from tests.servers.memcached import MemcachedServer
from tests.servers.nginx import NginxServer
from tests.servers.places import LOOPBACK, Port, ServerFailed, ServerMissing, find_program
from tests.servers.postgresql import PostgresServer
from tests.servers.process import Server, is_alive, wait_until
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer
from tests.servers.swift import SwiftServer

__all__ = [
    "LOOPBACK",
    "KeystoneServer",
    "MemcachedServer",
    "NginxServer",
    "Port",
    "PostgresServer",
    "RabbitServer",
    "RedisServer",
    "Server",
    "ServerFailed",
    "ServerMissing",
    "SwiftServer",
    "find_program",
    "is_alive",
    "wait_until",
]
