"""The service that most tests of this room use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.service import Service, eager_service
from tests.workers.desk import RESEND


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with quick heartbeats and leases."""
    own: dict[str, Any] = {
        "lease_ttl": 2.0,
        "progress_interval": 0.05,
        "http_resume_attempts": 0,
        "max_attempts": 3,
        "resend_after": RESEND,
    }
    with eager_service(tmp_path / "data", **own) as made:
        yield made
