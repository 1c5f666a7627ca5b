"""What a flow is: a named, ordered list of steps that can each be run again, with an undo and a rule of admission.

A step works first and records afterwards: `run` may take hours and holds no transaction; what it returns is applied in
the same fenced transaction that moves the task on. A crash at any moment therefore leaves a step either done or not
begun.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.catalog import Catalog
from catalog.fenced import Fenced
from catalog.images import ImageRecord
from catalog.leases import Claim
from catalog.tasks import TaskRecord
from flows.monitor import Monitor

if TYPE_CHECKING:
    from flows.runtime import Runtime

Facts = Mapping[str, object]
Record = Callable[[Fenced], Facts]
"""Writes what a step did, under the fence, and tells what later steps need to know (as JSON)."""


@dataclass(frozen=True, slots=True)
class AskedTask:
    """A task that is asked for by itself: its type, and its input as users are to see it."""

    type: str
    input: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """An import as a client asks for it (http-api §6.1). `stores` is None when the body names none.

    `body` is what was sent, for the task's `input`, unless the task itself was `asked` for; `store_header` is
    `X-Image-Meta-Store`. `checksum` is `algorithm:hex` or the URI of a file of checksums, of the bytes as they are
    fetched (`checksum_of` source) or of the image that becomes of them (image).
    """

    method: str
    uri: str | None = None
    stores: tuple[str, ...] | None = None
    all_stores: bool = False
    all_stores_must_succeed: bool = True
    store_header: str | None = None
    checksum: str | None = None
    checksum_of: str = "source"
    body: Mapping[str, object] | None = None
    asked: AskedTask | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What a worker needs to know of an admitted request: kept with the task, never shown.

    `host` names the only host whose workers can read the source; None for all. `upload` is the key of the staged bytes
    that are the source, if they are: they must still be there when the task is recorded. `store` is the target where
    the source leaves no choice.
    """

    source: Mapping[str, object]
    host: str | None = None
    upload: str | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step may touch: the wired objects, its task as it stood on entering, the proof of the lock, and its
    monitor.
    """

    runtime: "Runtime"
    task: TaskRecord
    claim: Claim
    monitor: Monitor

    @property
    def catalog(self) -> Catalog:
        """The catalogue of the runtime."""
        return self.runtime.catalog


@dataclass(frozen=True, slots=True)
class Step:
    """One re-runnable step.

    `can_be_called_off` is False for what comes after the image is active: too late to undo, so it is done. What
    `reads_source` can be done only where the task's source can be read; the others by any worker.
    """

    name: str
    run: Callable[[StepContext], Record]
    can_be_called_off: bool = True
    reads_source: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """An import method.

    It `begins_from` an image in this status, and only with both formats set (import-behaviour §1.2, rows 4 to 6).
    `admit(runtime, request, image)` is asked after that; it raises `NotAdmitted` (or a policy's `Denied`) when the
    request cannot be taken. `undo(tx, error, code, message)` writes, under the fence, what a failed
    import leaves behind (import-behaviour §1.6 [R]); both may be called twice. `rule` is the policy rule that who asks
    must satisfy (import-behaviour §6), `task_type` what its tasks are called in Glance's records.
    """

    name: str
    steps: tuple[Step, ...]
    begins_from: str
    admit: Callable[["Runtime", ImportRequest, ImageRecord], Admission]
    undo: Callable[[Fenced, Exception, str, str], None]
    rule: str = "modify_image"
    task_type: str = "api_image_import"

    def position(self, step: str) -> int | None:
        """The index of a step by name; None for a name of another version of the program."""
        names = [s.name for s in self.steps]
        return names.index(step) if step in names else None

    def task_names(self, from_step: int = 0) -> list[str]:
        """The Celery names of the steps from `from_step` on."""
        return [f"{self.name}.{step.name}" for step in self.steps[from_step:]]
