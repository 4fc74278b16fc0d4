"""
Identifiers, files and phrases that are gone, each with what is said instead.

A pattern is a regular expression; its spaces match any white space, so that a phrase is found across the lines of a
paragraph or comment. A word that is right in another sense has a pattern that finds the gone sense alone: the hold time
of BGP stays, `why.Hold` does not.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Kept(NamedTuple):
    """A file in which the word stays, below the repository, and why."""

    file: str
    reason: str


class Gone(NamedTuple):
    pattern: str
    use: str
    kept: tuple[Kept, ...] = ()


def _renamed(old: str) -> tuple[Kept, ...]:
    return (Kept("CHANGELOG.md", f"its table of renamed keys and columns has {old}"),)


BGP: Final = (
    Gone(r"\bTold\b|(?i:\btelling\b(?! \w+ apart))", "Adj-RIB-Out, AdjRibOut"),
    Gone(
        r"\b[Tt]ells?\b(?!( [\w']+){1,5} (apart|from))|\b[Tt]old\b(?! (apart|from))",
        "advertises, announces, reports, shows",
        _renamed("told"),
    ),
    Gone(
        r"(?i:\b(peers?|neighbou?rs?|speakers?|reflectors?|clients?|members?) (has |have )?(says?|said)\b)",
        "announces, advertises, reports",
    ),
    Gone(r"(?i:\bhas (told|repeated) all\b|\btells? (\d|\{)|\bbegins to repeat\b)", "End-of-RIB, BoRR"),
    Gone(r"\bTOLD\b", "ADVERTISED", _renamed("the column TOLD")),
    Gone(r"\btold: Progress\b|\btells_the_end\b", "progress; enhanced_refresh"),
    Gone(r"\bpeer_asn_told\b", "peer_asn_in_open", _renamed("peer_asn_told")),
    Gone(r"\basked_for_by\b", "configured_by", _renamed("asked_for_by")),
    Gone(r"\brib: AdjRibIn\b|\b(state|self|bgp)\.rib\b", "adj_rib_in"),
    Gone(r"\b[Ss]elections?\b", "Loc-RIB, LocRib; choice"),
    Gone(r"\b[Jj]udged\b", "policy_cache; checked"),
    Gone(r"\bexports\b|\bOffer\b|\boffer(: |\.)", "export policy, ExportInput"),
    Gone(r"\bpolicy_received\b|\b(received|incoming) policy\b", "import policy"),
    Gone(r"\b[Ll]eaving\b|\bplayed\b", "session handover, former reflector role; graceful shutdown, GSHUT"),
    Gone(r"\bSaid\b|\baccepting (peer|node|member)s?\b", "AdvertisedTunnels, encapsulation community"),
    Gone(r"\b[Tt]erms\b", "session policy, SessionPolicy"),
    Gone(r"\bHeard\b|\bUNHEARD\b|[\"`](peer-)?unheard[\"`]", "awaiting session", _renamed("table `unheard`")),
    Gone(r"\bSYNCING\b|[\"`]syncing[\"`]", "awaiting End-of-RIB", _renamed("table `syncing`")),
    Gone(r"\bRETAINED\b|[\"`]retained[\"`]", "long-lived stale", _renamed("table `retained`")),
    Gone(r"\"speaker-away\"", "speaker-detached"),
    Gone(
        r"\b[Ff]looded\b|\bshut_out\b|\bshut out\b", "prefix limit exceeded, prefix_limit_exceeded", _renamed("flooded")
    ),
    Gone(
        r"(?i:\b(take|takes|taken|taking|took) ((it|them|this|that|what|\w+s) )?back\b)|\btaken_back\b",
        "withdrawn; undone; restored",
    ),
    Gone(r"(?i:\breleased\b)", "withdrawn by their source"),
    Gone(r"\bRegistry\b|\bthe registry\b|\bregistry of (blocks|owners|nodes)\b", "block ownership, BlockOwnership"),
    Gone(r"\bTROUBLE\b|[\"`]trouble[\"`]", "ERROR, error", _renamed("`trouble`, TROUBLE")),
    Gone(r"\bTHEN\b", "ACTION", _renamed("the column THEN")),
    Gone(r"\"REFUSED\"|\bWHY, THEN, REFUSED\b", "DROPPED; NOT USED (reason)", _renamed("the column REFUSED")),
    Gone(r"status (is )?[\"`](lost|waiting)[\"`]", "not used, pending", _renamed("the status `lost`")),
    Gone(r"\bowe[sd]\b", "end_of_rib_due; sessions of a node"),
    Gone(r"(?i:\broutes that nobody\b|\bnobody has (told|announced)\b)", "stale routes are kept until End-of-RIB"),
)
KERNEL: Final = (
    Gone(
        r"(?i:\b(a|the|each|every|next|last|first|one|this|that) look\b(?!-)|\blook(s|ed|ing)? (at|again)\b)"
        r"|\w_look\b|\blook_at\b|\bLooked\b|\blooked_|^# Looking\b",
        "observe, read kernel state",
    ),
    Gone(r"\bdear(er|est)?\b", "expensive"),
    Gone(r"\b[Tt]rials?\b", "probe"),
    Gone(r"\bEvidence\b", "ProbeResults", (Kept("bgpctl/lab/run.py", "what `bgpctl lab run --evidence` prints"),)),
    Gone(r"\bwhy\.[A-Z]|\bHold\b(?! time)|\bcore import why\b", "PruneHold; next_step"),
    Gone(r"(?i:\bforesight\b|\bforesee[ns]?\b)", "preview"),
    Gone(r"(?i:\bcontests?\b)", "Conflict, conflict"),
    Gone(r"\bWay\b", "ProbedPath, ResolvedNextHop"),
    Gone(r"\bReach\b(?! \w)", "RemotePrefix"),
    Gone(r"\bSlot\b", "NextHopKey"),
    Gone(r"\bBecause\b|\bLack\b|\bMissing[(|,.\]]|\bclass Missing\b", "Reason, Unmet"),
    Gone(r"\b[Ww]ithheld\b", "prune holds"),
    Gone(r"\b_?lacking\b", "missing, without_key"),
    Gone(r"(?i:\bstrangers?\b)", "foreign object"),
    Gone(r"\bPATIENCE(_S)?\b", "EOR_DEFERRAL_S, HANDOVER_MAX_S"),
    Gone(r"\bRefused\b", "KernelError, ConfigRejected, dropped_packets"),
    Gone(
        r"(?i:\bkeeps? undoing\b|\bwho else (runs|is running)\b)",
        "another program keeps reverting this; look for a second routing agent",
    ),
    Gone(r"\bSWITCHING\b|[\"`]switching[\"`]", "migrating", _renamed("the state `switching`")),
    Gone(r"[\"`]flip[\"`]", "cutover", _renamed("the stage `flip`")),
)
AGENT: Final = (
    Gone(r"(?i:\bdoors?\b)", "Ports, port"),
    Gone(r"\bNonsense\b", "BadRequest"),
    Gone(r"\bImpossible\b", "NotPossibleNow"),
    Gone(
        r"\bcells\b|\bcells_of\b",
        "runtime",
        (
            *_renamed("`cells` of lab.json"),
            Kept("bgpctl/lab/lab.py", "labs that the last version made are found by it"),
            Kept("bgpctl/cli/marks.py", "cells of a table"),
            Kept("bgpctl/cli/tables.py", "cells of a table"),
        ),
    ),
    Gone(r"\b[Dd]uty\b", "health_http"),
    Gone(r"(?i:\bwish(es|ed)?\b)", "pending_config; setting"),
    Gone(r"(?i:\bsweeps?\b|\bswept\b)", "orphaned_routes"),
    Gone(r"(?i:\bkeepers?\b)", "supervisor"),
    Gone(
        r"\bedit_refused\b|\brefused_operations\b",
        "config_rejected; failed_operations",
        _renamed("`edit_refused` and `refused_operations`"),
    ),
    Gone(r"\brooms\b|\b(agent|core|intent|kernel|lab|speaker|store|own|this|other) room\b", "package"),
    Gone(r"(?i:\blaw book\b)", "kernel model"),
    Gone(
        r"(?i:(?<!tests/)(?<!tests\.)\blaws?\b(?!\.|/))",
        "invariant",
        (Kept("ARCHITECTURE.md", "a picture: the property tests of tests/laws"),),
    ),
)
FILES: Final = {
    "core/telling.py": "core/bgp/adj_rib_out.py",
    "core/rib.py": "core/bgp/adj_rib_in.py",
    "core/selection.py": "core/bgp/loc_rib.py",
    "core/exports.py": "core/bgp/export_policy.py",
    "core/policy.py": "core/bgp/import_policy.py",
    "core/leaving.py": "core/bgp/session_handover.py",
    "core/accepting.py": "core/bgp/encap_community.py",
    "core/terms.py": "core/bgp/session_policy.py",
    "core/why.py": "core/cluster/reasons.py",
    "core/registry.py": "core/cluster/ownership.py",
    "core/switch.py": "core/migration",
    "core/foresight.py": "core/simulate/preview.py",
    "core/repairs.py": "core/dataplane/drift.py",
    "core/undoing.py": "store/change.py",
    "kernel/trials.py": "kernel/probes.py",
    "kernel/echo.py": "kernel/probe_packets.py",
    "kernel/gateways.py": "kernel/nexthop_emulation.py",
    "agent/duty.py": "agent/health_http.py",
    "agent/alone.py": "process/run_directory.py",
    "agent/asks.py": "agent/operator_commands.py",
    "agent/edits.py": "agent/config_changes.py",
    "agent/pace.py": "agent/observe_throttle.py",
    "speaker/wish.py": "speaker/pending_config.py",
    "speaker/say.py": "speaker/encode.py",
    "speaker/wire.py": "speaker/decode.py",
    "speaker/sweep.py": "speaker/orphaned_routes.py",
    "speaker/keeper.py": "speaker/supervisor.py",
    "lab/cells.py": "lab/runtime.py",
    "lab/sense.py": "lab/validate.py",
    "lab/space.py": "lab/netns.py",
    "lab/daemons/terms.py": "lab/daemons/session_options.py",
}
"""Modules below bgpctl/ that are gone, by path, and the module or package that has their subject now."""
SENTENCES: Final = (
    Gone(
        r"(?i:\b(some|any|every|no)body('s)?\b|\bsomeone('s)?\b)",
        "a noun: another program, a node, no host",
        (Kept("bgpctl/speaker/conf.py", "the user nobody"),),
    ),
    Gone(r"(?i:\bwhoever\b)", "a noun: the caller, a program that"),
    Gone(r"(?i:\bby and by\b)", "after a while, at intervals"),
    Gone(r"(?i:\bfor now\b)", "until, meanwhile"),
)
GONE: Final = (*BGP, *KERNEL, *AGENT, *SENTENCES)
