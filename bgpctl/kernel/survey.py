"""
Facts about this host for `bgpctl doctor`, of the calling thread's network namespace, in which it changes nothing: what
has to be tried out is tried in a namespace that nobody else sees. The kernel may load its modules of VXLAN and nftables
for that.

Refuses to know: which facts are good ones.
"""

from __future__ import annotations

import ctypes
import platform
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.trace.doctor import Chain, Facts
from bgpctl.kernel import nft, sockets, sysctl
from bgpctl.kernel.bpf import tcx
from bgpctl.kernel.ipip_bpf import BpfIpip
from bgpctl.kernel.links import Links
from bgpctl.kernel.linux import LinuxKernel

_CLONE_NEWNET: Final = 0x40000000
_CAP_NET_ADMIN: Final = 12
_SYSCTLS: Final = ("net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter")
_TRIAL_LINKS: Final = (
    {"ifname": "trial0", "kind": "veth", "peer": "trial1"},
    {"ifname": "trial", "kind": "vxlan", "vxlan_id": 1, "vxlan_port": 4789, "vxlan_local": "192.0.2.1"},
)
_libc: Final = ctypes.CDLL(None, use_errno=True)


def survey(*, agent: bool) -> Facts:
    """
    Everything that is asked about; `agent` says whether an agent of ours answers here.

    Raises:
        Unavailable: no netlink here.
    """
    dataplane, next_hop_objects = _seen()
    vxlan, bpf_lacks, namespaces = _tried()
    return Facts(
        platform.release(),
        privileged=_holds(_CAP_NET_ADMIN),
        next_hop_objects=next_hop_objects,
        vxlan=vxlan,
        ipip_module=_has_module("ipip"),
        bpf_lacks=bpf_lacks,
        tcx=tcx.is_known(),
        nftables_lacks=_nftables_lacks(),
        namespaces=namespaces,
        sysctls=_sysctls(dataplane),
        dataplane=dataplane,
        listening=frozenset(sockets.ports("tcp", sockets.LISTENING)),
        bound=frozenset(sockets.ports("udp", sockets.BOUND)),
        firewall=tuple(_firewall()),
        agent=agent,
    )


def _seen() -> tuple[Dataplane, bool]:
    kernel = LinuxKernel()
    try:
        return kernel.observe(), kernel.has_next_hop_objects
    finally:
        kernel.close()


def _holds(capability: int) -> bool:
    status = Path("/proc/thread-self/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(mask, 16) >> capability & 1)


def _has_module(name: str) -> bool:
    """Loaded, built in, or there to be loaded; asking does not load it."""
    if Path("/sys/module", name).exists():
        return True
    with suppress(FileNotFoundError):
        return subprocess.run(("modprobe", "-n", "-q", name), capture_output=True, check=False).returncode == 0
    return False


def _tried() -> tuple[bool, str | None, bool]:
    """Results of trying: whether VXLAN devices can be made, what BPF lacks, and whether namespaces can be made."""
    found: list[tuple[bool, str | None]] = []
    thread = threading.Thread(target=_try_in_a_namespace, args=(found.append,))
    thread.start()
    thread.join()
    return (*found[0], True) if found else (_has_module("vxlan"), "not tried: no network namespace", False)


def _try_in_a_namespace(told: Callable[[tuple[bool, str | None]], None]) -> None:
    """The thread's namespace ends with it."""
    if _libc.unshare(_CLONE_NEWNET) == 0:
        told((_makes_links(), _bpf_lacks()))


def _makes_links() -> bool:
    links = Links()
    try:
        for arguments in _TRIAL_LINKS:
            links.create(arguments)
    except OSError:
        return False
    else:
        return True
    finally:
        links.close()


def _bpf_lacks() -> str | None:
    try:
        BpfIpip().close()
    except OSError as error:
        return error.strerror
    return None


def _nftables_lacks() -> str | None:
    try:
        nft.ruleset()
    except OSError as error:
        return error.strerror
    return None


def _sysctls(dataplane: Dataplane) -> dict[str, str]:
    names = [*_SYSCTLS, *(f"net/ipv4/conf/{link.name}/rp_filter" for link in dataplane.links)]
    return {found.name: found.value for found in map(sysctl.read, names) if found}


def _firewall() -> Iterator[Chain]:
    """Base chains for IPv4 packets whose policy is to drop; none where nftables does not answer."""
    with suppress(OSError):
        for item in nft.ruleset():
            chain: dict[str, Any] = item.get("chain", {})
            if chain.get("policy") == "drop" and chain["family"] in ("ip", "inet"):
                yield Chain(chain["family"], chain["table"], chain["name"], chain["hook"])
