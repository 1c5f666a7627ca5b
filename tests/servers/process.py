"""One server process: started, awaited, frozen, killed and cleaned up after."""

import contextlib
import grp
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from tests.servers.places import Port, ServerFailed, find_program


class Server(ABC):
    """One server process: its own folder, its own port, its own process group.

    The process also gets its stop signal when the thread that started it ends, so that a killed test run
    leaves no server behind: start servers from a thread that outlives their use.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float] = 20.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    not_ready: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    """What `_greet` raises while the server is not up yet."""
    account: ClassVar[str | None] = None
    """Which system user runs it when we are root; None: ourselves."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._port: Port | None = None
        self._home: Path | None = None

    # --- what a driver says ---

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line of the server in the foreground."""

    def _prepare(self) -> None:  # noqa: B027 - not every server needs it
        """Write what the first start needs into `home`."""

    @abstractmethod
    def _greet(self) -> None:
        """Talk to the server once; raises one of `not_ready` while it does not answer."""

    def _environment(self) -> dict[str, str]:
        """All that the server sees of the environment."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(self.home)}

    def _goodbye(self) -> None:  # noqa: B027 - not every server needs it
        """Stop what runs beside the server proper."""

    # --- what a test uses ---

    @property
    def home(self) -> Path:
        """The folder that holds all of the server's files while it exists."""
        if self._home is None:
            raise ServerFailed(f"{self.name} was not started")
        return self._home

    @property
    def port(self) -> int:
        """The TCP port on loopback; the same through `kill` and `restart`."""
        if self._port is None:
            raise ServerFailed(f"{self.name} was not started")
        return self._port.number

    @property
    def pid(self) -> int:
        """Process id of the server; it leads a process group of the same number."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return (self.home / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start the process and return once it answers."""
        if self._process is not None and self._process.poll() is None:
            return self
        try:
            if self._home is None:
                self._home = Path(tempfile.mkdtemp(prefix=f"tranship-{self.name}-"))
                self._port = Port()
                self._prepare()
                self._give_away(self._home)
            self._process = self._launch(self._command())
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server as its manual says, then by force; remove its files. Safe at any time."""
        self._end(self.stop_signal)
        self._goodbye()
        if self._port is not None:
            self._port.close()
            self._port = None
        if self._home is not None:
            shutil.rmtree(self._home)
            self._home = None

    def kill(self) -> None:
        """End it by SIGKILL, without a goodbye. `start` brings it back with the same files and port."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it in order and start it again with the same files and port."""
        self._end(self.stop_signal)
        self.start()

    def pause(self) -> None:
        """Freeze every process of the server: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal_all(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- processes ---

    def _as_account(self, command: list[str]) -> list[str]:
        """`command` under the account of this server, and bound to the life of our process."""
        end = self.stop_signal.name.removeprefix("SIG")
        prefix = [find_program("setpriv", "util-linux"), "--pdeathsig", end]
        if self.account is not None and os.geteuid() == 0:
            group = grp.getgrgid(pwd.getpwnam(self.account).pw_gid).gr_name
            prefix += [f"--reuid={self.account}", f"--regid={group}", "--init-groups"]
        return [*prefix, "--", *command]

    def _give_away(self, folder: Path) -> None:
        if self.account is not None and os.geteuid() == 0:
            for path in [folder, *folder.rglob("*")]:
                shutil.chown(path, self.account, pwd.getpwnam(self.account).pw_gid)

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                self._as_account(command),
                cwd=self.home,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _run(self, command: list[str], cwd: Path | None = None) -> None:
        """Run a tool of the server to its end, under the server's account, in `home` or `cwd`."""
        done = subprocess.run(
            self._as_account(command),
            cwd=cwd or self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            text = done.stdout.decode(errors="replace")
            raise ServerFailed(f"{Path(command[0]).name} ended with status {done.returncode}:\n{text}")

    def _wait_until_it_answers(self) -> None:
        process = self._process
        assert process is not None
        refusal: Exception | None = None

        def ended_or_answers() -> bool:
            nonlocal refusal
            if process.poll() is not None:
                return True
            try:
                self._greet()
            except self.not_ready as error:
                refusal = error
                return False
            return True

        in_time = wait_until(ended_or_answers, self.start_seconds)
        if process.poll() is not None:
            raise ServerFailed(f"{self.name} ended with status {process.returncode}:\n{self._log_tail()}")
        if not in_time:
            raise ServerFailed(
                f"{self.name} did not answer within {self.start_seconds:g} s ({refusal}):\n{self._log_tail()}"
            )

    def _log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    def _processes(self) -> list[psutil.Process]:
        """The server and everything it started, also what has left its process group."""
        try:
            leader = psutil.Process(self.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _end(self, number: signal.Signals, patience: float = 10.0) -> None:
        """Send `number` to the server, wait, and kill whatever is left of it."""
        if self._process is None:
            return
        everyone = self._processes()
        self._signal_all(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if number == signal.SIGKILL else patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        wait_until(lambda: not any(is_alive(process) for process in everyone), patience)
        self._process = None


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a dead process that its parent has not collected yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Ask until `condition` holds, at most for `seconds`; says whether it ever held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
