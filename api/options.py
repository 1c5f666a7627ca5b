"""The options of the HTTP service, as frozen values. `settings.py` fills them."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

Network = IPv4Network | IPv6Network

AUTH_STRATEGIES = ("none", "http_basic", "keystone")
"""Who may ask: everybody as the administrator; the users of a file; who has a token of Keystone's."""

PROTECTION_FORMATS = ("roles", "policies")
"""What a file that protects properties names: roles, or rules of the policy."""


@dataclass(frozen=True, slots=True)
class CorsOptions:
    """Which web pages' scripts may ask, and for what; nobody's while there is no origin (http-api §1.7).

    The headers are Glance's, and those that Horizon's uploads send beside them.
    """

    allowed_origin: tuple[str, ...] = ()
    allow_credentials: bool = True
    max_age: int = 3600
    expose_headers: tuple[str, ...] = (
        "X-Image-Meta-Checksum",
        "X-Auth-Token",
        "X-Subject-Token",
        "X-Service-Token",
        "X-OpenStack-Request-ID",
    )
    allow_methods: tuple[str, ...] = ("GET", "PUT", "POST", "DELETE", "PATCH")
    allow_headers: tuple[str, ...] = (
        "Content-MD5",
        "X-Image-Meta-Checksum",
        "X-Storage-Token",
        "Accept-Encoding",
        "X-Auth-Token",
        "X-Identity-Status",
        "X-Roles",
        "X-Service-Catalog",
        "X-User-Id",
        "X-Tenant-Id",
        "X-OpenStack-Request-ID",
        "X-Image-Meta-Store",
        "X-OpenStack-Image-Size",
        "Authorization",
    )


@dataclass(frozen=True, slots=True)
class KeystoneLimitOptions:
    """How long (in seconds) it is believed what Keystone says of limits, and by which endpoint it knows this service:
    one of this id, or the only one of this service, region and interface.
    """

    cache_time: float = 60.0
    endpoint_id: str = ""
    service_type: str = ""
    service_name: str = ""
    region_name: str = ""
    interface: str = "public"


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Who may ask, and how answers look.

    `default_project` and `default_user` are everybody with `auth_strategy = none`; the project is also that of users
    whose line names none. `configuration` is all that was read, as oslo.config has it: OpenStack's libraries find their
    own sections in it. `policy_file` and `property_protection_file` are paths; without them the defaults of this
    service hold, and no property is protected. Who of `trusted_proxies` (CIDR) connects is believed what it says of the
    client's URL. `client_socket_timeout` is how many seconds a client may be silent within a request, or take nothing
    of an answer. `show_multiple_locations` also lets users change locations by PATCH.
    """

    auth_strategy: str = "none"
    http_basic_auth_user_file: str = ""
    allow_anonymous_access: bool = False
    policy_file: str = ""
    property_protection_file: str = ""
    property_protection_rule_format: str = PROTECTION_FORMATS[0]
    configuration: Any = field(default=None, repr=False, compare=False)
    use_keystone_limits: bool = False
    keystone_limits: KeystoneLimitOptions = KeystoneLimitOptions()
    trusted_proxies: tuple[str, ...] = ()
    cors: CorsOptions = CorsOptions()
    host: str = "127.0.0.1"
    port: int = 9292
    workers: int = 2
    threads: int = 16
    client_socket_timeout: float = 900.0
    public_endpoint: str = ""
    default_project: str = "default"
    default_user: str = "admin"
    limit_param_default: int = 25
    api_limit_max: int = 1000
    property_quota: int = 128
    tag_quota: int = 128
    member_quota: int = 128
    show_multiple_locations: bool = False
    show_image_direct_url: bool = False
    disk_formats: tuple[str, ...] = tuple("ami ari aki vhd vhdx vmdk raw qcow2 vdi iso ploop".split())
    container_formats: tuple[str, ...] = tuple("ami ari aki bare ovf ova docker compressed".split())
    healthcheck_disable_file: str = ""

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of `trusted_proxies`. Raises `ValueError` for what is none."""
        return tuple(ip_network(text) for text in self.trusted_proxies)
