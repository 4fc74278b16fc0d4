"""
Notifications of the kernel, applied to the mirror (mirror.py), and reports that another program changed the dataplane,
or that notifications were lost.

A notification carries the port id of the socket that asked for the change, but the kernel sends those of most links,
and of the consequences of a change, in its own name (0). So while we act (`acting`), the kernel's notifications are our
own doing: they change the mirror, and are not reported.

Refuses to know: what is wanted; what a notification contains.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from bgpctl.core.net.objects import LOCAL_TABLE
from bgpctl.kernel import decode, encode, nft
from bgpctl.kernel.mirror import EVERYTHING, Mirror, MirrorBuilder, Part
from bgpctl.kernel.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_DROP_MEMBERSHIP,
    SOL_NETLINK,
    Message,
    attributes,
    messages,
    open_socket,
    widen,
)
from bgpctl.ports import Unavailable

_GROUPS: Final = (1, 3, 4, 5, 7, 8, 9, 11, 19, 24, 25, 32)
"""RTNLGRP_ LINK, NEIGH, TC (for the BPF driver's filters), IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR,
IPV6_ROUTE, IPV6_RULE, IPV4_NETCONF, IPV6_NETCONF, NEXTHOP."""
_NETCONF_BYTES: Final = 4
"""struct netconfmsg, padded (linux/netconf.h)."""
_INDEX_AND_SWITCH: Final = 2
_ROUTE_GROUPS: Final = (7, 11)
_RECEIVE_BUFFER_BYTES: Final = 64 << 20
"""Holds the echo of 100,000 routes of our own. The kernel takes the memory only while it is filled."""
_EVENT_BYTES: Final = 1 << 15
"""One object each, never a dump."""
_KERNEL: Final = 0
"""The port id of the kernel itself."""
_RTPROT_KERNEL: Final = 2
_OF_TABLES: Final = (Part.DECAPS, Part.INNER_FILTERS, Part.WORKLOAD_FILTERS, Part.MASQUERADES)
"""The parts that nftables keeps."""


class Watch:
    """
    Listens, and calls `changed` from a thread of its own, until closed.

    Args:
        own_ports: the port ids of the sockets through which we change the kernel.
        transform: applied to the body of each notification, by its type.

    Raises:
        Unavailable: no socket or no thread can be had.

    Attributes:
        tables_changed: nftables has notified of a change; the reader sets it back.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        own_ports: Callable[[], frozenset[int]],
        mirror: Mirror,
        transform: Callable[[int, bytes], bytes] | None = None,
    ) -> None:
        self._mirror = mirror
        self._builder: MirrorBuilder | None = None
        self._other: MirrorBuilder | None = None
        self.tables_changed = False
        self._changed = changed
        self._own_ports = own_ports
        self._transform = transform
        self._lock = threading.RLock()
        self._socket = open_socket()
        widen(self._socket, _RECEIVE_BUFFER_BYTES)
        for group in _GROUPS:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self._nft = nft.Events()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readable = select.epoll()
        for source in (self._socket, self._nft, self._bell):
            self._readable.register(source, select.EPOLLIN)
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="kernel-watch", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._release()
            raise Unavailable(f"no thread for notifications: {error}") from error

    def close(self) -> None:
        """`changed` is not called any more once this returns."""
        self._ending = True
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        self._release()

    def _release(self) -> None:
        self._readable.close()
        self._socket.close()
        self._nft.close()
        os.close(self._bell)

    @property
    def mirror(self) -> Mirror:
        """The mirror after all notifications that were read. To be used, and replaced, inside `paused`."""
        # Made when it is needed and not at each notification: another program may change routes by the thousand.
        if self._builder:
            self._mirror, self._builder = self._builder.built(), None
        return self._mirror

    @mirror.setter
    def mirror(self, mirror: Mirror) -> None:
        self._mirror, self._builder = mirror, None

    @contextmanager
    def acting(self, *, dumping_routes: bool = False) -> Iterator[None]:
        """
        The kernel's own notifications inside this block are consequences of the block. With `dumping_routes` none is
        asked for about routes, whose echo costs more than the change; the caller's next observation dumps them, and
        shows what others have done to them meanwhile.
        """
        with self._lock:
            news = self._news()
            with self._unheard(), self._without_routes() if dumping_routes else nullcontext():
                yield
                # They are in our queue before the kernel answers the request that caused them.
                news = self._drain(acting=True) or news
            self._read_tables()  # no news: they may name the nft process that is ours just now
        if news:
            self.ring()

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """The thread is not woken by notifications that it would have to wait for: they are read inside this block."""
        self._readable.modify(self._socket, 0)
        try:
            yield
        finally:
            self._readable.modify(self._socket, select.EPOLLIN)

    @contextmanager
    def _without_routes(self) -> Iterator[None]:
        try:
            self._set_routes(NETLINK_DROP_MEMBERSHIP)
            yield
        finally:
            self._set_routes(NETLINK_ADD_MEMBERSHIP)
            self.mirror = self.mirror.marked_stale((Part.ROUTES,))

    def _set_routes(self, membership: int) -> None:
        for group in _ROUTE_GROUPS:
            self._socket.setsockopt(SOL_NETLINK, membership, group)

    def paused(self) -> AbstractContextManager[object]:
        """Inside this block only `read` changes the mirror."""
        return self._lock

    def read(self) -> None:
        """Apply the notifications until now, without a report: the caller uses the mirror next."""
        self._news()

    def read_twice(self, other: Mirror) -> Mirror:
        """As `read`; returns the mirror `other` after the same notifications."""
        self._other = MirrorBuilder(other)
        try:
            self._news()
            after = self._other.built()
        finally:
            self._other = None
        return after.marked_stale(self.mirror.stale)

    def wait(self, within_s: float) -> None:
        """Until there is a notification to read, at most so long."""
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        readable.register(self._nft, select.POLLIN)
        readable.poll(within_s * 1000)

    def ring(self) -> None:
        """Have `changed` called."""
        os.eventfd_write(self._bell, 1)

    def _run(self) -> None:
        while True:
            ready = [fd for fd, _ in self._readable.poll()]
            if self._ending:
                return
            rung = self._bell in ready and bool(os.eventfd_read(self._bell))
            with self._lock:
                news = self._news()
            if news or rung:
                self._changed()

    def _news(self) -> bool:
        tables = self._read_tables()
        return self._drain(acting=False) or tables

    def _read_tables(self) -> bool:
        """Read the notifications of nftables, which do not show a table; True if there are any."""
        if not self._nft.drain():
            return False
        self.tables_changed = True
        self.mirror = self.mirror.marked_stale(_OF_TABLES)
        return True

    def _drain(self, *, acting: bool) -> bool:
        """Apply all queued notifications; True if any is news."""
        news = lost = False
        own = self._own_ports()
        builder = self._builder = self._builder or MirrorBuilder(self._mirror)
        while True:
            try:
                datagram = self._socket.recv(_EVENT_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise
                lost = True  # the kernel could not make or queue a notification, and says why; the socket goes on
                continue
            for message in messages(datagram):
                ours = message.port_id in own or (acting and message.port_id == _KERNEL)
                shown = self._transformed(message)
                changes = builder.apply(shown) or _is_switched(message)
                news = news or (changes and not ours and not _follows(message))
                if self._other:
                    self._other.apply(shown)
        if lost:
            self.mirror = self.mirror.marked_stale(EVERYTHING)
        return news or lost

    def _transformed(self, message: Message) -> Message:
        return message._replace(body=self._transform(message.type, message.body)) if self._transform else message


def _is_switched(message: Message) -> bool:
    """
    True if a switch such as forwarding or rp_filter was set: the message has that one alone. That of a new link has
    them all. The mirror keeps none of it, because sysctls are read at each observation.
    """
    if message.type != encode.RTM_NEWNETCONF:
        return False
    return len(attributes(message.body, _NETCONF_BYTES)) == _INDEX_AND_SWITCH


def _follows(message: Message) -> bool:
    """True of the consequences of changed links and addresses, which have notifications of their own."""
    if message.port_id != _KERNEL:
        return False
    match message.type:
        case encode.RTM_NEWROUTE | encode.RTM_DELROUTE:
            table, protocol = decode.owner(message.body)
            return table == LOCAL_TABLE or protocol == _RTPROT_KERNEL
        case encode.RTM_NEWADDR:
            return decode.is_link_local(message.body)
        case _:
            return False
