"""
Keys that both forms share: tunnels, mesh, communities, the options of peers, filters.

Refuses to know: YAML, and which form it becomes part of.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Community, Filter, FilterRule, NextHopMode, Node, Peer
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.tunnel_addresses import HOSTNAME, labels_of
from bgpctl.core.intent.tunnel_keys import MTU_KEYS
from bgpctl.core.net.addresses import Asn

Written: TypeAlias = dict[str, object]
"""A document or a part of one, of texts, numbers, booleans, lists and dicts."""

PORT: Final = 179
_MOST_ASNS: Final = 10
"""Of one prependASPath, as the reader takes them."""
_DEFAULT: Final = Intent()


def given(items: Written) -> Written:
    """Without what is None."""
    return {key: value for key, value in items.items() if value is not None}


def unless(value: object, default: object) -> object:
    """None where the value is what is taken for granted."""
    return None if value == default else value


def texts(values: tuple[object, ...]) -> list[str] | None:
    """As a list, if there are any."""
    return [str(value) for value in values] or None


def text(value: object) -> str | None:
    """As a text, if there is one."""
    return None if value is None else str(value)


def seconds(value: int | None) -> str | None:
    """As a duration."""
    return None if value is None else f"{value}s"


def written_community(community: Community) -> str:
    """`65000:1` or `65000:1:2`."""
    return ":".join(map(str, community))


def written_tunnels(intent: Intent) -> Written:
    """VNI, port and MTUs that differ from the default, by the keys of FelixConfiguration."""
    return given(
        {
            "vxlanVNI": unless(intent.vxlan_vni, _DEFAULT.vxlan_vni),
            "vxlanPort": unless(intent.vxlan_port, _DEFAULT.vxlan_port),
            **{item.key: unless(getattr(intent, item.setting), 0) for item in MTU_KEYS},
        }
    )


def written_speaking(intent: Intent) -> Written:
    """The other settings of BGPConfiguration for the whole cluster, as far as they differ from the default."""
    adverts = [
        {"cidr": str(advert.cidr), "communities": list(map(written_community, advert.communities))}
        for advert in intent.advertisements
    ]
    return given(
        {
            "listenPort": unless(intent.listen_port, _DEFAULT.listen_port),
            "nodeMeshPasswordFile": intent.mesh_password_file,
            "nodeMeshMaxRestartTime": seconds(intent.mesh_restart_time_s),
            "prefixAdvertisements": adverts or None,
        }
    )


# Peers ---------------------------------------------------------------------------------------------------------


def port_of(intent: Intent, peer: Peer) -> int | None:
    """The port if it has to be said: another node listens where all nodes do, everybody else at 179."""
    addresses = {own.address for node in intent.nodes for own in (node.address, node.address6) if own}
    implied = intent.listen_port if peer.remotes or peer.address in addresses else PORT
    return None if peer.port == implied else peer.port


def only_node(intent: Intent, peer: Peer) -> str | None:
    """The node that a peer is of by name. Its selector may choose others too, that have the same host name label."""
    named = [node for node in intent.nodes if peer.node_selector == f"{HOSTNAME} == '{labels_of(node)[HOSTNAME]}'"]
    if peer.nodes:
        return next((node.name for node in named if (node.name,) == peer.nodes), None)
    return next((node.name for node in named if not _can_peer(node, peer)), None)


def _can_peer(node: Node, peer: Peer) -> bool:
    """True if the node has an address of the peer's IP version, and is not the peer itself."""
    own = node.underlay(peer.address.version) if peer.address else node.address
    return own is not None and own.address != peer.address


def peer_options(peer: Peer) -> Written:
    """Everything but which node peers with whom."""
    return given(
        {
            "asNumber": peer.asn,
            "localASNumber": peer.local_asn,
            "passwordFile": peer.password_file,
            "nextHopMode": unless(peer.next_hop_mode.value, NextHopMode.AUTO.value),
            "sourceAddress": None if peer.from_node_address else "None",
            "maxRestartTime": seconds(peer.restart_time_s),
            "keepaliveTime": seconds(peer.keepalive_s),
            "numAllowedLocalASNumbers": peer.allowed_own_as or None,
            "ttlSecurity": peer.ttl_security,
            "reachableBy": text(peer.reachable_by),
            "filters": texts(peer.filters),
            "reversePeering": None if peer.reverse else "Manual",
        }
    )


# Filters -------------------------------------------------------------------------------------------------------


def written_filter(item: Filter) -> Written:
    """Its lists of rules, those that have any."""
    lists = {
        "importV4": item.import4,
        "exportV4": item.export4,
        "importV6": item.import6,
        "exportV6": item.export6,
    }
    return {key: list(map(_rule, rules)) for key, rules in lists.items() if rules}


def _rule(rule: FilterRule) -> Written:
    return given(
        {
            "action": "Accept" if rule.accept else "Reject",
            "cidr": text(rule.cidr),
            "matchOperator": rule.operator.value if rule.cidr else None,
            "prefixLength": {"min": rule.length[0], "max": rule.length[1]} if rule.length else None,
            "source": "RemotePeers" if rule.from_peers else None,
            "interface": rule.interface,
            "peerType": None if rule.external is None else "eBGP" if rule.external else "iBGP",
            "communities": {"values": [written_community(rule.community)]} if rule.community else None,
            "asPathPrefix": list(rule.as_path) or None,
            "priority": rule.priority,
            "operations": list(_operations(rule)) or None,
        }
    )


def _operations(rule: FilterRule) -> Iterator[Written]:
    added: Iterator[Written] = ({"addCommunity": {"value": written_community(one)}} for one in rule.add_communities)
    # What is put in front later stands further in front, so the end of a long prefix comes first.
    prepended: Iterator[Written] = (
        {"prependASPath": {"prefix": list(part)}} for part in reversed(_parts(rule.prepend))
    )
    yield from chain(added, prepended)
    if rule.set_priority is not None:
        yield {"setPriority": {"value": rule.set_priority}}


def _parts(asns: tuple[Asn, ...]) -> list[tuple[Asn, ...]]:
    return [asns[start : start + _MOST_ASNS] for start in range(0, len(asns), _MOST_ASNS)]
