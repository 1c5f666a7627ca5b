"""Redis for tests."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.places import LOOPBACK, find_program
from tests.servers.process import Server


class RedisServer(Server):
    """Redis that keeps nothing on disk: `kill` or `restart` empties it."""

    name = "redis"
    not_ready = (redis.RedisError,)

    def _command(self) -> list[str]:
        program = find_program("redis-server", "redis-server")
        options = {"port": self.port, "bind": LOOPBACK, "dir": self.home, "save": "", "appendonly": "no"}
        return [program, *(word for key, value in options.items() for word in (f"--{key}", str(value)))]

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port/0`"""
        return self.database(0)

    def database(self, number: int) -> str:
        """The URL of one of its 16 databases, for services that do not share queues; they are forgotten together."""
        return f"redis://{LOOPBACK}:{self.port}/{number}"

    def _greet(self) -> None:
        with self._client() as client:
            client.ping()

    def flushall(self) -> None:
        """Forget everything, as a lost Redis would."""
        with self._client() as client:
            client.flushall()

    def _client(self) -> redis.Redis:
        # No retries of its own: while the server is not up, `start` is the one that tries again.
        return redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
