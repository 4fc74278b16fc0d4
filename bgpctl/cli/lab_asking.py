"""
The answers of a lab's nodes about their kernels: each agent is asked by its own socket, so no keys are needed. Routers,
and nodes that run another daemon, are read in their namespaces.

Refuses to know: what follows from the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bgpctl.cli.asking import Asker, of_socket
from bgpctl.cli.refusals import NotFound
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.answers import Answers, NodeAnswer
from bgpctl.kernel import snapshot
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from bgpctl.lab.runtime import NETNS


def of_lab(lab: Lab) -> Asker:
    """The nodes of a running lab, by the file that it has."""
    topology = lab.topology
    foreign = [node.name for node in topology.intent.nodes if node.name in topology.runs]
    beside = dict(_read(lab, (*foreign, *(router.name for router in topology.routers))))
    name = f" --name {lab.names.lab}"
    return Asker(topology.intent, lambda names: _answers(lab, names), beside, f"bgpctl lab explain{name}")


def _read(lab: Lab, parts: Iterable[str]) -> Mapping[str, NodeAnswer]:
    if lab.runtime.word != NETNS:
        return {}
    return {part: NodeAnswer(part, "", netns.inside(lab.names.of(part), snapshot.read)) for part in parts}


def _answers(lab: Lab, names: Iterable[str]) -> Answers:
    found = Answers()
    for name in names:
        if name not in lab.topology.runs:
            found = found.plus(of_socket(name, lab.run_dir(name)))
    return found


def ends(lab: Lab, source: str, destination: str) -> tuple[Address, Address]:
    """The addresses of workloads, nodes or hosts by their names, or addresses as they are: of IPv4 if both have one."""
    both = [_addresses(lab, text) for text in (source, destination)]
    for version in (4, 6):
        found = [next((item for item in items if item.version == version), None) for items in both]
        if found[0] and found[1]:
            return found[0], found[1]
    raise NotFound(f"{source} and {destination} have no IP version in common")


def _addresses(lab: Lab, text: str) -> tuple[Address, ...]:
    topology = lab.topology
    named = {node.name: node.addresses for node in topology.intent.nodes}
    named |= {host.name: tuple(item.address for item in host.addresses) for host in topology.hosts}
    named |= {workload.name: workload.addresses for workload in topology.workloads}
    if text in named:
        return named[text]
    try:
        return (Address.parse(text),)
    except ValueError:
        raise NotFound(f"{text} is no address, workload, node or host of lab {lab.names.lab}") from None
