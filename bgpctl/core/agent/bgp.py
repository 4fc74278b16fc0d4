"""
BGP as one part of the agent's state: the speaker, the RIBs of RFC 4271 section 3.2, and the operator's commands.

While the channel to the speaker is closed no peer's time runs: the fault is on our side, and the peer may be well.

Refuses to know: how the speaker is reached, the use of the paths, the intent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

from bgpctl.core.bgp import adj_rib_in, adj_rib_out, liveness, session_handover, speaker
from bgpctl.core.bgp.adj_rib_in import AdjRibIn, never_proven
from bgpctl.core.bgp.adj_rib_out import AdjRibOut, SpeakerCommands
from bgpctl.core.bgp.bfd import BfdChanged
from bgpctl.core.bgp.liveness import LivenessByPeer
from bgpctl.core.bgp.loc_rib import LocRib
from bgpctl.core.bgp.peer_table import TableState
from bgpctl.core.bgp.session_handover import Handover
from bgpctl.core.bgp.sessions import RESTART_TIME_S, speaker_config
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.replacing import replace

IGNORANCE_S: Final = 2.0 * RESTART_TIME_S
"""
A peer whose table is not certain for so long holds back no removal any more: one that fails again and again before its
End-of-RIB would do so for ever. Its restart time, and as much for its table, are over by then.
"""


@dataclass(frozen=True, slots=True)
class Bgp:
    """
    Attributes:
        config: the configuration requested from the speaker; None where there is no BGP.
        attached: the channel to the speaker is open.
        rejection: why the speaker does not accept `config`; empty when it does.
        stopped: the speaker was requested to end, as there is no BGP any more.
        adj_rib_in: the paths received, per peer.
        adj_rib_in_before: `adj_rib_in` at the last observation.
        loc_rib: the best paths at the last observation.
        adj_rib_out: the paths advertised, per peer.
        uncertain_since_s: since when each peer's table has not been certain (peer_table.py), without a moment between.
        given_up: peers that have not been certain for so long that nothing waits for them any more.
        withdrawn: prefixes that their source withdrew while another peer's table is incomplete.
        handover: sessions in `config` that the intent does not ask for any more, and a former reflector's role.
        draining: the operator wants traffic to leave this node (GSHUT, RFC 8326).
        shut_down_peers: peers whose session the operator wants down.
        liveness: of the peers that have BFD, as far as it is known.
        connected: addresses of configured ranges that have connected, with their AS, until their tables are down.
    """

    config: speaker.SpeakerConfig | None = None
    attached: bool = False
    rejection: str = ""
    stopped: bool = False
    adj_rib_in: AdjRibIn = field(default_factory=dict)
    adj_rib_in_before: AdjRibIn = field(default_factory=dict)
    loc_rib: LocRib = field(default_factory=LocRib)
    adj_rib_out: AdjRibOut = field(default_factory=AdjRibOut)
    uncertain_since_s: Mapping[Address, float] = field(default_factory=dict)
    given_up: frozenset[Address] = frozenset()
    withdrawn: frozenset[Prefix] = frozenset()
    handover: Handover = field(default_factory=Handover)
    draining: bool = False
    shut_down_peers: frozenset[Address] = frozenset()
    liveness: LivenessByPeer = field(default_factory=dict)
    connected: Mapping[Address, Asn] = field(default_factory=dict)

    # Derived ---------------------------------------------------------------------------------------------------

    @property
    def session_names(self) -> Mapping[Address, str]:
        """The name of each configured session's peer."""
        return {session.peer: session.name for session in self.config.sessions} if self.config else {}

    @property
    def peers_down(self) -> tuple[Address, ...]:
        """Peers whose session is configured and not established."""
        return tuple(peer for peer, table in sorted(self.adj_rib_in.items()) if not table.established)

    @property
    def lost_a_peer(self) -> bool:
        """True if a peer that had a session is gone: more than not to know its table yet."""
        return any(table.state is TableState.STALE for table in self.adj_rib_in.values())

    @property
    def prune_holds(self) -> tuple[PruneHold, ...]:
        """Why routes may be wanted that no path leads to: each source whose table is not complete, for its time."""
        if self.config is None:
            return ()
        if not self.attached:
            return (PruneHold(PruneHoldCode.SPEAKER_AWAY, "exabgp"),)
        names = self.session_names
        return tuple(PruneHold(PruneHoldCode.PEER_TABLE_INCOMPLETE, names[peer]) for peer in self.awaited)

    @property
    def awaited(self) -> tuple[Address, ...]:
        """The peers of configured sessions whose tables are not complete, for their time."""
        names = self.session_names
        return tuple(
            peer
            for peer, table in sorted(self.adj_rib_in.items())
            if not table.certain and peer in names and peer not in self.given_up
        )

    @property
    def timers_s(self) -> tuple[float, ...]:
        """When time alone changes something: a handover, a table, an End-of-RIB that waits. Infinite means never."""
        if not self._times_run:
            return (self.handover.due_s,)
        waits_s = (adj_rib_in.next_expiry_s(self.adj_rib_in), adj_rib_out.next_due_s(self.adj_rib_out))
        given_up_s = (
            since_s + IGNORANCE_S for peer, since_s in self.uncertain_since_s.items() if peer not in self.given_up
        )
        failure_s = liveness.next_due_s(self.adj_rib_in, self.liveness)
        return (self.handover.due_s, failure_s, *given_up_s, *(wait_s for wait_s in waits_s if wait_s is not None))

    @property
    def _times_run(self) -> bool:
        return self.attached or self.config is None

    # The speaker -----------------------------------------------------------------------------------------------

    def speaker_attached(
        self, established: Iterable[tuple[Address, float]], members: Collection[Address], at_s: float
    ) -> Bgp:
        """
        The speaker, perhaps another instance of it, with the peers whose session was up already and their uptime.
        Nothing is known of what it received and advertised before; `members` always support graceful restart.
        """
        tables = adj_rib_in.restart_waits(self.adj_rib_in, at_s, RESTART_TIME_S)
        for peer, uptime_s in established:
            offered_s = RESTART_TIME_S if peer in members else None
            tables = adj_rib_in.session_found_up(tables, peer, at_s, uptime_s=uptime_s, restart_time_s=offered_s)
        return replace(
            self,
            attached=True,
            rejection="",
            adj_rib_in=tables,
            adj_rib_out=AdjRibOut(),
            uncertain_since_s={},
            given_up=frozenset(),
        )

    def speaker_detached(self, at_s: float) -> Bgp:
        """Sessions may well be up; what was received stays, as stale."""
        return replace(self, attached=False, adj_rib_in=adj_rib_in.all_stale(self.adj_rib_in, at_s, RESTART_TIME_S))

    def config_rejected(self, reason: str) -> Bgp:
        """The speaker keeps the configuration before."""
        return replace(self, rejection=reason)

    def config_requested(self) -> Bgp:
        """`config` was sent to the speaker."""
        return replace(self, rejection="", stopped=False)

    def speaker_stopped(self) -> Bgp:
        """The speaker ends."""
        return replace(self, stopped=True)

    # Sessions --------------------------------------------------------------------------------------------------

    def with_sessions(
        self, intent: Intent, node_name: str, cluster_id: Address | None, at_s: float, *, keep_former: bool
    ) -> Bgp:
        """
        The sessions that follow from the intent, and for a while the former ones (`keep_former`). `cluster_id` is that
        of the reflector that this node was until now.
        """
        connected = {peer: asn for peer, asn in self.connected.items() if not self._is_over(peer)}
        wanted = session_handover.without_peers(speaker_config(intent, node_name, connected), self.shut_down_peers)
        gone = self.shut_down_peers | (self.connected.keys() - connected.keys())
        former = session_handover.without_peers(self.config, gone) if keep_former else None
        role = session_handover.former_reflector(self.handover, cluster_id, intent.node(node_name), at_s)
        handover = replace(session_handover.begin(former, wanted, self.handover, intent, at_s), role=role)
        config = session_handover.merged(wanted, handover)
        peers = [session.peer for session in config.sessions] if config else []
        tables = adj_rib_in.expect(self.adj_rib_in, peers, at_s, RESTART_TIME_S)
        with_bfd = {session.peer for session in config.sessions if session.bfd} if config else set()
        known = {peer: found for peer, found in self.liveness.items() if peer in with_bfd}
        accepted = {session.peer for session in config.sessions if session.accepted} if config else set()
        connected = {peer: asn for peer, asn in connected.items() if peer in accepted}
        return replace(self, config=config, handover=handover, adj_rib_in=tables, liveness=known, connected=connected)

    def peer_connecting(self, event: speaker.PeerConnecting) -> Bgp:
        """An address of a range wants a session; `with_sessions` knows whether it gets one, and forgets it if not."""
        return replace(self, connected={**self.connected, event.peer: event.asn})

    @property
    def has_lost_accepted_peer(self) -> bool:
        """True if a peer of a range has ended its session, and nothing of it is retained."""
        return any(map(self._is_over, self.connected))

    def _is_over(self, peer: Address) -> bool:
        table = self.adj_rib_in.get(peer)
        return table is not None and table.state is TableState.DOWN

    def handover_observed(self, at_s: float) -> Bgp:
        """The time since which other peers announce all that the former sessions announced."""
        handover = session_handover.with_coverage(self.handover, self.adj_rib_in, at_s)
        return self if handover is self.handover else replace(self, handover=handover)

    def with_draining(self, *, on: bool) -> Bgp:
        """The operator drains the node, or ends that."""
        return replace(self, draining=on)

    def with_peer_shut_down(self, peer: Address, *, up: bool) -> Bgp:
        """The operator shuts a peer down, or wants it `up` again."""
        peers = self.shut_down_peers - {peer} if up else self.shut_down_peers | {peer}
        return replace(self, shut_down_peers=peers)

    # Events of peers -------------------------------------------------------------------------------------------

    def received(self, event: speaker.PeerEvent, prefix_limit: int, at_s: float) -> Bgp:
        """One event of a peer."""
        tables, peer = self.adj_rib_in, event.peer
        match event:
            case speaker.SessionOpened():
                return self._with_tables(adj_rib_in.open_received(tables, event))
            case speaker.SessionUp():
                return self._with_tables(adj_rib_in.session_up(tables, peer, at_s))
            case speaker.SessionDown():
                return self._with_tables(adj_rib_in.session_down(tables, event, at_s))
            case speaker.Update():
                return self._with_tables(adj_rib_in.updated(tables, event, at_s, prefix_limit))
            case speaker.Malformed():
                return self._with_tables(adj_rib_in.malformed(tables, event))
            case speaker.RefreshBegun():
                return self._with_tables(adj_rib_in.refresh_begun(tables, peer, at_s))
            case speaker.EndOfRib():
                return self._with_tables(adj_rib_in.end_of_rib(tables, peer, at_s))
            case speaker.RefreshEnded():
                return self._with_tables(adj_rib_in.complete(tables, peer, at_s))
            case BfdChanged():
                return replace(self, liveness=liveness.changed(self.liveness, event))
            case _:
                assert_never(event)

    def failures_detected(self, at_s: float) -> tuple[Bgp, SpeakerCommands]:
        """Sessions that BFD has seen fail end, here at once, and at the speaker as soon as it can."""
        tables, ends = liveness.after_failures(self.adj_rib_in, self.liveness, at_s)
        return self._with_tables(tables), ends

    def _with_tables(self, tables: AdjRibIn) -> Bgp:
        return self if tables is self.adj_rib_in else replace(self, adj_rib_in=tables)

    def expired(self, at_s: float, is_proven: Callable[[Address], bool] = never_proven) -> Bgp:
        """Waits that are over end; that for a member begins anew while the path to it is proven."""
        return self._with_tables(adj_rib_in.expired(self.adj_rib_in, at_s, is_proven)) if self._times_run else self

    def refreshes_due(self, at_s: float) -> tuple[Address, ...]:
        """Peers beyond their prefix limit whose table may be requested again."""
        return adj_rib_in.refresh_due(self.adj_rib_in, at_s) if self.attached else ()

    def refresh_requested(self, peers: Iterable[Address], at_s: float) -> tuple[Bgp, SpeakerCommands]:
        """
        Request the whole table of each peer with a session (RFC 2918). Without enhanced refresh (RFC 7313) its end
        is not announced, and silence has to do.
        """
        tables = self.adj_rib_in
        established = [peer for peer in peers if peer in tables and tables[peer].established]
        for peer in established:
            tables = adj_rib_in.refresh_begun(tables, peer, at_s)
        return self._with_tables(tables), tuple(speaker.AskRefresh(peer, peer.version) for peer in established)

    def with_ignorance(self, at_s: float) -> Bgp:
        """For how long each peer's table has not been certain; time does not run while no peer can be heard."""
        if not self._times_run:
            return self
        uncertain = [peer for peer, table in self.adj_rib_in.items() if not table.certain]
        since_s = {peer: self.uncertain_since_s.get(peer, at_s) for peer in uncertain}
        given_up = frozenset(peer for peer, began_s in since_s.items() if began_s + IGNORANCE_S <= at_s)
        if since_s == self.uncertain_since_s and given_up == self.given_up:
            return self
        return replace(self, uncertain_since_s=since_s, given_up=given_up)

    def with_withdrawals(self) -> Bgp:
        """The prefixes withdrawn since the last observation. While every table is complete none need be remembered."""
        tables = self.adj_rib_in
        if tables is self.adj_rib_in_before and not self.withdrawn:
            return self
        still = adj_rib_in.without_path(tables, self.withdrawn)
        withdrawn = still | adj_rib_in.withdrawn(self.adj_rib_in_before, tables)
        return replace(self, adj_rib_in_before=tables, withdrawn=withdrawn if self.prune_holds else frozenset())

    # Consequences ----------------------------------------------------------------------------------------------

    def with_best_paths(self, loc_rib: LocRib) -> Bgp:
        """The outcome of the decision process over all tables."""
        return replace(self, loc_rib=loc_rib)

    def with_adj_rib_out(self, out: AdjRibOut) -> Bgp:
        """Everything that is advertised now."""
        return replace(self, adj_rib_out=out)
