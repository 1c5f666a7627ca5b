"""RabbitMQ for tests."""

import socket
import subprocess
import textwrap

import amqp

from tests.servers.places import LOOPBACK, Port, ServerFailed, find_program
from tests.servers.process import Server, wait_until


class RabbitServer(Server):
    """RabbitMQ: a node with a name service (epmd) of its own, so that any number can run side by side."""

    name = "rabbitmq"
    start_seconds = 60.0
    not_ready = (OSError, amqp.AMQPError)

    _PLACES = ("/usr/lib/rabbitmq/bin",)  # the ones on PATH insist on the system's own user and folders
    _CONFIG = """
        listeners.tcp.1 = {host}:{port}
        disk_free_limit.absolute = 10MB
        log.console = true
        log.console.level = info
        log.file = false
    """

    def __init__(self) -> None:
        super().__init__()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._extra_ports: list[Port] = []
        self._vhosts = 0

    def _prepare(self) -> None:
        self._extra_ports = [Port(), Port()]
        (self.home / "rabbitmq.conf").write_text(textwrap.dedent(self._CONFIG).format(host=LOOPBACK, port=self.port))
        (self.home / "enabled_plugins").write_text("[].\n")
        (self.home / "rabbitmq-env.conf").touch()
        cookie = self.home / ".erlang.cookie"
        cookie.write_text("TRANSHIPTESTS")
        cookie.chmod(0o400)
        epmd = find_program("epmd", "rabbitmq-server")
        port = self._extra_ports[0].number
        self._epmd = self._launch([epmd, "-address", LOOPBACK, "-port", str(port)])
        if not wait_until(lambda: _accepts(port), 10):
            raise ServerFailed(f"epmd did not answer on port {port}:\n{self.log}")

    def _environment(self) -> dict[str, str]:
        epmd_port, distribution_port = (str(port.number) for port in self._extra_ports)
        # Small and quiet: two schedulers that do not spin, and the node's own talk on loopback.
        erlang = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        erlang += " -start_epmd false"  # ours is up; one that Erlang starts would outlive everything
        return super()._environment() | {
            "ERL_EPMD_PORT": epmd_port,
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": f"tranship-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": distribution_port,
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home / "logs"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
        }

    def _command(self) -> list[str]:
        return [find_program("rabbitmq-server", "rabbitmq-server", self._PLACES)]

    def _greet(self) -> None:
        connection = amqp.Connection(
            f"{LOOPBACK}:{self.port}", userid="guest", password="guest", connect_timeout=5, read_timeout=5
        )
        try:
            connection.connect()
        finally:
            connection.close()

    def _goodbye(self) -> None:
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        for port in self._extra_ports:
            port.close()
        self._extra_ports = []

    @property
    def url(self) -> str:
        """`amqp://guest:guest@127.0.0.1:port//`: the default virtual host."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}//"

    def create_vhost(self) -> str:
        """A new, empty virtual host for one test or module; returns its URL. Takes a second or two."""
        self._vhosts += 1
        name = f"test_{self._vhosts}"
        rabbitmqctl = find_program("rabbitmqctl", "rabbitmq-server", self._PLACES)
        self._run([rabbitmqctl, "add_vhost", name])
        self._run([rabbitmqctl, "set_permissions", "--vhost", name, "guest", ".*", ".*", ".*"])
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/{name}"


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == 0
