"""
IP in IP where the kernel has no ipip module: a veth end named tunl0 and two BPF programs, one for each direction.

Routes look the same as with the module, and nothing has to stay alive for packets to flow: the hooks hold the
programs, the programs hold their map. A TUN device would do as well, but has a carrier only while a process keeps it
open, and the kernel flushes next-hop objects when a carrier goes (nexthop.c, NETDEV_CHANGE).

Refuses to know: who may send here, and why.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from bgpctl.core.model import IPIP_LINK, Address, Decap, Link, Mac
from bgpctl.kernel import decode, encode
from bgpctl.kernel.bpf import programs, syscalls, tc
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.links import Links, keep_link_local_away, mending
from bgpctl.kernel.netlink import Netlink

_PEER: Final = "tunl0-end"
"""The other end of the veth: it gives tunl0 a carrier and never receives a packet."""
_MAC: Final = Mac("02:00:00:00:00:04")
_NOARP: Final = 0x80
_NOBODY: Final = Address(4, 0)
_ADDRESS_BYTES: Final = 4


def _version() -> str:
    """Names the code of both programs, so that an upgrade replaces them and a restart does not."""
    code = programs.encapsulate(_NOBODY, 0) + programs.decapsulate(_NOBODY, 0, bytes(6), 0)
    return hashlib.sha256(code).hexdigest()[:12]


_ENCAP: Final = f"bgpctl-encap-{_version()}"
_DECAP: Final = f"bgpctl-decap-{_version()}"


class BpfIpip:
    """
    The driver for hosts without the module. Every method may raise OSError with errno and text.

    Raises:
        Unavailable: no netlink here.
    """

    name: Final = "bpf"

    def __init__(self) -> None:
        self._netlink = Netlink()
        self._links = Links()

    def close(self) -> None:
        self._links.close()
        self._netlink.close()

    def port_ids(self) -> frozenset[int]:
        return frozenset({self._links.port_id, self._netlink.port_id})

    def recognises(self, name: str, kind: str) -> bool:
        """A veth that sends through our program."""
        if name != IPIP_LINK or kind != "veth":
            return False
        found = self._all().get(name)
        program = tc.attached(self._netlink, found.number, tc.EGRESS) if found else None
        return program is not None and program.name == _ENCAP

    def put_link(self, link: Link) -> None:
        found = self._all()
        if link.name not in found:
            self._links.create({"ifname": link.name, "kind": "veth", "peer": _PEER, "address": _MAC})
            keep_link_local_away(link.name)
            found = self._all()
        if _PEER not in found:
            raise OSError(errno.EEXIST, f"{link.name} is no device of ours")
        self._set_up(found[_PEER], found[link.name], link)
        # Until it is said where packets come from and go to (put_decap), the program drops them.
        decap = next((decap for decap in self.observe_decaps() if decap.link == link.name), None)
        self._attach_encap(found[link.name].number, decap.local if decap else _NOBODY)

    def _set_up(self, peer: LinkFacts, tunnel: LinkFacts, wanted: Link) -> None:
        self._links.change(peer.number, {"state": "up"})
        self._links.change(tunnel.number, {"flags": _NOARP, "mask": _NOARP})
        self._links.change(tunnel.number, mending(wanted, decode.link(tunnel, {})))

    def _attach_encap(self, index: int, local: Address) -> None:
        with _loaded(programs.encapsulate(local, index), "bgpctl_encap") as program:
            tc.attach(self._netlink, index, tc.EGRESS, program, _ENCAP)

    def remove_link(self, name: str) -> None:
        self.remove_decap(name)
        found = self._all().get(name)
        if found is not None:
            self._links.remove(found.number)

    def put_decap(self, decap: Decap) -> None:
        found = self._all()
        tunnel, underlay = found.get(decap.link), found.get(decap.underlay)
        if tunnel is None or underlay is None:
            raise OSError(errno.ENODEV, f"no link {decap.underlay if tunnel else decap.link}")
        mac = bytes.fromhex((tunnel.mac or _MAC).replace(":", ""))
        # The local address travels in the map, under the one address that sends nothing, to be read back.
        sources = {
            _NOBODY.packed: decap.local.packed,
            **{source.packed: decap.local.packed for source in decap.sources},
        }
        with _open(syscalls.hash_map(sources, key_bytes=_ADDRESS_BYTES, value_bytes=_ADDRESS_BYTES)) as allowed:
            code = programs.decapsulate(decap.local, tunnel.number, mac, allowed)
            with _loaded(code, "bgpctl_decap") as program:
                tc.attach(self._netlink, underlay.number, tc.INGRESS, program, _DECAP)
        self._attach_encap(tunnel.number, decap.local)
        self._detach_except(underlay.number, found)

    def remove_decap(self, link: str) -> None:
        if link == IPIP_LINK:
            self._detach_except(0, self._all())

    def _detach_except(self, kept: int, links: Mapping[str, LinkFacts]) -> None:
        for facts in links.values():
            if facts.number != kept and tc.attached(self._netlink, facts.number, tc.INGRESS):
                tc.detach(self._netlink, facts.number, tc.INGRESS)

    def observe_decaps(self) -> frozenset[Decap]:
        """Read back from the programs that are attached; one of another version counts as absent."""
        return frozenset(decap for name, facts in self._all().items() if (decap := self._decap(name, facts.number)))

    def _decap(self, underlay: str, index: int) -> Decap | None:
        program = tc.attached(self._netlink, index, tc.INGRESS)
        if program is None or program.name != _DECAP:
            return None
        for opened in syscalls.program_maps(program.program_id):
            with _open(opened) as allowed:
                found = dict(syscalls.entries(allowed, key_bytes=_ADDRESS_BYTES, value_bytes=_ADDRESS_BYTES))
        local = found.pop(_NOBODY.packed)
        return Decap(IPIP_LINK, underlay, _address(local), tuple(sorted(map(_address, found))))

    def _all(self) -> dict[str, LinkFacts]:
        dumped = self._netlink.dump(encode.RTM_GETLINK, encode.IFINFOMSG.pack(0, 0, 0, 0, 0))
        return {facts.name: facts for facts in map(decode.link_facts, dumped)}


@contextmanager
def _open(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _loaded(code: bytes, name: str) -> Iterator[int]:
    with _open(syscalls.load(code, name)) as fd:
        yield fd


def _address(packed: bytes) -> Address:
    return Address(4, int.from_bytes(packed, "big"))
