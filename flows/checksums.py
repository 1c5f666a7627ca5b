"""The checksum that a request asks for: judged when it is asked for, looked up and applied by the worker."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from flows.errors import BadImportRequest
from flows.flow import ImportRequest, StepContext
from flows.policy import Denied, UriPolicy
from pipeline.checksums import Checksum, read_sums
from pipeline.sources import HttpSource

SOURCE: Final = "source"
IMAGE: Final = "image"
"""What a checksum can be of: the bytes as they are fetched (what publishers sign), or what becomes of them."""

_URI = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Promise:
    """What bytes must hash to: those `of` the source or of the image, which users know as `noun`.

    `sums` names the file that says so, if one does.
    """

    checksum: Checksum
    of: str
    noun: str
    sums: str | None = None

    @property
    def kept(self) -> str:
        """The sentence that it was kept."""
        against = f" against {self.sums}" if self.sums else ""
        return f"{self.checksum.algorithm} of the {self.noun} verified{against}."


def admit_checksum(uris: UriPolicy, request: ImportRequest, *, uri: str | None = None) -> dict[str, object]:
    """Judge the checksum of a request and return what its task's source has to hold for `promised`.

    A file of sums says in its fragment which entry is meant; without one, it is that of the last segment of `uri`.
    Raises `BadImportRequest` and `Denied`, which name the field.
    """
    if request.checksum_of not in (SOURCE, IMAGE):
        raise BadImportRequest(f"'method.checksum_of' must be {SOURCE!r} or {IMAGE!r}.")
    if request.checksum is None:
        if request.checksum_of != SOURCE:
            raise BadImportRequest("'method.checksum_of' needs 'method.checksum'.")
        return {}
    text = request.checksum
    if _URI.match(text):
        kept = _admit_sums(uris, text, uri)
    else:
        try:
            kept = str(Checksum.parse(text))
        except ValueError as error:
            raise BadImportRequest(f"'method.checksum' {error}, or be an http(s) URI of a file of sums.") from error
    return {"checksum": kept, "checksum_of": request.checksum_of}


def refuse_checksum(request: ImportRequest) -> None:
    """For a method that knows by itself what the bytes must be. Raises `BadImportRequest`."""
    for name, given in (("checksum", request.checksum is not None), ("checksum_of", request.checksum_of != SOURCE)):
        if given:
            raise BadImportRequest(
                f"'method.{name}' cannot be used with {request.method}, which verifies the image's own hash."
            )


def promised(ctx: StepContext, noun: str) -> Promise | None:
    """What the task's bytes must hash to, None if nobody asked; a file of sums is fetched for it, and looked into.

    `noun` is what users call the bytes of the source. Raises `ChecksumUnknown`, `Denied` and `Interrupted`.
    """
    text = ctx.task.source.get("checksum")
    if text is None:
        return None
    of = ctx.task.source["checksum_of"]
    noun = noun if of == SOURCE else "image"
    if not _URI.match(text):
        return Promise(Checksum.parse(text), of, noun)
    uri, _, entry = text.partition("#")
    source = HttpSource(uri, ctx.runtime.uris, ctx.runtime.http)
    ctx.monitor.show("reading the checksums")
    with ctx.monitor.interrupting(source.interrupt):
        return Promise(read_sums(source, unquote(entry, errors="surrogateescape")), of, noun, source.label)


def _admit_sums(uris: UriPolicy, text: str, uri: str | None) -> str:
    """The URI of a file of sums, with the entry as its fragment."""
    try:
        uris.check_uri(text)
    except Denied as error:
        raise Denied(f"'method.checksum': {error}", error.reason) from error
    sums, _, entry = text.partition("#")
    entry = entry or _last_segment(uri or "")
    if not entry:
        raise BadImportRequest("'method.checksum' names no entry of its file: add it to the URI as #NAME.")
    return f"{sums}#{entry}"


def _last_segment(uri: str) -> str:
    path = re.sub(r"\A[^:/?#]+://[^/?#]*", "", uri)
    return re.split(r"[?#]", path, maxsplit=1)[0].rpartition("/")[2]
