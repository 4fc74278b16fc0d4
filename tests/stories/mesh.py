"""A mesh of four nodes as node a1 sees it, and how plays begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bgpctl.core.agent.events import (
    Configure,
    IntentLoaded,
    Observe,
    Speak,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.bgp.filters import NORMAL_LOCAL_PREF
from bgpctl.core.bgp.path import (
    Attributes,
    Path,
)
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    EndOfRib,
    SendEndOfRib,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerConfig,
    Update,
)
from bgpctl.core.cluster.configuration import Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import member, path, two_racks
from tests.stories.play import Expected, Play

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
A2, B1, B2 = (member(INTENT, name).address.address for name in ("a2", "b1", "b2"))
MEMBERS = (A2, B1, B2)
BLOCKS = {A2: "10.244.2.0/26", B1: "10.244.3.0/26", B2: "10.244.4.0/26"}
"""The prefixes that each other node announces."""
OWN = Prefix.parse("10.244.1.0/26")
OURS = Attributes(local_pref=NORMAL_LOCAL_PREF)
READY = replace(OURS, extended=(0x030C000000000007,))
"""With the encapsulation community of IP in IP (RFC 9012)."""
TOR = Address.parse("10.0.0.254")
EDGE = replace(INTENT, peers=(Peer("tor", TOR, Asn(65001), ("a1",)),))
NEXT_HOP = {
    A2: "nexthop id 0x42eafc77 via 10.0.0.2 dev eth0 onlink proto 179",
    B1: "nexthop id 0x42b2bafd via 10.1.0.3 dev tunl0 onlink proto 179",
    B2: "nexthop id 0x422940f1 via 10.1.0.4 dev tunl0 onlink proto 179",
}
ROUTE = {
    A2: "route 10.244.2.0/26 nhid 0x42eafc77 proto 179 metric 1024 table 254",
    B1: "route 10.244.3.0/26 nhid 0x42b2bafd proto 179 metric 1024 table 254",
    B2: "route 10.244.4.0/26 nhid 0x422940f1 proto 179 metric 1024 table 254",
}
INSIDE = (
    "to 10.244.1.0/26 from 10.244.0.0/24,10.244.1.64/26,10.244.1.128/25,10.244.2.0/23,10.244.4.0/22,10.244.8.0/21,"
    "10.244.16.0/20,10.244.32.0/19,10.244.64.0/18,10.244.128.0/17"
)
"""The inner destinations and sources of a tunnel: our block, and the rest of the pool."""
TO_MEMBERS = "members 10.0.0.2,10.1.0.3,10.1.0.4 own 10.0.0.1"
WORKLOAD_FILTER = "+ workload filter inside 10.244.0.0/16 ports 4789 bgp 179"
TUNNEL = (
    "+ link tunl0 type ipip mtu 1480 up",
    "+ address 10.244.1.0/32 dev tunl0",
    "+ sysctl net/ipv4/conf/tunl0/forwarding=1",
    "+ sysctl net/ipv4/conf/tunl0/rp_filter=2",
    "+ sysctl net/ipv4/ip_forward=1",
    f"+ inner filter dev tunl0 {INSIDE} {TO_MEMBERS}",
    WORKLOAD_FILTER,
    "+ decapsulation dev tunl0 underlay eth0 local 10.0.0.1 sources 10.0.0.2,10.1.0.3,10.1.0.4",
)
"""The operations that make IP in IP ready."""
OWN_ROUTE = "route blackhole 10.244.1.0/26 proto 179 metric 1024 table 254"
NEXT_HOPS = tuple(f"+ {NEXT_HOP[peer]}" for peer in (B2, B1, A2))
ROUTES = (f"+ {OWN_ROUTE}", *(f"+ {ROUTE[peer]}" for peer in MEMBERS))
VXLAN_DEVICE = (
    (
        "+ link vxlan.bgpctl type vxlan vni 4096 port 4789 local 10.0.0.1 underlay eth0"
        " mtu 1450 address 66:f2:9b:c9:1b:bd up"
    ),
    "+ address 10.244.1.0/32 dev vxlan.bgpctl",
    "+ sysctl net/ipv4/conf/vxlan.bgpctl/forwarding=1",
    "+ sysctl net/ipv4/conf/vxlan.bgpctl/rp_filter=2",
)
VXLAN_MEMBERS = (
    f"+ inner filter dev vxlan.bgpctl {INSIDE} {TO_MEMBERS}",
    "+ decapsulation dev vxlan.bgpctl underlay eth0 local 10.0.0.1 sources 10.0.0.2,10.1.0.3,10.1.0.4",
    "+ fdb 66:32:f2:8e:a0:3b dst 10.1.0.4 dev vxlan.bgpctl",
    "+ fdb 66:7e:83:ca:2a:65 dst 10.1.0.3 dev vxlan.bgpctl",
    "+ fdb 66:b9:f8:5d:aa:6f dst 10.0.0.2 dev vxlan.bgpctl",
    "+ neighbour 10.244.2.0 lladdr 66:b9:f8:5d:aa:6f dev vxlan.bgpctl",
    "+ neighbour 10.244.3.0 lladdr 66:7e:83:ca:2a:65 dev vxlan.bgpctl",
    "+ neighbour 10.244.4.0 lladdr 66:32:f2:8e:a0:3b dev vxlan.bgpctl",
)
VXLAN_NEXT_HOPS = (
    "+ nexthop id 0x422940f1 via 10.244.4.0 dev vxlan.bgpctl onlink proto 179",
    "+ nexthop id 0x42b2bafd via 10.244.3.0 dev vxlan.bgpctl onlink proto 179",
    "+ nexthop id 0x42eafc77 via 10.244.2.0 dev vxlan.bgpctl onlink proto 179",
)
OUTSIDE = Attributes(as_path=(Asn(64512),))
"""The attributes of our blocks, and of those of nodes, for a router outside."""
READVERTISED = Speak(tuple(Announce(OWN, peer, READY) for peer in MEMBERS))
"""Once IP in IP can be received, this is announced to members."""
CONFIGURATION = ConfigureCONFIGURATION = Configure(speaker_config(INTENT, "a1"))


def session_up(play: Play, peer: Address, *paths: Path, asn: int = 64512, then: Sequence[Expected] = ()) -> None:
    """A session is established, and the peer announces these paths and then End-of-RIB."""
    opened = SessionOpened(peer, Asn(asn), peer, 30, 120, forwarding_preserved=True)
    play.give(opened, SessionUp(peer), Update(peer, paths), EndOfRib(peer, 4)).expect(*then)


def greeting(peer: Address, attributes: Attributes = OURS) -> Speak:
    """Our own block for a peer, and End-of-RIB."""
    return Speak((Announce(OWN, peer, attributes), SendEndOfRib(peer, 4)))


def resumed(*peers: Address) -> Speak:
    """Once the speaker is found with sessions up: each peer is asked for its table and gets ours."""
    return Speak(
        (
            *(AskRefresh(peer, 4) for peer in peers),
            *(Announce(OWN, peer, OURS) for peer in peers),
            *(SendEndOfRib(peer, 4) for peer in peers),
        )
    )


def reflected_from(origin: Address, cluster: Address) -> Attributes:
    """The updates that a reflector sends with a path of one client (RFC 4456)."""
    return Attributes(next_hop=origin, originator=origin, cluster_list=(cluster,))


def converged() -> Play:
    """a1 in the mesh, with the paths of all others."""
    play = Play()
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    for peer, block in BLOCKS.items():
        session_up(play, peer, path(block, peer), then=[greeting(peer)])
    play.settle(
        *TUNNEL,
        *NEXT_HOPS,
        *ROUTES,
        READVERTISED,
    )
    return play


def at_the_edge(intent: Intent = EDGE) -> Play:
    """a1 in the mesh, with the paths of all others, and a session with a router in AS 65001."""
    play = Play()
    play.give(IntentLoaded(intent), SpeakerAttached(1, ())).expect(Configure(speaker_config(intent, "a1")), Observe())
    for peer, block in BLOCKS.items():
        session_up(play, peer, path(block, peer), then=[Speak((Announce(OWN, peer, OURS),))])
    session_up(play, TOR, asn=65001, then=[greeting(TOR, OUTSIDE)])
    play.settle(
        *TUNNEL,
        *NEXT_HOPS,
        *ROUTES,
        Speak(
            (
                Announce(Prefix.parse("10.244.2.0/26"), TOR, OUTSIDE),
                Announce(Prefix.parse("10.244.3.0/26"), TOR, OUTSIDE),
                Announce(Prefix.parse("10.244.4.0/26"), TOR, OUTSIDE),
                SendEndOfRib(A2, 4),
                SendEndOfRib(B1, 4),
                SendEndOfRib(B2, 4),
            )
        ),
        READVERTISED,
    )
    assert play.state.phase is Phase.CONVERGED
    return play


def undo(play: Play, prefix: str) -> None:
    """Another program removes the route."""
    play.kernel = play.kernel.drop(route for route in play.kernel.routes if str(route.prefix) == prefix)


class SessionsWith:
    """Equals a speaker's configuration that has sessions with just these peers."""

    def __init__(self, *peers: Address) -> None:
        self._peers = set(peers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpeakerConfig) and {session.peer for session in other.sessions} == self._peers

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"sessions with {', '.join(map(str, sorted(self._peers)))}"


def sessions_with(*peers: Address) -> Any:
    """Takes the place of a SpeakerConfig."""
    return SessionsWith(*peers)
