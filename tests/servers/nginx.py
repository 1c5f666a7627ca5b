"""nginx for tests: a source of images, and a proxy."""

import os
import socket
from pathlib import Path

from tests.servers.places import LOOPBACK, find_program
from tests.servers.process import Server


class NginxServer(Server):
    """nginx serving one folder byte for byte: a .gz or .zst file too is just a file, with ETag and ranges.

    `rate` limits each connection, in bytes per second; the first second's worth comes at once. `more` is put into the
    server's block: locations that lead elsewhere.
    """

    name = "nginx"

    _CONFIG = """
        {user}
        daemon off;
        worker_processes 2;
        pid nginx.pid;
        error_log stderr notice;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            default_type application/octet-stream;
            sendfile on;
            {temporary}
            server {{
                listen {host}:{port};
                root "{root}";
                autoindex on;
                {limit}
                {more}
            }}
        }}
    """

    def __init__(self, root: Path, rate: int | None = None, more: str = "") -> None:
        super().__init__()
        self._root = root
        self._rate = rate
        self._more = more

    def _prepare(self) -> None:
        kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        config = self._CONFIG.format(
            # Workers would give up root, and with it the right to read a test's private folder.
            user="user root;" if os.geteuid() == 0 else "",
            temporary=" ".join(f"{kind}_temp_path {kind};" for kind in kinds),
            host=LOOPBACK,
            port=self.port,
            root=self._root,
            limit=f"limit_rate {self._rate};" if self._rate else "",
            more=self._more,
        )
        (self.home / "nginx.conf").write_text(config)

    def _command(self) -> list[str]:
        return [find_program("nginx", "nginx"), "-p", str(self.home), "-c", "nginx.conf", "-e", "stderr"]

    def _greet(self) -> None:
        socket.create_connection((LOOPBACK, self.port), timeout=5).close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"
