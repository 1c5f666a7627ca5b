"""Configurations as texts, read as files and wired."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import settings
from flows.runtime import Runtime
from settings import Settings


@pytest.fixture(autouse=True)
def _no_options_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests says nothing."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Settings]:
    """`load(text)` reads the text as a configuration file."""

    def read(text: str) -> Settings:
        path = tmp_path / "tranship.conf"
        path.write_text(text)
        return settings.load([str(path)], data=str(tmp_path / "data"))

    return read


@pytest.fixture
def build(load: Callable[[str], Settings]) -> Iterator[Callable[[str], Runtime]]:
    """`build(text)` wires what the text configures."""
    built: list[Runtime] = []

    def make(text: str) -> Runtime:
        built.append(Runtime.build(load(text)))
        return built[-1]

    yield make
    for runtime in built:
        runtime.close()
