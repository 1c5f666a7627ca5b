"""The HTTP service under gunicorn, alone (`tranship api`) or with a worker of threads beside it (`tranship serve`).

gunicorn's parent only supervises: everything with threads or connections is made in its child, after the fork.
"""

import logging
import os
import queue
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from api.app import App, create_app
from cli.listen import announce
from cli.threads import Threads
from flows.dispatch import Dispatcher, celery_app
from flows.runtime import Runtime
from settings import Settings

if TYPE_CHECKING:
    from workers.app import EmbeddedWorker

log = logging.getLogger(__name__)

HAND_BACK = 3
"""Seconds for running imports to be handed back, and for answers under way to end."""

KILL = 4
"""Seconds after which gunicorn kills a child that is still there: `tranship serve` ends within 5 s of SIGTERM."""

GRACE = 30
"""The same for `tranship api`, which has no other work than answers under way."""

GIVE_UP = 0.5
"""Seconds for uploads that are still under way in the end to be given up, so that their images take data again."""


class Service(BaseApplication):  # type: ignore[misc]
    """The application as gunicorn wants it: configured in the parent, loaded in each child.

    `kill` is how many seconds after SIGTERM gunicorn kills a child, which lets answers under way end for `patience` of
    them.
    """

    kill: ClassVar[int] = GRACE
    patience: ClassVar[int] = GRACE - 2

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._host = settings.api.host
        self._port: int = listener.getsockname()[1]
        self._bind = f"fd://{listener.detach()}"
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn, at the start and on SIGHUP."""
        for name, value in self.gunicorn_options().items():
            self.cfg.set(name, value)

    def gunicorn_options(self) -> dict[str, object]:
        """Every option of gunicorn that is not left at its default."""
        return {
            "bind": self._bind,
            "worker_class": Threads,
            "workers": self._settings.api.workers,
            "threads": self._settings.api.threads,
            "timeout": 60,
            "graceful_timeout": self.kill,
            "proc_name": "tranship",
            # As much as Glance takes, and all that gunicorn can: lists are asked for by many ids at once.
            "limit_request_line": 8190,
            # What proxies say is api.proxies' affair: gunicorn would believe whoever connects from this machine.
            "forwarded_allow_ips": "",
            "loglevel": "warning",
            "logger_class": _Log,
            # A second way to control the service, in the user's home, that nobody asked for.
            "control_socket_disable": True,
            "post_worker_init": self.booted,
            "worker_exit": self.leaving,
        }

    def load(self) -> App:
        """Wire a child: called once in each, before it accepts its first connection."""
        self.runtime = Runtime.build(self._settings)
        return create_app(self.runtime, self._dispatcher(), self._settings.api)

    def _dispatcher(self) -> Dispatcher:
        if self._settings.broker.eager:
            from workers.app import eager

            return eager(self.runtime, self._settings)
        return Dispatcher(celery_app(self._settings.broker))

    def booted(self, child: Any) -> None:
        """A child is about to accept: the first of all says when it really answers."""
        child.patience = self._settings.api.client_socket_timeout
        # The child must be gone by itself before the parent kills it.
        child.cfg.set("graceful_timeout", self.patience)
        if child.age == 1:
            threading.Thread(target=announce, args=(self._host, self._port), name="announce", daemon=True).start()

    def leaving(self, _arbiter: Any, child: Any) -> None:
        """The last act of a child, also of one that could not start."""
        if child.booted:
            self._end_uploads()
            self.runtime.close()

    def _end_uploads(self) -> None:
        if not self.runtime.receiving.end("the service goes, so send the data again", GIVE_UP):
            log.warning("leaving with uploads under way: their images take data again when stall_timeout is over")


class EmbeddedService(Service):
    """One child, with a worker of threads beside the HTTP service.

    SIGTERM, SIGINT and SIGQUIT mean the same: hand running imports back, let answers under way end, go.
    """

    kill = KILL
    patience = HAND_BACK

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        super().__init__(settings, listener)
        self._worker: EmbeddedWorker | None = None
        self._handed_back = True
        # One signal handler may interrupt another: a SimpleQueue's put is reentrant, an Event's set is not.
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopper = threading.Thread(target=self._stop_when_told, name="stopper", daemon=True)

    def gunicorn_options(self) -> dict[str, object]:
        """As of the service alone, but one child."""
        return super().gunicorn_options() | {"workers": 1}

    def _dispatcher(self) -> Dispatcher:
        if self._settings.broker.eager:
            return super()._dispatcher()
        from workers.app import EmbeddedWorker

        app = celery_app(self._settings.broker)
        self._worker = EmbeddedWorker(self.runtime, app, concurrency=self._settings.worker_concurrency)
        return Dispatcher(app)

    def booted(self, child: Any) -> None:
        """Start the worker, and hear the signals before gunicorn's child does."""

        def leave(number: int, frame: object) -> None:
            self._told.put(None)
            child.handle_exit(number, frame)

        self._stopper.start()
        if self._worker is not None:
            self._worker.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, leave)
        super().booted(child)

    def _stop_when_told(self) -> None:
        self._told.get()
        if self._worker is not None:
            self._handed_back = self._worker.hand_back(HAND_BACK)

    def leaving(self, arbiter: Any, child: Any) -> None:
        """The last act of the child; also when it leaves because its parent is gone."""
        if not child.booted:
            return
        self._told.put(None)
        self._end_uploads()
        self._stopper.join(HAND_BACK)
        imports_left = self._stopper.is_alive() or not self._handed_back
        if imports_left or child.nr_conns:
            if imports_left:
                log.warning("leaving with work in hand: its lease runs out, and then it is taken up again")
            else:
                log.info("leaving with %d connections of clients open", child.nr_conns)
            logging.shutdown()
            sys.stdout.flush()
            # Python would wait for these threads for ever.
            os._exit(0)
        super().leaving(arbiter, child)


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's own messages go where all others go, in the same form."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn, at the start and on SIGHUP."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log with a trace, but for what a client may do at any time."""
        if isinstance(sys.exc_info()[1], TimeoutError | BlockingIOError):
            self.info("a client was silent, or took nothing of its answer, for too long: it was cut off")
        else:
            super().exception(msg, *args, **kwargs)
