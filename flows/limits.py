"""How much a project may have: the operator's limits, one for all projects (import-behaviour §1.9, http-api §11).

Judged before anything is taken, by what is known then, and again as bytes come whose number nobody announced. Two
requests at the same moment may both just fit: what limits protect is room, not money.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from catalog.images import ImageRecord
from catalog.usage import Usage, usage_of
from flows.errors import OverLimit

if TYPE_CHECKING:
    from flows.runtime import Runtime

MIB = 1 << 20


_WORDS = {
    "stored": "bytes of images",
    "staged": "bytes of images on their way",
    "images": "images",
    "uploading": "images on their way",
}


def require_within(runtime: "Runtime", project: str | None, **more: int) -> None:
    """Raise `OverLimit` when the project would use more than it may of a thing, a field of `Limits`, after so much
    `more` of it; with 0, when it does already.
    """
    limits = runtime.options.limits
    if project is None or not limits.any:
        return
    used = _used(runtime, project)
    for name, asked in more.items():
        limit, now = getattr(limits, name), getattr(used, name)
        if 0 <= limit < now + asked:
            raise OverLimit(
                f"Project {project} may have {limit} {_WORDS[name]}: it has {now}, and {asked} more are asked for."
            )


def require_room_to_import(runtime: "Runtime", image: ImageRecord, stores: Sequence[str], begins_from: str) -> None:
    """Raise `OverLimit` when an import of the image into `stores` would break a limit of its owner, as far as sizes are
    known. What is staged counts as on its way already.
    """
    size, more = image.size or 0, {"stored": (image.size or 0) * len(stores)}
    if begins_from != "uploading":
        more |= {"staged": size, "uploading": 1}
    require_within(runtime, image.owner, **more)


def largest(
    runtime: "Runtime",
    project: str | None,
    *,
    place: Literal["stored", "staged"] = "stored",
    copies: int = 1,
    freed: int = 0,
) -> int:
    """How many bytes an image of the project may have, in so many copies, by the cap for all images and by what is left
    of a limit, once so many bytes are `freed`.
    """
    cap = runtime.options.image_size_cap
    limit: int = getattr(runtime.options.limits, place)
    if project is None or limit < 0:
        return cap
    used: int = getattr(_used(runtime, project), place)
    return min(cap, max(limit - used + freed, 0) // copies)


def shown(runtime: "Runtime", project: str | None) -> dict[str, dict[str, int]]:
    """Limits and use of a project in Glance's words, sizes in MiB; -1 is no limit. Empty when there is none at all."""
    limits = runtime.options.limits
    if project is None or not limits.any:
        return {}
    used = _used(runtime, project)
    return {
        "image_size_total": _entry(limits.stored, used.stored, MIB),
        "image_stage_total": _entry(limits.staged, used.staged, MIB),
        "image_count_total": _entry(limits.images, used.images, 1),
        "image_count_uploading": _entry(limits.uploading, used.uploading, 1),
    }


def _entry(limit: int, used: int, unit: int) -> dict[str, int]:
    return {"limit": limit // unit if limit >= 0 else -1, "usage": used // unit}


def _used(runtime: "Runtime", project: str) -> Usage:
    with runtime.catalog.peek() as tx:
        return usage_of(tx.connection, project)
