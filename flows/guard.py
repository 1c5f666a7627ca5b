"""The rules of downloading, for stores over the web: what an import may not fetch, nobody reads as an image either."""

from functools import partial

from flows.policy import UriPolicy
from pipeline.errors import SourceRefused
from pipeline.sources import guarded_session
from stores.errors import StoreDenied
from stores.http import HttpStore
from stores.registry import StoreRegistry


def guard_web_stores(stores: StoreRegistry, uris: UriPolicy) -> None:
    """Let stores over the web ask for no URL, and connect to no address, that `uris` does not let pass (§5 of
    import-behaviour): neither when a location is registered, nor when its server redirects or its name leads elsewhere
    years later.
    """
    for store in stores.stores():
        if isinstance(store, HttpStore):
            judge = partial(_judge, store.id, uris)
            connect = store.options.timeouts[0]
            store.guard(partial(_admit, store.id, uris), partial(guarded_session, judge, connect))


def _admit(store: str, uris: UriPolicy, url: str) -> None:
    try:
        uris.check_uri(url)
    except SourceRefused as error:
        raise StoreDenied(store, f"a URL does not pass filtering: {error.reason}") from error


def _judge(store: str, uris: UriPolicy, host: str, ip: str) -> None:
    try:
        uris.check_address(host, ip)
    except SourceRefused as error:
        raise StoreDenied(store, f"a host does not pass filtering: {error.reason}") from error
