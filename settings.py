"""Every option there is: read from INI files and the environment, turned once into frozen values.

Sections and names are Glance's wherever Glance has the option, so that an operator's glance-api.conf is understood;
what Glance has not is in `[tranship]`. Each option can also come from the environment as `OS_<SECTION>__<OPTION>`,
for example `OS_DATABASE__CONNECTION` or `OS_DEFAULT__ENABLED_BACKENDS`, which wins over the file. What is not set
follows from the data directory: an SQLite database, an in-process broker and three file stores under it. Only the
roots read this module.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg, types

from api.options import ApiOptions
from flows.methods import FLOWS
from flows.options import BrokerOptions, ImportOptions, LeaseOptions
from flows.policy import UriRules
from pipeline.decompress import ExpansionLimit
from pipeline.formats import FormatRules
from pipeline.sources import HttpOptions
from stores.base import StoreSpec

log = logging.getLogger(__name__)

EMBEDDED_STORES = ("a", "b", "c")
"""What there is to try with when no store is configured."""


_REASON = re.compile(r"LocationInfo\(location=.*?, detail='(?P<where>.*?)'\) is not valid: (?P<why>.*)", re.DOTALL)
"""How oslo.config says where a value comes from and what is wrong with it; people need the file or variable alone."""


class BadSettings(Exception):
    """An option makes no sense; the text names it and says what is expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. `data` is the directory under which the service keeps what has no other place."""

    data: Path
    database_url: str
    broker: BrokerOptions
    lease: LeaseOptions
    imports: ImportOptions
    api: ApiOptions
    stores: tuple[StoreSpec, ...]
    default_store: str
    uris: UriRules
    http: HttpOptions
    expansion: ExpansionLimit
    formats: FormatRules
    worker_concurrency: int


def load(
    config_files: Sequence[str] = (), *, data: str = "", overrides: Sequence[tuple[str, str, Any]] = ()
) -> Settings:
    """Read the options; `overrides` are (section, option, value) from the command line, and win. Raises
    `BadSettings`.
    """
    conf = _parsed(config_files)
    for section, option, value in [*([("tranship", "data", data)] if data else []), *overrides]:
        with _named(section, option):
            conf.set_override(option, value, None if section == "DEFAULT" else section)
    for section, options in _OPTIONS.items():
        _check(conf, section, options)
    return _frozen(conf)


def _parsed(config_files: Sequence[str]) -> Any:
    conf = cfg.ConfigOpts()
    for section, options in _OPTIONS.items():
        conf.register_opts(options, group=None if section == "DEFAULT" else section)
    try:
        conf(args=[], project="tranship", default_config_files=list(config_files), default_config_dirs=[], use_env=True)
    except cfg.ConfigFileParseError as error:
        where = error.__context__
        # Without the line itself, in which a password may stand.
        said = f"line {where.lineno}: {where.msg}" if isinstance(where, cfg.ParseError) else "it cannot be parsed"
        raise BadSettings(f"configuration file {error.config_file}, {said}") from None
    except (cfg.Error, OSError) as error:
        raise BadSettings(str(error)) from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"a configuration file is not UTF-8 ({', '.join(config_files)})") from error
    return conf


def _check(conf: Any, section: str, options: Sequence[Any]) -> None:
    """Read every option once, so that whatever is wrong with one is said with its name."""
    for option in options:
        with _named(section, option.name):
            (conf if section == "DEFAULT" else conf[section])[option.dest]


@contextmanager
def _named(section: str, option: str) -> Iterator[None]:
    """Turn what is wrong with an option into `BadSettings` naming it."""
    try:
        yield
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError):
        # Neither the name nor the trace: what follows the $ may be the rest of a password.
        raise BadSettings(
            f"[{section}] {option} refers to an option that does not exist; a $ is written as $$"
        ) from None
    except (cfg.Error, ValueError) as error:
        found = _REASON.search(str(error))
        where, why = (f" ({found['where']})", found["why"]) if found else ("", str(error))
        raise BadSettings(f"[{section}] {option}{where}: {why}") from error


def _frozen(conf: Any) -> Settings:
    own = conf.tranship
    root = Path(own.data).expanduser().absolute()
    stores = _stores(conf, root)
    return Settings(
        data=root,
        database_url=conf.database.connection or f"sqlite:///{root / 'tranship.db'}",
        broker=BrokerOptions(url=own.broker_url, eager=own.eager, stop_grace=own.stop_grace),
        lease=LeaseOptions(
            keeper=own.lease_keeper,
            redis_url=_redis_url(own),
            ttl=own.lease_ttl,
            progress_interval=own.progress_interval,
            stall_timeout=own.stall_timeout,
            resend_after=own.resend_after,
            sweep_interval=own.sweep_interval,
            orphan_grace=own.orphan_grace,
        ),
        imports=_import_options(conf),
        api=_api_options(conf),
        stores=stores,
        default_store=conf.glance_store.default_backend or stores[0].id,
        uris=_uri_rules(conf),
        http=_http_options(own),
        expansion=ExpansionLimit(max_bytes=conf.image_size_cap, max_ratio=own.max_expansion_ratio),
        formats=FormatRules(
            require_match=conf.image_format.require_image_format_match,
            gpt_nonfatal=tuple(conf.image_format.gpt_safety_checks_nonfatal),
        ),
        worker_concurrency=own.worker_concurrency,
    )


def _import_options(conf: Any) -> ImportOptions:
    own = conf.tranship
    return ImportOptions(
        methods=_methods(conf.enabled_import_methods),
        hashing_algorithm=conf.hashing_algorithm,
        md5=own.md5_checksum,
        image_size_cap=conf.image_size_cap,
        location_quota=conf.image_location_quota,
        task_time_to_live=conf.task.task_time_to_live * 3600.0,
        max_attempts=own.max_attempts,
        retry_base=own.retry_base,
        retry_cap=own.retry_cap,
        store_idle_timeout=own.store_idle_timeout,
    )


def _api_options(conf: Any) -> ApiOptions:
    own = conf.tranship
    return ApiOptions(
        auth_strategy=own.auth_strategy,
        host=conf.bind_host,
        port=conf.bind_port,
        workers=conf.workers,
        threads=own.threads,
        public_endpoint=conf.public_endpoint,
        default_project=own.default_project,
        default_user=own.default_user,
        limit_param_default=conf.limit_param_default,
        api_limit_max=conf.api_limit_max,
        property_quota=conf.image_property_quota,
        tag_quota=conf.image_tag_quota,
        member_quota=conf.image_member_quota,
        disk_formats=tuple(conf.image_format.disk_formats),
        container_formats=tuple(conf.image_format.container_formats),
        healthcheck_disable_file=own.healthcheck_disable_file,
    )


def _http_options(own: Any) -> HttpOptions:
    return HttpOptions(
        connect_timeout=own.http_connect_timeout,
        idle_timeout=own.http_idle_timeout,
        max_redirects=own.http_max_redirects,
        resume_attempts=own.http_resume_attempts,
        user_agent=own.http_user_agent,
        use_env_proxies=own.http_use_env_proxies,
        ca_file=_readable("http_ca_file", own.http_ca_file),
        min_rate=own.http_min_rate,
    )


def _stores(conf: Any, root: Path) -> tuple[StoreSpec, ...]:
    backends: dict[str, str] = conf.enabled_backends
    if not backends:
        return tuple(
            StoreSpec(id=name, driver="file", options={"filesystem_store_datadir": str(root / "stores" / name)})
            for name in EMBEDDED_STORES
        )
    specs = []
    for name, driver in backends.items():
        known = [*(cfg.StrOpt(option, secret=option in _SECRET) for option in _STORE_OPTIONS), *_ANY_STORE]
        conf.register_opts(known, group=name)
        _check(conf, name, known)
        section = conf[name]
        options = {option: section[option] for option in _STORE_OPTIONS if section[option] is not None}
        if driver == "s3":
            # What the parts of an object of unknown length are planned for.
            options["image_size_cap"] = conf.image_size_cap
        specs.append(StoreSpec(name, driver, section.store_description, section.weight, options))
    return tuple(specs)


def _uri_rules(conf: Any) -> UriRules:
    given = conf.import_filtering_opts
    rules = UriRules(
        allowed_schemes=tuple(given.allowed_schemes),
        disallowed_schemes=tuple(given.disallowed_schemes),
        allowed_hosts=tuple(given.allowed_hosts),
        disallowed_hosts=tuple(given.disallowed_hosts),
        allowed_ports=tuple(given.allowed_ports),
        disallowed_ports=tuple(given.disallowed_ports),
        allowed_networks=tuple(conf.tranship.allowed_networks),
    )
    with _named("tranship", "allowed_networks"):
        _ = rules.networks
    return rules


def _methods(enabled: Sequence[str]) -> tuple[str, ...]:
    for name in enabled:
        if name not in FLOWS:
            log.warning("[DEFAULT] enabled_import_methods: %s is not offered by this version", name)
    return tuple(name for name in enabled if name in FLOWS)


def _redis_url(own: Any) -> str:
    if own.lease_keeper != "redis":
        return ""
    url: str = own.redis_url or (own.broker_url if own.broker_url.startswith("redis") else "")
    if not url:
        raise BadSettings("[tranship] redis_url must be set when lease_keeper is redis and the broker is another")
    return url


def _readable(option: str, path: str) -> str | None:
    if path and not Path(path).is_file():
        raise BadSettings(f"[tranship] {option}: there is no file {path}")
    return path or None


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


def _texts(name: str, default: Sequence[str], help: str) -> Any:
    return cfg.Opt(name, type=_list_of(_TEXT), default=list(default), help=help)


def _ports(name: str, default: Sequence[int], help: str) -> Any:
    return cfg.Opt(name, type=_list_of(types.Port()), default=list(default), help=help)


_STORE_OPTIONS = (
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

# Where the values are defined, their defaults are.
_API, _BROKER, _LEASE = ApiOptions(), BrokerOptions(), LeaseOptions()
_IMPORTS, _URIS, _HTTP = ImportOptions(), UriRules(), HttpOptions()

_OPTIONS: dict[str, list[Any]] = {
    "DEFAULT": [
        cfg.DictOpt("enabled_backends", default={}, help="id:type of every store."),
        _texts("enabled_import_methods", tuple(FLOWS), help="Import methods to offer."),
        cfg.StrOpt(
            "hashing_algorithm",
            default=_IMPORTS.hashing_algorithm,
            choices=["sha512", "sha384", "sha256", "sha1", "md5", "blake2b"],
            help="What os_hash_value is made with.",
        ),
        _whole("image_size_cap", _IMPORTS.image_size_cap, "Largest image, in bytes.", 1),
        _whole("image_location_quota", _IMPORTS.location_quota, "Most stores an image may be in; negative: no limit."),
        _whole("image_property_quota", _API.property_quota, "Most properties of an image; negative: no limit."),
        _whole("image_tag_quota", _API.tag_quota, "Most tags of an image; negative: no limit."),
        _whole("image_member_quota", _API.member_quota, "Most projects to share an image with; negative: no limit."),
        _whole("limit_param_default", _API.limit_param_default, "Images on a page.", 1),
        _whole("api_limit_max", _API.api_limit_max, "Most images on a page.", 1),
        cfg.StrOpt("public_endpoint", default="", help="Base of links, when clients see another address than we do."),
        cfg.StrOpt("bind_host", default=_API.host, help="Address to listen on."),
        cfg.PortOpt("bind_port", default=_API.port, help="Port to listen on."),
        _whole("workers", _API.workers, "Processes of `tranship api`.", 1),
    ],
    "glance_store": [cfg.StrOpt("default_backend", default="", help="The store when a request names none.")],
    "database": [cfg.StrOpt("connection", default="", secret=True, help="SQLAlchemy URL of PostgreSQL or SQLite.")],
    "task": [_whole("task_time_to_live", 48, "Hours that a finished task is shown.", 0)],
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
    "tranship": [
        cfg.StrOpt("data", default="var", help="Directory for everything that is not configured to be elsewhere."),
        cfg.StrOpt("broker_url", default=_BROKER.url, secret=True, help="redis://, amqp://; memory:// in one process."),
        cfg.BoolOpt("eager", default=False, help="Run each import in the caller's own thread; for tests."),
        cfg.StrOpt("auth_strategy", default=_API.auth_strategy, choices=["none"], help="Who may ask."),
        cfg.StrOpt("default_project", default=_API.default_project, help="Project of callers without credentials."),
        cfg.StrOpt("default_user", default=_API.default_user, help="User of callers without credentials."),
        cfg.StrOpt("healthcheck_disable_file", default="", help="While this file exists, /healthcheck answers 503."),
        _whole("threads", _API.threads, "Threads of one API process.", 1),
        _whole("worker_concurrency", 2, "Imports at a time in one worker.", 1),
        _seconds("stop_grace", _BROKER.stop_grace, "How long a worker told to go lets imports go on."),
        cfg.StrOpt("lease_keeper", default=_LEASE.keeper, choices=["database", "redis"], help="Where leases expire."),
        cfg.StrOpt("redis_url", default="", secret=True, help="Redis of the lease keeper, if it is not the broker."),
        _seconds("lease_ttl", _LEASE.ttl, "How long a silent worker keeps an image.", 0.5),
        _seconds("progress_interval", _LEASE.progress_interval, "How often progress is written, a stop noticed.", 0.05),
        _seconds("stall_timeout", _LEASE.stall_timeout, "How long an import may stand still before it lets go.", 0.1),
        _seconds("resend_after", _LEASE.resend_after, "When an unanswered message is sent again.", 0.1),
        _seconds("sweep_interval", _LEASE.sweep_interval, "How often a worker looks for lost work and garbage.", 0.1),
        _seconds("orphan_grace", _LEASE.orphan_grace, "How long deleted objects are looked for again."),
        _whole("max_attempts", _IMPORTS.max_attempts, "Tries of a step before the import fails.", 1),
        _seconds("retry_base", _IMPORTS.retry_base, "Delay before the second try; it doubles."),
        _seconds("retry_cap", _IMPORTS.retry_cap, "Longest delay between tries."),
        _seconds(
            "store_idle_timeout",
            _IMPORTS.store_idle_timeout,
            "Longest time that one call to a store on a network may take.",
            0.1,
        ),
        cfg.BoolOpt("md5_checksum", default=_IMPORTS.md5, help="Also fill the legacy md5 `checksum`."),
        _whole("max_expansion_ratio", 500, "Bytes out per byte in of a compressed image.", 1),
        _texts("allowed_networks", [], help="Private networks (CIDR) that web-download may reach."),
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
