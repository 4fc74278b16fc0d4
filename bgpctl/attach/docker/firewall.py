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
from collections.abc import Callable, Iterable
from typing import Final

log = logging.getLogger("bgpctl.docker")

_PROGRAMS: Final = ("iptables", "ip6tables")
_WAIT_S: Final = 2
"""For the lock of other users of iptables."""
_LIMIT_S: Final = 5
_MARK: Final = "bgpctl"
_LINKS: Final = "cali+"
_DROPS: Final = "-P FORWARD DROP"
_DIRECTIONS: Final = ("-i", "-o")


def let_workloads_pass() -> None:
    """Append the rules that are missing where the policy is to drop. A failure is logged."""
    for program in _installed():
        _change(program, "-A", lambda shown, direction: _DROPS in shown and not _is_there(shown, direction))


def remove() -> None:
    """Remove the rules."""
    for program in _installed():
        _change(program, "-D", _is_there)


def _installed() -> Iterable[str]:
    return filter(shutil.which, _PROGRAMS)


def _change(program: str, verb: str, is_due: Callable[[list[str], str], bool]) -> None:
    try:
        shown = _run(program, "-S", "FORWARD").splitlines()
        for direction in _DIRECTIONS:
            if is_due(shown, direction):
                _run(program, verb, "FORWARD", direction, _LINKS, "-m", "comment", "--comment", _MARK, "-j", "ACCEPT")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.warning("the chain FORWARD of %s cannot be changed: %s", program, error)


def _is_there(shown: Iterable[str], direction: str) -> bool:
    return any(f" {direction} {_LINKS} " in line and _MARK in line for line in shown)


def _run(program: str, *words: str) -> str:
    command = (program, "-w", str(_WAIT_S), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout
