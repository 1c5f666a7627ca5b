"""What the headers of an HTTP answer promise about its body. Pure decisions over header values (RFC 9110, 9112)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from pipeline.errors import SourceBroken

_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")
_STRONG = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Validator:
    """A header that names these very bytes; sent as `If-Range`, it makes a server answer for them or not at all."""

    header: str
    value: str


@dataclass(frozen=True, slots=True)
class Framing:
    """Where a body ends: after `length` bytes, or where its chunks end, or (neither) wherever it happens to stop."""

    length: int | None
    chunked: bool

    @property
    def vouched(self) -> bool:
        """Whether a truncated body could be told from a complete one."""
        return self.chunked or self.length is not None


def framing(label: str, headers: Mapping[str, str]) -> Framing:
    """Read the framing of a body. Raises `SourceBroken` for one that cannot be trusted."""
    coding = headers.get("Transfer-Encoding", "").strip().lower()
    if coding not in ("", "identity", "chunked"):
        raise SourceBroken(f"{label} uses a transfer coding that is not understood: {_shown(coding)}")
    encoding = headers.get("Content-Encoding", "").strip().lower()
    # gzip and zstd are bytes like any other here: the pipeline expands them, or keeps them if it is told to.
    if encoding not in ("", "identity", "gzip", "x-gzip", "zstd"):
        raise SourceBroken(f"{label} sent the content encoding {_shown(encoding)}, which was not asked for")
    if coding == "chunked":
        return Framing(None, True)
    text = headers.get("Content-Length")
    if text is None:
        return Framing(None, False)
    lengths = {part.strip() for part in text.split(",")}
    if len(lengths) != 1 or not (length := lengths.pop()).isascii() or not length.isdigit():
        raise SourceBroken(f"{label} announced a length that is none: {_shown(text)}")
    return Framing(int(length), False)


def _shown(text: str) -> str:
    """What a foreign header says, fit for a sentence: a NUL could not even be recorded."""
    return "".join(c if c.isprintable() else "?" for c in text[:40])


def strong_validator(headers: Mapping[str, str]) -> Validator | None:
    """Return what a resume may rely on: a strong ETag, else a Last-Modified older than the answer.

    A date of the same second could cover two versions (RFC 9110 §8.8.2.2). Weak ETags (`W/`) never count.
    """
    etag = headers.get("ETag", "").strip()
    if _STRONG.fullmatch(etag):
        return Validator("ETag", etag)
    modified = headers.get("Last-Modified", "").strip()
    try:
        changed = parsedate_to_datetime(modified)
        answered = parsedate_to_datetime(headers["Date"]) if "Date" in headers else None
        if answered is not None and changed >= answered:
            return None
    except (ValueError, TypeError):
        return None
    return Validator("Last-Modified", modified)


def part_end(
    label: str, status: int, headers: Mapping[str, str], at: int, total: int | None, validator: Validator
) -> tuple[int, int | None]:
    """Check the answer to a ranged request from byte `at` on; return where the part ends, and the whole length.

    Raises `SourceBroken` unless it is that part of the very same bytes.
    """
    changed = f"{label} changed while it was being read, after {at} bytes"
    if status != 206:
        raise SourceBroken(f"{changed}: it answered {status} instead of the rest")
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        raise SourceBroken(f"{label} resumed without saying where")
    start, last = int(found[1]), int(found[2])
    whole = None if found[3] == "*" else int(found[3])
    if start != at or last < start or (whole is not None and last >= whole):
        raise SourceBroken(f"{label} resumed at byte {start} instead of {at}")
    if total is None and whole is None:
        raise SourceBroken(f"{label} resumed without saying where its end is")
    if total is not None and whole is not None and whole != total:
        raise SourceBroken(f"{changed}: it has {whole} bytes instead of {total}")
    if headers.get(validator.header, "").strip() != validator.value:
        raise SourceBroken(f"{changed}: its {validator.header} is another one")
    return last + 1, whole if total is None else total
