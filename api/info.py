"""What this service offers: import methods and stores (http-api §11)."""

import falcon

from api import rights
from api.bodies import Fixed, answer
from api.context import caller
from flows.limits import shown
from flows.runtime import Runtime
from stores.registry import StoreRegistry


def import_methods(methods: tuple[str, ...]) -> Fixed:
    """`/v2/info/import`."""
    return Fixed(
        {"import-methods": {"description": "Import methods available.", "type": "array", "value": list(methods)}}
    )


def stores(registry: StoreRegistry) -> Fixed:
    """`/v2/info/stores`.

    Never the 404 with which a Glance of one store says that it knows no stores: what decides there is whether
    `enabled_backends` is set, not how many it names, and here stores always have ids, those of the embedded set-up
    included.
    """
    return Fixed({"stores": [_store(registry, store) for store in registry.ids()]})


class ProjectUsage:
    """`/v2/info/usage`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What the caller's project may use, and does; empty when there are no limits."""
        answer(resp, {"usage": shown(self._runtime, caller(req).project)})


class StoresDetail(Fixed):
    """`/v2/info/stores/detail`, for administrators and services."""

    def __init__(self, registry: StoreRegistry) -> None:
        super().__init__({"stores": [_store(registry, store) | _detail(registry, store) for store in registry.ids()]})

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The stores with their types, weights and properties."""
        rights.require_rule(caller(req), "stores_info_detail")
        super().on_get(req, resp)


def _store(registry: StoreRegistry, store: str) -> dict[str, object]:
    shown: dict[str, object] = {"id": store}
    if registry.spec(store).description:
        shown["description"] = registry.spec(store).description
    # Glance answers with words here, and leaves out what is false.
    if store == registry.default:
        shown["default"] = "true"
    if store not in registry.writable_ids():
        shown["read-only"] = "true"
    return shown


def _detail(registry: StoreRegistry, store: str) -> dict[str, object]:
    spec = registry.spec(store)
    return {"type": spec.driver, "weight": spec.weight, "properties": registry.get(store).properties()}
