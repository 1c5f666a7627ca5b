"""Numbers as people read them."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """`count` bytes: `512 B`, `12.0 MiB`."""
    power = 0
    while count >= 1023.95 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.0f} B" if power == 0 else f"{count:.1f} {_UNITS[power]}"


def amount(done: int, total: int | None, *, estimated: bool = False) -> str:
    """How much of how much: `12.0 MiB of 40.0 MiB`; a total that is an estimate has a `~`."""
    if total is None:
        return size(done)
    return f"{size(done)} of {'~' if estimated else ''}{size(total)}"


def rate(bytes_per_second: float | None) -> str:
    """`8.1 MiB/s`, or nothing."""
    return "" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def left(seconds: float | None) -> str:
    """`12 s left`, or nothing."""
    return "" if seconds is None else f"{duration(max(1, round(seconds)))} left".replace(".0 s", " s")
