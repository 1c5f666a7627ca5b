"""The doorbell: Celery chains that carry a task id, and nothing that could be lost with them (celery-notes §5, §6)."""

import logging
import threading
import time

from celery import Celery, chain
from kombu.entity import Queue

from catalog.tasks import TaskRecord
from flows.flow import Flow
from flows.options import BrokerOptions

log = logging.getLogger(__name__)

QUEUE = "imports"
"""What every worker consumes. What only the workers of one host can do is in `imports.<host>` (`queues_of`)."""

UNUSED = 7 * 24 * 3600.0
"""Seconds after which RabbitMQ forgets the queue of a host that nobody consumes and nobody sends to."""

UNHEARD = 3600.0
"""Seconds after which RabbitMQ drops a message from the queue of a host."""

COLLECT = "tranship.collect"


def celery_app(options: BrokerOptions) -> Celery:
    """A Celery application with the settings of celery-notes §5; it knows no tasks yet, which is enough to send.

    Prefetching is switched off where the broker allows it, and nothing keeps results: the rows do."""
    # Without a host in the URL, kombu warns that it takes "localhost", which nobody connects to here.
    url = "memory://localhost" if options.url == "memory://" else options.url
    app = Celery("tranship", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        task_ignore_result=True,
        result_backend=None,
        task_store_eager_result=False,
        task_reject_on_worker_lost=False,
        task_always_eager=options.eager,
        task_queues=[Queue(QUEUE, durable=True)],
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_default_delivery_mode="persistent",
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=options.url.startswith(("redis", "rediss")),
        worker_soft_shutdown_timeout=options.stop_grace,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(options.url),
        task_time_limit=None,
    )
    return app


def _transport_options(url: str) -> dict[str, object]:
    if url.startswith(("redis", "rediss")):
        return {
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "health_check_interval": 25,
            "global_keyprefix": "tranship:",
            "queue_order_strategy": "round_robin",
        }
    if url.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": True}
    return {"polling_interval": 0.05}


def queues_of(app: Celery, host: str) -> list[str]:
    """The queues that the workers of `host` consume, which `app` knows from now on."""
    return [QUEUE, _declared(app, queue_of(host))]


def queue_of(host: str) -> str:
    """The name of the queue that only the workers of `host` consume."""
    return f"{QUEUE}.{host}"


def _declared(app: Celery, name: str) -> str:
    """The queue of one host, once `app` knows it. Everybody declares it in the same words, or RabbitMQ refuses.

    A host may go for ever, so its queue goes too when nobody has used it for long; and what nobody has fetched by the
    time that sweepers have rung again many times over is dropped (RabbitMQ; the others keep it).
    """
    if name not in app.amqp.queues:
        app.amqp.queues.add(Queue(name, routing_key=name, durable=True, expires=UNUSED, message_ttl=UNHEARD))
    return name


class Dispatcher:
    """Rings the doorbell after the commit, and never lets a broken broker hurt the caller: the sweeper rings again.

    After three failures in a row nothing is sent for `pause` seconds, so that no request waits on a dead broker.
    """

    def __init__(self, app: Celery, *, pause: float = 30.0) -> None:
        self.app = app
        self.failures = 0
        self._pause = pause
        self._in_a_row = 0
        self._closed_until = 0.0
        self._guard = threading.Lock()

    def send(self, flow: Flow, task_id: str, from_step: int = 0, host: str | None = None) -> bool:
        """Wake a worker for the task, one of `host` if that is given; False when nothing was sent. Never raises.

        Every step carries the name of its queue, for the worker that finishes one sends the next.
        """
        queue = QUEUE if host is None else _declared(self.app, queue_of(host))
        signatures = [
            self.app.signature(name, args=(task_id,), immutable=True, options={"queue": queue})
            for name in flow.task_names(from_step)
        ]
        return self._ring(chain(*signatures, app=self.app) if len(signatures) > 1 else signatures[0], task_id)

    def send_again(self, flow: Flow, task: TaskRecord) -> bool:
        """Wake a worker for a task as it stands; False when nothing was sent. Never raises.

        To call one off takes no bytes, nor does what comes after they are read, so any worker will do: the host that
        has them may be gone for ever.
        """
        step = flow.steps[task.step]
        anywhere = not step.reads_source or (task.cancel_requested and step.can_be_called_off)
        return self.send(flow, task.id, task.step, None if anywhere else task.host)

    def collect(self, image_id: str) -> bool:
        """Have the garbage of an image deleted soon; the sweeper does it anyway. Never raises."""
        return self._ring(self.app.signature(COLLECT, args=(image_id,), immutable=True), image_id)

    def _ring(self, signature: object, about: str) -> bool:
        with self._guard:
            if time.monotonic() < self._closed_until:
                return False
        try:
            signature.apply_async()  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - the row is the job: whatever a broker raises, the sweeper sends again
            with self._guard:
                self.failures += 1
                self._in_a_row += 1
                if self._in_a_row >= 3:
                    self._closed_until = time.monotonic() + self._pause
            log.warning("no message for %s: %s: %s", about, type(error).__name__, error)
            return False
        with self._guard:
            self._in_a_row = 0
        return True
