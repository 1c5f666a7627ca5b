"""What operators wrote: read from files and the environment, and whatever is wrong with it said with its name.

It knows nothing of what an option means; `option_table.py` lists them, `settings.py` gives them meaning.
"""

import difflib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oslo_config import cfg

from option_table import OPTIONS, store_section

_REASON = re.compile(r"LocationInfo\(location=.*?, detail='(?P<where>.*?)'\) is not valid: (?P<why>.*)", re.DOTALL)
"""How oslo.config says where a value comes from and what is wrong with it; people need the file or variable alone."""

_NEAR, _ALMOST = 0.75, 0.85
"""How much alike two names must be (difflib): to be worth a hint, and for one to be taken for the other misspelt."""

_READ_ELSEWHERE = ("keystone_authtoken",)


class BadSettings(Exception):
    """An option makes no sense; the text names it and says what is expected."""


def parsed(config_files: Sequence[str]) -> Any:
    """Return every option there is, as oslo.config has them. Raises `BadSettings` for a file that cannot be read."""
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


def check(conf: Any, section: str, options: Sequence[Any]) -> None:
    """Read every option once, so that whatever is wrong with one is said with its name."""
    for option in options:
        with named(section, option.name):
            (conf if section == "DEFAULT" else conf[section])[option.dest]


@contextmanager
def named(section: str, option: str) -> Iterator[None]:
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


def beside(conf: Any, option: str, path: str) -> str:
    """The file at `path`, which begins where the configuration files are; empty as it is."""
    found = found_beside(conf, path) if path else None
    if path and found is None:
        raise BadSettings(f"{option}: there is no file {path}")
    return str(found or "")


def found_beside(conf: Any, path: str) -> Path | None:
    """The file of that path beside the configuration file that was read last, or one before it."""
    folders = [Path(name).absolute().parent for name in reversed(conf.config_file or ["here"])]
    return next((place for folder in folders if (place := folder / Path(path).expanduser()).is_file()), None)


def unknown(config_files: Sequence[str], stores: Collection[str]) -> Iterator[str]:
    """A sentence for every name that nobody reads and that looks as if somebody should, with the nearest that is read.

    In our own section, and in those of the `stores`, that is every unknown name. In Glance's sections, and of sections,
    it is one that is almost right: the others may well be Glance's, which have more than we read.
    """
    known = _known(stores)
    for name in config_files:
        for section, options in _names_in(name).items():
            if section not in known:
                nearest = difflib.get_close_matches(section, known, 1, _ALMOST)
                if nearest:
                    yield f"[{section}] ({name}): there is no such section; did you mean [{nearest[0]}]?"
                continue
            ours = section == "tranship" or section in stores
            for option in sorted(options - known[section]):
                nearest = difflib.get_close_matches(option, known[section], 1, _NEAR if ours else _ALMOST)
                if ours or nearest:
                    yield f"[{section}] {option} ({name}): there is no such option{_hint(nearest)}"
    prefix = "OS_TRANSHIP__"
    for variable in sorted(name for name in os.environ if name.startswith(prefix)):
        option = variable.removeprefix(prefix).lower()
        if option not in known["tranship"]:
            nearest = difflib.get_close_matches(option, known["tranship"], 1, _NEAR)
            yield f"{variable}: there is no option {option}{_hint(nearest)}"


def left_alone(config_files: Sequence[str], stores: Collection[str]) -> str:
    """What the files have beside what is read, in one line: `[DEFAULT] a, b; [paste_deploy]`. Empty if nothing."""
    known, found = _known(stores), dict[str, set[str]]()
    for name in config_files:
        for section, options in _names_in(name).items():
            found.setdefault(section, set()).update(options - known.get(section, set()))
    parts = (
        f"[{section}] {', '.join(sorted(options))}" if section in known else f"[{section}]"
        for section, options in found.items()
        if options and section not in _READ_ELSEWHERE
    )
    return "; ".join(parts)


def _known(stores: Collection[str]) -> dict[str, set[str]]:
    """The names of all sections, and of the options in each."""
    known = {section: {option.name for option in options} for section, options in OPTIONS.items()}
    return known | {store: {option.name for option in store_section()} for store in stores}


def _names_in(config_file: str) -> dict[str, set[str]]:
    found: dict[str, dict[str, Any]] = {}
    cfg.ConfigParser(config_file, found).parse()
    return {section: set(options) for section, options in found.items()}


def _hint(nearest: Sequence[str]) -> str:
    return f"; did you mean {nearest[0]}?" if nearest else ""
