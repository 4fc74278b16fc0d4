"""
Rules that need more than one value, in three kinds by what one has to know to check them.

- *Of a record* (`check_records`): of one node with all that was given to it, beside the pools and settings. The checks
  of some nodes alone find what the checks of all find of them.
- *Against an index* (`check_against_each_other`): no two nodes have the same address, no two blocks overlap, no two
  masks disagree. `index.py` answers in one look-up whether anything does; the checks here name it.
- *Of the cluster* (`check_cluster`): of pools, settings and peers, with all nodes. Few, and they change seldom.

An edit of some nodes needs the first kind for these nodes, and the index (edit.py); everything else needs all three.
Here are those of pools and of the cluster as such.

Refuses to know: which form a value was written in.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.breach import note
from bgpctl.core.intent.check_blocks import by_place, check_block_owners, check_block_records, nested
from bgpctl.core.intent.check_nodes import check_node_owners, check_node_records
from bgpctl.core.intent.check_peers import check_peers
from bgpctl.core.intent.check_pools import pool_rules
from bgpctl.core.intent.draft import Draft, Setting
from bgpctl.core.intent.services import check_services
from bgpctl.core.intent.tunnel_keys import MTU_KEYS

_LEAST_MTU_BYTES: Final = {4: 68, 6: 1280}
"""The MTU that every link must carry: RFC 791, section 3.2; RFC 8200, section 5."""


def check_records(intent: Intent, draft: Draft) -> None:
    """Note every rule that a node of `draft`, with its blocks and addresses, breaks by itself."""
    check_node_records(intent, draft)
    check_block_records(intent, draft)


def check_against_each_other(intent: Intent, draft: Draft) -> None:
    """Note every rule that a node or a block breaks together with another one."""
    check_node_owners(intent, draft)
    check_block_owners(draft)


def check_cluster(intent: Intent, draft: Draft) -> None:
    """Note every rule about pools, settings, peers and services that `intent` breaks."""
    for pool in draft.pools.values():
        note(draft, pool, pool_rules(intent, pool.value))
    _pool_overlaps(draft)
    _mtus(intent, draft)
    _ports(intent, draft)
    check_peers(intent, draft)
    check_services(intent, draft)


# Pools ---------------------------------------------------------------------------------------------------------


def _pool_overlaps(draft: Draft) -> None:
    for outer, inner in nested(draft.pools.values(), lambda pool: pool.cidr):
        first, second = by_place(outer, inner)
        other = f"pool {first.value.name} ({first.value.cidr}) at {first.at.place}"
        draft.wrong(second.part("cidr"), f"{second.value.cidr} overlaps {other}", "pool-overlap")


# The cluster ---------------------------------------------------------------------------------------------------


def _mtus(intent: Intent, draft: Draft) -> None:
    """MTUs that are given must carry the packets of their IP version, and packets of workloads must fit."""
    has_v6 = any(pool.cidr.version == 6 for pool in intent.pools)
    _least_mtu(draft, "workload_mtu", intent.workload_mtu, 6 if has_v6 else 4)
    for _, setting, encapsulation, version in MTU_KEYS:
        tunnel = getattr(intent, setting)
        _least_mtu(draft, setting, tunnel, version)
        in_use = any((pool.encapsulation, pool.cidr.version) == (encapsulation, version) for pool in intent.pools)
        if in_use and 0 < tunnel < intent.workload_mtu:
            message = f"workloads send {intent.workload_mtu} bytes, and the {encapsulation.name} tunnel takes {tunnel}"
            draft.wrong(draft.settings[setting].at, message, "mtu-too-small")


def _least_mtu(draft: Draft, setting: Setting, mtu: int, version: int) -> None:
    least = _LEAST_MTU_BYTES[version]
    if 0 < mtu < least:
        message = f"{mtu} cannot work: IPv{version} needs {least} bytes at least"
        draft.wrong(draft.settings[setting].at, message, "mtu-too-small")


def _ports(intent: Intent, draft: Draft) -> None:
    for port, owner, at in draft.udp_ports:
        if port == intent.vxlan_port:
            draft.wrong(at, f"UDP port {port} is that of VXLAN already; {owner} needs another", "port-clash")
    channel = draft.settings.get("channel_port")
    if channel and intent.channel_port == intent.listen_port:
        message = f"TCP port {intent.channel_port} is that of BGP already (listenPort)"
        draft.wrong(channel.at, message, "port-clash")
    reserved = draft.settings.get("vxlan_port")
    if reserved and intent.vxlan_port in _UDP_SERVICES:
        message = f"UDP port {intent.vxlan_port} is that of {_UDP_SERVICES[intent.vxlan_port]} on every host"
        draft.wrong(reserved.at, message, "port-clash", Severity.WARNING)


_UDP_SERVICES: Final = {53: "DNS", 67: "DHCP", 68: "DHCP", 123: "NTP", 546: "DHCPv6", 547: "DHCPv6"}
