"""The table of options: section, name, type, bounds, default, and a sentence of help each. `settings.py` reads by it.

Where the values are defined, in the option classes of the rooms, their defaults are; the table repeats none of them.
"""

import re
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg, types

from api.options import AUTH_STRATEGIES, PROTECTION_FORMATS, ApiOptions, CorsOptions
from flows.methods import FLOWS
from flows.options import STAGED_FOR, BrokerOptions, ImportOptions, LeaseOptions
from flows.policy import UriRules
from pipeline.sources import HttpOptions


def _whole(name: str, default: int, help: str, least: int | None = None) -> Any:
    return cfg.IntOpt(name, default=default, min=least, help=help)


def _seconds(name: str, default: float, help: str, least: float = 0.0) -> Any:
    return cfg.FloatOpt(name, default=default, min=least, help=help + " Seconds.")


def _list_of(item: Any) -> Any:
    """The type of a list as oslo.config has it, `a, b`, and as most of Glance's are written: `[a, b]`, `['a', 'b']`."""
    plain, bounded = types.List(item), types.List(item, bounds=True)

    def parse(value: Any) -> Any:
        return (bounded if isinstance(value, str) and value.strip().startswith("[") else plain)(value)

    return parse


_TEXT = types.String(quotes=True)


def _like(pattern: str, example: str) -> Any:
    """The type of a text that can only work in one form."""

    def parse(value: Any) -> str:
        text: str = _TEXT(value)
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is nothing like {example}")
        return text

    return parse


_BASE = _like(r"(https?://[^\s/][^\s]*)?", "https://cloud.example.org/image")
_ORIGIN = _like(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/]+", "https://horizon.example.org, without a path, or *")


def _texts(name: str, default: Sequence[str], help: str) -> Any:
    return cfg.Opt(name, type=_list_of(_TEXT), default=list(default), help=help)


def _ports(name: str, default: Sequence[int], help: str) -> Any:
    return cfg.Opt(name, type=_list_of(types.Port()), default=list(default), help=help)


_UNITS = ("B", "KB", "MB", "GB", "TB")
_SIZE = re.compile(rf"(?P<number>[0-9]{{1,12}})(?P<unit>{'|'.join(_UNITS)})?")


def _size(value: Any) -> int:
    """The bytes of `10GB`, as Glance writes quotas: units are powers of 1024, and none is bytes."""
    found = _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"{value!r} is not a number and one of {', '.join(_UNITS)}")
    return int(found["number"]) << 10 * _UNITS.index(found["unit"] or "B")


_A_SIZE: Any = _size


STORE_OPTIONS = (
    "filesystem_store_datadir",
    "filesystem_thin_provisioning",
    "filesystem_store_chunk_size",
    "filesystem_store_file_perm",
    "https_ca_certificates_file",
    "https_insecure",
    "memory_store_capacity",
    "s3_store_host",
    "s3_store_region_name",
    "s3_store_access_key",
    "s3_store_secret_key",
    "s3_store_bucket",
    "s3_store_create_bucket_on_put",
    "s3_store_bucket_url_format",
    "s3_store_large_object_size",
    "s3_store_large_object_chunk_size",
    "s3_store_thread_pools",
    "s3_store_cacert",
    "s3_store_unsigned_payload",
)

_SECRET = ("s3_store_access_key", "s3_store_secret_key")

_ANY_STORE = (cfg.StrOpt("store_description", default=""), cfg.IntOpt("weight", default=0))


def store_section() -> list[Any]:
    """The options that the section of a store may have, whatever its type; new objects for each section."""
    return [*(cfg.StrOpt(option, secret=option in _SECRET) for option in STORE_OPTIONS), *_ANY_STORE]


_INTERFACES = [face + url for url in ("", "URL") for face in ("public", "internal", "admin")]

_API, _BROKER, _LEASE = ApiOptions(), BrokerOptions(), LeaseOptions()
_KEYSTONE_LIMITS = _API.keystone_limits
_IMPORTS, _URIS, _HTTP, _CORS = ImportOptions(), UriRules(), HttpOptions(), CorsOptions()

OPTIONS: dict[str, list[Any]] = {
    "DEFAULT": [
        cfg.DictOpt("enabled_backends", default={}, help="id:type of every store."),
        _texts("enabled_import_methods", tuple(FLOWS), help="Import methods to offer."),
        cfg.StrOpt(
            "hashing_algorithm",
            default=_IMPORTS.hashing_algorithm,
            choices=["sha512", "sha384", "sha256", "sha1", "md5", "blake2b"],
            help="What os_hash_value is made with.",
        ),
        cfg.BoolOpt("do_secure_hash", default=_IMPORTS.secure_hash, help="Read and hash data that is registered."),
        _whole("image_size_cap", _IMPORTS.image_size_cap, "Largest image, in bytes.", 1),
        _whole("image_location_quota", _IMPORTS.location_quota, "Most stores an image may be in; negative: no limit."),
        cfg.BoolOpt("show_multiple_locations", default=False, help="Show where data is, and let users change that."),
        cfg.BoolOpt("show_image_direct_url", default=False, help="Show the URL from which data would be read."),
        _whole("image_property_quota", _API.property_quota, "Most properties of an image; negative: no limit."),
        _whole("image_tag_quota", _API.tag_quota, "Most tags of an image; negative: no limit."),
        _whole("image_member_quota", _API.member_quota, "Most projects to share an image with; negative: no limit."),
        cfg.Opt("user_storage_quota", type=_A_SIZE, default=0, help="Most a project may store (10GB); 0: no limit."),
        cfg.BoolOpt("use_keystone_limits", default=False, help="Let Keystone say what a project may have."),
        _whole("limit_param_default", _API.limit_param_default, "Images on a page.", 1),
        _whole("api_limit_max", _API.api_limit_max, "Most images on a page.", 1),
        cfg.StrOpt("node_staging_uri", default="", help="file:// URI of the staging directory, where no section says."),
        cfg.StrOpt("http_basic_auth_user_file", default="", help="Users and passwords of auth_strategy http_basic."),
        cfg.BoolOpt("allow_anonymous_access", default=False, help="Let callers without credentials see public images."),
        cfg.StrOpt("property_protection_file", default="", help="Who may do what to which property."),
        cfg.StrOpt(
            "property_protection_rule_format",
            default=PROTECTION_FORMATS[0],
            choices=PROTECTION_FORMATS,
            help="Whether that file names roles or rules.",
        ),
        cfg.Opt("public_endpoint", type=_BASE, default="", help="Base of links, when clients see another address."),
        cfg.StrOpt("bind_host", default=_API.host, help="Address to listen on."),
        cfg.PortOpt("bind_port", default=_API.port, help="Port to listen on."),
        _whole("workers", _API.workers, "Processes of `tranship api`.", 1),
        _seconds(
            "client_socket_timeout",
            _API.client_socket_timeout,
            "How long a client may be silent within a request, or take nothing of an answer; 0: for ever.",
        ),
    ],
    "glance_store": [cfg.StrOpt("default_backend", default="", help="The store when a request names none.")],
    "database": [cfg.StrOpt("connection", default="", secret=True, help="SQLAlchemy URL of PostgreSQL or SQLite.")],
    "task": [_whole("task_time_to_live", 48, "Hours that a finished task is kept.", 0)],
    "image_format": [
        _texts("disk_formats", _API.disk_formats, help="Accepted disk formats."),
        _texts("container_formats", _API.container_formats, help="Accepted container formats."),
        cfg.BoolOpt("require_image_format_match", default=True, help="Refuse data that is not the declared format."),
        _texts("gpt_safety_checks_nonfatal", [], help="Checks of GPT images that only warn."),
    ],
    "import_filtering_opts": [
        _texts("allowed_schemes", _URIS.allowed_schemes, help="Schemes of web-download."),
        _texts("disallowed_schemes", [], help="Refused schemes, unless some are allowed by name."),
        _texts("allowed_hosts", [], help="Hosts of web-download; they may lead to any address."),
        _texts("disallowed_hosts", [], help="Refused hosts, unless some are allowed by name."),
        _ports("allowed_ports", _URIS.allowed_ports, help="Ports of web-download."),
        _ports("disallowed_ports", [], help="Refused ports."),
    ],
    "cors": [
        cfg.Opt(
            "allowed_origin",
            type=_list_of(_ORIGIN),
            default=[],
            help="Web pages (scheme://host[:port]) whose scripts may ask; * for all.",
        ),
        cfg.BoolOpt("allow_credentials", default=_CORS.allow_credentials, help="Whether scripts may send cookies."),
        _texts("expose_headers", _CORS.expose_headers, help="Headers of answers that scripts may read."),
        _whole("max_age", _CORS.max_age, "How long a browser remembers the permission. Seconds.", 0),
        _texts("allow_methods", _CORS.allow_methods, help="Methods that scripts may use."),
        _texts("allow_headers", _CORS.allow_headers, help="Headers that scripts may send."),
    ],
    "oslo_limit": [
        cfg.StrOpt("endpoint_id", default="", help="By which endpoint Keystone knows this service."),
        cfg.StrOpt("endpoint_service_type", default="", help="The type of its service, where no id is set."),
        cfg.StrOpt("endpoint_service_name", default="", help="The name of its service."),
        cfg.StrOpt("endpoint_region_name", default="", help="Its region."),
        cfg.StrOpt("endpoint_interface", default="public", choices=_INTERFACES, help="The interface of the endpoint."),
    ],
    "oslo_policy": [
        cfg.StrOpt("policy_file", default="", help="Rules other than the defaults, YAML or JSON."),
        cfg.MultiStrOpt("policy_dirs", default=[], help="Not read: whoever sets it is told so."),
    ],
    "oslo_middleware": [
        cfg.BoolOpt("enable_proxy_headers_parsing", default=False, help="Needs [tranship] trusted_proxies."),
    ],
    "tranship": [
        cfg.StrOpt("data", default="var", help="Directory for everything that is not configured to be elsewhere."),
        cfg.StrOpt("broker_url", default=_BROKER.url, secret=True, help="redis://, amqp://; memory:// in one process."),
        cfg.BoolOpt("eager", default=False, help="Run each import in the caller's own thread; for tests."),
        cfg.StrOpt("host", default="", help="Name of this host in queues; the system's if it is not set."),
        cfg.StrOpt("staging_driver", default="file", choices=["file", "s3"], help="Type of the staging store."),
        cfg.StrOpt(
            "staging_scope",
            default="auto",
            choices=["auto", "shared", "local"],
            help="Whether the workers of every host can read what is staged, or only those of the host that staged it.",
        ),
        _seconds("staging_ttl", STAGED_FOR, "How long staged bytes wait for their import.", 1.0),
        cfg.StrOpt("auth_strategy", default=_API.auth_strategy, choices=AUTH_STRATEGIES, help="Who may ask."),
        cfg.StrOpt("default_project", default=_API.default_project, help="Project of callers who name none."),
        cfg.StrOpt("default_user", default=_API.default_user, help="User of callers without credentials."),
        _texts("trusted_proxies", [], help="Proxies (CIDR) that are believed what URL the client has used."),
        cfg.StrOpt("healthcheck_disable_file", default="", help="While this file exists, /healthcheck answers 503."),
        _whole("threads", _API.threads, "Threads of one API process.", 1),
        _whole("worker_concurrency", 2, "Imports at a time in one worker.", 1),
        _seconds("stop_grace", _BROKER.stop_grace, "How long a worker told to go lets imports go on."),
        cfg.StrOpt("lease_keeper", default=_LEASE.keeper, choices=["database", "redis"], help="Where leases expire."),
        cfg.StrOpt("redis_url", default="", secret=True, help="Redis of the lease keeper, if it is not the broker."),
        _seconds("lease_ttl", _LEASE.ttl, "How long a silent worker keeps an image.", 0.5),
        _seconds("progress_interval", _LEASE.progress_interval, "How often progress is written, a stop noticed.", 0.05),
        _seconds("stall_timeout", _LEASE.stall_timeout, "How long an import may stand still before it lets go.", 0.1),
        _seconds("stale_after", _LEASE.stale_after, "When an import without progress may be superseded.", 1.0),
        _seconds("stale_pending_after", _LEASE.stale_pending_after, "The same for one that nobody has begun.", 1.0),
        _seconds("resend_after", _LEASE.resend_after, "When an unanswered message is sent again.", 0.1),
        _seconds("sweep_interval", _LEASE.sweep_interval, "How often a worker looks for lost work and garbage.", 0.1),
        _seconds("orphan_grace", _LEASE.orphan_grace, "How long deleted objects are looked for again."),
        _seconds("keystone_limits_cache_time", _KEYSTONE_LIMITS.cache_time, "How long limits from Keystone hold."),
        _whole("image_stage_total", -1, "Most a project may have on its way, in MiB; negative: no limit."),
        _whole("image_count_total", -1, "Most images of a project; negative: no limit."),
        _whole("image_count_uploading", -1, "Most images of a project on their way; negative: no limit."),
        _whole("max_attempts", _IMPORTS.max_attempts, "Tries of a step before the import fails.", 1),
        _seconds("retry_base", _IMPORTS.retry_base, "Delay before the second try; it doubles."),
        _seconds("retry_cap", _IMPORTS.retry_cap, "Longest delay between tries."),
        _seconds(
            "store_idle_timeout",
            _IMPORTS.store_idle_timeout,
            "Longest time that one call to a store on a network may take.",
            0.1,
        ),
        _seconds(
            "store_commit_timeout",
            _IMPORTS.store_commit_timeout,
            "Longest time that a store on a network may take to complete an object whose bytes it has.",
            0.1,
        ),
        cfg.BoolOpt("md5_checksum", default=_IMPORTS.md5, help="Also fill the legacy md5 `checksum`."),
        _whole("max_expansion_ratio", 500, "Bytes out per byte in of a compressed image.", 1),
        _texts("allowed_networks", [], help="Private networks (CIDR) that web-download and http stores may reach."),
        _seconds("http_connect_timeout", _HTTP.connect_timeout, "Longest wait for a connection to a source.", 0.1),
        _seconds("http_idle_timeout", _HTTP.idle_timeout, "Longest silence of a source.", 0.1),
        _whole("http_max_redirects", _HTTP.max_redirects, "Redirects to follow.", 0),
        _whole("http_resume_attempts", _HTTP.resume_attempts, "Resumptions in a row without a new byte.", 0),
        cfg.StrOpt("http_user_agent", default=_HTTP.user_agent, help="What sources are told."),
        cfg.BoolOpt("http_use_env_proxies", default=False, help="Honour http_proxy, https_proxy and no_proxy."),
        cfg.StrOpt("http_ca_file", default="", help="File of certificates to trust instead of the bundled ones."),
        _whole("http_min_rate", _HTTP.min_rate, "Slowest source to wait for, in bytes a second.", 0),
    ],
}
