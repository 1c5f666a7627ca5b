"""Asks many stores at once and waits for all of them together no longer than a deadline."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Generic, TypeVar

from stores.errors import StoreError, StoreUnavailable

T = TypeVar("T")


class Together(Generic[T]):
    """Runs one call per store id, each in a thread of its own.

    A dead network mount holds a call for ever, and nothing can break it off. Its thread is left behind (it
    does not keep the process from ending) and the next round waits for it again, so that a store never has
    more than one.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[str, Future[T]] = {}

    def ask(self, calls: Mapping[str, Callable[[], T]], seconds: float) -> dict[str, T | StoreError]:
        """Return each call's answer, or the `StoreError` it raised.

        One that is not done after `seconds` has `StoreUnavailable` as its answer. Any other exception of a
        call is raised here: it is a bug, not an answer.
        """
        with self._lock:
            futures = {id: self._running.get(id) or self._start(id, call) for id, call in calls.items()}
        wait(futures.values(), seconds)
        answers: dict[str, T | StoreError] = {}
        for id, future in futures.items():
            late = not future.done()
            error = StoreUnavailable(id, f"no answer within {seconds:g} s") if late else future.exception()
            answers[id] = error if isinstance(error, StoreError) else future.result()
        return answers

    def _start(self, id: str, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                answer = call()
            except BaseException as error:  # noqa: BLE001 — handed to whoever asked
                self._finish(id)
                future.set_exception(error)
            else:
                self._finish(id)
                future.set_result(answer)

        Thread(target=run, name=f"store-{id}", daemon=True).start()
        self._running[id] = future
        return future

    def _finish(self, id: str) -> None:
        # Waits until `ask` has noted all that it started.
        with self._lock:
            del self._running[id]
