"""
IP in IP where the kernel has no ipip module: a veth end named tunl0 and two BPF programs, one for each direction.

The problem: routes through tunl0, next hops with many gateways behind one device, and packets that leave and arrive as
the module's do, so that neither the rest of bgpctl nor a node with the module sees a difference; on a kernel without
such a device, and without a process that has to stay alive for packets to flow.

The idea: `tunl0` is an ordinary device, so addresses, routes, next hops and firewall rules name it as ever. A program
at its egress encapsulates the packets that the kernel has routed there, and looks up the gateway, which is the remote
tunnel end, in the routing table: there is no second table of remotes to keep up to date. A program at the ingress of
the underlay's link decapsulates the packets of members and redirects them to tunl0, so that they arrive there. The
hooks hold the programs, and a program holds its map.

Simpler designs, and where they break:

- A TUN device would do as well as a veth, but has a carrier only while a process keeps it open, and the kernel flushes
  next-hop objects when a carrier goes (nexthop.c, NETDEV_CHANGE). The veth's other end stays up and receives nothing.
- Decapsulation without a list of senders, as the module does it, lets any host that reaches the node send into the
  workloads' network. netfilter does not see the packet before the program, so the list is the program's own map, and
  packets from others are counted and dropped.
- Changing that map entry by entry lets half a list act. A change is a new program with a new, frozen map, attached
  beside the former one, which goes afterwards. So the content of a map never changes, and is cached (`_known`).
- A filter on a clsact qdisc is visible without privileges, but the first clsact on a link stops the link for
  milliseconds. So the receiver is on tcx where Linux has it, and a label elsewhere identifies it (ingress.py,
  docs/decisions/0015).
- The presence of a program does not prove that it fits: a device that was recreated has another index and another MAC.
  The name of a program on a hook has its local address and the digest of its code, so that the constants of the code
  (this version, the tunnel's index and MAC) can be compared with the present ones.
- A next hop of several is selected twice, by the kernel when it routes to tunl0 and by the program: programs.py makes
  the same lookup as the kernel (docs/decisions/0011).

Refuses to know: which senders may send here, and why.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from bgpctl.core.fabric.ipip import LINK
from bgpctl.core.net.addresses import Address, Mac
from bgpctl.core.net.objects import ALIAS, Decap, Link, Traffic
from bgpctl.kernel import decode, nft
from bgpctl.kernel.bpf import ingress, programs, syscalls, tc
from bgpctl.kernel.bpf.ingress import Receiver
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.ipip import TABLE, path_mtu
from bgpctl.kernel.links import Links, keep_link_local_away, list_links, mending
from bgpctl.kernel.netlink import Netlink

_FAR_END: Final = "tunl0-end"
"""The other end of the veth: it gives tunl0 a carrier, and programs elsewhere a label. It never receives a packet."""
_MAC: Final = Mac("02:00:00:00:00:04")
_NOARP: Final = 0x80
_NOWHERE: Final = Address(4, 0)
"""Stands for the local tunnel address until put_decap sets it."""
_ADDRESS_BYTES: Final = 4


class _Read(NamedTuple):
    """The senders that a program accepts, and the local addresses that it accepts them at."""

    program_id: int
    sources: tuple[Address, ...]
    own: tuple[Address, ...]


class BpfIpip:
    """
    The driver for hosts without the module. Every method may raise OSError with errno and text.

    Raises:
        OSError: this kernel, or the capabilities of this process, do not suffice; the text names what is missing.
        Unavailable: no netlink here.
    """

    name: Final = "bpf"

    def __init__(self) -> None:
        _prove()
        self._path_mtus = path_mtu.listener()
        self._netlink = Netlink()
        self._links = Links()
        self._known: _Read | None = None
        self._counters: int | None = None

    def close(self) -> None:
        if self._counters is not None:
            os.close(self._counters)
        self._links.close()
        self._netlink.close()
        if self._path_mtus:
            self._path_mtus.close()

    def port_ids(self) -> frozenset[int]:
        return frozenset({self._links.port_id, self._netlink.port_id})

    # The device ------------------------------------------------------------------------------------------------

    def recognises(self, name: str, kind: str) -> bool:
        """A veth that sends through our program, with its other end up: no next hop can use it without a carrier."""
        if name != LINK or kind != "veth":
            return False
        links = self._all()
        if name not in links or _FAR_END not in links:
            return False
        return links[_FAR_END].up and self._sends_from(links[name]) is not None

    def put_link(self, link: Link) -> None:
        links = self._without_the_modules(link.name)
        if link.name not in links:
            with self._links.creating({"ifname": link.name, "kind": "veth", "peer": _FAR_END, "address": _MAC}):
                keep_link_local_away(link.name)
                keep_link_local_away(_FAR_END)
            links = self._all()
        tunnel = _ours(links, link.name)
        self._links.change(links[_FAR_END].number, {"state": "up"})
        self._links.change(tunnel.number, {"flags": _NOARP, "mask": _NOARP})
        self._links.change(tunnel.number, mending(link, decode.link(tunnel)))
        if self._sends_from(tunnel) is None:
            self._send_from(tunnel, self._sent_from(tunnel))

    def _without_the_modules(self, name: str) -> dict[str, LinkFacts]:
        """The links, without the one that the kernel driver made: the module keeps only the one it brought itself."""
        links = self._all()
        if name not in links or (links[name].kind, links[name].alias) != ("ipip", ALIAS):
            return links
        self._links.remove(links[name].number)
        left = self._all()
        if name not in left:
            nft.remove(TABLE)
        return left

    def remove_link(self, name: str) -> None:
        self.remove_decap(name)
        found = self._all().get(name)
        if found is not None:
            self._links.remove(found.number)

    def _sends_from(self, tunnel: LinkFacts) -> Address | None:
        """The outer source address of the device's packets; None without our program or with another version of it."""
        program = tc.attached(self._netlink, tunnel.number, tc.EGRESS)
        local = _local(program.name if program else "")
        expected = _named("encap", local, _sender(local, tunnel)) if local else None
        return local if program and program.name == expected else None

    def _sent_from(self, tunnel: LinkFacts) -> Address:
        """The outer source address of our program of whatever version: an upgrade must not lose a packet."""
        program = tc.attached(self._netlink, tunnel.number, tc.EGRESS)
        return (_local(program.name) if program else None) or _NOWHERE

    def _send_from(self, tunnel: LinkFacts, local: Address) -> None:
        code = _sender(local, tunnel, self._counters_fd())
        with _open(syscalls.load(code, "bgpctl_encap")) as program:
            name = _named("encap", local, _sender(local, tunnel))
            tc.attach(self._netlink, tunnel.number, tc.EGRESS, program, name)

    # Decapsulation ---------------------------------------------------------------------------------------------

    def put_decap(self, decap: Decap) -> None:
        links = self._all()
        underlay, _ = _link(links, decap.underlay), _link(links, decap.link)
        tunnel = _ours(links, decap.link)
        if underlay.mac is None:
            raise OSError(errno.EINVAL, f"{underlay.name} has no Ethernet header, and the BPF driver reads no other")
        if self._sends_from(tunnel) != decap.local:
            self._send_from(tunnel, decap.local)
        before = tuple(receivers(self._netlink, links.values()))
        if self._decaps(links, before) != (decap,):
            self._receive(tunnel, links[_FAR_END], underlay, decap)
            for receiver in before:
                ingress.detach(self._netlink, receiver)

    def remove_decap(self, link: str) -> None:
        if link == LINK:
            stop_receiving(self._netlink)

    def observe_decaps(self) -> frozenset[Decap]:
        """Read back from the programs that are attached."""
        links = self._all()
        match self._decaps(links, receivers(self._netlink, links.values())):
            case (Decap() as only,):
                return frozenset({only})
            case _:  # two are left where a driver was killed before it had detached the former: to be put again
                return frozenset()

    def _receive(self, tunnel: LinkFacts, far_end: LinkFacts, underlay: LinkFacts, decap: Decap) -> None:
        roles = dict.fromkeys(decap.sources, programs.SOURCE) | dict.fromkeys(decap.own, programs.OWN)
        entries = {address.packed: bytes([role]) for address, role in roles.items()}
        with _open(syscalls.hash_map(entries, key_bytes=_ADDRESS_BYTES, value_bytes=1)) as map_fd:
            name = _decap_name(decap.local, tunnel)
            code = programs.decapsulate(tunnel.number, _mac(tunnel), map_fd, self._counters_fd())
            with _open(syscalls.load(code, ingress.PROGRAM)) as program:
                ingress.attach(self._netlink, underlay.number, far_end.number, program, name)
                self._known = _Read(syscalls.id_of(program), decap.sources, decap.own)

    def _counters_fd(self) -> int:
        """The counters of the attached programs, if this process may open them, else new ones."""
        if self._counters is None:
            self._counters = _open_counters(self._netlink) or syscalls.value_map(programs.COUNTERS_BYTES)
        return self._counters

    def _decaps(self, links: Mapping[str, LinkFacts], found: Iterable[Receiver]) -> tuple[Decap | None, ...]:
        """The purpose of each of these programs; None for one that is not as this version would make it now."""
        tunnel = links.get(LINK)
        local = self._sends_from(tunnel) if tunnel else None
        names = {facts.number: facts.name for facts in links.values()}
        return tuple(self._decap(receiver, names[receiver.link], tunnel, local) for receiver in found)

    def _decap(
        self, receiver: Receiver, underlay: str, tunnel: LinkFacts | None, local: Address | None
    ) -> Decap | None:
        if tunnel is None or local is None or receiver.name != _decap_name(local, tunnel):
            return None
        read = self._read(receiver.program_id)
        if read is None or local not in read.own:
            return None
        also = tuple(address for address in read.own if address != local)
        return Decap(LINK, underlay, local, read.sources, also)

    def _read(self, program_id: int) -> _Read | None:
        """
        The addresses that the program accepts. Its map is frozen, so the cached content stays true.

        None if it may not be read, which takes CAP_SYS_ADMIN: an earlier driver's program is then not seen, and
        putting the same again does no harm.
        """
        if self._known is None or self._known.program_id != program_id:
            try:
                self._known = _Read(program_id, *_read_addresses(program_id))
            except PermissionError:
                return None
        return self._known

    def _all(self) -> dict[str, LinkFacts]:
        return {facts.name: facts for facts in list_links(self._netlink)}


def clear_away() -> None:
    """Remove the device and the programs of this driver from the calling thread's namespace. Raises OSError."""
    netlink, links = Netlink(), Links()
    try:
        found = list_links(netlink)
        for receiver in tuple(receivers(netlink, found)):
            ingress.detach(netlink, receiver)
        for facts in found:
            if facts.name == LINK and facts.kind == "veth":
                links.remove(facts.number)
    finally:
        links.close()
        netlink.close()


def receivers(netlink: Netlink, links: Iterable[LinkFacts]) -> Iterator[Receiver]:
    """Our programs that take packets in, of whatever version. Raises OSError."""
    numbers = {facts.name: facts.number for facts in links}
    return ingress.receivers(netlink, numbers.values(), numbers.get(_FAR_END))


def left_behind(netlink: Netlink) -> frozenset[Decap]:
    """Programs that take packets in for a tunnel that is gone: these packets are lost. Raises OSError."""
    links = list_links(netlink)
    names = {facts.number: facts.name for facts in links}
    found = receivers(netlink, links)
    return frozenset(Decap(LINK, names[item.link], _local(item.name) or _NOWHERE, ()) for item in found)


def stop_receiving(netlink: Netlink) -> None:
    """Take our programs off every link on which they take packets in. Raises OSError."""
    for receiver in tuple(receivers(netlink, list_links(netlink))):
        ingress.detach(netlink, receiver)


def traffic(netlink: Netlink) -> Traffic | None:
    """The programs' counters; None where there are none, or without CAP_SYS_ADMIN. Raises OSError."""
    counters = _open_counters(netlink)
    if counters is None:
        return None
    with _open(counters) as fd:
        value = syscalls.value_of(fd, programs.COUNTERS_BYTES)
    pair = struct.Struct("=QQ")
    received, sent = pair.unpack_from(value, programs.RECEIVED), pair.unpack_from(value, programs.SENT)
    dropped, _ = pair.unpack_from(value, programs.DROPPED)
    return Traffic(received[0], received[1], sent[0], sent[1], dropped)


def _open_counters(netlink: Netlink) -> int | None:
    """The map that the attached programs count in."""
    for number in _program_ids(netlink):
        with suppress(PermissionError, FileNotFoundError):
            return syscalls.map_of(number, syscalls.ARRAY)
    return None


def _program_ids(netlink: Netlink) -> Iterator[int]:
    links = list_links(netlink)
    tunnel = next((facts for facts in links if facts.name == LINK), None)
    sender = tc.attached(netlink, tunnel.number, tc.EGRESS) if tunnel else None
    if sender:
        yield sender.program_id
    yield from (receiver.program_id for receiver in receivers(netlink, links))


def _prove() -> None:
    """Loading the largest program asks the verifier for every helper, and the kernel for the privilege."""
    with (
        _open(syscalls.value_map(programs.COUNTERS_BYTES)) as counters,
        _open(syscalls.load(programs.encapsulate(_NOWHERE, 0, bytes(6), counters), "bgpctl_probe")),
    ):
        pass


def _read_addresses(program_id: int) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """The addresses that may send, and our own; each sorted."""
    found: dict[int, list[Address]] = {programs.SOURCE: [], programs.OWN: []}
    with _open(syscalls.map_of(program_id, syscalls.HASH)) as entries:
        for key in syscalls.keys(entries, key_bytes=_ADDRESS_BYTES):
            (role,) = syscalls.value_of(entries, 1, key)
            found[role].append(Address(4, int.from_bytes(key, "big")))
    return tuple(sorted(found[programs.SOURCE])), tuple(sorted(found[programs.OWN]))


def _sender(local: Address, tunnel: LinkFacts, counters_fd: int = 0) -> bytes:
    # File descriptor 0 in the code that is compared: the real one is another each time.
    if local == _NOWHERE:
        return programs.discard()
    return programs.encapsulate(local, tunnel.number, _mac(tunnel), counters_fd)


def _decap_name(local: Address, tunnel: LinkFacts) -> str:
    return _named("decap", local, programs.decapsulate(tunnel.number, _mac(tunnel), 0, 0))


def _named(role: str, local: Address, code: bytes) -> str:
    return f"{tc.NAME_PREFIX}{role}-{local}-{hashlib.sha256(code).hexdigest()[:12]}"


def _local(name: str) -> Address | None:
    """The address in the name of a program of ours."""
    match name.split("-"):
        case [_, "encap" | "decap", text, _]:
            return Address.parse(text)
        case _:
            return None  # another version may have had other names


def _mac(link: LinkFacts) -> bytes:
    return bytes.fromhex((link.mac or _MAC).replace(":", ""))


def _ours(links: Mapping[str, LinkFacts], name: str) -> LinkFacts:
    """The device, if it is one that this driver could have made."""
    if links[name].kind != "veth" or _FAR_END not in links:
        raise OSError(errno.EEXIST, f"{name} is a device of another program: remove or rename it")
    return links[name]


def _link(links: Mapping[str, LinkFacts], name: str) -> LinkFacts:
    if name not in links:
        raise OSError(errno.ENODEV, f"no link {name}")
    return links[name]


@contextmanager
def _open(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
