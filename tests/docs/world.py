"""
A host of its own for each document: processes, network, run directory and configuration that nobody else sees.

It is called a1, has 10.0.0.1 on eth0, and ends with everything in it when its shell ends.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.docs.blocks import ROOT
from tests.waiting import SLOWNESS

WITHIN_S: Final = 120.0 * SLOWNESS
_VENV: Final = Path(sys.executable).parent

_MAKE: Final = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
for at in /etc /opt /var/lib; do
    mkdir -p /run/world$at/upper /run/world$at/work
    mount -t overlay overlay -o "lowerdir=$at,upperdir=/run/world$at/upper,workdir=/run/world$at/work" $at
done
hostname a1
for key in ip_forward conf/all/rp_filter conf/default/rp_filter; do echo 0 >/proc/sys/net/ipv4/$key; done
ip link set lo up
ip link add eth0 type veth peer name far
ip link set far up
ip link set eth0 up
ip address add 10.0.0.1/24 dev eth0
ip route add default via 10.0.0.254
exec bash --norc
"""
_PRIVATE: Final = ("--mount", "--propagation", "private", "--net", "--uts", "--pid", "--fork", "--kill-child")


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    output: str
    errors: str

    @property
    def shown(self) -> list[str]:
        """The output that is compared: errors where nothing else was printed. Progress on standard error is not."""
        return (self.output or self.errors).splitlines()


class World:
    """One shell, in which commands run one after the other as they do on a terminal."""

    def __init__(self, shell: subprocess.Popen[str], papers: Path) -> None:
        self._shell = shell
        self._papers = papers
        self._code = 0

    def run(self, command: str) -> Result:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        output, errors = self._papers / "output", self._papers / "errors"
        for paper in (output, errors):  # what runs in the background keeps the old ones
            paper.unlink(missing_ok=True)
        print(
            f"{{ (exit {self._code})\n{command}\n}} >{output} 2>{errors} </dev/null\necho $?",
            file=self._shell.stdin,
            flush=True,
        )
        ready, _, _ = select.select([self._shell.stdout], [], [], WITHIN_S)
        assert ready, f"not within {WITHIN_S:g} s: {command}"
        self._code = int(self._shell.stdout.readline())
        return Result(self._code, output.read_text(), errors.read_text())


def _outside_make() -> dict[str, str]:
    """The environment, without the variables of `make` that would have another one say in which directory it is."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}


@contextmanager
def world(home: Path, papers: Path, variables: Mapping[str, str]) -> Iterator[World]:
    """A shell in `home`, which knows this repository's programs and `variables`."""
    shims = papers / "bin"
    shims.mkdir(parents=True)
    systemctl = shims / "systemctl"
    systemctl.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.docs.systemctl "$@"\n')
    systemctl.chmod(0o755)
    path = f"{shims}:{_VENV}:{os.environ['PATH']}"
    command = ("unshare", *_PRIVATE, "--mount-proc", "sh", "-c", _MAKE)
    with subprocess.Popen(
        command,
        cwd=home,
        env={**_outside_make(), **variables, "PATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        try:
            yield World(shell, papers)
        finally:
            # The kernel ends all processes of a process namespace with the first of them (pid_namespaces(7)).
            shell.kill()
