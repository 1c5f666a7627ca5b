"""Every option there is: read from INI files and the environment, turned once into frozen values.

Sections and names are Glance's wherever Glance has the option, so that an operator's glance-api.conf is understood;
what Glance has not is in `[tranship]`. Each option can also come from the environment as `OS_<SECTION>__<OPTION>`,
for example `OS_DATABASE__CONNECTION` or `OS_DEFAULT__ENABLED_BACKENDS`, which wins over the file. What is not set
follows from the data directory: an SQLite database, an in-process broker, and under it three file stores and staging.
Only the roots read this module; `option_table.py` lists what there is.
"""

import logging
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from oslo_config import cfg

from api.options import ApiOptions, CorsOptions, KeystoneLimitOptions
from flows.methods import FLOWS
from flows.options import STAGING_STORE, BrokerOptions, ImportOptions, LeaseOptions, Limits, StagingOptions
from flows.policy import UriRules
from option_table import OPTIONS, STORE_OPTIONS, store_section, unknown
from pipeline.decompress import ExpansionLimit
from pipeline.formats import FormatRules
from pipeline.sources import HttpOptions
from stores.base import StoreSpec
from stores.mounts import on_network

log = logging.getLogger(__name__)

EMBEDDED_STORES = ("a", "b", "c")
"""What there is to try with when no store is configured."""

_HOST = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What every broker takes as part of the name of a queue."""

_DATADIR = "filesystem_store_datadir"

_BROKERS = ("memory", "redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp")
"""The schemes of `broker_url`: what kombu calls the brokers that a lost message costs nothing with."""

_REASON = re.compile(r"LocationInfo\(location=.*?, detail='(?P<where>.*?)'\) is not valid: (?P<why>.*)", re.DOTALL)
"""How oslo.config says where a value comes from and what is wrong with it; people need the file or variable alone."""


class BadSettings(Exception):
    """An option makes no sense; the text names it and says what is expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. `data` is the directory under which the service keeps what has no other place; `host` is what this
    host is called in queues.
    """

    data: Path
    host: str
    database_url: str
    broker: BrokerOptions
    lease: LeaseOptions
    imports: ImportOptions
    limits: Limits
    api: ApiOptions
    stores: tuple[StoreSpec, ...]
    default_store: str
    staging: StagingOptions
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
    for section, options in OPTIONS.items():
        _check(conf, section, options)
    for sentence in unknown(config_files):
        log.warning("%s", sentence)
    return _frozen(conf)


def _parsed(config_files: Sequence[str]) -> Any:
    conf = cfg.ConfigOpts()
    for section, options in OPTIONS.items():
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
    host = _host(own.host)
    return Settings(
        data=root,
        host=host,
        database_url=conf.database.connection or f"sqlite:///{root / 'tranship.db'}",
        broker=BrokerOptions(url=_broker_url(own.broker_url), eager=own.eager, stop_grace=own.stop_grace),
        lease=LeaseOptions(
            keeper=own.lease_keeper,
            redis_url=_redis_url(own),
            ttl=own.lease_ttl,
            progress_interval=own.progress_interval,
            stall_timeout=own.stall_timeout,
            stale_after=own.stale_after,
            stale_pending_after=own.stale_pending_after,
            resend_after=own.resend_after,
            sweep_interval=own.sweep_interval,
            orphan_grace=own.orphan_grace,
        ),
        imports=_import_options(conf),
        limits=_limits(conf),
        api=_api_options(conf),
        stores=stores,
        default_store=conf.glance_store.default_backend or stores[0].id,
        staging=_staging(conf, root, host),
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
        secure_hash=conf.do_secure_hash,
        task_time_to_live=conf.task.task_time_to_live * 3600.0,
        max_attempts=own.max_attempts,
        retry_base=own.retry_base,
        retry_cap=own.retry_cap,
        store_idle_timeout=own.store_idle_timeout,
        store_commit_timeout=own.store_commit_timeout,
    )


def _limits(conf: Any) -> Limits:
    own = conf.tranship
    if conf.use_keystone_limits:
        # Not these. Whoever would go by them all the same allows nothing, rather than everything.
        return Limits(stored=0, staged=0, images=0, uploading=0)
    return Limits(
        stored=conf.user_storage_quota or -1,
        staged=own.image_stage_total << 20 if own.image_stage_total >= 0 else -1,
        images=own.image_count_total,
        uploading=own.image_count_uploading,
    )


def _api_options(conf: Any) -> ApiOptions:
    own = conf.tranship
    options = ApiOptions(
        auth_strategy=own.auth_strategy,
        http_basic_auth_user_file=conf.http_basic_auth_user_file,
        allow_anonymous_access=conf.allow_anonymous_access,
        policy_file=_policy_file(conf),
        property_protection_file=_beside(conf, "[DEFAULT] property_protection_file", conf.property_protection_file),
        property_protection_rule_format=conf.property_protection_rule_format,
        configuration=conf,
        use_keystone_limits=conf.use_keystone_limits,
        keystone_limits=_keystone_limits(conf),
        trusted_proxies=tuple(own.trusted_proxies),
        cors=_cors_options(conf.cors),
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
        show_multiple_locations=conf.show_multiple_locations,
        show_image_direct_url=conf.show_image_direct_url,
        disk_formats=tuple(conf.image_format.disk_formats),
        container_formats=tuple(conf.image_format.container_formats),
        healthcheck_disable_file=own.healthcheck_disable_file,
    )
    with _named("tranship", "trusted_proxies"):
        _ = options.proxies
    if conf.oslo_middleware.enable_proxy_headers_parsing and not options.trusted_proxies:
        raise BadSettings(
            "[tranship] trusted_proxies must name the proxies (CIDR) whose headers [oslo_middleware] "
            "enable_proxy_headers_parsing asks for: from anybody else they are lies"
        )
    return options


def _keystone_limits(conf: Any) -> KeystoneLimitOptions:
    given = conf.oslo_limit
    return KeystoneLimitOptions(
        cache_time=conf.tranship.keystone_limits_cache_time,
        endpoint_id=given.endpoint_id,
        service_type=given.endpoint_service_type,
        service_name=given.endpoint_service_name,
        region_name=given.endpoint_region_name,
        interface=given.endpoint_interface,
    )


def _policy_file(conf: Any) -> str:
    """The path of the file; that of `policy.yaml` beside the configuration where no option names one."""
    given = conf.oslo_policy
    if given.policy_dirs:
        raise BadSettings("[oslo_policy] policy_dirs is not read; what is in the files there belongs into policy_file")
    if given.policy_file:
        return _beside(conf, "[oslo_policy] policy_file", given.policy_file)
    return str(_found(conf, "policy.yaml") or "") if conf.config_file else ""


def _beside(conf: Any, option: str, path: str) -> str:
    """The file at `path`, which begins where the configuration files are; empty as it is."""
    found = _found(conf, path) if path else None
    if path and found is None:
        raise BadSettings(f"{option}: there is no file {path}")
    return str(found or "")


def _found(conf: Any, path: str) -> Path | None:
    """The file of that path beside the configuration file that was read last, or one before it."""
    folders = [Path(name).absolute().parent for name in reversed(conf.config_file or ["here"])]
    return next((place for folder in folders if (place := folder / Path(path).expanduser()).is_file()), None)


def _cors_options(given: Any) -> CorsOptions:
    def frozen(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    return CorsOptions(**{field.name: frozen(given[field.name]) for field in fields(CorsOptions)})


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
            StoreSpec(id=name, driver="file", options={_DATADIR: str(root / "stores" / name)})
            for name in EMBEDDED_STORES
        )
    return tuple(_store(conf, name, driver) for name, driver in backends.items())


def _store(conf: Any, name: str, driver: str) -> StoreSpec:
    """The store whose options are in the section of its name."""
    known = store_section()
    conf.register_opts(known, group=name)
    _check(conf, name, known)
    section = conf[name]
    options = {option: section[option] for option in STORE_OPTIONS if section[option] is not None}
    if driver == "s3":
        # What the parts of an object of unknown length are planned for, and how long to wait until they are one.
        options["image_size_cap"] = conf.image_size_cap
        options["store_commit_timeout"] = conf.tranship.store_commit_timeout
    return StoreSpec(name, driver, section.store_description, section.weight, options)


def _staging(conf: Any, root: Path, host: str) -> StagingOptions:
    own = conf.tranship
    spec = _store(conf, STAGING_STORE, own.staging_driver)
    if spec.driver == "file":
        directory = spec.options.get(_DATADIR) or _directory(conf.node_staging_uri) or root / "staging"
        spec = replace(spec, options={**spec.options, _DATADIR: str(directory)})
    return StagingOptions(spec, host=None if _is_shared(own, spec) else host, keep_for=own.staging_ttl)


def _is_shared(own: Any, spec: StoreSpec) -> bool:
    """Whether every worker can read what is staged. Where all are in one process there is no question."""
    if own.staging_scope != "auto":
        return bool(own.staging_scope == "shared")
    one_process = own.eager or own.broker_url.startswith("memory:")
    return one_process or spec.driver != "file" or on_network(Path(str(spec.options[_DATADIR])))


def _directory(uri: str) -> str:
    """The path of a `file:` URI; empty as the URI is."""
    with _named("DEFAULT", "node_staging_uri"):
        parts = urlsplit(uri)
        if uri and (parts.scheme != "file" or parts.netloc or parts.path.strip("/") == ""):
            raise ValueError("it must be file:/// and the path of a directory")
        return unquote(parts.path)


def _host(given: str) -> str:
    host = given or socket.gethostname()
    if not _HOST.fullmatch(host):
        raise BadSettings(f"[tranship] host: {host!r} is not 1 to 64 of A-Z a-z 0-9 . _ -")
    return host


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


def _broker_url(given: str) -> str:
    if urlsplit(given).scheme not in _BROKERS:
        raise BadSettings("[tranship] broker_url must begin with redis://, amqp:// or memory://")
    return given


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
