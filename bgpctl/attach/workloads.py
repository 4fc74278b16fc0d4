"""
Workloads added to this node and deleted from it: the ledger and the kernel, one step after the other.

The ledger has a workload before its cable is made, and until its cable is gone. So a program that is killed at any step
leaves a workload in the ledger, with its addresses, that is not complete. `add` with the same request makes it anew,
`delete` removes it. The same holds after a boot, which leaves nothing of cables: who makes the namespaces again calls
`add` again, and each workload has the addresses that it had.

What fails leaves the host as it was. Only one program at a time gets here (ledger_file.py).

Refuses to know: who calls, cluster files, how addresses are chosen (core/ipam).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from bgpctl.attach import ledger_file, netns, observe
from bgpctl.attach.connect import Cable, connect
from bgpctl.attach.ledger_file import LedgerFile
from bgpctl.attach.observe import Device
from bgpctl.attach.shared_ipam import Handle, SharedIpam, settle
from bgpctl.attach.status import NotPossible, fault
from bgpctl.attach.wiring import Wiring, device_of
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.workloads import mtu_bytes
from bgpctl.core.ipam.allocate import allocate, confirm
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.ipam.ledger import Ledger, Moment, Request, Workload
from bgpctl.core.net.addresses import Address, Prefix

_LOOPBACK_UP: Final = "link set lo up"


class NotUndone(Exception):
    """It failed, and a part of what had been made could not be removed."""


class Done(enum.Enum):
    """The outcome of an addition."""

    ADDED = "added"
    REBUILT = "rebuilt"
    THERE = "there"


class Times(NamedTuple):
    """The same moment twice: for cool-downs, and in seconds since 1970 for readers."""

    moment: Moment
    date_s: float


def add(
    directory: Path, intent: Intent, node: Node, request: Request, now: Times, shared: SharedIpam | None = None
) -> tuple[Workload, Done]:
    """
    Have the workload on this node; again if it is there already, with the addresses that it has. With a shared IPAM its
    addresses are the workload's beyond this host.

    Raises:
        NotGiven: no address, or the name is that of another workload.
        NotPossible, NotUndone, ledger_file.LedgerUnusable.
        netns.NoNamespace: there is no such namespace.
    """
    with ledger_file.locked(directory) as file, netns.opened(request.netns) as namespace:
        ledger = of_node(file, node)
        settle(shared, ledger)
        addition = _Addition(file, ledger, NodeBlocks.of(intent, node), request, namespace, shared)
        try:
            return addition.run(now)
        except BaseException as error:
            settle(shared, file.read())
            if isinstance(error, RuntimeError):
                raise NotPossible(str(error)) from error
            raise


def delete(directory: Path, name: str, now: Moment, shared: SharedIpam | None = None) -> Workload | None:
    """
    The workload of this name, which is gone; None if there was none.

    Raises NotPossible, ledger_file.LedgerUnusable.
    """
    with ledger_file.locked(directory) as file:
        ledger = file.read()
        workload = ledger.workloads.get(name)
        if workload:
            unplug(workload.device)
            ledger = ledger.without(name, now)
            file.write(ledger)
        settle(shared, ledger)
        return workload


def of_node(file: LedgerFile, node: Node) -> Ledger:
    """The ledger, of this node. Raises NotGiven if it has workloads of another."""
    ledger = file.read()
    if (ledger.workloads or ledger.reserved) and ledger.node != node.name:
        text = f"{file.path} has workloads of node {ledger.node}, and this is to be {node.name}"
        raise NotGiven(Rule.OTHER_NODE, f"{text}; see --node and --state-dir")
    return replace(ledger, node=node.name)


@dataclass(frozen=True, slots=True)
class _Addition:
    """One addition, under the ledger's lock. `namespace` is a path of the workload's."""

    file: LedgerFile
    ledger: Ledger
    blocks: NodeBlocks
    request: Request
    namespace: str
    shared: SharedIpam | None = None

    def run(self, now: Times) -> tuple[Workload, Done]:
        known = self.ledger.workloads.get(self.request.name)
        if known:
            return self._again(known)
        device = device_of(self.request.name)
        links = devices()
        if device in links:
            raise NotPossible(f"{device} is there, and is no workload's in {self.file.path}: ip link delete {device}")
        choice = Choice(self.ledger, self.request, now.moment, device)
        blocks, addresses = given(choice, self.blocks, self.shared, lambda _: self.request.name)
        self._refuse_what_is_there(addresses, None)
        mac = Wiring(device, (), 0, given_mac=self.request.mac).mac
        mtu = mtu_of(blocks, addresses, links)
        workload = Workload(self.request, device, mac, addresses, mtu, now.date_s)
        self.file.write(self.ledger.with_workload(workload))
        with _undone_by(lambda error: self._undo(workload, error)):
            self._plug(workload)
            return self._completed(workload), Done.ADDED

    def _again(self, known: Workload) -> tuple[Workload, Done]:
        name = known.name
        if not known.answers(self.request):
            text = f"there is another workload {name}, with {' and '.join(map(str, known.addresses))}"
            raise NotGiven(Rule.NAME_TAKEN, f"{text}; see: bgpctl workload show {name}")
        links = devices()
        near = links.get(known.device)
        if near and known.complete and self._is_whole(known, near):
            return known, Done.THERE
        if near and known.complete and known.request.netns != self.request.netns:
            text = f"workload {name} is attached to {known.request.netns}"
            raise NotGiven(Rule.NAME_TAKEN, f"{text}; remove it there first: bgpctl workload del {name}")
        busy = observe.in_use(self.blocks.prefixes, known.device)
        confirm(self.ledger, name, self.blocks, busy, known.addresses)
        self._refuse_what_is_there(known.addresses, near)
        mtu = mtu_of(self.blocks, known.addresses, links)
        workload = replace(known, request=self.request, mtu_bytes=mtu, complete=False)
        self.file.write(self.ledger.with_workload(workload))
        with _undone_by(lambda _: unplug(workload.device)):
            self._plug(workload)
            return self._completed(workload), Done.REBUILT

    def _completed(self, workload: Workload) -> Workload:
        complete = replace(workload, complete=True)
        self.file.write(self.ledger.with_workload(complete))
        return complete

    def _undo(self, workload: Workload, error: BaseException) -> None:
        """Have the host and the ledger as they were. Raises NotUndone."""
        try:
            unplug(workload.device)
            self.file.write(self.ledger)
        except (NotPossible, ledger_file.LedgerUnusable, OSError) as left:
            hint = f"then: bgpctl workload del {workload.name}"
            raise NotUndone(f"{error}; what was made could not be removed: {left}; {hint}") from error

    def _plug(self, workload: Workload) -> None:
        unplug(workload.device)
        netns.ip([_LOOPBACK_UP], self.namespace)
        given = workload.mac if self.request.mac else None
        wiring = Wiring(workload.device, workload.addresses, workload.mtu_bytes, self.request.inner, given)
        connect([Cable(wiring, None, self.namespace)])

    def _refuse_what_is_there(self, addresses: Iterable[Address], near: Device | None) -> None:
        """A workload takes the place of nothing in its namespace. `near`: the node's end of its former cable."""
        inner, where = self.request.inner, self.request.netns
        there = observe.devices(self.namespace).get(inner)
        is_former = bool(there and near and is_other_end(there, near))
        if there and not is_former:
            raise NotPossible(f"{where} has a link {inner} already; choose another name with --dev")
        versions = {address.version for address in addresses}
        for version, link in observe.default_routes(self.namespace):
            if version in versions and not (is_former and link == inner):
                raise NotPossible(f"{where} has a default route of IPv{version} already, by {link or 'no link'}")

    def _is_whole(self, workload: Workload, near: Device) -> bool:
        """True if the cable leads to this namespace, and both ends are as they were made."""
        there = observe.devices(self.namespace).get(self.request.inner)
        if not there or not there.up or there.mac != workload.mac or not is_other_end(there, near):
            return False
        versions = {version for version, link in observe.default_routes(self.namespace) if link == there.name}
        own = observe.addresses(self.namespace, there.name)
        is_reachable = own.issuperset(workload.addresses) and versions.issuperset(a.version for a in workload.addresses)
        return is_reachable and not fault(workload, observe.node_side())


class Choice(NamedTuple):
    """A workload that gets addresses, by the ledger at a moment, for its link `device`; `within`: where they are."""

    ledger: Ledger
    request: Request
    now: Moment
    device: str = ""
    within: Prefix | None = None

    def by(
        self, blocks: NodeBlocks, borrowed: tuple[Address, ...] = (), avoid: Collection[Address] = ()
    ) -> tuple[Address, ...]:
        """The addresses, of these blocks of the node. Raises NotGiven, RuntimeError."""
        busy = {*observe.in_use(blocks.prefixes, self.device), *(address.host_prefix for address in avoid)}
        asked = replace(self.request, addresses=(*self.request.addresses, *borrowed))
        return allocate(self.ledger, asked, blocks, busy, self.now, self.within)


def given(
    choice: Choice, blocks: NodeBlocks, shared: SharedIpam | None, handle: Handle
) -> tuple[NodeBlocks, tuple[Address, ...]]:
    """The addresses of a new workload, and the node's blocks then. Raises NotGiven, RuntimeError."""
    if shared is None:
        return blocks, choice.by(blocks)

    def choose(intent: Intent, borrowed: tuple[Address, ...], avoid: Collection[Address]) -> tuple[Address, ...]:
        return choice.by(NodeBlocks.of(intent, blocks.node), borrowed, avoid)

    intent, addresses = shared.give(handle, choice.request.addresses, choose, choice.within)
    return NodeBlocks.of(intent, blocks.node), addresses


def is_other_end(there: Device, near: Device) -> bool:
    """True if both, each in its namespace, are the ends of one cable."""
    return (there.peer, there.number) == (near.number, near.peer)


def mtu_of(blocks: NodeBlocks, addresses: Iterable[Address], links: Mapping[str, Device]) -> int:
    """The MTU of a workload of this node with these addresses, in bytes. Raises NotPossible, RuntimeError."""
    node = blocks.node
    carriers = [observe.carrier_bytes(own) for own in node.addresses]
    if None in carriers:
        own = node.addresses[carriers.index(None)]
        text = f"{own}, the address of node {node.name}, is on no link of this network namespace"
        raise NotPossible(f"{text}; see --node, and: ip address")
    known = {name: link.mtu_bytes for name, link in links.items()}
    return mtu_bytes(blocks.intent, addresses, min(found for found in carriers if found), known)


@contextmanager
def _undone_by(undo: Callable[[BaseException], None]) -> Iterator[None]:
    """Undo after a failure. One of ip or of a system call is raised as NotPossible."""
    try:
        yield
    except BaseException as error:
        undo(error)
        if isinstance(error, RuntimeError | OSError):
            raise NotPossible(str(error)) from error
        raise


def unplug(device: str) -> None:
    """Delete the node's end of a cable, and so the cable; absent is no error. Raises NotPossible."""
    if device not in devices():
        return
    try:
        netns.ip([f"link delete {device}"])
    except RuntimeError as error:
        if device in devices():
            raise NotPossible(str(error)) from error


def devices() -> Mapping[str, Device]:
    """All links of this namespace, by name. Raises NotPossible."""
    try:
        return observe.devices()
    except RuntimeError as error:
        raise NotPossible(str(error)) from error
