"""The data that is imported: half incompressible, a quarter text, a quarter zeros; the same bytes every time."""

import hashlib
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_PIECE = 4 * MIB
_PERIOD = 128 * MIB
"""The bytes repeat after this; farther apart than gzip and zstd (without --long) look back, so to them all is new."""

PACKERS = {"raw": [], "gz": ["gzip", "-1", "-c"], "zst": ["zstd", "-3", "-q", "-c"]}
UNPACKERS = {"raw": [], "gz": ["gzip", "-dc"], "zst": ["zstd", "-dcq"]}


@dataclass(frozen=True, slots=True)
class Original:
    """A file, and what every import of it must lead to."""

    path: Path
    size: int
    sha512: str
    md5: str

    def packed(self, kind: str) -> Path:
        """The file compressed as `kind` (a key of `PACKERS`), made beside it on first use."""
        if kind == "raw":
            return self.path
        path = self.path.with_suffix(f".{kind}")
        if not path.exists():
            with path.open("wb") as out:
                subprocess.run([*PACKERS[kind], str(self.path)], stdout=out, check=True)
        return path

    def is_copied_to(self, other: Path) -> bool:
        """Whether `other` has the same bytes."""
        if other.stat().st_size != self.size:
            return False
        with self.path.open("rb") as ours, other.open("rb") as theirs:
            return all(ours.read(MIB) == theirs.read(MIB) for _ in range(0, self.size, MIB))


def make(path: Path, size: int) -> Original:
    """Write `size` bytes to `path`."""
    period = _period(min(size, _PERIOD))
    sha512, md5 = hashlib.sha512(), hashlib.md5(usedforsecurity=False)
    with path.open("wb") as file:
        for start in range(0, size, len(period)):
            part = period[: size - start]
            file.write(part)
            sha512.update(part)
            md5.update(part)
    return Original(path, size, sha512.hexdigest(), md5.hexdigest())


def _period(size: int) -> bytes:
    chance = random.Random(20261122)
    text = _text(chance, size // 4 + _PIECE)
    made = bytearray()
    for start in range(0, size, 4 * _PIECE):
        made += chance.randbytes(2 * _PIECE)
        made += text[start // 4 : start // 4 + _PIECE]
        made += bytes(_PIECE)
    return bytes(made[:size])


def _text(chance: random.Random, size: int) -> bytes:
    """Phrases of words that nobody knows; gzip halves them, as it does with prose."""
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgkjqxz", k=chance.randint(2, 9))) for _ in range(4000)]
    phrases = [" ".join(chance.choices(words, k=3)) + " " for _ in range(1 << 16)]
    made = "".join(chance.choices(phrases, k=size // 12)).encode()
    assert len(made) >= size
    return made[:size]
