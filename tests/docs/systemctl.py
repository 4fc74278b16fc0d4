"""
`systemctl` for documents, where no systemd runs: it does with the unit what tests/service.py knows of systemd.

Refuses to know: any other unit than bgpctl-agent, and any verb that no document uses.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.docs.world import WITHIN_S
from tests.service import PREFIX, Unit, start

_UNIT: Final = Path("/etc/systemd/system/bgpctl-agent.service")
_PID: Final = Path("/run/bgpctl-agent.pid")
_RUN_DIR: Final = Path("/run")


def _start() -> None:
    unit = Unit.read(_UNIT)
    settings = Path(unit.one("EnvironmentFile").removeprefix("-"))
    lines = settings.read_text().splitlines() if settings.exists() else []
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    variables = {**unit.environment(socket.gethostname()), **given}
    run_dir = _RUN_DIR / unit.one("RuntimeDirectory")
    _PID.write_text(str(start(unit, Path(PREFIX), run_dir, variables, _spawn, WITHIN_S).pid))


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )


def _stop() -> None:
    handle = os.pidfd_open(int(_PID.read_text()))
    signal.pidfd_send_signal(handle, signal.SIGTERM)
    ended, _, _ = select.select([handle], [], [], WITHIN_S)
    assert ended, "the agent does not end"


def main(words: Sequence[str]) -> None:
    match words:
        case ["daemon-reload"]:
            Unit.read(_UNIT)
        case ["enable", "--now", "bgpctl-agent"]:
            _start()
        case ["restart", "bgpctl-agent"]:
            _stop()
            _start()
        case ["disable", "--now", "bgpctl-agent"]:
            _stop()
        case _:
            sys.exit(f"unknown here: systemctl {' '.join(words)}")


if __name__ == "__main__":
    main(sys.argv[1:])
