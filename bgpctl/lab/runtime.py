"""
Where the parts of a lab live: bare network namespaces, or containers whose namespaces go by the same names.

Refuses to know: how parts are cabled, what runs in them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from compileall import compile_dir
from pathlib import Path
from subprocess import Popen
from typing import Final, Protocol

import bgpctl
from bgpctl.lab import netns
from bgpctl.lab.topology import Topology

NETNS: Final = "netns"
COMPOSE: Final = "compose"
WORDS: Final = (NETNS, COMPOSE)
IMAGE: Final = "bgpctl"
"""The name that `tools/image` gives the image."""


class Runtime(Protocol):
    """A place for the parts of one lab. Every method raises RuntimeError with the error message if it fails."""

    @property
    def word(self) -> str:
        """One of WORDS."""

    def make(self, topology: Topology, prefix: str, parts: Sequence[str]) -> None:
        """Make all parts; the network namespace of each can be entered by its name with the prefix before it."""

    def start(self, namespace: str, arguments: Sequence[str], log: Path) -> Popen[bytes] | None:
        """Start bgpctl in a part, its output in `log`. Returns its process, if it is a child of ours."""

    def remove(self, prefix: str) -> None:
        """Remove all there is of the lab, except for namespaces; absent is no error."""


class Namespaces:
    """Nothing but namespaces; `module` is the program in them, which takes the arguments of bgpctl."""

    word = NETNS
    module = "bgpctl"

    def make(self, topology: Topology, prefix: str, parts: Sequence[str]) -> None:
        del topology
        _compile()
        netns.ip([f"netns add {prefix}{part}" for part in parts])

    def start(self, namespace: str, arguments: Sequence[str], log: Path) -> Popen[bytes] | None:
        return netns.spawn(namespace, (sys.executable, "-m", self.module, *arguments), log)

    def remove(self, prefix: str) -> None:
        """Namespaces are all there is."""


def _compile() -> None:
    """
    Byte code for all agents. Where Python may write none when it imports (PYTHONDONTWRITEBYTECODE, as in many images),
    each agent would compile for a quarter of a second. A directory that cannot be written is left as it is.
    """
    compile_dir(Path(bgpctl.__file__).parent, quiet=2)


def of(word: str, image: str = IMAGE) -> Runtime:
    """
    The runtime of this name; `image` is that of containers.

    Raises:
        RuntimeError: a requirement is not installed, or no engine answers.
    """
    if word == NETNS:
        return Namespaces()
    try:
        from bgpctl.lab.containers import Containers  # noqa: PLC0415 (an extra: nodes do without it)
    except ImportError:
        raise RuntimeError("labs of containers need the docker SDK: pip install 'bgpctl[compose]'") from None
    return Containers(image, word)
