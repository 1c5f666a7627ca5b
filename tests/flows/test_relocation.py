"""What there is at a URL that somebody names, asked of a real server and of stores (http-api §4.4)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.images import Location
from catalog.locations import NewLocation
from flows.errors import BadImportRequest
from flows.policy import Denied
from flows.relocation import find
from pipeline.errors import TooBig
from stores.base import StoreSpec
from stores.registry import StoreRegistry
from tests.flows.service import DATA, Service, eager_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a store over the web, which may reach this host; images have at most the bytes of DATA."""
    with eager_service(tmp_path_factory.mktemp("data"), web=True, cap=len(DATA)) as made:
        made.origin.objects |= {"/empty": b"", "/large": DATA + b"x"}
        yield made


def test_on_the_web(service: Service) -> None:
    """Given a URL, then its size is told by its server, of which no more than a byte is asked."""
    url = service.origin.url("/image")
    service.origin.asked.clear()
    assert find(service.runtime, url) == NewLocation(Location("web", url, url), len(DATA), ours=False)
    assert [headers.get("Range") for _, _, headers in service.origin.asked] == ["bytes=0-0"]


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("/absent", BadImportRequest, "cannot be read: store web: .*404"),
        ("/empty", BadImportRequest, "leads to no bytes"),
        ("/large", TooBig, "more than the 1048576 bytes allowed"),
    ],
)
def test_on_the_web_and_of_no_use(service: Service, path: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        find(service.runtime, service.origin.url(path))


@pytest.mark.parametrize("target", ["http://10.0.0.1/x", "http://localhost.:1/x", "file:///etc/passwd"])
def test_led_to_where_nobody_may_go(service: Service, target: str) -> None:
    """Given a server that redirects into the cloud, or to a file, then it is not followed, and that is said."""
    service.origin.redirects["/moved"] = target
    with pytest.raises(BadImportRequest, match="cannot be read: store web: ") as refused:
        find(service.runtime, service.origin.url("/moved"))
    assert "10.0.0.1" not in str(refused.value)


def test_a_url_that_is_never_asked_for(service: Service) -> None:
    service.origin.asked.clear()
    for url in ("http://10.0.0.1/x", service.origin.url("/image").replace("http://", "http://user:secret@")):
        with pytest.raises((Denied, BadImportRequest)) as refused:
            find(service.runtime, url)
        assert "secret" not in str(refused.value)
    assert service.origin.asked == []


def test_no_file_of_the_host_but_what_the_store_would_hold(service: Service, tmp_path: Path) -> None:
    """Given file stores, then exactly the URLs of their objects are known, in no other spelling."""
    folder = tmp_path / "store"
    registry = StoreRegistry.build([StoreSpec("f", "file", options={"filesystem_store_datadir": str(folder)})], "f")
    wired = replace(service.runtime, stores=registry)
    (folder / "object").write_bytes(b"0123456789")
    (tmp_path / "beside").write_bytes(b"0123456789")
    (folder / "sub").mkdir()
    (folder / "sub" / "object").write_bytes(b"0123456789")

    assert find(wired, (folder / "object").as_uri()).size == 10
    for url in (
        *(path.as_uri() for path in (tmp_path / "beside", folder, folder / "sub", folder / "sub" / "object")),
        *(f"{folder.as_uri()}/{name}" for name in ("../beside", "./object", "%6fbject", "object#x", ".writing", "")),
        f"file://localhost{folder}/object",
        f"file:{folder}/object",
        f"FILE://{folder}/object",
        "file:///etc/passwd",
    ):
        with pytest.raises(BadImportRequest, match=r"is not the URL|cannot be read"):
            find(wired, url)
