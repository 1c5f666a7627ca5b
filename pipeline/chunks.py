"""Chunk sizes: hand-offs between threads and calls into C cost more than the bytes when pieces are small."""

import time
from collections.abc import Iterable, Iterator

from pipeline.errors import SourceError


def joined(pieces: Iterable[bytes], size: int, seconds: float = float("inf")) -> Iterator[bytes]:
    """Join pieces until `size` bytes are there, or `seconds` have passed since the first of them came.

    What is held when the source fails is handed on before the error, so that a resume continues from there.
    """
    held: list[bytes] = []
    have, began = 0, 0.0
    try:
        for piece in pieces:
            if not held:
                began = time.monotonic()
            held.append(piece)
            have += len(piece)
            if have >= size or time.monotonic() - began > seconds:
                yield b"".join(held)
                held.clear()
                have = 0
    except SourceError:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)
