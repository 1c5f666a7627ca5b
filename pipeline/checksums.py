"""Checksums that somebody promised: written out as `sha256:…`, or one line of a file of sums beside the image."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.errors import ChecksumUnknown, SourceError
from pipeline.sources import Source
from pipeline.uris import shown

SUMS_LIMIT: Final = 1 << 20
"""Most bytes of a file of sums; the longest that distributions publish have some tens of KiB."""

LENGTHS: Final[Mapping[str, int]] = {"md5": 32, "sha256": 64, "sha512": 128}
"""Hex digits of each algorithm that is understood, the weakest first."""

_BY_LENGTH: Final = {length: algorithm for algorithm, length in LENGTHS.items()}
_TAGS: Final = {
    tag: algorithm
    for algorithm in LENGTHS
    for tag in (algorithm, algorithm.replace("sha", "sha-"), algorithm.replace("sha", "sha2-"))
}
_LINE: Final = 16384  # characters; a path has 4096 bytes at most, written with escapes twice as many
_NAMED = re.compile(r"(?P<escaped>\\?)(?P<hex>[0-9A-Fa-f]{32,128})(?:[ \t][ *]|[ \t]+)(?P<name>[^ \t].*)")
_TAGGED = re.compile(r"(?P<escaped>\\?)(?P<tag>[A-Za-z0-9/-]+) ?\((?P<name>.+)\) ?= ?(?P<hex>[0-9A-Fa-f]+)")
_ESCAPE = re.compile(r"\\([\\nr])")
_SIGNED, _SIGNATURE = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class Checksum:
    """A hash that bytes must have: an `algorithm` of `LENGTHS`, and its `value` in lower-case hex.

    Raises `ValueError`, with words that fit behind the name of a field, when made from anything else.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if self.algorithm not in LENGTHS:
            raise ValueError(f"must begin with one of {', '.join(f'{name}:' for name in LENGTHS)}")
        digits = LENGTHS[self.algorithm]
        if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", self.value):
            raise ValueError(f"must have {digits} hex digits after {self.algorithm}:")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> "Checksum":
        """Read `algorithm:hex`, in any case. Raises `ValueError` as the class does."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm.lower(), value.lower())


def read_sums(source: Source, name: str) -> Checksum:
    """Fetch a file of sums and find what it says of `name`.

    Whether its end is vouched for does not matter: a line cut short is no line, and a wrong value verifies nothing.
    Raises `ChecksumUnknown`, transient if the failure of the source is, and `Interrupted`.
    """
    text = bytearray()
    try:
        with source.open() as chunks:
            for chunk in chunks:
                text += chunk
                if len(text) > SUMS_LIMIT:
                    raise ChecksumUnknown(f"The checksums at {source.label} have more than {SUMS_LIMIT} bytes.")
    except SourceError as error:
        raise ChecksumUnknown(f"The checksums cannot be read: {error}", transient=error.transient) from error
    return sums_entry(bytes(text), name, source.label)


def sums_entry(text: bytes, name: str, label: str) -> Checksum:
    """Return what the file of sums `label` says of `name`; of several algorithms, the strongest.

    Understood are lines of GNU coreutils (`hex  name`, `hex *name`, escaped ones too), of BSD and OpenSSL
    (`SHA256 (name) = hex`), a file that is one hash and nothing else (or `-`, stdin, behind it), all of it also inside
    a clear-signed message, whose signature is *not* verified. Lines that are none of these are passed over, as
    `sha256sum --check` does. A name is compared whole, but for `./` before it; bytes that are no UTF-8 are compared as
    they are (`surrogateescape`).

    Raises `ChecksumUnknown` when the name is not there, or there with different values.
    """
    lines = [line for line in _lines(text) if line and not line.startswith("#")]
    if len(lines) == 1 and (alone := _checksum(lines[0].removesuffix("-").rstrip(" *"))):
        return alone
    found = {checksum for entry, checksum in _entries(lines) if entry == _plain(name)}
    where = f"The checksums at {label}"
    if not found:
        raise ChecksumUnknown(f"{where} have no md5, sha256 or sha512 of {shown(name)}.")
    strongest = max((checksum.algorithm for checksum in found), key=list(LENGTHS).index)
    values = sorted(checksum.value for checksum in found if checksum.algorithm == strongest)
    if len(values) > 1:
        raise ChecksumUnknown(
            f"{where} tell two values for the {strongest} of {shown(name)}: {values[0]} and {values[1]}."
        )
    return Checksum(strongest, values[0])


def _lines(text: bytes) -> Iterator[str]:
    """The lines that count. In a clear-signed message these are the signed ones, without their dash escapes."""
    decoded = text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = [line.rstrip("\r \t") for line in decoded.split("\n") if len(line) <= _LINE]
    if _SIGNED not in lines:
        return iter(lines)
    message = lines[lines.index(_SIGNED) + 1 :]
    body = message[message.index("") + 1 :] if "" in message else []  # an empty line ends the armour's headers
    signed = body[: body.index(_SIGNATURE)] if _SIGNATURE in body else body
    return (line.removeprefix("- ") for line in signed)


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, Checksum]]:
    for line in lines:
        match = _NAMED.fullmatch(line) or _TAGGED.fullmatch(line)
        if match is None:
            continue
        name = _ESCAPE.sub(_unescaped, match["name"]) if match["escaped"] else match["name"]
        checksum = _checksum(match["hex"], match.groupdict().get("tag"))
        if checksum:
            yield _plain(name), checksum


def _checksum(digits: str, tag: str | None = None) -> Checksum | None:
    """A checksum of the algorithm that `tag` or the number of digits tells; None for what is no such thing."""
    algorithm = _TAGS.get(tag.lower()) if tag is not None else _BY_LENGTH.get(len(digits))
    try:
        return Checksum(algorithm or "", digits.lower())
    except ValueError:
        return None


def _unescaped(found: re.Match[str]) -> str:
    return {"\\": "\\", "n": "\n", "r": "\r"}[found[1]]


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name
