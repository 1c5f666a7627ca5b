"""The socket of the service."""

import socket
from contextlib import closing

import pytest

from cli.listen import listen


def test_no_client_is_waited_for_without_end() -> None:
    """Given a client that begins a request and falls silent, when a server blocks on it, then it is let go again."""
    with closing(listen("127.0.0.1", 0, patience=1)) as listener, closing(socket.socket()) as client:
        client.connect(listener.getsockname())
        client.sendall(b"GET /")
        accepted, _ = listener.accept()
        with closing(accepted):
            accepted.setblocking(True)
            assert accepted.recv(100) == b"GET /"
            with pytest.raises(BlockingIOError):
                accepted.recv(100)
