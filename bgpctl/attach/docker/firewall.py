"""
Docker's firewall, made to let workloads' packets pass: it drops what is forwarded and not its own bridges'.

Docker sets the policy of the chain FORWARD to DROP when it starts. A verdict of our own table does not undo that. So
two rules are appended, behind all that Docker and the operator have there: his own rules still decide first.

Refuses to know: other firewalls; `bgpctl doctor` names these.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
from collections.abc import Iterable
from typing import Final

log = logging.getLogger("bgpctl.docker")

_PROGRAMS: Final = ("iptables", "ip6tables")
_WAIT_S: Final = 1
"""For the lock of other users of iptables."""
_LIMIT_S: Final = 5
_MARK: Final = "bgpctl"
_LINKS: Final = "cali+"
_CHAIN: Final = "FORWARD"
_DROPS: Final = f"-P {_CHAIN} DROP"
_DIRECTIONS: Final = ("-i", "-o")
_ONE: Final = threading.Lock()
"""Two threads would append the same rule twice."""


def let_workloads_pass() -> None:
    """Append the rules that are missing where the policy is to drop. A failure is logged."""
    for program in filter(shutil.which, _PROGRAMS):
        try:
            with _ONE:
                _append_missing(program)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            log.warning("the chain %s of %s cannot be changed: %s", _CHAIN, program, error)


def _append_missing(program: str) -> None:
    shown = _run(program, "-S", _CHAIN).splitlines()
    for direction in _DIRECTIONS if _DROPS in shown else ():
        if not _is_there(shown, direction):
            _run(program, "-A", _CHAIN, direction, _LINKS, "-m", "comment", "--comment", _MARK, "-j", "ACCEPT")


def _is_there(shown: Iterable[str], direction: str) -> bool:
    return any(f" {direction} {_LINKS} " in line and _MARK in line for line in shown)


def _run(program: str, *words: str) -> str:
    command = (program, "-w", str(_WAIT_S), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout
