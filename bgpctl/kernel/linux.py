"""
The Kernel port on the running kernel, for the network namespace in which it was opened.

Refuses to know: why an operation is wanted, how an encapsulation is done (protocol.py).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, assert_never

from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op, Put, Remove
from bgpctl.core.dataplane.ops import by_kind
from bgpctl.core.fabric.encapsulations import behind, named
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    PROTOCOL,
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    LinkKind,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    Sysctl,
    WorkloadFilter,
)
from bgpctl.core.net.route_set import RouteSet
from bgpctl.kernel import decode, encode, inner_filter, masquerade, route_metrics, runs, sysctl, workload_filter
from bgpctl.kernel.dumps import Dumps, has_next_hop_objects, read
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.encode import Batched
from bgpctl.kernel.failures import failures_of, refused
from bgpctl.kernel.links import Links, list_links
from bgpctl.kernel.mirror import EVERYTHING, Mirror, Part, unconfirmed
from bgpctl.kernel.netlink import CHUNK, Netlink, Request
from bgpctl.kernel.nexthop_emulation import NextHopEmulation
from bgpctl.kernel.protocol import AUTO, Devices
from bgpctl.kernel.scene import Scene
from bgpctl.kernel.watch import Watch
from bgpctl.ports import Kernel

_TRIES: Final = 3
"""So often something is dumped in which another program changes things meanwhile."""
_NOTIFIED_WITHIN_S: Final = 0.05
"""So late a notification may come after what it is about shows in a dump."""
_NOTIFIED_DRIVER: Final = LinkKind().driver()
"""The driver of devices that the kernel notifies of as a whole."""


class LinuxKernel(Kernel):
    """
    The dataplane of the network namespace that the calling thread is in.

    Sockets stay in that namespace; sysctls and the programs of drivers belong to the calling thread's, so call
    from threads that never leave it.

    Args:
        drivers: the driver of each encapsulation, by its name; AUTO for those not named.
        next_hop_objects: whether routes name next-hop objects, where the kernel has these.
        memory: the file in which sysctls are remembered as they were before we changed them.
        protocol: the number that marks our routes and next hops in the kernel.

    Raises:
        Unavailable: netlink cannot be opened.
    """

    def __init__(
        self,
        drivers: Mapping[str, str] | None = None,
        *,
        next_hop_objects: bool = True,
        memory: Path | None = None,
        protocol: int = PROTOCOL,
    ) -> None:
        self._transform = None if protocol == PROTOCOL else encode.exchanging(protocol)
        self._netlink = Netlink(self._transform)
        self.has_next_hop_objects = has_next_hop_objects(self._netlink)
        self._emulation = None if next_hop_objects and self.has_next_hop_objects else NextHopEmulation()
        self._links = Links()
        self._devices = self._opened(drivers or {})
        self._watch: Watch | None = None
        self._dumps = Dumps(
            self._netlink, self._devices.values(), self._emulation, next_hop_objects=self.has_next_hop_objects
        )
        self._sysctls_before = sysctl.Memory(memory)

    def close(self) -> None:
        self._unwatch()
        for devices in self._devices.values():
            devices.close()
        self._links.close()
        self._netlink.close()

    def watch(self, changed: Callable[[], None]) -> None:
        self._unwatch()
        watch = Watch(changed, self._own_ports, self._empty_mirror(), self._transform)
        self._watch = watch
        with watch.paused():
            # A notification that shows a link as it is already is no news.
            watch.mirror = replace(watch.mirror, links={facts.number: facts for facts in list_links(self._netlink)})

    def _opened(self, drivers: Mapping[str, str]) -> Mapping[str, Devices]:
        """By the name of the encapsulation."""
        every = {
            name: item.devices(self._netlink, self._links, drivers.get(name, AUTO))
            for name, item in IMPLEMENTATIONS.items()
        }
        return {name: devices for name, devices in every.items() if devices}

    def _unwatch(self) -> None:
        if self._watch:
            self._watch.close()
        self._watch = None

    def _own_ports(self) -> frozenset[int]:
        drivers = (devices.port_ids() for devices in self._devices.values())
        return frozenset({self._netlink.port_id, self._links.port_id}).union(*drivers)

    def changed_sysctls(self) -> tuple[Sysctl, ...]:
        return self._sysctls_before.changed()

    # Observing -------------------------------------------------------------------------------------------------

    def observe(self) -> Dataplane:
        if self._watch is None:
            return self._dumps.with_sysctls(self._dumps.renewed(self._empty_mirror())).dataplane
        with self._watch.paused():
            self._update(self._watch)
            self._watch.mirror = self._dumps.with_sysctls(self._watch.mirror)
            return self._watch.mirror.dataplane

    def resync(self) -> Mismatch | None:
        if self._watch is None:
            return None
        with self._watch.paused():
            self._update(self._watch)
            mirrored = self._watch.mirror
            self._watch.mirror = self._dumps.renewed(mirrored.marked_stale(EVERYTHING))
            return self._mismatch(self._watch, mirrored)

    @staticmethod
    def _mismatch(watch: Watch, mirrored: Mirror) -> Mismatch | None:
        """
        The differences from the dump that has just taken the mirror's place, after the same notifications for both: a
        busy namespace notifies during a dump, and of an IPv6 address the kernel does so a moment later (a work queue).
        """
        deadline_s = time.monotonic() + _NOTIFIED_WITHIN_S
        while True:
            mirrored = watch.read_twice(mirrored)
            dumped = watch.mirror
            if mirrored.stale or dumped.stale or mirrored.dataplane == dumped.dataplane:
                return None
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            watch.wait(left_s)
        return Mismatch(mirrored.dataplane.minus_all(dumped.dataplane), dumped.dataplane.minus_all(mirrored.dataplane))

    def _update(self, watch: Watch) -> None:
        """Bring the mirror up to date. Notifications that come while something is dumped are applied after it."""
        watch.read()
        if watch.tables_changed:
            watch.tables_changed = False
            self._dumps.masquerading = set(encode.FAMILY)  # a table of ours may be back
            self._dumps.workload_filter_may_be_there = True
        if any(link.kind.driver() != _NOTIFIED_DRIVER for link in watch.mirror.dataplane.links):
            # Of a program that is detached from tcx there is no notification.
            watch.mirror = watch.mirror.marked_stale((Part.DECAPS,))
        for _ in range(_TRIES):
            if not watch.mirror.stale:
                return
            dumped = watch.mirror = self._dumps.renewed(watch.mirror)
            watch.read()
            if dumped.stale:
                break
        if watch.mirror.stale:
            watch.ring()  # a namespace that never rests: the next observation dumps the rest

    def _empty_mirror(self) -> Mirror:
        return Mirror(emulated=self._emulation is not None)

    def _making(self, kind: LinkKind) -> Devices:
        """Raises OSError EOPNOTSUPP: no encapsulation has such links."""
        behaviour = behind(kind)
        if behaviour is None:
            raise OSError(errno.EOPNOTSUPP, "bgpctl makes devices of encapsulations only")
        return self._devices[behaviour.encapsulation.name]

    def _letting_in(self, decap: Decap, scene: Scene) -> Devices:
        """Raises OSError EOPNOTSUPP: no encapsulation has a device of that name."""
        link = scene.links.get(decap.link)
        behaviour = (behind(link.kind) if link else None) or named(decap.link)
        if behaviour is None:
            raise OSError(errno.EOPNOTSUPP, f"{decap.link} is no device of an encapsulation")
        return self._devices[behaviour.encapsulation.name]

    # Doing -----------------------------------------------------------------------------------------------------

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        failures: list[Failure] = []
        groups = tuple(by_kind(ops))
        with self._acting(ops):
            scene = self._scene(kind for kind, _ in groups)
            for kind, group in groups:
                if issubclass(kind, Batched):
                    unset = kind is Route and route_metrics.may_be_taken_over(group, self._present_routes())
                    for start in range(0, len(group), CHUNK):
                        failures += self._batch(group[start : start + CHUNK], kind, scene, unset=unset)
                    continue
                for op in group:
                    failures += self._single(op, scene)
                    scene = self._dumps.scene() if kind is Link else scene
                if kind is Link and self._emulation:
                    self._emulation.settle(scene.links)
            if self._emulation and self.has_next_hop_objects:
                self._retire()
        if self._watch:
            with self._watch.paused():
                self._watch.mirror = unconfirmed(self._watch.mirror, ops, failures)
        return tuple(failures)

    def _scene(self, kinds: Iterable[type]) -> Scene:
        """The links as they are now; of a watched kernel by its notifications, where no device is changed."""
        if self._watch and all(issubclass(kind, Batched) for kind in kinds):
            with self._watch.paused():
                mirror = self._watch.mirror
            if Part.LINKS not in mirror.stale:
                indexes = {facts.name: facts.number for facts in mirror.links.values()}
                return Scene(indexes, {link.name: link for link in mirror.dataplane.links})
        return self._dumps.scene()

    def _acting(self, ops: Sequence[Op]) -> AbstractContextManager[None]:
        if self._watch is None:
            return nullcontext()
        with self._watch.paused():
            few = self._watch.mirror.few_routes
        routes = sum(len(group) for kind, group in by_kind(ops) if kind is Route)
        return self._watch.acting(dumping_routes=routes > few)

    def _batch(self, ops: Sequence[Op], kind: type, scene: Scene, *, unset: bool) -> Iterator[Failure]:
        run = runs.run_of(kind, ops, scene.indexes, unset=unset) if self._emulation is None else None
        if run:
            yield from refused(ops, self._netlink.request_run(run))
            return
        sent: list[tuple[Op, Request]] = []
        for op in ops:
            try:
                if self._emulation is None:
                    sent.append((op, _request(op, scene, unset=unset)))
                else:
                    sent += [(op, request) for request in self._requests(self._emulation, op, scene)]
            except OSError as error:
                yield from failures_of(op, error)
        yield from refused([op for op, _ in sent], self._netlink.request([request for _, request in sent]))

    def _present_routes(self) -> RouteSet:
        """As they were observed last."""
        if self._watch is None:
            return self._dumps.last_routes
        with self._watch.paused():
            return self._watch.mirror.dataplane.route_set

    @staticmethod
    def _requests(emulation: NextHopEmulation, op: Op, scene: Scene) -> Iterable[Request]:
        obj = op.object
        if not isinstance(obj, NextHop | NextHopGroup | Route):
            return (_request(op, scene),)
        if isinstance(op, Put):
            return emulation.put(obj, scene.links, scene.indexes)
        return emulation.remove(obj, scene.indexes)

    def _retire(self) -> None:
        """Remove next-hop objects that an earlier agent left and no route names any more."""
        objects = self._dumps.next_hop_objects()
        ours = read(objects, {}, decode.owned_next_hop)
        if not ours:
            return
        groups = {group.id: group.members for group in read(objects, {}, decode.group)}
        named = {route.next_hop for route in read(self._dumps.routes(), {}, decode.route)}
        used = named.union(*(groups.get(number, ()) for number in named))
        unused = [NextHop(number, "", None, onlink=False) for number in sorted(ours - used, reverse=True)]
        self._netlink.request([encode.remove(hop, 0) for hop in unused])

    def _single(self, op: Op, scene: Scene) -> Iterator[Failure]:
        try:
            if isinstance(op, Put):
                self._put(op.object, scene)
            else:
                self._remove(op.object, scene)
        except OSError as error:
            yield from failures_of(op, error)

    def _put(self, obj: KernelObject, scene: Scene) -> None:
        match obj:
            case Link():
                self._making(obj.kind).put(obj, scene)
            case LinkAddress():
                self._put_address(obj, scene)
            case Decap():
                self._letting_in(obj, scene).put_decap(obj)
            case InnerFilter():
                scene.index(obj.link)
                inner_filter.put(obj)
            case WorkloadFilter():
                self._dumps.workload_filter_may_be_there = True
                workload_filter.put(obj, scene.links)
            case Masquerade():
                masquerade.put(obj)
                self._dumps.masquerading.add(obj.version)
            case Sysctl():
                self._dumps.named_sysctls |= {obj.name}
                self._sysctls_before.write(obj)
            case FdbEntry() | Neighbour() | NextHop() | NextHopGroup() | Route():
                raise AssertionError(f"{obj} goes by batch")
            case _:
                assert_never(obj)

    def _remove(self, obj: KernelObject, scene: Scene) -> None:
        match obj:
            case Link():
                self._remove_link(obj, scene)
            case LinkAddress():
                self._links.remove_address(scene.index(obj.link), obj.address)
            case Decap():
                self._letting_in(obj, scene).remove_decap(obj.link, scene)
            case InnerFilter():
                inner_filter.remove(obj.link)
            case WorkloadFilter():
                workload_filter.remove()
            case Masquerade():
                masquerade.remove(obj.version)
            case Sysctl():
                self._dumps.named_sysctls -= {obj.name}  # a value cannot be absent; it can be the one before ours
                self._sysctls_before.restore(obj.name)
            case FdbEntry() | Neighbour() | NextHop() | NextHopGroup() | Route():
                raise AssertionError(f"{obj} goes by batch")
            case _:
                assert_never(obj)

    def _remove_link(self, link: Link, scene: Scene) -> None:
        """With its filter, which the kernel keeps for the next device of that name."""
        if isinstance(link.kind, Plain):
            self._links.remove(scene.index(link.name))
        else:
            self._making(link.kind).remove(link.name, scene)
        inner_filter.remove_with(link.name)

    def _put_address(self, wanted: LinkAddress, scene: Scene) -> None:
        with suppress(FileExistsError):
            self._links.add_address(scene.index(wanted.link), wanted.address, wanted.protocol)


def _request(op: Op, scene: Scene, *, unset: bool = False) -> Request:
    """
    `unset`: a route without metrics has none that another one has. Raises OSError without asking the kernel: no such
    link, or one where the object has another meaning.
    """
    obj = op.object
    if isinstance(obj, Route):  # first, because there are most of them
        index = scene.index_or_0(obj.link)
        return encode.remove(obj, 0) if isinstance(op, Remove) else encode.put(obj, index, unset=unset)
    if not isinstance(obj, Batched):
        raise TypeError(obj)
    if isinstance(obj, FdbEntry) and scene.kind(obj.link).entries_version() is None:
        # Any other device would take the MAC for one of its own to receive.
        code = errno.EOPNOTSUPP if isinstance(op, Put) else errno.ENOENT
        raise OSError(code, f"{obj.link} takes no forwarding entries")
    if isinstance(op, Remove):
        # A next-hop object is removed by number, as a route is by its key: no link is needed for either.
        return encode.remove(obj, scene.index(obj.link) if isinstance(obj, FdbEntry | Neighbour) else 0)
    return encode.put(obj, scene.index_or_0(None if isinstance(obj, NextHopGroup) else obj.link))
