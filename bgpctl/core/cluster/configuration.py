"""
The nouns of the operator's configuration: pools, nodes, peers, filters, services, settings of BGP and of tunnels.
Values only.

Refuses to know: how it was written (core/intent), allocations of nodes (core/cluster/allocations.py), what follows
from it (core/fabric, core/bgp/sessions.py).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple, Self, TypeAlias

from bgpctl.core.cluster.encapsulation import DIRECT, Encapsulation, Mode
from bgpctl.core.cluster.problems import Place
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix, Vni


class Backend(enum.Enum):
    """Calico's `calico_backend`: `bird` means BGP (here spoken by ExaBGP), the others mean no BGP at all."""

    BIRD = "bird"
    VXLAN = "vxlan"
    NONE = "none"


class Use(enum.Enum):
    """Uses of a pool's addresses (Calico's allowedUses)."""

    WORKLOAD = "Workload"
    TUNNEL = "Tunnel"
    LOAD_BALANCER = "LoadBalancer"


@dataclass(frozen=True, slots=True)
class Pool:
    """An IP pool. `encapsulation` is for nodes in other subnets, by `mode` for those in the own one too."""

    name: str
    cidr: Prefix
    encapsulation: Encapsulation = DIRECT
    mode: Mode = Mode.NEVER
    block_size: int = 26
    nat_outgoing: bool = False
    disabled: bool = False
    disable_bgp_export: bool = False
    node_selector: str = "all()"
    allowed_uses: tuple[Use, ...] = (Use.WORKLOAD, Use.TUNNEL)
    place: Place | None = field(default=None, compare=False)

    @property
    def by_bgp(self) -> bool:
        """True if the blocks of this pool are learned by BGP, otherwise from the list of members."""
        return self.encapsulation.by_bgp


class TtlSecurity(enum.Enum):
    """A node's part in GTSM (RFC 5082) with members in its network: it sends the greatest TTL, or requires it too."""

    SENDS = "sends"
    REQUIRES = "requires"


@dataclass(frozen=True, slots=True)
class Node:
    """
    A member of the cluster.

    Attributes:
        address: on the underlay; IPv4 where the node has both, by which others know it.
        address6: the IPv6 one of a node that has both.
        cluster_id: makes the node a route reflector (RFC 4456).
        accepts: the tunnels that it accepts by the operator's configuration; None where it has none.
        ttl_security: its part in GTSM with other members; None where it takes none.
    """

    name: str
    address: InterfaceAddress
    address6: InterfaceAddress | None = None
    asn: Asn | None = None
    labels: tuple[tuple[str, str], ...] = ()
    cluster_id: Address | None = None
    accepts: frozenset[Encapsulation] | None = None
    ttl_security: TtlSecurity | None = None
    place: Place | None = field(default=None, compare=False)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The node's own addresses on the underlay."""
        return tuple(own.address for own in (self.address, self.address6) if own)

    def underlay(self, version: int) -> InterfaceAddress | None:
        """Its address of one IP version on the underlay."""
        if self.address.address.version == version:
            return self.address
        own = self.address6
        return own if own and own.address.version == version else None


class NextHopMode(enum.Enum):
    """Calico's nextHopMode: the next hop announced to a peer. AUTO: ourselves to external peers, else as received."""

    AUTO = "Auto"
    SELF = "Self"
    KEEP = "Keep"


class Role(enum.Enum):
    """One end's role on a session between two ASes (RFC 9234, section 4), with its words in files."""

    PROVIDER = "provider"
    RS = "rs"
    RS_CLIENT = "rs-client"
    CUSTOMER = "customer"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Bfd:
    """
    BFD (RFC 5880) with a peer. Intervals in milliseconds.

    Attributes:
        multiplier: so many packets in a row may be lost.
        multihop: RFC 5883; None: where the peer is not in the node's own network.
    """

    send_ms: int = 300
    receive_ms: int = 300
    multiplier: int = 3
    multihop: bool | None = None


class AsnRange(NamedTuple):
    """AS numbers from the least to the greatest."""

    least: Asn
    greatest: Asn

    def holds(self, asn: Asn) -> bool:
        return self.least <= asn <= self.greatest


EVERY_ASN: Final = AsnRange(Asn(1), Asn((1 << 32) - 1))


@dataclass(frozen=True, slots=True)
class Peer:
    """
    BGP sessions beside the mesh, as Calico's BGPPeer states them.

    Attributes:
        address: the remote speaker; None where `remotes` has it.
        asn: the remote AS; None where it is that of each of the `remotes`.
        nodes: names of the nodes that peer with it, sorted; `node_selector` selected them.
        remotes: names of the nodes that are peered with, sorted; `peer_selector` selected them.
        local_asn: overrides the node's AS on these sessions.
        restart_time_s, hold_time_s, keepalive_s: None for the default.
        allowed_own_as: accepted occurrences of our own AS in a received AS path.
        ttl_security: GTSM (RFC 5082), the number of hops the peer may be away; None without.
        reachable_by: the gateway to a peer that is on no connected network.
        filters: names of Filters, in the order in which they are tried.
        from_node_address: sessions come from the node's own address.
        reverse: the `remotes` get the mirrored sessions without configuration of their own.
        bfd: BFD with the peer; None without.
        route_server: the peer does not put its own AS into the paths that it passes on (RFC 7947).
        local_role: our role on these sessions (RFC 9234); None for no procedures at all.
        strict_role: the peer has to send a role.
        listen_range: in place of `address`: any of these addresses may connect, and is not connected to.
        asn_range: with it, in place of `asn`: the AS numbers that such a peer may have, in another AS than ours.
        limit: so many of them at once.
        add_path: the peer may send several paths to a prefix (RFC 7911).
    """

    name: str
    address: Address | None
    asn: Asn | None
    nodes: tuple[str, ...]
    port: int = 179
    password_file: str | None = None
    node_selector: str = "all()"
    remotes: tuple[str, ...] = ()
    peer_selector: str | None = None
    local_asn: Asn | None = None
    next_hop_mode: NextHopMode = NextHopMode.AUTO
    restart_time_s: int | None = None
    hold_time_s: int | None = None
    keepalive_s: int | None = None
    allowed_own_as: int = 0
    ttl_security: int | None = None
    reachable_by: Address | None = None
    filters: tuple[str, ...] = ()
    from_node_address: bool = True
    reverse: bool = True
    bfd: Bfd | None = None
    route_server: bool = False
    local_role: Role | None = None
    strict_role: bool = False
    listen_range: Prefix | None = None
    asn_range: AsnRange | None = None
    limit: int = 100
    add_path: bool = False
    place: Place | None = field(default=None, compare=False)


Community: TypeAlias = tuple[int, ...]
"""Two numbers (RFC 1997) or three (RFC 8092)."""


class MatchOperator(enum.Enum):
    """The comparison of a prefix with that of a filter rule."""

    EQUAL = "Equal"
    NOT_EQUAL = "NotEqual"
    IN = "In"
    NOT_IN = "NotIn"


@dataclass(frozen=True, slots=True)
class FilterRule:
    """
    One rule of Calico's BGPFilter: every condition that is given must match. The operations are those of an accept.

    Attributes:
        length: least and greatest prefix length, with `cidr`.
        from_peers: the path was learned by BGP, not made here.
        interface: a glob over the name of the link that the route leaves by.
        external: True for eBGP peers, False for iBGP peers, None for both.
        as_path: the first AS numbers of the AS path.
        priority, set_priority: route metrics, as Calico maps them to LOCAL_PREF.
    """

    accept: bool
    cidr: Prefix | None = None
    operator: MatchOperator = MatchOperator.IN
    length: tuple[int, int] | None = None
    from_peers: bool = False
    interface: str | None = None
    external: bool | None = None
    community: Community | None = None
    as_path: tuple[Asn, ...] = ()
    priority: int | None = None
    add_communities: tuple[Community, ...] = ()
    prepend: tuple[Asn, ...] = ()
    set_priority: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Calico's BGPFilter: per direction and IP version rules of which the first that matches decides."""

    name: str
    import4: tuple[FilterRule, ...] = ()
    export4: tuple[FilterRule, ...] = ()
    import6: tuple[FilterRule, ...] = ()
    export6: tuple[FilterRule, ...] = ()
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """Communities on routes announced inside `cidr` (prefixAdvertisements); names of communities are resolved."""

    cidr: Prefix
    communities: tuple[Community, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """
    The proof that an instance of a service is well: exactly one of the first three.

    Attributes:
        tcp: a TCP port that accepts a connection.
        http: a TCP port at which a GET of `path` is answered with a status from 200 to 399.
        command: a program with its arguments that exits with 0.
    """

    tcp: int | None = None
    http: int | None = None
    command: tuple[str, ...] = ()
    path: str = "/"


CHECK_MS: Final = 1000
"""The interval of checks, and at most so long a check takes, where nothing else is given."""


@dataclass(frozen=True, slots=True)
class Service:
    """
    A service address, which each of some nodes announces while its own instance of the service is well (anycast).

    Attributes:
        address: a host's, that all instances have.
        nodes: names of the nodes that have an instance, sorted; `node_selector` selected them.
        workloads: addresses of workloads that are the instances; empty where the nodes themselves are. A node that has
            none of these in its blocks has no instance then.
        interval_ms: from the beginning of one check to that of the next.
        timeout_ms: a check that takes longer has failed.
        rise, fall: so many checks in a row must pass, or fail, before the address is announced, or withdrawn.
        communities: announced with it.
    """

    name: str
    address: Address
    check: Check
    nodes: tuple[str, ...] = ()
    node_selector: str = "all()"
    workloads: tuple[Address, ...] = ()
    interval_ms: int = CHECK_MS
    timeout_ms: int = CHECK_MS
    rise: int = 2
    fall: int = 3
    communities: tuple[Community, ...] = ()
    place: Place | None = field(default=None, compare=False)

    @property
    def prefix(self) -> Prefix:
        """As it is announced."""
        return self.address.host_prefix


class _NodeIndex:
    """Room for an index of the nodes. It is no field, because it is no part of the value: not compared, not written."""

    __slots__ = ("_by_name",)
    _by_name: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class Configuration(_NodeIndex):
    """
    The operator's configuration of the whole cluster. Nodes, pools, peers, filters and services are sorted by name.

    `ipip_mtu`, `vxlan_mtu`, `vxlan_mtu6` and `workload_mtu` are in bytes; 0 derives them from the underlay. `tcp_mss`:
    no segment of TCP over IPv4 through a tunnel is larger, and over IPv6 they are 20 bytes smaller; 0 limits none.
    `channel_port`: the TCP port at which agents ask each other; 0 without. `mtu_discovery`: routes get the path MTU
    that probes have found.
    """

    backend: Backend = Backend.BIRD
    asn: Asn = Asn(64512)
    mesh: bool = True
    listen_port: int = 179
    pools: tuple[Pool, ...] = ()
    nodes: tuple[Node, ...] = ()
    peers: tuple[Peer, ...] = ()
    vxlan_vni: Vni = Vni(4096)
    vxlan_port: int = 4789
    filters: tuple[Filter, ...] = ()
    advertisements: tuple[Advertisement, ...] = ()
    mesh_password_file: str | None = None
    mesh_restart_time_s: int | None = None
    ipip_mtu: int = 0
    vxlan_mtu: int = 0
    vxlan_mtu6: int = 0
    workload_mtu: int = 0
    tcp_mss: int = 0
    channel_port: int = 0
    services: tuple[Service, ...] = ()
    mtu_discovery: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    @property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by their names."""
        return self._by_name

    def with_index(self, nodes: Mapping[str, Node], **changes: object) -> Self:
        """With these nodes by name, in their order, and other changes: `dataclasses.replace` without a new index."""
        other = object.__new__(type(self))
        is_same = nodes is self._by_name
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in {**values, "nodes": self.nodes if is_same else tuple(nodes.values()), **changes}.items():
            object.__setattr__(other, name, value)
        object.__setattr__(other, "_by_name", nodes)
        return other

    def node(self, name: str) -> Node | None:
        return self._by_name.get(name)

    def pool_of(self, prefix: Prefix) -> Pool | None:
        """The pool that contains the whole of `prefix`; pools never overlap."""
        return next((pool for pool in self.pools if pool.cidr.covers(prefix)), None)

    def asn_of(self, node: Node) -> Asn:
        return self.asn if node.asn is None else node.asn
