"""The Celery tasks: one per step of every flow, and one that deletes garbage. They carry ids and no meaning of
their own.
"""

from collections.abc import Callable

from celery import Celery
from celery.exceptions import Ignore

from flows.collect import collect
from flows.dispatch import COLLECT
from flows.methods import ALL_FLOWS
from workers.runner import Runner


def register(app: Celery, runner: Callable[[], Runner]) -> None:
    """Register every task with `app`; `runner` gives the runner of the process that executes it.

    Not shared: Celery would otherwise give each task to every other application of this process.
    """
    for flow in ALL_FLOWS.values():
        for step, name in zip(flow.steps, flow.task_names(), strict=True):
            app.task(_step(runner, step.name), name=name, shared=False)

    def collect_garbage(image_id: str) -> None:
        collect(runner().runtime, image_id=image_id)

    app.task(collect_garbage, name=COLLECT, shared=False)


def _step(runner: Callable[[], Runner], step: str) -> Callable[[str], None]:
    def run(task_id: str) -> None:
        if not runner().run(task_id, step):
            # Not done, or not ours: the rest of this chain would only be turned away at the lock.
            raise Ignore

    return run
