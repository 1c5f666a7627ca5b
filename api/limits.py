"""Who says what a project may have: the operator's options, for all projects alike, or Keystone."""

from api.options import ApiOptions
from flows.limits import LimitSource


def limit_source(options: ApiOptions, otherwise: LimitSource) -> LimitSource:
    """Keystone with `use_keystone_limits`, and `otherwise` the other. Raises `ValueError` for what cannot work."""
    if not options.use_keystone_limits:
        return otherwise
    from api.keystone_limits import KeystoneLimits

    return KeystoneLimits(options)
