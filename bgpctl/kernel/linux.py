"""
The Kernel door on the running kernel, for the network namespace in which it was opened.

Links and addresses go through pyroute2, everything that comes in great numbers through netlink.py.

Refuses to know: why an operation is wanted.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bgpctl.core.effects import Failure, Op, Put
from bgpctl.core.model import (
    ALIAS,
    IPIP_LINK,
    Dataplane,
    Decap,
    FdbEntry,
    Ipip,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    Route,
    Sysctl,
    Vxlan,
)
from bgpctl.kernel import decode, sysctl
from bgpctl.kernel.encode import message
from bgpctl.kernel.ipip import IpipDriver, choose_driver
from bgpctl.kernel.netlink import Channel
from bgpctl.kernel.watch import Watch
from bgpctl.ports import Kernel, Unavailable

T = TypeVar("T")

_RTM_GETLINK, _RTM_GETADDR, _RTM_GETROUTE, _RTM_GETNEIGH, _RTM_GETNEXTHOP = 18, 22, 26, 30, 106
_AF_BRIDGE: Final = b"\x07"
_LOCAL_TABLE: Final = 255
_BATCHED: Final = (Route, NextHop, Neighbour, FdbEntry)
_ABSENT: Final = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}
_HINTS: Final = {
    errno.EPERM: "run as root or with CAP_NET_ADMIN",
    errno.ENODEV: "the link does not exist (any more)",
    errno.EEXIST: "somebody else has a device with this name, or with this VNI and port",
    errno.ENETDOWN: "the link is down",
    errno.EOPNOTSUPP: "this kernel or device cannot do that",
}
_GLOBAL_SYSCTLS: Final = ("net/ipv4/ip_forward",)
_LINK_SYSCTLS: Final = ("forwarding", "rp_filter")


class LinuxKernel(Kernel):
    """
    The dataplane of the namespace that the calling thread is in.

    Args:
        driver: who does IP in IP; chosen when it is first needed if not given.

    Raises:
        Unavailable: netlink cannot be opened.
    """

    def __init__(self, driver: IpipDriver | None = None) -> None:
        try:
            self._channel = Channel()
            self._ipr: Any = IPRoute(ext_ack=True, strict_check=True)
        except OSError as error:
            raise Unavailable(f"netlink: {error}") from error
        self._given = driver
        self._watch: Watch | None = None

    @property
    def _driver(self) -> IpipDriver:
        if self._given is None:
            self._given = choose_driver()
        return self._given

    def close(self) -> None:
        if self._watch:
            self._watch.close()
        if self._given:
            self._given.close()
        self._ipr.close()
        self._channel.close()

    def watch(self, changed: Callable[[], None]) -> None:
        self._watch = Watch(changed, self._is_own)

    def _is_own(self, port_id: int) -> bool:
        return port_id in {self._channel.port_id, self._ipr.asyncore.epid}

    # Looking ---------------------------------------------------------------------------------------------------

    def observe(self) -> Dataplane:
        bodies = list(self._channel.dump(_RTM_GETLINK, bytes(16)))
        names = dict(map(decode.link_index, bodies))
        links = frozenset(self._recognised(*decode.link(body, names)) for body in bodies)
        has_ipip = any(isinstance(link.kind, Ipip) for link in links)
        return Dataplane(
            links=links,
            sysctls=frozenset(self._sysctls(links)),
            addresses=self._all(_RTM_GETADDR, bytes(8), lambda body: decode.link_address(body, names)),
            decaps=self._driver.observe_decaps() if has_ipip else frozenset(),
            fdb=self._all(_RTM_GETNEIGH, _AF_BRIDGE + bytes(11), lambda body: decode.fdb_entry(body, names)),
            neighbours=self._all(_RTM_GETNEIGH, bytes(12), lambda body: decode.neighbour(body, names)),
            next_hops=self._all(_RTM_GETNEXTHOP, bytes(8), lambda body: decode.next_hop(body, names)),
            routes=self._all(_RTM_GETROUTE, bytes(12), lambda body: decode.route(body, names)),
        )

    def _all(self, kind: int, body: bytes, read: Callable[[bytes], T | None]) -> frozenset[T]:
        return frozenset(thing for body_ in self._channel.dump(kind, body) if (thing := read(body_)) is not None)

    def _recognised(self, link: Link, kind: str) -> Link:
        if link.name == IPIP_LINK and self._driver.recognises(link.name, kind):
            return replace(link, kind=Ipip(self._driver.name), mac=None)
        return link

    def _sysctls(self, links: frozenset[Link]) -> Iterator[Sysctl]:
        ours = [link.name for link in links if link.owned]
        per_link = (f"net/ipv4/conf/{name}/{key}" for name in ours for key in _LINK_SYSCTLS)
        for name in (*_GLOBAL_SYSCTLS, *per_link):
            value = sysctl.read(name)
            if value:
                yield value

    # Doing -----------------------------------------------------------------------------------------------------

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        failures: list[Failure] = []
        for batched, group in groupby(ops, key=lambda op: isinstance(op.thing, _BATCHED)):
            failures += self._batch(list(group)) if batched else self._one_by_one(group)
        return tuple(failures)

    def _batch(self, ops: Sequence[Op]) -> Iterator[Failure]:
        indexes = {name: index for index, name in map(decode.link_index, self._channel.dump(_RTM_GETLINK, bytes(16)))}
        sent: list[Op] = []
        messages = []
        for op in ops:
            assert isinstance(op.thing, _BATCHED)
            try:
                messages.append(message(op, op.thing, indexes))
            except KeyError:
                if isinstance(op, Put):
                    yield Failure(op, errno.ENODEV, hint=_HINTS[errno.ENODEV])
                continue
            sent.append(op)
        for index, refusal in self._channel.change(messages).items():
            op = sent[index]
            if isinstance(op, Put) or refusal.errno not in _ABSENT:
                yield Failure(op, refusal.errno, refusal.text, _HINTS.get(refusal.errno, ""))

    def _one_by_one(self, ops: Iterator[Op]) -> Iterator[Failure]:
        for op in ops:
            try:
                self._do(op)
            except NetlinkError as error:
                if isinstance(op, Put) or error.code not in _ABSENT:
                    yield Failure(op, error.code, str(error), _HINTS.get(error.code, ""))
            except OSError as error:
                yield Failure(op, error.errno or errno.EIO, error.strerror or "", _HINTS.get(error.errno or 0, ""))

    def _do(self, op: Op) -> None:
        match op, op.thing:
            case Put(), Link(kind=Ipip()) as link:
                self._driver.put_link(link)
            case Put(), Link() as link:
                self._put_link(link)
            case _, Link(kind=Ipip()) as link:
                self._driver.remove_link(link.name)
            case _, Link() as link:
                self._ipr.link("del", index=self._index(link.name))
            case Put(), Sysctl() as value:
                sysctl.write(value)
            case Put(), LinkAddress() as item:
                self._address("replace", item)
            case _, LinkAddress() as item:
                self._address("del", item)
            case Put(), Decap() as decap:
                self._driver.put_decap(decap)
            case _, Decap() as decap:
                self._driver.remove_decap(decap.link)
            case _:
                pass

    def _index(self, name: str) -> int:
        found = self._ipr.link_lookup(ifname=name)
        if not found:
            raise NetlinkError(errno.ENODEV, f"no link {name}")
        return int(found[0])

    def _put_link(self, link: Link) -> None:
        assert isinstance(link.kind, Vxlan)
        kind = link.kind
        facts = {"vxlan_id": kind.vni, "vxlan_local": str(kind.local)}
        if not self._ipr.link_lookup(ifname=link.name):
            fixed = {"vxlan_port": kind.port, "vxlan_link": self._index(kind.underlay), "vxlan_learning": 0}
            mac = {"address": link.mac} if link.mac else {}
            self._ipr.link("add", ifname=link.name, kind="vxlan", mtu=link.mtu_bytes, **facts, **fixed, **mac)
        index = self._index(link.name)
        self._ipr.link("set", index=index, kind="vxlan", **facts)
        mac = {"address": link.mac} if link.mac else {}
        state = "up" if link.up else "down"
        self._ipr.link("set", index=index, mtu=link.mtu_bytes, ifalias=ALIAS, state=state, **mac)

    def _address(self, verb: str, item: LinkAddress) -> None:
        address = item.address
        self._ipr.addr(verb, index=self._index(item.link), address=str(address.address), prefixlen=address.length)
