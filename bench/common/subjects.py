"""
The programs that are compared, each started on the node of a site with the same sessions.

Refuses to know: what is measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from bench.common.site import MASK, NODE, Site, peer_address
from bgpctl import client
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab import netns
from bgpctl.lab.daemons import bird, frr
from bgpctl.lab.daemons.session_options import Neighbor, Router, missing
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon
from tests.interop.frr import Frr
from tests.interop.gobgp import configuration as gobgp_configuration
from tests.waiting import wait_until

POOL: Final = {4: Prefix.parse("11.0.0.0/8"), 6: Prefix.parse("fd11::/32")}
CLUSTER_ID: Final = Address.parse("224.0.0.1")


def start_bgpctl(site: Site, versions: Iterable[int], *, reflector: bool = False) -> None:
    """An agent, its ExaBGP and its bridge; without encapsulation, as the others do it."""
    file = site.directory / "cluster.yaml"
    file.write_text(cluster(site, versions, reflector=reflector))
    run_dir = site.directory / "node"
    run_dir.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "bgpctl", "agent", "run", "--node", "us", "-f", str(file))
    netns.spawn(site.node, (*command, "--run-dir", str(run_dir)), run_dir / "agent.log")


def cluster(site: Site, versions: Iterable[int], *, reflector: bool = False) -> str:
    """The node, `us`, and all its peers, p0 …; as the reflector it has them as its clients."""
    addresses = {f"p{number}": [peer_address(number, version) for version in versions] for number in range(site.peers)}
    hub = f", clusterID: {CLUSTER_ID}, labels: {{hub: 'yes'}}" if reflector else ""
    rows = [_node("us", [NODE[version] for version in versions], hub)]
    rows += [_node(name, own) for name, own in addresses.items()]
    mesh = ["mesh: false", 'peers: {clients: {nodes: "!has(hub)", peerSelector: has(hub)}}'] if reflector else []
    return "\n".join(
        [
            "calico_backend: bird",
            "pools:",
            f"  four: {{cidr: {POOL[4]}, encapsulation: None}}",
            f'  six: {{cidr: "{POOL[6]}", encapsulation: None}}',
            *mesh,
            "nodes:",
            *rows,
            "",
        ]
    )


def _node(name: str, addresses: Iterable[Address], more: str = "") -> str:
    keys = {4: "address", 6: "address6"}
    words = [f'{keys[own.version]}: "{own}/{MASK[own.version]}"' for own in addresses]
    return f"  {name}: {{{', '.join(words)}{more}}}"


def start_daemon(kind: Callable[..., Daemon], site: Site, versions: Iterable[int], *, reflector: bool = False) -> None:
    """Another daemon with the same sessions."""
    kind(site.place()).start(_router(site, versions, reflector=reflector))


def _router(site: Site, versions: Iterable[int], *, reflector: bool) -> Router:
    neighbors = tuple(
        Neighbor(peer_address(number, version), NODE[version], client=reflector)
        for version in versions
        for number in range(site.peers)
    )
    return Router(NODE[4], neighbors, cluster_id=CLUSTER_ID if reflector else None)


def start_gobgp(site: Site, versions: Iterable[int], *, reflector: bool = False) -> None:
    """
    GoBGP alone, which writes nothing into the kernel: Debian's 3.10 ends with a panic on the first message of Debian's
    zebra 8.4, whichever version of FRR it is told.
    """
    place = site.place()
    configuration = gobgp_configuration(_router(site, versions, reflector=reflector))
    for neighbor in configuration["neighbors"]:
        del neighbor["config"]["admin-down"]
    place.file("gobgpd.json").write_text(json.dumps(configuration))
    place.spawn("gobgpd", "-t", "json", "-f", place.file("gobgpd.json"), "--pprof-disable")


def _bird(site: Site, versions: Iterable[int], *, reflector: bool = False) -> None:
    start_daemon(Bird, site, versions, reflector=reflector)


def _frr(site: Site, versions: Iterable[int], *, reflector: bool = False) -> None:
    start_daemon(Frr, site, versions, reflector=reflector)


SUBJECTS: Final[Mapping[str, Callable[..., None]]] = {"bgpctl": start_bgpctl, "FRR": _frr, "BIRD": _bird}
"""Programs that put routes into the kernel."""
SPEAKERS: Final[Mapping[str, Callable[..., None]]] = {**SUBJECTS, "GoBGP": start_gobgp}
_PROGRAMS: Final = {"GoBGP": ("gobgpd",), "FRR": frr.PROGRAMS, "BIRD": bird.PROGRAMS}


def present(subjects: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The programs that can run here, and of each other one the reason."""
    lacking = {name: missing(_PROGRAMS.get(name, ())) for name in subjects}
    absent = {name: f"no {', '.join(programs)}" for name, programs in lacking.items() if programs}
    return [name for name in lacking if name not in absent], absent


def rested(site: Site) -> bool:
    """True once an agent has converged; of another program, always."""
    socket = site.directory / "node" / client.SOCKET
    if not socket.exists():
        return True
    try:
        return bool(client.read(socket, "summary")["converged"])
    except client.AgentAway:
        return False


def rest(site: Site, within_s: float = 120.0) -> None:
    """Wait until the agent has converged."""
    wait_until(lambda: rested(site), within_s=within_s)
