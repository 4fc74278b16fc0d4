"""
Requests for links and addresses, packed by pyroute2's message classes, which know the attributes of each kind of link.

The classes alone are imported, at the first use: pyroute2 itself imports all its interfaces and asyncio, for a fifth of
a second and 14 MB, where the classes take 0.04 s and 3 MB. They are sent as all other requests are (netlink.py).

Refuses to know: sockets, the present and the wanted state.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec, module_from_spec
from typing import Any, Final, TypeAlias

from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.kernel.encode import FAMILY, RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK
from bgpctl.kernel.netlink import NLM_F_CREATE, Request

Arguments: TypeAlias = Mapping[str, object]
"""
The attributes of a link by name: `ifname`, `mtu`, `address` (its MAC), `ifalias`; `state`, "up" or "down"; `flags` with
the `mask` of those that change; `kind`; `peer`, the name of a veth's other end; those of its kind, such as `vxlan_id`.
"""

_PACKAGE: Final = "pyroute2"
_NLM_F_EXCL: Final = 0x200
_IFF_UP: Final = 1
_IFA_F_NODAD: Final = 2
_RT_SCOPE_HOST: Final = 254
_HEADER_BYTES: Final = 16
_PLAIN: Final = ("ifname", "mtu", "address", "ifalias")
_STATES: Final = {"up": _IFF_UP, "down": 0}


def create_link(arguments: Arguments) -> Request:
    """Make a link; EEXIST if its name is taken."""
    return Request(RTM_NEWLINK, NLM_F_CREATE | _NLM_F_EXCL, _link(0, arguments))


def change_link(index: int, arguments: Arguments) -> Request:
    """Set attributes of the link with this interface index."""
    return Request(RTM_NEWLINK, 0, _link(index, arguments))


def remove_link(index: int) -> Request:
    """Delete the link with this interface index."""
    return Request(RTM_DELLINK, 0, _link(index, {}))


def remove_link_named(name: str) -> Request:
    """Delete the link with this name."""
    return Request(RTM_DELLINK, 0, _link(0, {"ifname": name}))


def add_address(index: int, address: InterfaceAddress, protocol: int = 0) -> Request:
    """
    Add an address to the link with this interface index, EEXIST if it is there; usable at once. `protocol` marks it
    (IFA_PROTO, since Linux 5.18; earlier kernels ignore the mark) as one that the node has in common with others.
    """
    return Request(RTM_NEWADDR, NLM_F_CREATE | _NLM_F_EXCL, _address(index, address, protocol))


def remove_address(index: int, address: InterfaceAddress) -> Request:
    """Remove an address; EADDRNOTAVAIL if it is not there."""
    return Request(RTM_DELADDR, 0, _address(index, address))


def _link(index: int, arguments: Arguments) -> bytes:
    of_kind, own = _divided(arguments)
    flags, mask = own.pop("flags", 0), own.pop("mask", 0)
    if "state" in own:
        flags, mask = _STATES[str(own.pop("state"))], _IFF_UP
    attributes = [(f"IFLA_{name.upper()}", own.pop(name)) for name in _PLAIN if name in own]
    if "kind" in own:
        attributes.append(("IFLA_LINKINFO", _link_info(own.pop("kind"), of_kind)))
    if own:
        raise TypeError(f"unknown attributes of a link: {', '.join(own)}")
    link, _ = _classes()
    return _packed(link, {"index": index, "flags": flags, "change": mask}, attributes)


def _divided(arguments: Arguments) -> tuple[dict[str, object], dict[str, Any]]:
    """The attributes of its kind, and the others."""
    prefix = f"{arguments.get('kind', '')}_"
    of_kind = {name: value for name, value in arguments.items() if name.startswith(prefix) or name == "peer"}
    return of_kind, {name: value for name, value in arguments.items() if name not in of_kind}


def _link_info(kind: object, of_kind: Mapping[str, object]) -> dict[str, object]:
    data = [_of_kind(name, value) for name, value in of_kind.items()]
    info = [("IFLA_INFO_KIND", kind), *([("IFLA_INFO_DATA", {"attrs": data})] if data else [])]
    return {"attrs": info}


def _of_kind(name: str, value: object) -> tuple[str, object]:
    if name == "peer":
        return "VETH_INFO_PEER", {"attrs": [("IFLA_IFNAME", value)]}
    return f"IFLA_{name.upper()}", value


def _address(index: int, address: InterfaceAddress, protocol: int = 0) -> bytes:
    text, version = str(address.address), address.address.version
    attributes: list[tuple[str, Any]] = [("IFA_ADDRESS", text)]
    if version == 4:
        attributes.append(("IFA_LOCAL", text))
    if protocol:
        attributes.append(("IFA_PROTO", protocol))
    # IPv6 would first run duplicate address detection, for a second or more.
    header = {"family": FAMILY[version], "prefixlen": address.length, "index": index}
    if protocol:
        # Found by packets as any, and never chosen as their source (inet_select_addr): others have it too.
        header["scope"] = _RT_SCOPE_HOST
    _, of_address = _classes()
    return _packed(of_address, header | ({"flags": _IFA_F_NODAD} if version == 6 else {}), attributes)


def _packed(kind: Any, header: Mapping[str, object], attributes: list[tuple[str, Any]]) -> bytes:
    message = kind()
    unknown = [name for name, _ in attributes if not message.valid_nla(name)]
    if unknown:
        raise TypeError(f"pyroute2 knows no {', '.join(unknown)}")
    message.update(header)
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data[_HEADER_BYTES:])


@cache
def _classes() -> tuple[Any, Any]:
    """The messages of links and of addresses."""
    with _without_its_init():
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
    return ifinfmsg, ifaddrmsg


@contextmanager
def _without_its_init() -> Iterator[None]:
    """A module that only has pyroute2's path, while its parts are imported; not where all of it is imported already."""
    spec = find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None:
        yield
        return
    sys.modules[_PACKAGE] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]
