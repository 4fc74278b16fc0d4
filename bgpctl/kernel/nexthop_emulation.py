"""
Next hops and groups for kernels without next-hop objects (before Linux 5.3), or where these are not wanted: they are
kept here, and each route that names one is put with its gateways and links, and put again when these change.

So every caller sees a kernel with next-hop objects. Only the next hop that each route named is lost with this process:
its successor finds plain routes with gateways, which are ours, and puts them again.

Refuses to know: sockets.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bgpctl.core.net.objects import PROTOCOL, Key, Link, NextHop, NextHopGroup, Route, key_of
from bgpctl.kernel import decode, encode
from bgpctl.kernel.decode import Names, RouteNextHop
from bgpctl.kernel.netlink import Request

_NO_NEXT_HOPS: Final[tuple[NextHop, ...]] = ()


class NextHopEmulation:
    """
    Requests to put and remove routes, next hops and groups; every method may raise OSError with the errno that a
    kernel with next-hop objects would answer.
    """

    def __init__(self) -> None:
        self._hops: dict[int, NextHop] = {}
        self._groups: dict[int, NextHopGroup] = {}
        self._routes: dict[Key, Route] = {}
        self._users: dict[int, set[Key]] = defaultdict(set)

    # Observing -------------------------------------------------------------------------------------------------

    def next_hops(self) -> frozenset[NextHop]:
        """The next hops that are kept here."""
        return frozenset(self._hops.values())

    def groups(self) -> frozenset[NextHopGroup]:
        """The groups that are kept here."""
        return frozenset(self._groups.values())

    def routes(self, dumped: Iterable[bytes], names: Names) -> Iterator[Route]:
        """
        The routes of a dump. One that equals the expansion of the next hop or group that we put it with is shown as
        naming it; one of ours with a next-hop object of the kernel, put by an earlier agent, as having no next hop.
        """
        seen: dict[Key, Route] = {}
        for body in dumped:
            shown = decode.route(body, names)
            if shown and shown.protocol == PROTOCOL:
                known = self._routes.get(key_of(shown))
                shown = shown._replace(next_hop=0)
                is_known = known is not None and known.mtu_bytes == shown.mtu_bytes
                if known and is_known and decode.route_next_hops(body, names) == self._expansion(known):
                    seen[key_of(known)] = shown = known
            if shown:
                yield shown
        for key in (
            self._routes.keys() - seen.keys()
        ):  # another program removed or changed them, or the kernel flushed them
            self._forget_route(key)

    def settle(self, links: Mapping[str, Link]) -> None:
        """Forget the next hops whose link is gone or down, with their groups and routes, as the kernel does."""
        for hop in [hop for hop in self._hops.values() if not (hop.link in links and links[hop.link].up)]:
            for _ in self._remove_next_hop(hop.id, {}):
                pass  # the kernel has flushed their routes itself

    def _expansion(self, route: Route) -> frozenset[RouteNextHop]:
        return frozenset((hop.link, hop.gateway) for hop in self._members(route.next_hop))

    def _members(self, number: int) -> tuple[NextHop, ...]:
        if number in self._groups:
            return tuple(self._hops[member] for member in self._groups[number].members)
        return (self._hops[number],) if number in self._hops else _NO_NEXT_HOPS

    # Doing -----------------------------------------------------------------------------------------------------

    def put(
        self, obj: NextHop | NextHopGroup | Route, links: Mapping[str, Link], indexes: Mapping[str, int]
    ) -> Iterator[Request]:
        """The requests that put `obj`. A route that names no next hop of ours is put unchanged."""
        match obj:
            case NextHop():
                self._check_next_hop(obj, links)
                self._hops[obj.id] = obj
                yield from self._put_again(self._affected(obj.id), indexes)
            case NextHopGroup():
                self._check_group(obj)
                self._groups[obj.id] = obj
                yield from self._put_again({obj.id}, indexes)
            case Route():
                if obj.next_hop:
                    self._check_route(obj)
                request = self._request(obj, indexes)
                self._forget_route(key_of(obj))
                yield request
                if obj.next_hop:
                    self._routes[key_of(obj)] = obj
                    self._users[obj.next_hop].add(key_of(obj))

    def remove(self, obj: NextHop | NextHopGroup | Route, indexes: Mapping[str, int]) -> Iterator[Request]:
        """The requests that remove `obj`, and its routes with it."""
        match obj:
            case NextHop() | NextHopGroup():
                yield from self._remove_next_hop(obj.id, indexes)
            case Route():
                self._forget_route(key_of(obj))
                yield encode.remove(obj, 0)

    def _remove_next_hop(self, number: int, indexes: Mapping[str, int]) -> Iterator[Request]:
        affected = self._affected(number)
        self._hops.pop(number, None)
        self._groups.pop(number, None)
        for group in [self._groups[item] for item in affected if item in self._groups]:
            left = tuple(member for member in group.members if member != number)
            self._groups[group.id] = group._replace(members=left)
            if not left:
                del self._groups[group.id]
        yield from self._put_again(affected, indexes)

    def _affected(self, number: int) -> set[int]:
        """The id, and those of the groups that it is in."""
        return {number, *(group.id for group in self._groups.values() if number in group.members)}

    def _put_again(self, numbers: set[int], indexes: Mapping[str, int]) -> Iterator[Request]:
        """The requests for the routes that name one of these: put again, or removed where no next hop is left."""
        for key in [key for number in numbers for key in self._users.get(number, ())]:
            route = self._routes[key]
            if not self._members(route.next_hop):
                self._forget_route(key)
                yield encode.remove(route, 0)
            elif indexes:
                yield self._request(route, indexes)

    def _request(self, route: Route, indexes: Mapping[str, int]) -> Request:
        if not route.next_hop:
            return encode.put(route, _index(indexes, route.link) if route.link else 0)
        # Once each: IPv6 refuses a next hop that the route has already.
        hops = {(hop.link, hop.gateway): hop for hop in self._members(route.next_hop)}
        return encode.put_multipath(route, [(hop, _index(indexes, hop.link)) for hop in hops.values()])

    def _forget_route(self, key: Key) -> None:
        known = self._routes.pop(key, None)
        if known:
            self._users[known.next_hop].discard(key)

    # Checks that a kernel with next-hop objects makes ------------------------------------------------------------

    def _check_next_hop(self, wanted: NextHop, links: Mapping[str, Link]) -> None:
        if wanted.link not in links:
            raise OSError(errno.ENODEV, f"no link {wanted.link}")
        if not links[wanted.link].up:
            raise OSError(errno.ENETDOWN, f"link {wanted.link} is down")
        if wanted.id in self._groups or (_is_ipv4(wanted) and self._carries_ipv6(self._affected(wanted.id))):
            raise OSError(errno.EINVAL, f"{wanted.id} is a group, or carries IPv6 routes")

    def _check_group(self, wanted: NextHopGroup) -> None:
        members = set(wanted.members)
        if not members or len(members) < len(wanted.members) or not members <= self._hops.keys():
            raise OSError(errno.EINVAL, "a group has members, each a next hop that is there, and each once")
        mixed = any(_is_ipv4(self._hops[member]) for member in members) and self._carries_ipv6({wanted.id})
        if wanted.id in self._hops or mixed:
            raise OSError(errno.EINVAL, f"{wanted.id} is a next hop, or carries IPv6 routes")

    def _check_route(self, wanted: Route) -> None:
        hops = self._members(wanted.next_hop)
        if not hops or (wanted.prefix.version == 6 and any(map(_is_ipv4, hops))):
            raise OSError(errno.EINVAL, "Nexthop id does not exist")

    def _carries_ipv6(self, numbers: set[int]) -> bool:
        return any(self._routes[key].prefix.version == 6 for number in numbers for key in self._users.get(number, ()))


def _is_ipv4(hop: NextHop) -> bool:
    return hop.gateway is None or hop.gateway.version == 4


def _index(indexes: Mapping[str, int], name: str) -> int:
    if name not in indexes:
        raise OSError(errno.ENODEV, f"no link {name}")
    return indexes[name]
