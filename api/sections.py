"""Sections of the configuration that OpenStack's libraries read by themselves: what they say of them, in our words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 5
"""Seconds that one try of asking Keystone may take, unless a section says otherwise; by itself there is no end."""

_WHERE = re.compile(r"LocationInfo\(location=.*?, detail='(.*?)'\)")
"""How oslo.config says where a value comes from; people need the file or variable alone."""


@contextmanager
def reading(section: str) -> Iterator[None]:
    """Turn what is wrong with a section into a `ValueError` naming it."""
    try:
        yield
    except AttributeError:
        # oslo.config's error for what follows a $: neither it nor the trace is shown, it may be the rest of a password.
        raise ValueError(f"[{section}] refers to an option that does not exist; a $ is written as $$") from None
    except Exception as error:
        # What the libraries' plugins raise for options that make no sense has no class in common.
        why = _WHERE.sub(r"\1", str(error))
        raise ValueError(f"[{section}]: {why}") from error


def missing(option: str, package: ImportError) -> ValueError:
    """What to say when `option` needs the extra of packages, and one of it is not there."""
    return ValueError(
        f"{option}, which needs what `pip install tranship[keystone]` brings (there is no module {package.name})"
    )
