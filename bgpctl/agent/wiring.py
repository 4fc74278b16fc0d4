"""
One node's agent put together: the only module of the agent that chooses implementations of its ports.

Refuses to know: what is done with them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bgpctl.agent import cleanup, service
from bgpctl.agent.runner import Ports
from bgpctl.channel import REVOCATIONS_FILE
from bgpctl.core.dataplane.effects import Failure, Op
from bgpctl.core.net.objects import PROTOCOL
from bgpctl.kernel.host import LinuxHost
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.probes import PacketProber
from bgpctl.ports import NotPossibleNow, Store
from bgpctl.process.checks import HostChecker
from bgpctl.process.clock import LinuxClock
from bgpctl.process.run_directory import DiskRunDirectory
from bgpctl.process.service_manager import Systemd
from bgpctl.speaker.bfd.supervisor import BfdSupervisor
from bgpctl.speaker.exabgp import ExabgpSpeaker
from bgpctl.speaker.with_bfd import SpeakerWithBfd
from bgpctl.store.file import FileStore

_SYSCTLS_BEFORE: Final = "sysctls.json"


def store_of(files: Sequence[Path]) -> Store:
    """The store of a cluster that these files make together."""
    return FileStore(files, LinuxClock())


def store_at(word: str, node: str, keys: Path) -> Store:
    """
    The store in the etcd that a word or a file describes (store/etcd/options.py), in which `node` gives a sign of life;
    `keys` is the directory of its keys. Raises NotPossibleNow.
    """
    # Most clusters have files: 12 modules less in each agent that starts.
    from bgpctl.store.etcd.duties import Presence, Revocations  # noqa: PLC0415
    from bgpctl.store.etcd.options import UnusableStore, options_of  # noqa: PLC0415
    from bgpctl.store.etcd.store import EtcdStore  # noqa: PLC0415

    try:
        store = EtcdStore(options_of(word), LinuxClock())
    except UnusableStore as error:
        raise NotPossibleNow(str(error)) from error
    store.keep(Presence(store.kv, node))
    store.keep(Revocations(store.kv, keys / REVOCATIONS_FILE))
    return store


@dataclass(frozen=True, slots=True)
class Choices:
    """
    The operator's choices for one node.

    Attributes:
        next_hop_objects: routes name them; without, each route has its gateways itself.
        protocol: marks our routes and next hops in the kernel.
        patched: ExaBGP runs with our patches; without, as it is.
        prove_every_s: each path to a member is probed at least so often; None: not at all.
    """

    next_hop_objects: bool = True
    protocol: int = PROTOCOL
    patched: bool = True
    prove_every_s: float | None = None


def run(
    node: str,
    store: Store,
    run_dir: Path,
    drivers: Mapping[str, str],
    servers: service.Servers,
    choices: Choices,
) -> None:
    """
    Run the agent of `node`, as service.run does, with `run_dir` as its run directory. `drivers` has one for each
    encapsulation that lets an operator choose.
    """
    open_kernel = partial(
        LinuxKernel,
        drivers,
        next_hop_objects=choices.next_hop_objects,
        memory=run_dir / _SYSCTLS_BEFORE,
        protocol=choices.protocol,
    )
    bfd = BfdSupervisor(run_dir, alone=True)
    speaker = SpeakerWithBfd(ExabgpSpeaker(run_dir, patched=choices.patched, alone=True), bfd)
    ports = Ports(open_kernel, speaker, store, LinuxClock(), PacketProber(), choices.prove_every_s, HostChecker())
    process = service.Process(LinuxHost(), Systemd(os.environ), DiskRunDirectory(run_dir))
    service.run(node, ports, process, servers)


def clean_up(run_dir: Path, protocol: int) -> tuple[Sequence[Op], tuple[Failure, ...]]:
    """Clean up, as cleanup.clean_up does, after the agent that ran with `run_dir` and `protocol`."""
    open_kernel = partial(LinuxKernel, memory=run_dir / _SYSCTLS_BEFORE, protocol=protocol)
    speaker = SpeakerWithBfd(ExabgpSpeaker(run_dir, alone=True), BfdSupervisor(run_dir, alone=True))
    return cleanup.clean_up(open_kernel, speaker, DiskRunDirectory(run_dir))
