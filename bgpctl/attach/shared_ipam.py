"""
The addresses of workloads beyond this host: what the ledger of one node cannot know where blocks are claimed.

With a cluster file there is no shared IPAM: a node's blocks are declared, and its ledger is all there is. In a cluster
on an etcd a node claims blocks by itself, and others may borrow from them (store/etcd/addresses.py).

The ledger stays the truth about this node's workloads. It is written after an address was taken from the shared IPAM,
and before one is given back; whatever ends a program in between, `settle` makes both agree later. So releases wait in
the ledger while the store is away.

Refuses to know: stores, transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

from bgpctl.attach import observe
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.ledger import Ledger
from bgpctl.core.net.addresses import Address, Prefix

Choose: TypeAlias = Callable[[Intent, tuple[Address, ...], Collection[Address]], tuple[Address, ...]]
"""The addresses for a workload, by a cluster as it is; some are given, and some not to be taken. Raises NotGiven."""
Handle: TypeAlias = Callable[[Address], str]
"""The name, in the shared IPAM, of what has an address."""
_DOCKER: Final = "docker/"


class SharedIpam(Protocol):
    """Called under the lock of the ledger."""

    def give(
        self, handle: Handle, asked: Collection[Address], choose: Choose, within: Prefix | None = None
    ) -> tuple[Intent, tuple[Address, ...]]:
        """
        Addresses that are the workload's everywhere, with the cluster as it is now; `choose` is asked as often as it
        takes. `asked`: those that the operator named; `within`: the prefix that others are to be in. Raises NotGiven.
        """

    def settle(self, held: Mapping[Address, str], in_use: Callable[[Iterable[Prefix]], Collection[Prefix]]) -> None:
        """
        Have the shared IPAM agree with the addresses that this node's workloads have, by handle. What the kernel has in
        use is not freed. A store that is away is no error.
        """


def held(ledger: Ledger) -> dict[Address, str]:
    """The addresses of a ledger, with the handle of each. Docker asks for one before it names an endpoint."""
    found = {address: docker_handle(address) for address in ledger.reserved}
    for workload in ledger.workloads.values():
        found |= {own: docker_handle(own) if workload.endpoint else workload.name for own in workload.addresses}
    return found


def docker_handle(address: Address) -> str:
    """The handle of an address that Docker asks for; its endpoint has no name yet."""
    return f"{_DOCKER}{address}"


def settle(shared: SharedIpam | None, ledger: Ledger) -> None:
    """Have the shared IPAM, if there is one, agree with the ledger."""
    if shared:
        shared.settle(held(ledger), lambda prefixes: observe.in_use(prefixes, ""))
