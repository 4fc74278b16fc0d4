"""
Facts about this host for `bgpctl doctor`, of the calling thread's network namespace, in which it changes nothing: tests
that need changes run in a temporary namespace. The kernel may load its modules of VXLAN and nftables for that.

Refuses to know: which facts are good ones.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgpctl.core.fabric.host import Facts
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.trace.netfilter import Chain
from bgpctl.kernel import chains, neighbours, nft, snapshot, sockets, sysctl
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.linux import LinuxKernel

_CLONE_NEWNET: Final = 0x40000000
_CAP_NET_ADMIN: Final = 12
_SYSCTLS: Final = ("net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter")
_libc: Final = ctypes.CDLL(None, use_errno=True)


def survey(*, agent: bool) -> Facts:
    """
    All facts of the host; `agent` is true if an agent of ours answers here.

    Raises:
        Unavailable: no netlink here.
    """
    dataplane, next_hop_objects = _seen()
    tunnels, namespaces = _surveyed()
    return Facts(
        platform.release(),
        privileged=_holds(_CAP_NET_ADMIN),
        next_hop_objects=next_hop_objects,
        tunnels=tunnels,
        nftables_missing=_nftables_missing(),
        namespaces=namespaces,
        sysctls=_sysctls(dataplane),
        dataplane=dataplane,
        listening=frozenset(sockets.ports("tcp", sockets.LISTENING)),
        bound=frozenset(sockets.ports("udp", sockets.BOUND)),
        chains=_chains(),
        silent=_silent(),
        legacy=snapshot.legacy_tables(),
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


def _surveyed() -> tuple[Mapping[str, object], bool]:
    """The facts of each encapsulation, and whether a temporary network namespace could be made to test it in."""
    found: list[Mapping[str, object]] = []
    thread = threading.Thread(target=_try_in_a_namespace, args=(found.append,))
    thread.start()
    thread.join()
    return (found[0], True) if found else (_survey(tried=False), False)


def _try_in_a_namespace(report: Callable[[Mapping[str, object]], None]) -> None:
    """The thread's namespace ends with it."""
    if _libc.unshare(_CLONE_NEWNET) == 0:
        report(_survey(tried=True))


def _survey(*, tried: bool) -> Mapping[str, object]:
    return {name: item.survey(tried=tried) for name, item in IMPLEMENTATIONS.items()}


def _nftables_missing() -> str | None:
    try:
        nft.ruleset()
    except OSError as error:
        return error.strerror
    return None


def _sysctls(dataplane: Dataplane) -> dict[str, str]:
    names = [*_SYSCTLS, *(f"net/ipv4/conf/{link.name}/rp_filter" for link in dataplane.links)]
    return {found.name: found.value for found in map(sysctl.read, names) if found}


def _silent() -> frozenset[tuple[str, Address]]:
    """None where netlink does not answer."""
    with suppress(OSError):
        return neighbours.silent_neighbours()
    return frozenset()


def _chains() -> tuple[Chain, ...]:
    """Base chains of other programs; none where nftables does not answer."""
    with suppress(OSError):
        return chains.chains(nft.ruleset(), nft.OURS)
    return ()
