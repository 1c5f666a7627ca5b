"""The options of the HTTP service, as a frozen value. `settings.py` fills it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Who may ask, and how answers look. `default_project` and `default_user` are everybody with `auth_strategy =
    none`.
    """

    auth_strategy: str = "none"
    host: str = "127.0.0.1"
    port: int = 9292
    workers: int = 2
    threads: int = 16
    public_endpoint: str = ""
    default_project: str = "default"
    default_user: str = "admin"
    limit_param_default: int = 25
    api_limit_max: int = 1000
    property_quota: int = 128
    tag_quota: int = 128
    member_quota: int = 128
    disk_formats: tuple[str, ...] = tuple("ami ari aki vhd vhdx vmdk raw qcow2 vdi iso ploop".split())
    container_formats: tuple[str, ...] = tuple("ami ari aki bare ovf ova docker compressed".split())
    healthcheck_disable_file: str = ""
