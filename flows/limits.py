"""How much a project may have: limits of its own or the operator's for all projects (import-behaviour §1.9, http-api
§11).

Judged before anything is taken, by what is known then, and again as bytes come whose number nobody announced. Two
requests at the same moment may both just fit: what limits protect is room, not money. Only who admits a request asks
where limits come from; the one that a worker needs is kept with the task (docs/decisions/0013).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from catalog.images import ImageRecord
from catalog.tasks import TaskRecord
from catalog.usage import Usage, usage_of
from flows.errors import OverLimit
from flows.options import Limits

if TYPE_CHECKING:
    from flows.runtime import Runtime

MIB = 1 << 20

NAMES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "image_size_total": ("stored", MIB),
        "image_stage_total": ("staged", MIB),
        "image_count_total": ("images", 1),
        "image_count_uploading": ("uploading", 1),
    }
)
"""Glance's names of what is limited → the field of `Limits`, and its unit there."""

_UNLIMITED = Limits()
_KEPT = "stored_limit"

_WORDS = {
    "stored": "bytes of images",
    "staged": "bytes of images on their way",
    "images": "images",
    "uploading": "images on their way",
}


class LimitSource(Protocol):
    """Who says what a project may have."""

    def of(self, project: str, /) -> Limits:
        """The limits of a project as they are now. Raises `LimitsUnknown`."""
        ...


def limits_of(said: Mapping[str, int]) -> Limits:
    """The limits that are said in Glance's words; a negative one is none, and of what is not named nothing is allowed.

    So oslo.limit has it, and Glance says it of `use_keystone_limits`.
    """
    return Limits(**{at: said.get(name, 0) * unit for name, (at, unit) in NAMES.items()})


def require_within(runtime: "Runtime", project: str | None, **more: int) -> None:
    """Raise `OverLimit` when the project would use more than it may of a thing, a field of `Limits`, after so much
    `more` of it; with 0, when it does already. Raises `LimitsUnknown`, as all do that ask for limits.
    """
    _require(runtime, project, _limits_of(runtime, project), more)


def require_room_to_import(
    runtime: "Runtime", image: ImageRecord, stores: Sequence[str], begins_from: str
) -> Mapping[str, object]:
    """Raise `OverLimit` when an import of the image into `stores` would break a limit of its owner, as far as sizes are
    known. What is staged counts as on its way already. Returns what its task keeps for `room_of`.
    """
    size, more = image.size or 0, {"stored": (image.size or 0) * len(stores)}
    if begins_from != "uploading":
        more |= {"staged": size, "uploading": 1}
    limits = _limits_of(runtime, image.owner)
    _require(runtime, image.owner, limits, more)
    return {_KEPT: limits.stored} if limits.stored >= 0 else {}


def room_of(runtime: "Runtime", task: TaskRecord, image: ImageRecord, *, copies: int = 1) -> int:
    """How many bytes the task may bring, each in so many copies, by the limit under which it was admitted."""
    return _room(runtime, image.owner, task.source.get(_KEPT, -1), copies=copies)


def largest(
    runtime: "Runtime", project: str | None, *, place: Literal["stored", "staged"] = "stored", freed: int = 0
) -> int:
    """How many bytes an image of the project may have, by the cap for all images and by what is left of a limit, once
    so many bytes are `freed`.
    """
    return _room(runtime, project, getattr(_limits_of(runtime, project), place), place, freed=freed)


def shown(runtime: "Runtime", project: str | None) -> dict[str, dict[str, int]]:
    """Limits and use of a project in Glance's words, sizes in MiB; -1 is no limit. Empty when there is none at all."""
    limits = _limits_of(runtime, project)
    if project is None or not limits.any:
        return {}
    used = _used(runtime, project)
    return {name: _entry(getattr(limits, at), getattr(used, at), unit) for name, (at, unit) in NAMES.items()}


def _limits_of(runtime: "Runtime", project: str | None) -> Limits:
    """Who is nobody's project has no limits: only administrators make images that nobody owns."""
    return _UNLIMITED if project is None else runtime.limits.of(project)


def _require(runtime: "Runtime", project: str | None, limits: Limits, more: Mapping[str, int]) -> None:
    if project is None or not limits.any:
        return
    used = _used(runtime, project)
    for name, asked in more.items():
        limit, now = getattr(limits, name), getattr(used, name)
        if 0 <= limit < now + asked:
            said = f"may have {limit} {_WORDS[name]}: it has {now}, and {asked} more are asked for."
            raise OverLimit(project, said)


def _room(
    runtime: "Runtime", project: str | None, limit: int, place: str = "stored", *, copies: int = 1, freed: int = 0
) -> int:
    cap = runtime.options.image_size_cap
    if project is None or limit < 0:
        return cap
    used: int = getattr(_used(runtime, project), place)
    return min(cap, max(limit - used + freed, 0) // copies)


def _entry(limit: int, used: int, unit: int) -> dict[str, int]:
    return {"limit": limit // unit if limit >= 0 else -1, "usage": used // unit}


def _used(runtime: "Runtime", project: str) -> Usage:
    with runtime.catalog.peek() as tx:
        return usage_of(tx.connection, project)
