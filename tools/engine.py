"""
A Docker engine for as long as it is needed: the one that answers, or one of its own in a network namespace without an
uplink, so that nothing is changed on this machine and no packet of a lab can leave it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_START_WITHIN_S: Final = 120.0
_STOP_WITHIN_S: Final = 60.0


class NoEngine(Exception):
    """The engine that was started here does not answer; the text is the end of its log."""


@contextmanager
def engine() -> Iterator[str | None]:
    """The address of an engine, as DOCKER_HOST has it; None for the one that docker(1) finds by itself."""
    if answers(None):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bgpctl-docker-") as place, _own(Path(place)) as host:
        yield host


def answers(host: str | None) -> bool:
    """True if an engine answers there."""
    where = ("-H", host) if host else ()
    return subprocess.run(("docker", *where, "version"), capture_output=True, check=False).returncode == 0


@contextmanager
def _own(place: Path) -> Iterator[str]:
    namespace = f"dockerd-{os.getpid()}"
    subprocess.run(("ip", "netns", "add", namespace), check=True)
    subprocess.run(("ip", "-n", namespace, "link", "set", "lo", "up"), check=True)
    host = f"unix://{place}/sock"
    # `ip netns exec` would mount another /sys, and hide the control groups.
    enter = ("nsenter", f"--net=/run/netns/{namespace}", "dockerd", "-H", host)
    where = ("--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "-p", f"{place}/pid")
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen((*enter, *where), stdout=output, stderr=output, start_new_session=True)
    try:
        _wait(process, host, log)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=_STOP_WITHIN_S)
        subprocess.run(("umount", f"{place}/exec/netns/default"), capture_output=True, check=False)
        subprocess.run(("ip", "netns", "delete", namespace), check=True)


def _wait(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    until_s = time.monotonic() + _START_WITHIN_S
    while not answers(host):
        if process.poll() is not None or time.monotonic() > until_s:
            raise NoEngine(log.read_text(errors="replace")[-2000:])
        time.sleep(0.1)
