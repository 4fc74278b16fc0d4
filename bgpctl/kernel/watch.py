"""
Reports that another program changed the dataplane, or that events were lost.

An event carries the port id of the socket that asked for the change, but the kernel sends most link events, and
the consequences of a change, in its own name (0). So while we act (`acting`), the kernel's events are our own doing.

Refuses to know: what is wanted; what an event means beyond "observe again".
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bgpctl.core.net.objects import ALIAS, LOCAL_TABLE
from bgpctl.kernel import decode, encode, nft
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.encapsulations import link
from bgpctl.kernel.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    SOL_NETLINK,
    Message,
    messages,
    open_socket,
    widen,
)

_GROUPS: Final = (1, 3, 4, 5, 7, 8, 9, 11, 19, 32)
"""RTNLGRP_ LINK, NEIGH, TC (for the BPF driver's filters), IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR,
IPV6_ROUTE, IPV6_RULE, NEXTHOP."""
_RECEIVE_BUFFER_BYTES: Final = 64 << 20
"""Holds the echo of 100,000 routes of our own. The kernel takes the memory only while it is filled."""
_EVENT_BYTES: Final = 1 << 15
"""One object each, never a dump."""
_KERNEL: Final = 0
_RTPROT_KERNEL: Final = 2
_REMEMBERED: Final = frozenset({encode.RTM_NEWLINK, encode.RTM_DELLINK, encode.RTM_NEWADDR, encode.RTM_DELADDR})


class Watch:
    """
    Calls `changed` from a thread of its own until closed.

    Args:
        own_ports: the port ids of the sockets through which we change the kernel.
    """

    def __init__(self, changed: Callable[[], None], own_ports: Callable[[], frozenset[int]]) -> None:
        self._changed = changed
        self._own_ports = own_ports
        self._links: dict[int, LinkFacts] = {}
        self._addresses: set[bytes] = set()
        self._lock = threading.RLock()
        self._socket = open_socket()
        widen(self._socket, _RECEIVE_BUFFER_BYTES)
        for group in _GROUPS:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self._nft = nft.Events()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="kernel-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """`changed` is not called any more once this returns."""
        self._ending = True
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        self._socket.close()
        self._nft.close()
        os.close(self._bell)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """The kernel's own events inside this block are consequences of the block."""
        with self._lock:
            news = self._news()
            yield
            # Events are in our queue before the kernel answers the request that caused them.
            news = self._drain(acting=True) or news
            self._nft.drain()  # they name the nft process, which is ours just now
        if news:
            os.eventfd_write(self._bell, 1)

    def observe(self, links: Callable[[], Sequence[LinkFacts]]) -> Sequence[LinkFacts]:
        """The result of `links`, remembered: an event that shows a link as it was seen here is no news."""
        with self._lock:
            seen = links()
            self._links = {facts.number: facts for facts in seen}
        return seen

    def _run(self) -> None:
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        readable.register(self._nft, select.POLLIN)
        readable.register(self._bell, select.POLLIN)
        while True:
            ready = [fd for fd, _ in readable.poll()]
            if self._ending:
                return
            rung = self._bell in ready and bool(os.eventfd_read(self._bell))
            with self._lock:
                news = self._news()
            if news or rung:
                self._changed()

    def _news(self) -> bool:
        tables = self._nft.drain()
        return self._drain(acting=False) or tables

    def _drain(self, *, acting: bool) -> bool:
        """Read all queued events; True if any is news."""
        news = False
        while True:
            try:
                datagram = self._socket.recv(_EVENT_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return news
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                news = True  # events were lost; the socket goes on
                continue
            own = self._own_ports()
            for message in messages(datagram):
                ours = message.port_id in own or (acting and message.port_id == _KERNEL)
                if not ours or message.type in _REMEMBERED:
                    shown = self._shows_change(message)
                    news = news or (shown and not ours)

    def _shows_change(self, message: Message) -> bool:
        """True if the dataplane may have changed. Remembers links and addresses, which the kernel repeats."""
        match message.type:
            case encode.RTM_NEWLINK:
                return self._link_changed(message)
            case encode.RTM_DELLINK:
                self._links.pop(decode.link_facts(message.body).number, None)
                return True
            case encode.RTM_NEWADDR:
                return self._address_changed(message)
            case encode.RTM_DELADDR:
                self._addresses.discard(_address_identity(message))
                return True
            case encode.RTM_NEWROUTE | encode.RTM_DELROUTE:
                return _route_matters(message)
            case encode.RTM_NEWNEIGH | encode.RTM_DELNEIGH:
                return self._neighbour_matters(message)
            case _:
                return True

    def _link_changed(self, message: Message) -> bool:
        if message.body[0] == encode.AF_BRIDGE:  # bridge ports have events of their own
            return False
        now = decode.link_facts(message.body)
        before = self._links.get(now.number)
        self._links[now.number] = now
        if before is None or before._replace(running=now.running) != now:
            return True
        # A lost carrier silently takes next-hop objects along; a found one changes nothing.
        return before.running and not now.running

    def _address_changed(self, message: Message) -> bool:
        identity = _address_identity(message)
        known = identity in self._addresses
        self._addresses.add(identity)
        # Duplicate address detection and lifetimes repeat an address; link-local ones follow from a link going up.
        return not known and not (message.port_id == _KERNEL and decode.is_link_local(message.body))

    def _neighbour_matters(self, message: Message) -> bool:
        _, index, state, _, _ = encode.NDMSG.unpack_from(message.body)
        return bool(state & encode.NUD_PERMANENT) or self._takes_entries(index)

    def _takes_entries(self, index: int) -> bool:
        """True if it is a link of ours with forwarding entries."""
        facts = self._links.get(index)
        if facts is None or facts.alias != ALIAS:
            return False
        names = {other.number: other.name for other in self._links.values()}
        return link(facts, names).kind.entries_version() is not None


def _route_matters(message: Message) -> bool:
    """The kernel's own routes follow from links and addresses, which have events of their own."""
    table, protocol = decode.owner(message.body)
    return table != LOCAL_TABLE and not (message.port_id == _KERNEL and protocol == _RTPROT_KERNEL)


def _address_identity(message: Message) -> bytes:
    family, length, _, _, index = encode.IFADDRMSG.unpack_from(message.body)
    return encode.IFADDRMSG.pack(family, length, 0, 0, index) + decode.own_address(message.body)
