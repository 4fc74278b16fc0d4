"""Identifiers and phrases that are gone, each with its replacement and the places where it may still stand."""

from __future__ import annotations

from typing import NamedTuple


class Gone(NamedTuple):
    """A regular expression that is found nowhere but in `kept`: files, each with the reason in a comment."""

    pattern: str
    use: str
    kept: tuple[str, ...] = ()


GONE = (
    # BGP
    Gone(r"\bTold\b|\btelling\.py\b", "Adj-RIB-Out, advertises, announces"),
    Gone(r"\bterms\b", "session policy"),
    Gone(r"\boffer(: |\.)", "export input"),
    Gone(r"\bSaid\b", "AdvertisedTunnels"),
    Gone(r"\bUNHEARD\b|\"unheard\"", "awaiting session"),
    Gone(r"\bSYNCING\b|\"syncing\"", "awaiting End-of-RIB"),
    Gone(r"\bRETAINED\b|\"retained\"", "long-lived stale"),
    Gone(r"\bflooded\b|\bshut_out\b", "prefix limit exceeded"),
    Gone(r"\btaken_back\b|\btake[ns]? back\b", "withdrawn; undo"),
    Gone(r"\bowes\b|\bowed\b", "end_of_rib_due; sessions of a node"),
    Gone(r"\btells_the_end\b", "enhanced_refresh"),
    Gone(r"\"peer-unheard\"|\"speaker-away\"", "awaiting-end-of-rib; speaker-detached"),
    Gone(r"\bpeer_asn_told\b|\basked_for_by\b", "peer_asn_in_open; configured_by"),
    Gone(r"has told all|has repeated all|begins to repeat", "End-of-RIB received; route refresh started (BoRR)"),
    Gone(r"\bnobody has told\b", "stale routes are kept until End-of-RIB"),
    Gone(r"\bTOLD\b", "ADVERTISED"),
    Gone(r"\bTROUBLE\b", "ERROR"),
    Gone(r"\bTHEN\b", "ACTION"),
    Gone(r"\"REFUSED\"", "DROPPED"),
    Gone(r"\btold: Progress\b", "progress"),
    # Kernel, plan, migration
    Gone(r"\btrials?\b", "probe"),
    Gone(r"\bTrial\b", "Probe"),
    Gone(r"\bforesight\b|\bforeseen\b", "preview"),
    Gone(r"\bContest\b", "Conflict"),
    Gone(r"\bWay\b", "ProbedPath, ResolvedNextHop"),
    Gone(r"\bSlot\b", "NextHopKey"),
    Gone(r"\bBecause\b", "Reason"),
    Gone(r"\bWithheld\b|\bwithheld\b", "prune holds"),
    Gone(r"\b_lacking\b|\blacking\b", "missing, without_key"),
    Gone(r"\bPATIENCE_S\b", "EOR_DEFERRAL_S, HANDOVER_MAX_S"),
    Gone(r"keeps undoing this|who else runs", "another program keeps reverting this; look for a second routing agent"),
    Gone(r"\blooked_in_vain\b", "observed_in_vain"),
    Gone(r"\bSWITCHING\b|\"switching\"", "migrating"),
    Gone(r"\"flip\"", "cutover"),
    # Agent, speaker, lab
    Gone(r"\bDoors\b|\bdoors\b", "Ports, ports"),
    Gone(r"\bNonsense\b", "BadRequest"),
    Gone(r"\bImpossible\b", "NotPossibleNow"),
    Gone(r"\bcells\b|\bcells_of\b", "runtime"),
    Gone(r"\bedit_refused\b|\brefused_operations\b", "config_rejected; failed_operations"),
    # Sentences
    Gone(r"\blaw book\b", "kernel model"),
    Gone(r"\bby and by\b", "after a while"),
)
