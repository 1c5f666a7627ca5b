"""What the tests of copies share: four stores, of which b is the best to read from, and what a copy must not change."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from catalog.images import ImageRecord
from stores.base import CHUNK
from tests.flows.service import Service, eager_service

DATA = random.Random(3).randbytes(3 * CHUNK + 5)
STORES = ("a", "b", "c", "d")


@contextmanager
def copying(data: Path) -> Iterator[Service]:
    """A service that gives up at the first failure of a source."""
    with eager_service(data, stores=STORES, weights={"b": 9}, max_attempts=1) as made:
        made.origin.objects["/image"] = DATA
        yield made


def facts(image: ImageRecord) -> ImageRecord:
    """All of an image that a copy must not change."""
    return replace(image, locations=(), updated_at=0, importing_to=None, failed=None)


def bad(data: bytes, at: int) -> bytes:
    """The same number of bytes, one of them wrong."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def stores(image: ImageRecord) -> list[str]:
    return [place.store for place in image.locations]
