"""Generated events of one agent, and one event of every kind."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Final

from hypothesis import strategies as st

from bgpctl.core.agent.events import (
    Applied,
    ConfigurationsCompared,
    DrainRequested,
    Event,
    ForwardingJudged,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    MirrorMismatch,
    Observed,
    PathsJudged,
    PeerRequested,
    Probed,
    RefreshRequested,
    SelfCheckMismatch,
    ServicesJudged,
    Woken,
)
from bgpctl.core.agent.proofs import PathVerdict
from bgpctl.core.bfd.packet import Diagnostic, SessionState
from bgpctl.core.bgp import speaker
from bgpctl.core.bgp.bfd import BfdChanged, BfdReport
from bgpctl.core.bgp.speaker import (
    EndOfRib,
    RefreshBegun,
    RefreshEnded,
    SessionDown,
    SessionOpened,
    SessionUp,
    Update,
)
from bgpctl.core.cluster.configuration import Backend, Check, Service
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import NextHop
from bgpctl.core.proof.note import Difference
from bgpctl.core.proof.paths import member_paths
from bgpctl.core.proof.verdict import Proof, Verdict
from bgpctl.core.services.health import Status
from bgpctl.core.services.health import Verdict as HealthVerdict
from bgpctl.core.trace.firewall import Stop
from tests.cluster import bare_kernel, derived, member, path, two_racks
from tests.stories.mesh import B1

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
PEERS = {name: member(INTENT, name).address.address for name in ("a2", "b1", "b2")}
BLOCKS = [Prefix.parse(f"10.244.{index}.0/26") for index in range(2, 8)]
peers = st.sampled_from(sorted(PEERS.values()))
_REPORTS = st.builds(
    BfdReport,
    st.sampled_from(SessionState),
    st.sampled_from(Diagnostic),
    independent=st.booleans(),
    since_s=st.just(0.5),
    failed_at_s=st.none() | st.floats(0, 100),
)
updates = st.builds(
    lambda peer, blocks, gone: Update(
        peer,
        announced=tuple(path(block, peer) for block in sorted(blocks)),
        withdrawn=tuple(sorted(gone - blocks)),
    ),
    peers,
    st.sets(st.sampled_from(BLOCKS), max_size=3),
    st.sets(st.sampled_from(BLOCKS), max_size=3),
)
from_peers: st.SearchStrategy[Event] = st.one_of(
    updates,
    st.builds(SessionUp, peers),
    st.builds(SessionDown, peers, st.just("closing connection"), st.booleans()),
    st.builds(
        lambda peer, time: SessionOpened(peer, Asn(64512), peer, 30, time, forwarding_preserved=True),
        peers,
        st.sampled_from([None, 120]),
    ),
    st.builds(BfdChanged, peers, st.none() | _REPORTS),
    st.builds(speaker.Malformed, peers, st.booleans(), st.integers(1, 3), st.just("bad MED")),
    st.builds(EndOfRib, peers, st.just(4)),
    st.builds(RefreshBegun, peers, st.just(4)),
    st.builds(RefreshEnded, peers, st.just(4)),
)
KERNEL = bare_kernel(member(INTENT, "a1"))
DESIRED = derived(INTENT)
PATHS = member_paths(DESIRED, KERNEL.put(DESIRED.dataplane), INTENT, member(INTENT, "a1"))
verdicts: st.SearchStrategy[Event] = st.builds(
    lambda of_path, verdict: PathsJudged((PathVerdict(of_path, Proof(verdict, 1.0)),)),
    st.sampled_from(PATHS),
    st.sampled_from(Verdict),
)
PROBLEM = Problem(Place("cluster.yaml", 1, 1), "pools", "wrong", "rule")
events: st.SearchStrategy[Event] = st.one_of(
    from_peers,
    st.sampled_from([IntentLoaded(INTENT), IntentLoaded(replace(INTENT, mesh=False)), IntentRejected((PROBLEM,))]),
    st.sampled_from(
        [KernelChanged(), Observed(KERNEL), Observed(Dataplane()), Applied(()), Woken(), KernelLost("gone")]
    ),
    verdicts,
    st.just(ConfigurationsCompared((Difference("b1", members=True),))),
    st.sampled_from(
        [ForwardingJudged((Stop("a chain has a drop", "nft list ruleset", is_certain=True),)), ForwardingJudged(())]
    ),
    st.builds(speaker.SpeakerAttached, st.integers(1, 2), st.just(((PEERS["a2"], 5.0),))),
    st.just(speaker.SpeakerDetached("end of file")),
    st.just(speaker.SpeakerConfigRejected("no password")),
)


WITHOUT_BGP: Final = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
HOP: Final = NextHop(0x42000009, "eth0", B1, onlink=True)
BLOCK: Final = Prefix.parse("10.244.3.0/26")
WEB: Final = Service("web", Address.parse("192.0.2.80"), Check(tcp=80), nodes=("a1", "a2"))
EVENTS: Final[tuple[Event, ...]] = (
    IntentLoaded(INTENT),
    IntentLoaded(WITHOUT_BGP),
    IntentLoaded(replace(INTENT, mesh=False)),
    IntentLoaded(replace(INTENT, nodes=INTENT.nodes[1:])),
    IntentLoaded(replace(INTENT, services=(WEB,))),
    ServicesJudged((HealthVerdict("web", WEB.address, Status.UP, 1.0),)),
    ServicesJudged((HealthVerdict("web", WEB.address, Status.DOWN, 2.0, "connection refused"),)),
    IntentRejected((Problem(Place("cluster.yaml", 1, 1), "pools", "wrong", "rule"),)),
    KernelChanged(),
    KernelLost("the netlink socket is gone"),
    MirrorMismatch(Mismatch(Dataplane(), bare_kernel(member(INTENT, "a1")))),
    SelfCheckMismatch(("kernel.desired",)),
    Observed(Dataplane()),
    Observed(bare_kernel(member(INTENT, "a1"))),
    Applied(()),
    Applied((Failure(Put(HOP, NOT_WANTED), errno.EPERM),)),
    Probed(()),
    PathsJudged((PathVerdict(PATHS[0], Proof(Verdict.UNREACHABLE, 1.0)),)),
    ConfigurationsCompared((Difference("b1", members=True),)),
    ForwardingJudged((Stop("a chain has a drop", "nft list ruleset", is_certain=True),)),
    Woken(),
    DrainRequested(on=True),
    DrainRequested(on=False),
    PeerRequested(B1, up=False),
    PeerRequested(B1, up=True),
    PeerRequested(HOP.gateway or B1, up=False),
    RefreshRequested(B1),
    speaker.SpeakerAttached(1, ()),
    speaker.SpeakerAttached(2, ((B1, 7.0),)),
    speaker.SpeakerDetached("end of file"),
    speaker.SpeakerConfigRejected("no password"),
    speaker.PeerConnecting(HOP.gateway or B1, Asn(65001)),
    speaker.SessionOpened(B1, Asn(64512), B1, 30, None, forwarding_preserved=False),
    speaker.SessionUp(B1),
    speaker.SessionDown(B1, "notification", notified=True),
    speaker.Update(B1, (path(BLOCK, B1),)),
    speaker.Update(B1, withdrawn=(BLOCK,)),
    BfdChanged(B1, BfdReport(SessionState.DOWN, failed_at_s=0.1)),
    speaker.Malformed(B1, withdrawn=True, count=2, reason="MED of one octet"),
    speaker.EndOfRib(B1, 4),
    speaker.RefreshBegun(B1, 4),
    speaker.RefreshEnded(B1, 4),
)
