"""memcached for tests."""

import getpass
import socket

from tests.servers.places import LOOPBACK, find_program
from tests.servers.process import Server


class MemcachedServer(Server):
    """memcached: `kill` or `restart` empties it."""

    name = "memcached"

    def _command(self) -> list[str]:
        program = find_program("memcached", "memcached")
        # It insists on a user where it is root, and looks at none elsewhere.
        return [program, "-l", LOOPBACK, "-p", str(self.port), "-U", "0", "-m", "16", "-u", getpass.getuser()]

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, as `memcached_servers` wants it."""
        return f"{LOOPBACK}:{self.port}"

    def _greet(self) -> None:
        if not self._ask("version").startswith("VERSION"):
            raise OSError("it does not say its version")

    def flush(self) -> None:
        """Forget everything."""
        assert self._ask("flush_all") == "OK"

    def stored(self) -> list[str]:
        """The keys of all there is."""
        return [line.split()[0].removeprefix("key=") for line in self._ask("lru_crawler metadump all").splitlines()]

    def _ask(self, words: str) -> str:
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            connection.sendall(f"{words}\r\n".encode())
            answer = b""
            while not answer.endswith(b"\r\n"):
                answer += connection.recv(65536)
        return answer.decode().strip()
