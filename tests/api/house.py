"""A service whose stores can be made to fail, and a look into all its corners."""

from typing import Any

from falcon import testing
from sqlalchemy import select, update

from api.options import ApiOptions
from catalog import tables as t
from flows.collect import collect
from stores.memory import MemoryStore
from stores.registry import StoreRegistry
from stores.wrappers import FaultyStore
from tests.api.service import Service, Web

NAMES = ("fast", "cheap", "bulk")
SHOWN = ApiOptions(show_multiple_locations=True, show_image_direct_url=True)


def faulty_stores() -> StoreRegistry:
    """The stores `NAMES`, which can be made to fail, and `mirror`, which can only be read."""
    return StoreRegistry([*(FaultyStore(MemoryStore(name)) for name in NAMES), Web("mirror")], "cheap")


class House(Service):
    """A service over stores that can be made to fail, and one that can only be read."""

    def faulty(self, store: str) -> FaultyStore:
        found = self.writable(store)
        assert isinstance(found, FaultyStore)
        return found

    def kept(self) -> set[tuple[str, str]]:
        """Store and key of everything in the stores."""
        found = set()
        for name in NAMES:
            inner = self.faulty(name).inner
            assert isinstance(inner, MemoryStore)
            found |= {(name, key) for key in inner.keys()}  # noqa: SIM118 — it is no dictionary
        return found

    def located(self) -> set[tuple[str, str]]:
        """Store and key of every location."""
        return {(row.store, row.object_key) for row in self.rows(t.locations)}

    def rows(self, table: Any) -> list[Any]:
        """All rows of a table."""
        with self.catalog.database.read() as connection:
            return list(connection.execute(select(table)).all())

    def change(self, **columns: object) -> None:
        """Change every image."""
        with self.catalog.database.begin() as connection:
            connection.execute(update(t.images).values(**columns))

    def stores_of(self, image_id: str) -> str:
        """What the image shows as its stores."""
        stores: str = self.client.simulate_get(f"/v2/images/{image_id}").json["stores"]
        return stores

    def delete(self, store: str, image_id: str) -> testing.Result:
        return self.client.simulate_delete(f"/v2/stores/{store}/{image_id}", headers={"Accept": "text/plain"})

    def collect_after(self, seconds: float) -> int:
        """Let the time pass, and a collector come."""
        self.catalog.database.skew += seconds
        return collect(self.runtime)
