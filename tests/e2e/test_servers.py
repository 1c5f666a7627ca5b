"""The servers that other tests stand on: each starts, answers, keeps to itself and leaves nothing behind."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis
import requests
import sqlalchemy
from kombu.connection import Connection

from tests.conftest import started
from tests.servers import (
    LOOPBACK,
    KeystoneServer,
    NginxServer,
    Port,
    PostgresServer,
    RabbitServer,
    RedisServer,
    Server,
    ServerFailed,
    ServerMissing,
    SwiftServer,
    find_program,
    is_alive,
    wait_until,
)

pytestmark = pytest.mark.e2e

EVERY_SERVER = [
    pytest.param(PostgresServer, id="postgresql"),
    pytest.param(RedisServer, id="redis"),
    pytest.param(RabbitServer, id="rabbitmq"),
    pytest.param(lambda: NginxServer(Path(__file__).parent), id="nginx"),
    pytest.param(SwiftServer, id="swift"),
    pytest.param(KeystoneServer, id="keystone"),
]


def family(server: Server) -> list[psutil.Process]:
    """Every process whose folder is the server's, or that the server started."""
    mine = [p for p in psutil.process_iter() if is_below(p, server.home)]
    return mine + psutil.Process(server.pid).children(recursive=True)


def is_below(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except (psutil.Error, OSError):
        return False


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == 0


@pytest.mark.parametrize("make", EVERY_SERVER)
def test_two_run_side_by_side_and_leave_nothing(make: Callable[[], Server]) -> None:
    # Given two servers of a kind, started while the other is up
    with started(make()) as first, started(make()) as second:
        homes = [first.home, second.home]
        ports = [first.port, second.port]
        processes = family(first) + family(second)
        # When one of them is stopped
        first.stop()
        # Then the other still answers
        assert not accepts(ports[0])
        assert accepts(ports[1])
        assert is_alive(psutil.Process(second.pid))
    # And after both have stopped no process, port or file of theirs is left
    assert len(processes) >= 2
    assert [p for p in processes if is_alive(p)] == []
    assert not any(accepts(port) for port in ports)
    assert not any(home.exists() for home in homes)


def test_postgres_gives_each_caller_an_empty_database(postgres_server: PostgresServer) -> None:
    # Given a database with a table in it
    first, second = postgres_server.create_database(), postgres_server.create_database()
    create_table(first)
    # When the same table is made in another one
    create_table(second)
    # Then neither knew of the other; and a database can be dropped and is gone
    postgres_server.drop_database(first)
    with pytest.raises(sqlalchemy.exc.OperationalError, match="does not exist"):
        create_table(first)
    postgres_server.drop_database(second)


def create_table(url: str) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE thing (id integer PRIMARY KEY)"))


def test_postgres_keeps_its_rows_through_a_kill() -> None:
    with started(PostgresServer()) as server:
        # Given a table in a server of our own
        url, port = server.create_database(), server.port
        create_table(url)
        # When the server is killed and started again
        server.kill()
        assert not accepts(port)
        server.start()
        # Then it has the same address and still has the table
        with pytest.raises(sqlalchemy.exc.ProgrammingError, match="already exists"):
            create_table(url)


def test_redis_forgets_when_told_to_and_when_restarted(redis_url: str) -> None:
    with started(RedisServer()) as server, redis.Redis.from_url(server.url) as client:
        # Given a key in a server of our own, not in the one of the test run
        client.set("key", "value")
        with redis.Redis.from_url(redis_url) as other:
            assert other.dbsize() == 0
        # When it is flushed, then filled again and restarted: each time the key is gone
        server.flushall()
        assert client.get("key") is None
        client.set("key", "value")
        server.restart()
        assert client.get("key") is None


def test_a_paused_server_keeps_connections_and_says_nothing() -> None:
    with started(RedisServer()) as server:
        url = f"{server.url}?socket_timeout=0.2"
        with redis.Redis.from_url(url, retry=None) as client:
            # Given a live connection
            assert client.ping()
            # When the server is frozen
            server.pause()
            # Then a command times out, and works again once the server goes on
            with pytest.raises(redis.TimeoutError):
                client.ping()
            server.resume()
            assert client.ping()


def test_rabbit_carries_a_message_within_a_virtual_host(rabbit_server: RabbitServer) -> None:
    # Given a queue with a message in a virtual host of its own
    with Connection(rabbit_server.create_vhost()) as connection:
        queue = connection.SimpleQueue("doorbell")
        queue.put({"task": "one"})
        # When it is read there, it comes
        message = queue.get(timeout=10)
        assert message.payload == {"task": "one"}
        message.ack()
        queue.close()
    # And the default virtual host has never heard of the queue
    with (
        Connection(rabbit_server.url) as connection,
        connection.channel() as channel,
        pytest.raises(connection.channel_errors, match="NOT_FOUND"),
    ):
        channel.queue_declare("doorbell", passive=True)


def test_nginx_serves_every_file_as_it_lies(nginx: Callable[..., NginxServer], tmp_path: Path) -> None:
    # Given plain and compressed files in a private folder
    content = bytes(range(256)) * 512
    files = {"disk.img": content, "disk.img.gz": gzip.compress(content), "disk.img.zst": b"\x28\xb5\x2f\xfd"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    server = nginx(tmp_path)
    for name, data in files.items():
        # When each is fetched by a client that would accept an encoding
        answer = requests.get(f"{server.url}/{name}", headers={"Accept-Encoding": "gzip"}, timeout=10)
        # Then its bytes come untouched, with length and validator
        assert answer.content == data
        assert answer.headers["Content-Length"] == str(len(data))
        assert "Content-Encoding" not in answer.headers
        assert answer.headers["ETag"]
    # And a range is a range
    answer = requests.get(f"{server.url}/disk.img", headers={"Range": "bytes=256-511"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, bytes(range(256)))


def test_nginx_can_be_slow(nginx: Callable[..., NginxServer], tmp_path: Path) -> None:
    # Given 150 kB behind a limit of 100 kB/s
    (tmp_path / "file").write_bytes(bytes(150_000))
    server = nginx(tmp_path, rate=100_000)
    # When they are fetched
    began = time.monotonic()
    answer = requests.get(f"{server.url}/file", timeout=10)
    # Then they take their time
    assert len(answer.content) == 150_000
    assert time.monotonic() - began > 0.3


def test_a_server_that_ends_at_once_shows_its_log() -> None:
    class BadRedis(RedisServer):
        def _command(self) -> list[str]:
            return [*super()._command(), "--no-such-option", "1"]

    # Given a server with a bad option; when it is started, the error shows what the server said
    server = BadRedis()
    with pytest.raises(ServerFailed, match="no-such-option"):
        started(server)
    # And its folder is gone
    with pytest.raises(ServerFailed, match="not started"):
        _ = server.home


def test_a_server_that_never_answers_is_given_up() -> None:
    class Mute(Server):
        name = "mute"
        start_seconds = 0.3

        def _command(self) -> list[str]:
            return [sys.executable, "-c", "import time; print('here I am', flush=True); time.sleep(60)"]

        def _greet(self) -> None:
            raise ConnectionRefusedError("nobody there")

    with pytest.raises(ServerFailed, match=r"mute did not answer within 0\.3 s \(nobody there\):\nhere I am"):
        Mute().start()


def test_a_missing_program_fails_where_servers_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(RedisServer):
        def _command(self) -> list[str]:
            return [find_program("no-such-server", "no-such-package")]

    # Given a machine without the program and a run that does not insist: a skip says how to install it
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("TRANSHIP_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-such-package"):
        started(Missing())
    # When the run insists, by either variable, it fails
    for name, value in [("TRANSHIP_REQUIRE_SERVERS", "1"), ("CI", "true")]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(pytest.fail.Exception, match="apt-get install no-such-package"):
                started(Missing())


def test_no_port_is_given_out_twice() -> None:
    with ExitStack() as held:
        # Given fifty ports, none of them bound yet
        ports = [Port() for _ in range(50)]
        for port in ports:
            held.callback(port.close)
        # Then all differ, and every one can be bound
        assert len({port.number for port in ports}) == 50
        for port in ports:
            with socket.socket() as server:
                server.bind((LOOPBACK, port.number))


def test_a_port_with_a_lingering_connection_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as held:
        # Given a port whose server hung up first, so that the kernel remembers the connection for a minute
        port = Port()
        held.callback(port.close)
        with socket.create_server((LOOPBACK, port.number)) as server:
            client = held.enter_context(socket.create_connection((LOOPBACK, port.number)))
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
        client.close()
        port.close()
        # When it is the only candidate, none is free: not every server may bind it
        monkeypatch.setattr(Port, "_CANDIDATES", [port.number])
        with pytest.raises(ServerFailed, match="no free port"):
            Port()


def test_a_killed_run_takes_its_servers_along(tmp_path: Path) -> None:
    try:
        find_program("redis-server", "redis-server")
    except ServerMissing:
        started(RedisServer())
    script = textwrap.dedent("""
        import signal
        from tests.servers import RedisServer
        print(RedisServer().start().pid, flush=True)
        signal.pause()
    """)
    # Given another run with a server up
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        server = psutil.Process(int(run.stdout.readline()))
        # When the run is killed
        run.send_signal(signal.SIGKILL)
    # Then its server ends too
    assert wait_until(lambda: not is_alive(server), 10)
