"""
Hints for an operator about a refusal.

Refuses to know: how the operation was attempted.
"""

from __future__ import annotations

import errno
from typing import Final

from bgpctl.core.net.objects import Decap, KernelObject, Link, NextHop, NextHopGroup, Route
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS

_PRIVILEGE: Final = "run as root or with CAP_NET_ADMIN"
_GENERAL: Final = {
    errno.EPERM: _PRIVILEGE,
    errno.EACCES: _PRIVILEGE,
    errno.ENOPKG: "install nftables: it filters what comes from tunnels and workloads, and does natOutgoing",
}


def hint(obj: KernelObject, code: int) -> str:
    """The remedy for an error; empty where only the kernel's message is known."""
    match obj, code:
        case _, errno.ENODEV:
            return f"there is no link {_link_of(obj)} here"
        case _, errno.ENETDOWN:
            return f"set link {_link_of(obj)} up"
        case Link() as link, _ if remedy := _of_its_encapsulation(link, code):
            return remedy
        case Link() | Decap(), errno.EOPNOTSUPP:
            return "this kernel lacks the device type: load its module, or install a kernel that has it"
        case NextHop(), errno.EOPNOTSUPP:
            return "next-hop objects need Linux 5.3"
        case NextHop(gateway=gateway), errno.EINVAL | errno.EHOSTUNREACH | errno.ENETUNREACH:
            return f"{gateway} cannot be a gateway on link {_link_of(obj)}"
        case NextHopGroup(members=members), errno.EINVAL:
            return f"next-hop objects {', '.join(map(str, members))} must all exist, and be no groups"
        case Route(next_hop=number), errno.EINVAL if number:
            return f"next-hop object {number} does not exist"
        case _:
            return _GENERAL.get(code, "")


def _of_its_encapsulation(link: Link, code: int) -> str | None:
    return next((remedy for item in IMPLEMENTATIONS.values() if (remedy := item.hint(link, code))), None)


def _link_of(obj: KernelObject) -> str | None:
    match obj:
        case Link(name=name, kind=kind):
            return kind.stands_on() or name
        case Decap(underlay=underlay):
            return underlay
        case _:
            return getattr(obj, "link", None)
