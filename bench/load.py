"""Clients that ask for one path again and again, over connections that stay open, all in one thread.

Of an answer they look at the status and the length alone: what they cost is not what is measured, but they share the
cores with it.
"""

import re
import selectors
import socket
import time
from collections.abc import Sequence

from bench.place import NotMeasured

_PIECE = 1 << 18
_PATIENCE = 30.0
_HEAD = re.compile(rb"HTTP/1\.1 200 .*?\r\ncontent-length: (\d+)(?=\r\n).*?\r\n\r\n", re.DOTALL | re.IGNORECASE)


class WrongAnswer(NotMeasured):
    """An answer is not what it has to be; nothing measured counts then."""

    status = 1


class Client:
    """One connection, with one request under way at most."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self.socket = socket.create_connection(address, _PATIENCE)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\nAccept: application/json\r\n\r\n".encode()
        self._answer = bytearray()
        self._began = 0.0

    def ask(self) -> None:
        """Send a request."""
        self._answer.clear()
        self._began = time.perf_counter()
        self.socket.sendall(self._request)

    def hear(self) -> float | None:
        """Receive what is there: how many seconds the whole answer took, or None while it is not whole."""
        piece = self.socket.recv(_PIECE)
        self._answer += piece
        head = _HEAD.match(self._answer)
        if head and len(self._answer) == head.end() + int(head[1]):
            return time.perf_counter() - self._began
        if not piece or (not head and b"\r\n\r\n" in self._answer):
            raise WrongAnswer(f"the answer is: {bytes(self._answer[:300])!r}")
        return None

    @property
    def body(self) -> bytes:
        """Of the last answer."""
        return bytes(self._answer).partition(b"\r\n\r\n")[2]


def press(clients: Sequence[Client], seconds: float) -> list[float]:
    """Let all of them ask for so long; how many seconds each answer took. Raises `WrongAnswer`."""
    took: list[float] = []
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask()
        while selector.get_map():
            ready = selector.select(_PATIENCE)
            if not ready:
                raise WrongAnswer(f"no answer within {_PATIENCE:g} seconds")
            for key, _ in ready:
                client = key.data
                if (seconds_taken := client.hear()) is None:
                    continue
                took.append(seconds_taken)
                if time.monotonic() < end:
                    client.ask()
                else:
                    selector.unregister(client.socket)
    return took
