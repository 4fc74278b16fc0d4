"""
Which received paths may be used: the built-in ownership rules, as data and one evaluator.

Refuses to know: which of several acceptable paths is best.
"""

from __future__ import annotations

import enum

from bgpctl.core import tunnels
from bgpctl.core.bgp import Path, Session
from bgpctl.core.cluster import Intent, Node


class Reject(enum.Enum):
    """Why a received path is not used. It stays visible with its reason."""

    NO_NEXT_HOP = "no usable next hop"
    OWN_NEXT_HOP = "the next hop is this node"
    OWN_AS = "own AS in the AS path"
    OWN_ORIGINATOR = "this node originated it"
    OUTSIDE_POOLS = "outside every pool"
    OWN_BLOCK = "this node's own block"
    OWN_ADDRESS = "an address that this node borrowed"
    COVERS_NODE = "covers a node's address"
    NOT_BY_BGP = "its pool is not routed by BGP"


def verdict(intent: Intent, node: Node, session: Session, path: Path) -> Reject | None:
    """None if `path`, received on `session`, may be used; otherwise the first rule that forbids it."""
    return _attributes(node, session, path) or _ownership(intent, node, path)


def _attributes(node: Node, session: Session, path: Path) -> Reject | None:
    # ExaBGP passes all of these through unchecked: RFC 4271 sections 6.3 and 9.1.2, RFC 4456 section 8.
    if path.next_hop is None or path.next_hop.value == 0:
        return Reject.NO_NEXT_HOP
    if path.next_hop == session.local:
        return Reject.OWN_NEXT_HOP
    if session.local_asn in path.as_path:
        return Reject.OWN_AS
    return Reject.OWN_ORIGINATOR if path.originator == node.address.address else None


def _ownership(intent: Intent, node: Node, path: Path) -> Reject | None:
    pool = intent.pool_of(path.prefix)
    if pool is None:
        return Reject.OUTSIDE_POOLS
    if any(path.prefix.covers(block) for block in node.blocks):
        return Reject.OWN_BLOCK
    if path.prefix.size == 1 and path.prefix in tunnels.borrowed(intent, node):
        return Reject.OWN_ADDRESS
    if any(path.prefix.holds(other.address.address) for other in intent.nodes):
        return Reject.COVERS_NODE
    return None if pool.by_bgp else Reject.NOT_BY_BGP
