"""gunicorn's worker of threads, none of which a client can hold for ever, and whose main loop waits for nobody."""

import contextlib
import socket
import struct
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

GOODBYE = 2.0
"""Seconds for which a client may take its time to hang up. It might still be sending: to close at once would reset the
connection, and take back an answer that is on its way (RFC 9112 §9.6).
"""

_PIECE = 1 << 16


class Threads(ThreadWorker):  # type: ignore[misc]
    """`patience` is how many seconds a client may be silent within a request, or take nothing of an answer."""

    patience = 900.0

    def handle(self, conn: Any) -> Any:
        """Serve one request, in a thread of the pool."""
        if not conn.initialized:
            _bound(conn.sock, self.patience)
        kept = super().handle(conn)
        if kept is False:
            _part(conn.sock)
        return kept


def _bound(connection: socket.socket, seconds: float) -> None:
    """Let a call fail that waits for so long. gunicorn makes the socket blocking, whatever time was set in Python."""
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def _part(connection: socket.socket) -> None:
    """Say that there is no more, and wait for the client to do so.

    gunicorn does it as well, but in the loop in which it also accepts connections. It finds nothing to wait for then.
    """
    deadline = time.monotonic() + GOODBYE
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(_PIECE):
                return
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
