"""Every option there is: read from INI files and the environment, turned once into frozen values.

Sections and names are Glance's wherever Glance has the option, so that an operator's glance-api.conf is understood;
what Glance has not is in `[tranship]`. Each option can also come from the environment as `OS_<SECTION>__<OPTION>`,
for example `OS_DATABASE__CONNECTION` or `OS_DEFAULT__ENABLED_BACKENDS`, which wins over the file. What is not set
follows from the data directory: an SQLite database, an in-process broker, and under it three file stores and staging.
Only the roots read this module; `option_table.py` lists what there is, `option_files.py` reads what was written.
"""

import logging
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from api.options import ApiOptions, CorsOptions, KeystoneLimitOptions
from flows.methods import FLOWS
from flows.options import STAGING_STORE, BrokerOptions, ImportOptions, LeaseOptions, Limits, StagingOptions
from flows.policy import UriRules
from option_files import BadSettings, beside, check, found_beside, left_alone, named, parsed, unknown
from option_table import OPTIONS, STORE_OPTIONS, store_section
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
    conf = parsed(config_files)
    for section, option, value in [*([("tranship", "data", data)] if data else []), *overrides]:
        with named(section, option):
            conf.set_override(option, value, None if section == "DEFAULT" else section)
    for section, options in OPTIONS.items():
        check(conf, section, options)
    stores = (*conf.enabled_backends, STAGING_STORE)
    for sentence in unknown(config_files, stores):
        log.warning("%s", sentence)
    if names := left_alone(config_files, stores):
        log.debug("in the configuration, but not read here: %s", names)
    return _frozen(conf)


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
        property_protection_file=beside(conf, "[DEFAULT] property_protection_file", conf.property_protection_file),
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
        client_socket_timeout=conf.client_socket_timeout,
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
    with named("tranship", "trusted_proxies"):
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
        return beside(conf, "[oslo_policy] policy_file", given.policy_file)
    return str(found_beside(conf, "policy.yaml") or "") if conf.config_file else ""


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
    check(conf, name, known)
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
    with named("DEFAULT", "node_staging_uri"):
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
    with named("tranship", "allowed_networks"):
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
