"""
The resolver as a whole: its addresses, its sockets, the names behind them, and a file that shows how it is.

It is a program of its own: what becomes of it changes no route, no workload and no agent. Its addresses stay on `lo`
when it ends. Without them questions would be forwarded to the network; with them they are refused at once.

Refuses to know: cluster files, the store.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bgpctl import filesystem
from bgpctl.attach import netns
from bgpctl.attach.dns import answers
from bgpctl.attach.dns.clients import Clients
from bgpctl.attach.dns.forward import Forwarder
from bgpctl.attach.dns.names import Names
from bgpctl.attach.dns.server import PORT, Answerer, Server
from bgpctl.attach.wiring import RESOLVERS
from bgpctl.core.ipam.names import STATUS_FILE, STATUS_SCHEMA, Named
from bgpctl.core.net.addresses import Address
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.dns")

_EVERY_S: Final = 0.5
"""So often the ledger is read without a question, so that other nodes know of a change."""
_STATUS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Resolver:
    """`run_dir`: the directory of the file that shows how it is."""

    names: Names
    forwarder: Forwarder
    run_dir: Path
    since_s: float

    def run(self, ended: threading.Event) -> None:
        """Serve until the end. Raises Unavailable."""
        addresses = have_addresses()
        names = self.names
        answerer = Answerer(
            Clients(names.devices, time.monotonic),
            lambda question: answers.answered(question, names.zone(), names.is_ours),
            self.forwarder.answer,
        )
        server = Server(addresses, answerer, PORT)
        log.info("names are resolved at %s", " and ".join(map(str, addresses)))
        written_s, shown = 0.0, None
        try:
            while True:
                names.zone()
                if names.own is not shown or time.monotonic() - written_s > _STATUS_S:
                    written_s, shown = time.monotonic(), names.own
                    self._write(addresses, answerer, shown)
                if ended.wait(_EVERY_S):
                    return
        finally:
            server.close()
            names.source.close()

    def _write(self, addresses: list[Address], answerer: Answerer, own: tuple[Named, ...]) -> None:
        others = self.names.source.others()
        document = {
            "schema": STATUS_SCHEMA,
            "since_s": self.since_s,
            "written_s": time.time(),
            "addresses": [str(address) for address in addresses],
            "resolvers": [str(upstream.host) for upstream in self.forwarder.upstreams()],
            "questions": answerer.counted(),
            "incomplete": others.unheard or None,
            "names": list(_rows({None: own, **dict(sorted(others.names.items()))})),
        }
        try:
            self.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            with filesystem.ours(self.run_dir) as directory:
                filesystem.replace(directory, STATUS_FILE, json.dumps(document).encode(), mode=0o644)
        except OSError as error:
            log.warning("%s cannot be written: %s", self.run_dir / STATUS_FILE, error.strerror)


def _rows(names: Mapping[str | None, tuple[Named, ...]]) -> Iterator[dict[str, Any]]:
    """By node, which is None for this node's own."""
    for node, found in names.items():
        for item in found:
            addresses = [str(address) for address in item.addresses]
            yield {"network": item.network, "names": list(item.names), "addresses": addresses, "node": node}


def have_addresses() -> list[Address]:
    """Have the resolver's addresses on `lo`. Those of IPv6 are left out where the host has none. Raises Unavailable."""
    made = []
    for version, address in RESOLVERS.items():
        try:
            scope = "scope host" if version == 4 else "nodad"
            netns.ip([f"address replace {address.host_prefix} dev lo {scope}"])
        except RuntimeError as error:
            if version == 4:
                raise Unavailable(f"the address for questions cannot be had: {error}") from error
            log.warning("no names by IPv6: %s", error)
            continue
        made.append(address)
    return made
