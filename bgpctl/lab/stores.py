"""
The etcd of a lab: its members on hosts outside the cluster, filled from the lab's file, and its configuration replaced.

The agents of such a lab read no file. What the file says of the cluster is put into the etcd once, as
`bgpctl cluster import` does, before they start; afterwards the settings in it are applied as `bgpctl apply` does.

Refuses to know: how records are written (store/etcd), how members are started (etcd.py).
"""

from __future__ import annotations

import time
from pathlib import Path
from subprocess import Popen
from typing import Final

from bgpctl.core.cluster.intent import Intent
from bgpctl.lab import etcd, netns
from bgpctl.lab.build import Names
from bgpctl.lab.etcd import Member
from bgpctl.lab.topology import Topology
from bgpctl.ports import NotPossibleNow, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.store.etcd import importing
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway, Rejected
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.options import Endpoint, Options
from bgpctl.store.etcd.store import EtcdStore
from bgpctl.store.texts import proposal_of

_UP_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.05
STORE_FILE: Final = "store.yaml"
_CONFIGURATION: Final = "configuration.yaml"
"""In the lab's directory: the settings of the cluster, without its nodes."""


def members(topology: Topology, directory: Path) -> tuple[Member, ...]:
    """One for each host that keeps the etcd."""
    hosts = {host.name: host for host in topology.hosts}
    return tuple(Member(name, hosts[name].addresses[0].address, directory / "etcd" / name) for name in topology.stores)


def start(topology: Topology, names: Names, directory: Path) -> dict[str, Popen[bytes]]:
    """Start all members, in the namespaces of their hosts, which end them. By name."""
    every = members(topology, directory)
    for member in every:
        member.directory.parent.mkdir(parents=True, exist_ok=True)
    return {member.name: start_one(topology, names, directory, member.name) for member in every}


def start_one(topology: Topology, names: Names, directory: Path, name: str) -> Popen[bytes]:
    """Start one member, again too, with what it has kept."""
    every = members(topology, directory)
    member = next(member for member in every if member.name == name)
    log = directory / "etcd" / f"{name}.log"
    return netns.spawn(names.of(name), etcd.command(member, every), log)


def options_of(topology: Topology, directory: Path) -> Options:
    """The etcd as clients in the lab reach it."""
    every = members(topology, directory)
    endpoints = tuple(Endpoint(tls=False, host=str(member.address), port=member.client_port) for member in every)
    return Options(endpoints)


def write_options(topology: Topology, directory: Path, run_dir: Path) -> Path:
    """The file by which the agent of this run directory finds the etcd."""
    endpoints = ", ".join(f"'{member.endpoint}'" for member in members(topology, directory))
    file = run_dir / STORE_FILE
    file.write_text(f"endpoints: [{endpoints}]\nsnapshot: snapshot.json\n")
    return file


def fill(topology: Topology, names: Names, directory: Path) -> None:
    """Put the whole cluster in, once the etcd answers. Raises RuntimeError."""
    parts = importing.parts_of(topology.intent)
    file = directory / _CONFIGURATION
    file.write_text(parts.configuration)
    options = options_of(topology, directory)

    def put() -> None:
        kv = Kv(Gateway(options, PATIENT_S), options.cluster)
        deadline = time.monotonic() + _UP_WITHIN_S
        while not _answers(kv):
            if time.monotonic() > deadline:
                raise RuntimeError(f"etcd does not answer; its log is in {directory / 'etcd'}")
            time.sleep(_POLL_S)
        importing.put(kv, str(file), parts)

    try:
        netns.inside(names.of(topology.stores[0]), put)
    except NotPossibleNow as error:
        raise RuntimeError(str(error)) from error


def _answers(kv: Kv) -> bool:
    try:
        kv.read("meta")
    except (Unavailable, Rejected):
        return False
    return True


def apply(topology: Topology, names: Names, directory: Path, intent: Intent) -> None:
    """The settings of `intent` as the cluster's configuration, in one transaction. Raises RuntimeError."""
    text = importing.parts_of(intent).configuration
    (directory / _CONFIGURATION).write_text(text)
    options = options_of(topology, directory)

    def propose() -> None:
        EtcdStore(options, LinuxClock(), answer_s=PATIENT_S).propose(proposal_of((text,)))

    try:
        netns.inside(names.of(topology.stores[0]), propose)
    except NotPossibleNow as error:
        raise RuntimeError(str(error)) from error
