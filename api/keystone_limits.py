"""`use_keystone_limits`: what a project may have, by the unified limits of a Keystone, under `[oslo_limit]`.

An operator registers limits for the image service there, for its region or for none, and others for single projects.
Why this is not oslo.limit: docs/decisions/0013.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from api.options import ApiOptions
from api.sections import PATIENCE, missing, reading
from flows.errors import LimitsUnknown
from flows.limits import NAMES, limits_of
from flows.options import Limits

try:
    from keystoneauth1 import loading
    from keystoneauth1.exceptions import ClientException
    from keystoneauth1.identity import BaseIdentityPlugin
except ImportError as error:
    raise missing("[DEFAULT] use_keystone_limits is set", error) from error

log = logging.getLogger(__name__)

SECTION = "oslo_limit"

_MOST = 4096
"""Projects whose limits are remembered at most."""

T = TypeVar("T")


class KeystoneLimits:
    """Asks Keystone, and remembers for a while what it said."""

    def __init__(self, options: ApiOptions, *, clock: Callable[[], float] = time.monotonic, most: int = _MOST) -> None:
        """Raises `ValueError` when the section makes no sense. Keystone itself is not asked before it is needed."""
        service, seconds = _Service(options), options.keystone_limits.cache_time
        self._registered = _Remembered(lambda _: service.registered(), seconds, clock, 1)
        self._own = _Remembered(service.of_project, seconds, clock, most)

    def of(self, project: str, /) -> Limits:
        """Those of the project, and those that are registered for all where it has none. Raises `LimitsUnknown`."""
        with _asking():
            return limits_of({**self._registered.get(""), **self._own.get(project)})


class _Remembered(Generic[T]):
    """Answers that are not asked for again for `seconds`, the last `most` of them."""

    def __init__(self, ask: Callable[[str], T], seconds: float, clock: Callable[[], float], most: int) -> None:
        self._ask, self._seconds, self._clock, self._most = ask, seconds, clock, most
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: str) -> T:
        """The answer for `key`, at most `seconds` old. Raises what asking raises, and remembers none of that."""
        now = self._clock()
        with self._guard:
            kept = self._kept.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        answer = self._ask(key)
        with self._guard:
            self._kept[key] = (now + self._seconds, answer)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return answer


class Unusable(Exception):
    """Keystone answers, and is of no use until an operator does something: the text says what."""


class _Service:
    """The limits of one service in one region, as Keystone has them now: resource → number, in Keystone's units.

    Raises `ClientException` and `Unusable`, and anything for what no Keystone answers.
    """

    def __init__(self, options: ApiOptions) -> None:
        self._known_as = options.keystone_limits
        if not (self._known_as.endpoint_id or self._known_as.service_type or self._known_as.service_name):
            raise ValueError(
                f"[{SECTION}] endpoint_id must be set, or endpoint_service_type and what else tells it apart"
            )
        if options.configuration is None:
            raise ValueError(f"use_keystone_limits reads a section [{SECTION}], and there is no configuration")
        with reading(SECTION):
            self._keystone, self._auth = _client(options.configuration)
        self._place: tuple[str, str | None] | None = None

    def registered(self) -> Mapping[str, int]:
        """What every project may have that has no limits of its own."""
        found = self._limits("registered_limits", "default_limit")
        for name in NAMES:
            if name not in found:
                log.warning("Keystone has no registered limit %s for this service: nobody is allowed any", name)
        return found

    def of_project(self, project: str) -> Mapping[str, int]:
        """What a project may have, where that is not what every other may."""
        return self._limits("limits", "resource_limit", project_id=project)

    def _limits(self, kind: str, number: str, **query: str) -> Mapping[str, int]:
        if self._place is None:
            self._require_all_to_be_seen()
            self._place = self._found()
        service, region = self._place
        found = self._get(kind, service_id=service, region_id=region, **query)
        # Who is in no region names none, and is told of all.
        return {one["resource_name"]: int(one[number]) for one in found if one["region_id"] == region}

    def _require_all_to_be_seen(self) -> None:
        """Raise `Unusable` where Keystone would keep limits from us without a word, or means others by them."""
        if isinstance(self._auth, BaseIdentityPlugin):
            access = self._auth.get_access(self._keystone.session)
            if not (access.system_scoped or {"admin", "service"}.intersection(access.role_names or ())):
                raise Unusable(
                    f"[{SECTION}] is somebody who sees the limits of one project only: system_scope = all and the "
                    "role reader on the system are needed"
                )
        model = self._keystone.get("/limits/model").json()["model"]["name"]
        if model != "flat":
            raise Unusable(f"its limits are of the model {model}, and only flat is understood here")

    def _found(self) -> tuple[str, str | None]:
        """The service and its region, by the endpoint that the section names."""
        known = self._known_as
        if known.endpoint_id:
            one = self._keystone.get(f"/endpoints/{quote(known.endpoint_id, safe='')}").json()["endpoint"]
        else:
            service = self._one("services", type=known.service_type, name=known.service_name)
            face = known.interface.removesuffix("URL")
            one = self._one("endpoints", service_id=service["id"], region_id=known.region_name, interface=face)
        return one["service_id"], one["region_id"]

    def _one(self, kind: str, **query: str) -> Mapping[str, Any]:
        found = self._get(kind, **query)
        if len(found) != 1:
            raise Unusable(f"[{SECTION}] describes {len(found)} {kind} of its catalogue instead of one")
        return found[0]

    def _get(self, kind: str, **query: str | None) -> list[Mapping[str, Any]]:
        given = {name: value for name, value in query.items() if value}
        found: list[Mapping[str, Any]] = self._keystone.get(f"/{kind}", params=given).json()[kind]
        return found


def _client(configuration: Any) -> tuple[Any, Any]:
    """What asks Keystone, and as whom."""
    loading.register_auth_conf_options(configuration, SECTION)
    loading.register_session_conf_options(configuration, SECTION)
    loading.register_adapter_conf_options(configuration, SECTION, include_deprecated=False)
    configuration.set_default("timeout", PATIENCE, group=SECTION)
    configuration.set_default("service_type", "identity", group=SECTION)
    if not (configuration[SECTION].min_version or configuration[SECTION].max_version):
        configuration.set_default("version", "3", group=SECTION)
    auth = loading.load_auth_from_conf_options(configuration, SECTION)
    if auth is None:
        raise ValueError(
            "auth_type must be set (`password`, with auth_url, username, password and system_scope = all, is what most "
            "clouds have)"
        )
    session = loading.load_session_from_conf_options(configuration, SECTION, auth=auth)
    return loading.load_adapter_from_conf_options(configuration, SECTION, session=session), auth


@contextmanager
def _asking() -> Iterator[None]:
    """Tell the log what is wrong with Keystone or with what it says, and callers that nothing is known."""
    unknown = LimitsUnknown("Keystone, which says what a project may have, cannot be asked at the moment.")
    try:
        yield
    except (ClientException, Unusable) as error:
        log.error("Keystone cannot be asked for limits: %s: %s", type(error).__name__, error)
        raise unknown from error
    except Exception as error:
        # What is made of an answer that is not Keystone's, such as a page about its maintenance, has no class.
        log.error("what Keystone said of limits cannot be used", exc_info=error)
        raise unknown from error
