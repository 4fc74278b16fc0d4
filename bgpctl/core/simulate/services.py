"""
Paths to services by the files alone: from each node that has an instance, as if all were well.

Refuses to know: sessions, checks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.received import Received
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address


def to_services(intent: Intent, node: Node) -> Iterator[Choice]:
    """The choice for each service of which the node has no instance, if all instances are well."""
    for service in intent.services:
        nodes = [member for member in intent.nodes if intent.has_instance(service, member)]
        owns = [(member, own) for member in nodes if (own := member.underlay(service.address.version))]
        if node in nodes or not owns:
            continue
        first, *others = (
            Candidate(own.address, intent.asn_of(member), internal=True, received=Received(path, 0.0))
            for member, own in owns
            for path in (Path(service.prefix, own.address),)
        )
        yield Choice(first, also=tuple(others))


def with_instance(intent: Intent, address: Address) -> tuple[Node, ...]:
    """The nodes that may announce the address; none if it is no service's."""
    service = next((item for item in intent.services if item.address == address), None)
    return tuple(node for node in intent.nodes if service and intent.has_instance(service, node))
