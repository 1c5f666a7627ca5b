"""What more than one module here needs."""

from collections.abc import Iterator

import pytest

from tests.cli.fakes import FakeService, fake_service, image_answers


@pytest.fixture
def service() -> Iterator[FakeService]:
    """A fake service with one image."""
    with fake_service() as fake:
        fake.answers = image_answers()
        yield fake
