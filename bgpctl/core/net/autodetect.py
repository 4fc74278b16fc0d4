"""
The address by which a node is reached, chosen among those of its links as Calico's `IP_AUTODETECTION_METHOD` says.

A method is a value, and the choice is a function of it and of the host's addresses. Where two addresses would do, the
first in the kernel's order is taken, as Calico does, so that the same host answers the same each time.

Refuses to know: how addresses and routes are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from bgpctl.core.net.addresses import LINK_LOCAL, Address, InterfaceAddress, Prefix
from bgpctl.core.net.objects import LinkAddress

_LOOPBACKS: Final = (Prefix.parse("127.0.0.0/8"), Prefix.parse("::1/128"))
_IPV4_LINK_LOCAL: Final = Prefix.parse("169.254.0.0/16")
_NOT_THE_UNDERLAY: Final = re.compile(
    r"docker.*|cbr.*|dummy.*|podman.*|virbr.*|lxcbr.*|veth.*|lo|br-.*|cali.*|tunl.*|flannel.*|kube-ipvs.*|cni.*"
    r"|nodelocaldns.*|.*\.calico|.*\.cali|.*\.bgpctl"
)
"""Links of containers, and of tunnels: those that calico/node leaves out too, and ours."""


@dataclass(frozen=True, slots=True)
class FirstFound:
    """The first address of the first link that is none of containers or tunnels."""

    def __str__(self) -> str:
        return "first-found"


@dataclass(frozen=True, slots=True)
class CanReach:
    """The address from which the host would send to this one."""

    target: Address

    def __str__(self) -> str:
        return f"can-reach={self.target}"


@dataclass(frozen=True, slots=True)
class OnInterface:
    """The first address of the first link whose whole name matches one of the expressions."""

    expressions: tuple[re.Pattern[str], ...]

    def __str__(self) -> str:
        return f"interface={','.join(one.pattern for one in self.expressions)}"


@dataclass(frozen=True, slots=True)
class InPrefix:
    """The first address inside one of these prefixes, on whichever link."""

    prefixes: tuple[Prefix, ...]

    def __str__(self) -> str:
        return f"cidr={','.join(map(str, self.prefixes))}"


Method: TypeAlias = FirstFound | CanReach | OnInterface | InPrefix


class NoAddress(Exception):
    """No address fits the method, in words."""


def parse(text: str) -> Method:
    """`first-found`, `can-reach=ADDRESS`, `interface=REGEX,…` or `cidr=CIDR,…`. Raises ValueError with the reason."""
    kind, _, value = text.partition("=")
    values = tuple(value.split(","))
    try:
        match kind:
            case "first-found" if "=" not in text:
                return FirstFound()
            case "can-reach" if value:
                return CanReach(Address.parse(value))
            case "interface" if all(values):
                return OnInterface(tuple(map(re.compile, values)))
            case "cidr" if all(values):
                return InPrefix(tuple(map(Prefix.parse, values)))
    except re.error as error:
        raise ValueError(f"{text!r}: {error.pattern!r} is no regular expression: {error.msg}") from error
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error
    raise ValueError(f"{text!r} is none of first-found, can-reach=ADDRESS, interface=REGEX and cidr=CIDR")


def choose(method: Method, addresses: Sequence[LinkAddress], source: Address | None) -> InterfaceAddress:
    """
    The node's address with the length of its network. `addresses` are those of the host in the kernel's order; `source`
    is the address from which it would send to the target of `CanReach`, None: it has no route there.

    Raises:
        NoAddress: none fits; the message has those that there are.
    """
    usable = [item for item in addresses if _is_usable(item.address.address)]
    match method:
        case FirstFound():
            found = [item for item in usable if not _NOT_THE_UNDERLAY.fullmatch(item.link)]
        case CanReach():
            found = [item for item in usable if item.address.address == source]
        case OnInterface(expressions=expressions):
            found = [item for item in usable if any(one.fullmatch(item.link) for one in expressions)]
        case InPrefix(prefixes=prefixes):
            found = [item for item in usable if any(prefix.holds(item.address.address) for prefix in prefixes)]
    found.sort(key=lambda item: item.address.address.version)  # stable: IPv4 first, as nodes of Calico have it
    if found:
        return found[0].address
    there = ", ".join(f"{item.link} {item.address}" for item in usable) or "none that could be"
    raise NoAddress(f"no address of this host fits {method}; it has: {there}")


def _is_usable(address: Address) -> bool:
    """False of those that no other host can send to."""
    return not any(prefix.holds(address) for prefix in (*_LOOPBACKS, _IPV4_LINK_LOCAL, LINK_LOCAL))
