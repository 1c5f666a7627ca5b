"""Files of the operator: read whole, and again whenever they change, by every process for itself."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


def text_of(path: Path, what: str, error: type[ValueError]) -> str:
    """Return what the file says. Raises an `error` that calls it `what`."""
    try:
        return path.read_text()
    except OSError as wrong:
        raise error(f"{what} {path} cannot be read: {wrong.strerror}") from wrong
    except UnicodeDecodeError as wrong:
        raise error(f"{what} {path} is not UTF-8") from wrong


class Watched(Generic[T]):
    """What a file says now.

    What is wrong with it is refused at the start. Later it is told in the log, and all stays as it was: an
    administrator's slip locks nobody out and lets nobody in.
    """

    def __init__(self, path: str, read: Callable[[Path], T]) -> None:
        """`read` raises `ValueError`, whose text names the file, for one that cannot be used."""
        self._path = Path(path)
        self._parse = read
        self._guard = threading.Lock()
        self._stamp = self._look()
        self._said = read(self._path)

    def now(self) -> T:
        """What the file says."""
        if self._look() != self._stamp:
            with self._guard:
                self._refresh()
        return self._said

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._said = self._parse(self._path)
        except ValueError as error:
            log.error("%s; it stays as it was", error)
        else:
            log.info("%s has changed, and is read again", self._path)

    def _look(self) -> tuple[int, ...]:
        """What tells one state of the file from another."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - asked at every request; a Path costs more than the call
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns)
