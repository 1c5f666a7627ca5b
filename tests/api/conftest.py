"""The service under test, and a second one whose callers are not administrators."""

from collections.abc import Iterator
from pathlib import Path

import falcon
import pytest
from falcon import testing

from api.context import Context
from api.options import ApiOptions
from tests.api.house import SHOWN, House, faulty_stores
from tests.api.service import Service, a_member, runtime


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service in which everybody is the administrator."""
    wired = runtime(tmp_path)
    yield Service(wired, ApiOptions(property_quota=4, tag_quota=2, limit_param_default=3, api_limit_max=5))
    wired.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A service that shows locations, over stores that can be made to fail, and a web full of images of ten bytes."""
    made = House(runtime(tmp_path, faulty_stores()), SHOWN)
    yield made
    made.runtime.close()


@pytest.fixture
def client(service: Service) -> testing.TestClient:
    """A client of that service."""
    return service.client


@pytest.fixture
def tenant(service: Service) -> Service:
    """The same service as members of the project `mine` see it."""

    def member(_req: falcon.Request, request_id: str) -> Context:
        return a_member("mine", request_id)

    return Service(service.runtime, service.options, member)
