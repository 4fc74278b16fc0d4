"""
Service addresses as one part of the agent's state: the last verdict on each instance that this node has.

The checks run beside the loop (agent/checks.py), which hears of an instance only when its status changes. Verdicts
outlive the agent, as its announcements do: the next agent begins with them, and withdraws nothing that it has not
checked. An edit of the checks leaves them too; one of the address does not.

Refuses to know: how and when an instance is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bgpctl.core.cluster.configuration import Node, Service
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL
from bgpctl.core.net.replacing import replace
from bgpctl.core.services.health import Status, Verdict


@dataclass(frozen=True, slots=True)
class Services:
    """
    Attributes:
        verdicts: the last one on each service by its name; without one an instance is being checked.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def with_verdicts(self, verdicts: Iterable[Verdict]) -> Services:
        """With these in place of the former ones."""
        return replace(self, verdicts={**self.verdicts, **{item.name: item for item in verdicts}})

    def status(self, service: Service) -> Status:
        """The status of this node's instance."""
        found = self.verdicts.get(service.name)
        return found.status if found and found.address == service.address else Status.CHECKING

    def announced(self, intent: Intent, node: Node, observed: Dataplane | None) -> tuple[Service, ...]:
        """
        The services whose address the node announces: its instance is well, and packets find it. Before the first
        observation the kernel is taken to be as the last agent left it.
        """
        return tuple(
            service
            for service in intent.services_of(node)
            if self.status(service) is Status.UP and (observed is None or _is_served(service, observed))
        )


def _is_served(service: Service, observed: Dataplane) -> bool:
    """The node has the address, or a route of ours to a workload that has it."""
    if any(item.address.address == service.address for item in observed.addresses):
        return True
    return any(route.protocol == PROTOCOL and route.next_hop for route in observed.route_set.at(service.prefix))
