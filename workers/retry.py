"""What becomes of a failed attempt: the one table that reads `code` and `transient` (architecture §4, habit H7)."""

import random
from dataclasses import dataclass

from flows.options import ImportOptions


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `delay` seconds from now."""

    delay: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Give up: `code` for programs and `message` for people, who can act on it. `ours` says that it is a bug."""

    code: str
    message: str
    ours: bool = False


def decide(error: BaseException, attempt: int, options: ImportOptions, *, spread: float | None = None) -> Retry | Fail:
    """Judge the `attempt`-th try (from 1) that ended with `error`.

    Only what the error's own class calls transient is tried again, up to `max_attempts` times, after a delay that
    doubles and is spread by `spread` (0 to 1, random by default) so that many failures of one source do not return as
    one. An error without a code is ours: its text is for the log, not for users.
    """
    code = getattr(error, "code", None)
    if code is None or not isinstance(error, Exception):
        return Fail(
            "internal_error",
            "Tranship failed in a way it did not foresee; the worker's log tells under this task id.",
            ours=True,
        )
    if not getattr(error, "transient", False):
        return Fail(code, str(error))
    if attempt >= options.max_attempts:
        return Fail(code, f"{error} (given up after {attempt} attempts)")
    jitter = random.random() if spread is None else spread
    return Retry(min(options.retry_cap, options.retry_base * 2 ** (attempt - 1)) * (0.5 + jitter / 2))
