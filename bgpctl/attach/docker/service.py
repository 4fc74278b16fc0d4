"""
The plugin as a whole: the socket, the driver behind it, the containers' side, and the rounds.

Refuses to know: cluster files, the service manager.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bgpctl.attach import ledger_file
from bgpctl.attach.docker.called import Calling
from bgpctl.attach.docker.driver import Cluster, Driver
from bgpctl.attach.docker.published import Published
from bgpctl.attach.docker.rounds import EVERY_S, Rounds
from bgpctl.attach.docker.sandbox import sandboxes
from bgpctl.attach.docker.server import Server
from bgpctl.attach.docker.waiting import Waiting
from bgpctl.attach.ledger_file import LedgerUnusable
from bgpctl.attach.shared_ipam import SharedIpam
from bgpctl.attach.workloads import Times
from bgpctl.core.ipam.ledger import Workload

log = logging.getLogger("bgpctl.docker")


class Places(NamedTuple):
    """The directory of the ledger, and Docker's own socket."""

    directory: Path
    docker: Path


def run(
    at: socket.socket,
    places: Places,
    cluster: Cluster,
    now: Callable[[], Times],
    ended: threading.Event,
    shared: SharedIpam | None = None,
) -> None:
    """Serve at a socket until the end. Requests are answered from the beginning."""
    unsettled = sandboxes()

    def joined(workload: Workload) -> None:
        unsettled.add(workload.device, workload)
        calling.add(workload)

    driver = Driver(places.directory, cluster, now, joined, Published(), shared)
    calling = Calling(driver, places.docker)
    server = Server(at, driver.answer)
    threads = [
        threading.Thread(target=unsettled.run, name="sandboxes"),
        threading.Thread(target=calling.run, name="names"),
    ]
    for thread in threads:
        thread.start()
    try:
        _resume(places.directory, unsettled)
        rounds = Rounds(driver, places.docker)
        while True:
            rounds.run()
            calling.note_all()
            if ended.wait(EVERY_S):
                return
    finally:
        server.close()
        unsettled.end()
        calling.end()
        for thread in threads:
            thread.join()


def _resume(directory: Path, unsettled: Waiting[Workload]) -> None:
    """The container's side of each endpoint may have been left undone."""
    try:
        found = [workload for workload in ledger_file.read(directory).of_docker() if workload.complete]
    except LedgerUnusable as error:
        log.warning("%s", error)
        return
    for workload in found:
        unsettled.add(workload.device, workload)
