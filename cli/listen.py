"""The socket of the service: opened here, so that a taken port is one sentence, and port 0 gets a number."""

import http.client
import os
import socket
import sys
import time

from cli.address import url
from cli.errors import Refused

BACKLOG = 2048

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 takes a free one. Raises `Refused`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise Refused(f"cannot listen on {url(host, port)}: {_words(error)}") from error


def _words(error: OSError) -> str:
    """The system's words; Python adds the address to them once more, and the resolver's errors have other numbers."""
    return str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)


def announce(host: str, port: int) -> None:
    """Print `ready http://H:P` on stdout once the service answers a request; nothing else is ever printed there."""
    while not _answers(_WILDCARDS.get(host, host), port):
        time.sleep(0.05)
    print(f"ready {url(host, port)}", file=sys.stdout, flush=True)


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/healthcheck", headers={"Connection": "close"})
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True
