"""
Agents of the last version beside those of this one, in one lab.

The last version is the commit that FORMER names, taken from the history of this checkout; its agents run with the same
libraries.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from typing import Final

from bgpctl.lab import netns
from bgpctl.lab.runtime import NETNS, Namespaces

FORMER: Final = "27efabef942ce1d1fdf7b81e670fcd36bcbfa15d"
"""The commit before the core was divided into packages."""
_ROOT: Final = Path(__file__).parents[2]


class NoHistory(Exception):
    """This checkout has not the commit: a shallow clone, or no clone at all."""


def extract(directory: Path) -> Path:
    """The package of the last version below `directory`. Raises NoHistory."""
    command = ("git", "-C", str(_ROOT), "archive", FORMER, "bgpctl")
    try:
        packed = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistory(FORMER) from error
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


class Versions(Namespaces):
    """
    Network namespaces in which agents of two versions run.

    Attributes:
        former: the nodes whose next agent is of the last version.
    """

    word = NETNS

    def __init__(self, tree: Path, former: Sequence[str]) -> None:
        self._tree = tree
        self.former = set(former)

    def start(self, namespace: str, arguments: Sequence[str], log: Path) -> Popen[bytes] | None:
        if namespace.rpartition(".")[2] not in self.former:
            return super().start(namespace, arguments, log)
        return netns.spawn(namespace, (*self.python(), "-m", "bgpctl", *arguments), log)

    def python(self) -> tuple[str, ...]:
        """The interpreter that imports the last version; without -P the working directory would come before it."""
        return ("env", f"PYTHONPATH={self._tree}", sys.executable, "-P")
