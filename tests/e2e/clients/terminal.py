"""Runs a client's command as a user at a terminal or a script does, and openstacksdk as a program does: nothing of our
environment, and not for ever.
"""

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
from openstack.image.v2._proxy import Proxy

SECONDS = 120
"""After which a command hangs; it takes two on a machine that has nothing else to do."""


@dataclass(frozen=True)
class Said:
    """What a command has printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What `-f json` has printed."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[dict[str, str]]:
        """The table that was printed, one dictionary per row.

        A cell that was wrapped is joined again; the blank at which it was broken is lost.
        """
        lines = [line for line in self.out.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        header, *rest = cells
        rows: list[dict[str, str]] = []
        for row in rest:
            if row[0]:
                rows.append(dict(zip(header, row, strict=True)))
            else:
                rows[-1] = {name: rows[-1][name] + cell for name, cell in zip(header, row, strict=True)}
        return rows

    @property
    def properties(self) -> dict[str, str]:
        """A table of properties and values as one dictionary."""
        return {row["Property"]: row["Value"] for row in self.rows}


@contextmanager
def connected(credentials: Mapping[str, Any]) -> Iterator[Proxy]:
    """The image service as openstacksdk gives it to a program that logs in like this."""
    connection = openstack.connect(load_yaml_config=False, load_envvars=False, **credentials)
    try:
        image = connection.image
        assert isinstance(image, Proxy), "the second version of the API was found"
        yield image
    finally:
        connection.close()


@dataclass(frozen=True)
class Command:
    """A client's command with the words that go before all others; `home` is the user's, empty at first."""

    name: str
    words: tuple[str, ...]
    home: Path
    terminal: bool = True
    """Standard input is a terminal, or else it is closed. Clients take anything else for the data of an image."""

    def __call__(self, *words: str, status: int = 0) -> Said:
        """Run it with more words; it must end with `status`."""
        said = self._run(words)
        assert said.status == status, (words, said)
        return said

    def _run(self, words: tuple[str, ...]) -> Said:
        program = Path(sysconfig.get_path("scripts")) / self.name
        command = [str(program), *self.words, *words]
        ours, theirs = os.openpty()
        try:
            done = subprocess.run(
                # Python cannot start a program without a standard input, a shell can.
                command if self.terminal else ["/bin/sh", "-c", 'exec "$0" "$@" <&-', *command],
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                env={"PATH": os.defpath, "HOME": str(self.home), "LANG": "C.UTF-8"},
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        return Said(done.returncode, done.stdout, done.stderr)
