"""A mesh of four nodes as node a1 sees it, and how plays begin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bgpctl.core.agent.events import (
    Command,
    IntentLoaded,
    Speak,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.bgp.filters import NORMAL_LOCAL_PREF
from bgpctl.core.bgp.path import (
    Attributes,
    Path,
)
from bgpctl.core.bgp.speaker import (
    EndOfRib,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerCommand,
    Update,
)
from bgpctl.core.cluster.configuration import Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import member, path, two_racks
from tests.stories.play import Play

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
A2, B1, B2 = (member(INTENT, name).address.address for name in ("a2", "b1", "b2"))
OWN = Prefix.parse("10.244.1.0/26")
OURS = Attributes(local_pref=NORMAL_LOCAL_PREF)
READY = replace(OURS, extended=(0x030C000000000007,))
"""Once IP in IP can be received, members are told so."""


def hears(play: Play, peer_block: tuple[object, str]) -> None:
    peer, block = peer_block
    play.tell(
        SessionOpened(peer, Asn(64512), peer, 30, 120, forwarding_preserved=True),  # type: ignore[arg-type]
        SessionUp(peer),  # type: ignore[arg-type]
        Update(peer, (path(block, peer),)),  # type: ignore[arg-type]
        EndOfRib(peer, 4),  # type: ignore[arg-type]
    )


def converged(kernel: Dataplane | None = None) -> Play:
    play = Play(kernel)
    play.tell(IntentLoaded(INTENT), SpeakerAttached(1, ()))
    for pair in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        hears(play, pair)
    play.rest()
    return play


def undo(play: Play, prefix: str) -> None:
    """Another program removes the route."""
    play.kernel = play.kernel.drop(route for route in play.kernel.routes if str(route.prefix) == prefix)


TOR = Address.parse("10.0.0.254")
MESH = two_racks(ipip=Mode.CROSS_SUBNET)
EDGE = replace(MESH, peers=(Peer("tor", TOR, Asn(65001), ("a1",)),))


def speech(said: Iterable[Command]) -> list[SpeakerCommand]:
    return [command for item in said if isinstance(item, Speak) for command in item.commands]


def greets(play: Play, peer: Address, asn: int, *paths: Path) -> None:
    play.tell(
        SessionOpened(peer, Asn(asn), peer, 30, 120, forwarding_preserved=True),
        SessionUp(peer),
        Update(peer, tuple(paths)),
        EndOfRib(peer, 4),
    )


def at_the_edge(intent: Intent = EDGE) -> Play:
    """a1 in the mesh, everyone heard, and a session with a router in AS 65001."""
    play = Play()
    play.tell(IntentLoaded(intent), SpeakerAttached(1, ()))
    for pair in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        hears(play, pair)
    greets(play, TOR, 65001)
    play.rest()
    assert play.state.phase is Phase.CONVERGED
    return play
