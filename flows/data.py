"""What the bytes of an image go through on their way into the stores, whoever brings them, and what is known of them
then.
"""

from dataclasses import dataclass

from catalog.facts import DataFacts
from catalog.images import ImageRecord
from flows.errors import FormatsMissing
from flows.runtime import Runtime
from pipeline.facts import Facts
from pipeline.formats import FormatTap
from pipeline.taps import HashTap, SizeTap, Tap, Threaded

COMPRESSED = "compressed"
"""The `container_format` whose bytes are kept as they come (import-behaviour §4.3)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a hash must come to: an algorithm, lower-case hex, and what users call the bytes."""

    algorithm: str
    value: str
    noun: str


def require_formats(image: ImageRecord, before: str) -> None:
    """Raise `FormatsMissing` for an image that does not say what its data is to be."""
    for name in ("container_format", "disk_format"):
        if getattr(image, name) is None:
            raise FormatsMissing(f"'{name}' of image {image.id} needs to be set before {before}.")


def checks(runtime: Runtime, image: ImageRecord, *, cap: int) -> list[Tap]:
    """What may veto the bytes: their number, of which there may be `cap`, and their format."""
    return [
        SizeTap(cap=cap),
        FormatTap(str(image.disk_format), str(image.container_format), runtime.formats),
    ]


def hashes(
    runtime: Runtime, image: ImageRecord, checksum: Expected | None = None, *, main: str | None = None
) -> list[Tap]:
    """The hashes that are kept, and the one that is expected, which may veto: often one of these. `main` is the
    algorithm of the authoritative one, where it is not the configured one.
    """
    options = runtime.options
    kept_ones = [main or options.hashing_algorithm, *(["md5"] if options.md5 else [])]
    wanted: dict[str, Expected | None] = dict.fromkeys(kept_ones)
    if checksum:
        wanted[checksum.algorithm] = checksum
    return [hash_of(image, algorithm, kept) for algorithm, kept in wanted.items()]


def hash_of(image: ImageRecord, algorithm: str, checksum: Expected | None, *, of: str = "image") -> Tap:
    """One hash, in a thread of its own (measured-choices §4) that is named after what it is `of`."""
    tap = HashTap(algorithm, checksum.value, of=f"the {checksum.noun}") if checksum else HashTap(algorithm)
    return Threaded(tap, f"{algorithm} {of} {image.id[:8]}")


def known_of(runtime: Runtime, image: ImageRecord, facts: Facts, *, main: str | None = None) -> DataFacts:
    """What is known of an image that went through these taps. A user may change its formats meanwhile; what was
    inspected is what may become active.
    """
    assert facts.size is not None  # one of the checks counts
    algorithm = main or runtime.options.hashing_algorithm
    return DataFacts(
        size=facts.size,
        virtual_size=facts.virtual_size,
        checksum=facts.hashes.get("md5"),
        os_hash_algo=algorithm,
        os_hash_value=facts.hashes[algorithm],
        disk_format=str(image.disk_format),
        container_format=str(image.container_format),
    )
