"""Rich valid intents: everything that a cluster file can contain, drawn so that no rule is broken."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations, TunnelAddress, VtepMac
from bgpctl.core.cluster.configuration import (
    Advertisement,
    Backend,
    Bfd,
    Community,
    Filter,
    FilterRule,
    MatchOperator,
    NextHopMode,
    Node,
    Peer,
    Pool,
    Role,
    TtlSecurity,
    Use,
)
from bgpctl.core.cluster.encapsulation import DIRECT, ENCAPSULATIONS, IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.selector import parse
from bgpctl.core.cluster.tunnel_addresses import HOSTNAME, every_tunnel, is_eligible, labels_of
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Mac, Prefix, Vni

NAMES = ["a", "a1", "b-2", "no", "null", "1", "1e3", "0x1f", "node.example.com", "x" * 63, "true", "y.1", "07"]
SELECTORS = ["all()", "has(rack)", "rack == 'a'", "!has(rack)", "rack in {'a', 'b'} || has(yes)", 'rack != "a: #"']
USES = [(Use.WORKLOAD, Use.TUNNEL), (Use.WORKLOAD,), (Use.TUNNEL,)]
CROSSING = (Mode.CROSS_SUBNET, Mode.ALWAYS)
BITS = {4: 32, 6: 128}

asns = st.integers(1, 2**32 - 1).map(Asn)
maybe_asns = st.none() | asns
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["", "a", "b", "~", "5", "no"])
files = st.none() | st.sampled_from(["secrets/tor", "/etc/bgpctl/tor", "with space/ü: #", "5", "no"])
seconds = st.none() | st.integers(1, 4095)
flags = st.booleans()


def communities() -> st.SearchStrategy[Community]:
    short, long = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
    return st.tuples(short, short) | st.tuples(long, long, long)


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    """Up to four pools of either version and any kind, five nodes, three peers and two filters."""
    backend = draw(st.sampled_from([*[Backend.BIRD] * 4, Backend.VXLAN, Backend.NONE]))
    pools = draw(_pools(backend))
    nodes = draw(_nodes(pools))
    intent = Intent(backend=backend, pools=pools, nodes=nodes, allocations=draw(_allocations(nodes, pools)))
    mesh = draw(flags)
    intent = replace(
        intent,
        asn=draw(asns),
        mesh=mesh,
        listen_port=draw(st.sampled_from([179, 1790])),
        vxlan_vni=Vni(draw(st.sampled_from([4096, 1, 2**24 - 1]))),
        vxlan_port=draw(st.sampled_from([4789, 8472])),
        filters=draw(_filters()),
        advertisements=tuple(draw(st.lists(_advertisements(), max_size=2))),
        mesh_password_file=draw(files) if mesh else None,
        mesh_restart_time_s=draw(seconds) if mesh else None,
        ipip_mtu=draw(st.sampled_from([0, 1480])),
        vxlan_mtu=draw(st.sampled_from([0, 1450])),
        vxlan_mtu6=draw(st.sampled_from([0, 1430])),
        workload_mtu=draw(st.sampled_from([0, 1280, 1430])),
        tcp_mss=draw(st.sampled_from([0, 1360])),
        channel_port=draw(st.sampled_from([0, 9179])),
        mtu_discovery=draw(st.booleans()),
    )
    return replace(intent, peers=draw(_peers(intent)) if backend is Backend.BIRD else ())


def _named(draw: st.DrawFn, most: int) -> list[str]:
    """Up to so many names, any number equally likely."""
    count = draw(st.integers(0, most))
    return sorted(draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=count, max_size=count)))


# Pools ---------------------------------------------------------------------------------------------------------


@st.composite
def _pools(draw: st.DrawFn, backend: Backend) -> tuple[Pool, ...]:
    return tuple(draw(_pool(name, index, backend)) for index, name in enumerate(_named(draw, 4)))


@st.composite
def _pool(draw: st.DrawFn, name: str, index: int, backend: Backend) -> Pool:
    version = draw(st.sampled_from([4, 6]))
    cidr = Prefix.parse(f"10.{240 + index}.0.0/16" if version == 4 else f"fd00:{index}::/48")
    if draw(st.integers(0, 5)) == 0:
        return Pool(name, cidr, block_size=draw(_sizes(version)), allowed_uses=(Use.LOAD_BALANCER,))
    kinds = [VXLAN]
    if backend is Backend.BIRD:
        kinds = [kind for kind in ENCAPSULATIONS.values() if version in kind.versions]
    kind, mode = draw(st.sampled_from(kinds)), draw(st.sampled_from(CROSSING))
    return Pool(
        name=name,
        cidr=cidr,
        encapsulation=kind,
        mode=Mode.NEVER if kind == DIRECT else mode,
        block_size=draw(_sizes(version)),
        nat_outgoing=draw(flags),
        disabled=draw(flags),
        disable_bgp_export=draw(flags),
        node_selector=draw(st.sampled_from(SELECTORS)),
        allowed_uses=draw(st.sampled_from(USES)),
    )


def _sizes(version: int) -> st.SearchStrategy[int]:
    return st.sampled_from([26, 24, 32] if version == 4 else [122, 121, 128])


# Nodes ---------------------------------------------------------------------------------------------------------


@st.composite
def _nodes(draw: st.DrawFn, pools: tuple[Pool, ...]) -> tuple[Node, ...]:
    masks = {version: draw(st.sampled_from(_masks(version, pools))) for version in (4, 6)}
    return tuple(draw(_node(name, number, masks)) for number, name in enumerate(_named(draw, 5)))


def _masks(version: int, pools: tuple[Pool, ...]) -> list[int]:
    """A host mask defines no subnet, so CrossSubnet forbids it."""
    crossing = any(pool.mode is Mode.CROSS_SUBNET and pool.cidr.version == version for pool in pools)
    return ([24] if version == 4 else [64]) + ([] if crossing else [BITS[version]])


@st.composite
def _node(draw: st.DrawFn, name: str, number: int, masks: dict[int, int]) -> Node:
    rack = draw(st.integers(0, 2))
    v4 = InterfaceAddress(Address.parse(f"10.0.{rack}.{number + 1}"), masks[4])
    v6 = InterfaceAddress(Address.parse(f"fd01:{rack}::{number + 1}"), masks[6])
    main, other = draw(st.sampled_from([(v4, v6), (v4, v6), (v4, None), (v6, None)]))
    labels = draw(
        st.dictionaries(st.sampled_from(["rack", HOSTNAME, "<<", "yes", "1", "ü"]) | words, words, max_size=3)
    )
    # Texts that stand inside selectors cannot have both kinds of quotes; a host name has none.
    labels = {key: value.replace("'", "") if key == HOSTNAME else value for key, value in labels.items()}
    return Node(
        name,
        main,
        address6=other,
        asn=draw(maybe_asns),
        labels=tuple(sorted(labels.items())),
        accepts=draw(st.none() | st.frozensets(st.sampled_from((IPIP, VXLAN)))),
        ttl_security=draw(st.none() | st.sampled_from(TtlSecurity)),
        cluster_id=draw(st.none() | st.integers(1, 2**32 - 1).map(lambda value: Address(4, value))),
    )


# Allocations ---------------------------------------------------------------------------------------------------


@st.composite
def _allocations(draw: st.DrawFn, nodes: tuple[Node, ...], pools: tuple[Pool, ...]) -> Allocations:
    # Each number is a block of each pool, of which one node at most has one, and an address at most one node.
    numbers, hosts = (iter(draw(st.permutations(range(60)))) for _ in "ab")
    found = {
        node.name: replace(
            draw(_allocated(node, pools, [next(numbers), next(numbers)], [next(hosts) for _ in range(5)])),
            vtep_macs=draw(_macs(number)),
        )
        for number, node in enumerate(nodes)
    }
    return Allocations({name: given for name, given in found.items() if given != NodeAllocations()})


def _macs(number: int) -> st.SearchStrategy[frozenset[VtepMac]]:
    return st.frozensets(
        st.sampled_from([VtepMac(version, Mac(f"02:00:00:00:0{version}:{number:02x}")) for version in (4, 6)])
    )


@st.composite
def _allocated(
    draw: st.DrawFn, node: Node, pools: tuple[Pool, ...], blocks: list[int], hosts: list[int]
) -> NodeAllocations:
    """Blocks, borrowed addresses and tunnel ends in pools of the versions that the node speaks."""
    reachable = [
        pool for pool in pools if Use.LOAD_BALANCER not in pool.allowed_uses and node.underlay(pool.cidr.version)
    ]
    if not reachable:
        return NodeAllocations()
    pick = st.sampled_from(reachable)
    own = tuple(sorted(_block(draw(pick), number) for number in draw(_some(blocks))))
    candidates = [_host(draw(pick), number) for number in draw(_some(hosts[:2]))]
    borrowed = tuple(sorted({host for host in candidates if not any(block.covers(host) for block in own)}))
    ends = (draw(_tunnel(node, pools, *tunnel, host)) for tunnel, host in zip(every_tunnel(), hosts[2:], strict=True))
    return NodeAllocations(own, borrowed, frozenset(end for end in ends if end))


def _some(numbers: list[int]) -> st.SearchStrategy[list[int]]:
    return st.integers(0, len(numbers)).map(lambda count: numbers[:count])


def _block(pool: Pool, number: int) -> Prefix:
    size = 1 << (BITS[pool.cidr.version] - pool.block_size)
    return Prefix(pool.cidr.version, pool.cidr.network + number * size, pool.block_size)


def _host(pool: Pool, number: int) -> Prefix:
    """Never the first of a block that a node may have: tunnels take that one."""
    at = 60 * 256 if pool.block_size == BITS[pool.cidr.version] else 1
    return pool.cidr.nth(at + number).host_prefix


@st.composite
def _tunnel(
    draw: st.DrawFn, node: Node, pools: tuple[Pool, ...], kind: Encapsulation, version: int, number: int
) -> TunnelAddress | None:
    eligible = [pool for pool in pools if is_eligible(pool, node, kind, version)]
    if not eligible or not draw(flags):
        return None
    return TunnelAddress(kind, _host(draw(st.sampled_from(eligible)), number).first)


# Filters and peers ---------------------------------------------------------------------------------------------


@st.composite
def _filters(draw: st.DrawFn) -> tuple[Filter, ...]:
    rules = {version: st.lists(_rules(version), max_size=2).map(tuple) for version in (4, 6)}
    return tuple(
        Filter(name, draw(rules[4]), draw(rules[4]), draw(rules[6]), draw(rules[6])) for name in _named(draw, 2)
    )


@st.composite
def _rules(draw: st.DrawFn, version: int) -> FilterRule:
    accept = draw(flags)
    cidr = draw(
        st.none() | st.sampled_from([Prefix.parse("10.0.0.0/8" if version == 4 else "fd00::/8"), Prefix(version, 0, 0)])
    )
    changes = FilterRule(accept)
    if accept:
        changes = FilterRule(
            accept,
            add_communities=tuple(draw(st.lists(communities(), max_size=2))),
            prepend=tuple(map(Asn, range(1, draw(st.sampled_from([1, 3, 11, 26]))))),
            set_priority=draw(st.none() | st.integers(1, 2147483646)),
        )
    return replace(
        changes,
        cidr=cidr,
        operator=draw(st.sampled_from(MatchOperator)) if cidr else MatchOperator.IN,
        length=draw(st.none() | st.sampled_from([(0, 32), (8, 8), (16, 24)])) if cidr else None,
        from_peers=draw(flags),
        interface=draw(st.none() | st.sampled_from(["eth*", "no", "5", "a" * 15])),
        external=draw(st.none() | flags),
        community=draw(st.none() | communities()),
        as_path=tuple(draw(st.lists(asns, max_size=2))),
        priority=draw(st.none() | st.integers(1, 2147483646)),
    )


def _advertisements() -> st.SearchStrategy[Advertisement]:
    cidrs = st.sampled_from(["10.240.0.0/16", "fd00::/48", "0.0.0.0/0"]).map(Prefix.parse)
    return st.builds(Advertisement, cidrs, st.lists(communities(), max_size=2).map(tuple))


@st.composite
def _peers(draw: st.DrawFn, intent: Intent) -> tuple[Peer, ...]:
    peers = [draw(_peer(intent, name, number)) for number, name in enumerate(_named(draw, 3))]
    everywhere = next((peer for peer in peers if peer.address and peer.node_selector == "all()"), None)
    if everywhere and draw(flags):
        # The peer of all nodes takes the place of one of some nodes at the same address.
        twin = replace(everywhere, name="twin", nodes=(), node_selector="has(rack)", asn=draw(asns))
        peers = sorted([*peers, twin], key=lambda peer: peer.name)
    return tuple(peers)


@st.composite
def _peer(draw: st.DrawFn, intent: Intent, name: str, number: int) -> Peer:
    """Its selectors may match no node."""
    by_name = [f"{HOSTNAME} == '{labels_of(node)[HOSTNAME]}'" for node in intent.nodes]
    selector = draw(st.sampled_from(["all()", *SELECTORS, *by_name]))
    selected = [node for node in intent.nodes if parse(selector)(labels_of(node))]
    if selector in by_name and draw(flags):
        # Named by itself: others may have its host name label, too.
        selected = [draw(st.sampled_from(selected))]
    stated = Peer(name, None, None, (), node_selector=selector, add_path=draw(flags))
    peer = draw(_with_options(intent, stated))
    of_nodes = draw(st.integers(0, 2)) == 0
    return draw(_of_nodes(intent, peer, selected) if of_nodes else _of_router(intent, peer, selected, number))


@st.composite
def _of_nodes(draw: st.DrawFn, intent: Intent, peer: Peer, selected: list[Node]) -> Peer:
    wanted = draw(st.sampled_from(SELECTORS))
    remotes = tuple(node.name for node in intent.nodes if parse(wanted)(labels_of(node)))
    port = intent.listen_port if remotes else 179
    return replace(peer, nodes=tuple(node.name for node in selected), remotes=remotes, peer_selector=wanted, port=port)


@st.composite
def _of_router(draw: st.DrawFn, intent: Intent, peer: Peer, selected: list[Node], number: int) -> Peer:
    """A router, or a node of the cluster; a number is one address only. Nodes that cannot peer with it do not."""
    own = {node.name: {part.address for part in (node.address, node.address6) if part} for node in intent.nodes}
    members = {address for node in intent.nodes[number : number + 1] for address in own[node.name]}
    routers = [Address.parse(f"192.0.2.{number}"), Address.parse(f"2001:db8::{number}")]
    # A peer that every node is selected for in vain is refused.
    spoken = [
        each
        for each in [*routers, *sorted(members)]
        if not selected or any(node.underlay(each.version) for node in selected)
    ]
    address = draw(st.sampled_from(spoken))
    able = [node for node in selected if address not in own[node.name] and node.underlay(address.version)]
    if not able:
        address, able = draw(st.sampled_from([each for each in spoken if each in routers])), selected
        able = [node for node in selected if node.underlay(address.version)]
    gateway = Address.parse("192.0.2.99" if address.version == 4 else "2001:db8::99")
    asn = draw(asns)
    inside = any(asn == (peer.local_asn or intent.asn_of(node)) for node in able)
    role = None if inside else draw(st.sampled_from([None, Role.RS_CLIENT] if peer.route_server else [None, *Role]))
    return replace(
        peer,
        address=address,
        asn=asn,
        local_role=role,
        strict_role=role is not None and draw(flags),
        nodes=tuple(node.name for node in able),
        # A node has one session with another one, which a selector may ask for too.
        port=draw(st.sampled_from([179, intent.listen_port, *([] if address in members else [5000])])),
        reachable_by=draw(st.sampled_from([None, gateway])),
    )


_BFD = st.builds(
    Bfd,
    send_ms=st.integers(50, 60_000),
    receive_ms=st.integers(50, 60_000),
    multiplier=st.integers(2, 255),
    multihop=st.sampled_from([None, False, True]),
)


@st.composite
def _with_options(draw: st.DrawFn, intent: Intent, peer: Peer) -> Peer:
    names = [item.name for item in intent.filters]
    return replace(
        peer,
        password_file=draw(files),
        local_asn=draw(maybe_asns),
        next_hop_mode=draw(st.sampled_from(NextHopMode)),
        restart_time_s=draw(seconds),
        hold_time_s=draw(st.none() | st.sampled_from([3, 240, 65535])),
        keepalive_s=draw(seconds),
        allowed_own_as=draw(st.sampled_from([0, 1, 2**31 - 1])),
        ttl_security=draw(st.none() | st.integers(1, 255)),
        filters=tuple(draw(st.permutations(names))) if draw(flags) else (),
        from_node_address=draw(flags),
        reverse=draw(flags),
        bfd=draw(st.none() | _BFD),
        route_server=draw(flags),
    )
