"""Authorities and certificates for tests of TLS: made on the spot, good for two days, trusted by nobody else."""

import ipaddress
import ssl
import subprocess
from pathlib import Path

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"


class Authority:
    """A throw-away authority in `folder`. `file` holds its certificate: what a client has to trust."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._openssl(f"req -x509 {_KEY} -subj /CN={name} -keyout {name}.key -out {name}.pem")
        self.file = folder / f"{name}.pem"

    def certify(self, host: str) -> Path:
        """Key and certificate of a server that is called `host`, a name or an address, in one file."""
        kind = "IP" if _is_address(host) else "DNS"
        self._openssl(
            f"req -x509 {_KEY} -subj /CN={host} -addext subjectAltName={kind}:{host} -addext basicConstraints=CA:FALSE"
            f" -CA {self._name}.pem -CAkey {self._name}.key -keyout {host}.key -out {host}.pem"
        )
        both = self._folder / f"{host}.both.pem"
        both.write_text("".join((self._folder / f"{host}.{kind}").read_text() for kind in ("key", "pem")))
        return both

    def context(self, host: str) -> ssl.SSLContext:
        """What a server that is called `host` speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certify(host))
        return context

    def _openssl(self, command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=self._folder, check=True, capture_output=True)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
