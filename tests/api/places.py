"""Locations as clients say them in a PATCH, and as they see them."""

import hashlib
from typing import Any

from tests.api.house import House
from tests.api.service import Service, Web
from tests.api.test_delete_from_store import DATA
from tests.api.test_patches import v21

WEB = "http://example.org/a.img"
STRAY = "memory://bulk/snapshot"
OTHER = "http://example.org/b.img?signature=x"
MD5, SHA256, SHA512 = (hashlib.new(name, DATA).hexdigest() for name in ("md5", "sha256", "sha512"))
HASHES = {"os_hash_algo": "sha512", "os_hash_value": SHA512}


def show(service: Service, image: str) -> dict[str, Any]:
    shown: dict[str, Any] = service.client.simulate_get(f"/v2/images/{image}").json
    return shown


def urls(service: Service, image: str) -> list[str]:
    return [at["url"] for at in show(service, image)["locations"]]


def web(house: House) -> Web:
    found = house.runtime.stores.get("mirror")
    assert isinstance(found, Web)
    return found


def place(url: str = WEB, promise: Any = None, **metadata: Any) -> dict[str, Any]:
    """A location as clients say it."""
    return {"url": url, "metadata": metadata} | ({} if promise is None else {"validation_data": promise})


def add(url: str = WEB, at: int | str = "-", promise: Any = None, **metadata: Any) -> dict[str, Any]:
    return v21("add", f"/locations/{at}", value=place(url, promise, **metadata))


def remove(at: int | str) -> dict[str, Any]:
    return v21("remove", f"/locations/{at}")


def replaced(*locations: Any) -> dict[str, Any]:
    return v21("replace", "/locations", value=list(locations))


def stray(house: House, key: str = "snapshot", data: bytes = DATA, store: str = "bulk") -> str:
    """The URL of an object that somebody has put into a store by himself."""
    house.put(store, key, data)
    return house.writable(store).url(key)
