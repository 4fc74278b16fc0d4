"""
Pools: what both forms say alike, and the words of old releases.

Refuses to know: what a pool's mode leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Mode, Pool, Use
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import Draft, Located, Stated, located, read_selector
from bgpctl.core.intent.fields import Fields, choice

Modes: TypeAlias = tuple[Mode, Mode]
"""ipipMode and vxlanMode."""

ENCAPSULATIONS: Final = {
    "IPIP": (Mode.ALWAYS, Mode.NEVER),
    "IPIPCrossSubnet": (Mode.CROSS_SUBNET, Mode.NEVER),
    "VXLAN": (Mode.NEVER, Mode.ALWAYS),
    "VXLANCrossSubnet": (Mode.NEVER, Mode.CROSS_SUBNET),
    "None": (Mode.NEVER, Mode.NEVER),
}
"""The operator's `encapsulation` as (ipipMode, vxlanMode)."""

DEFAULT_BLOCK_SIZE: Final = {4: 26, 6: 122}
DEFAULT_USES: Final = (Use.WORKLOAD, Use.TUNNEL)
_OLD_MODES: Final = {
    "": Mode.NEVER,
    "off": Mode.NEVER,
    "never": Mode.NEVER,
    "always": Mode.ALWAYS,
    "cross-subnet": Mode.CROSS_SUBNET,
    "crosssubnet": Mode.CROSS_SUBNET,
}
"""Calico's first releases, its etcd, and the variables of its manifests."""


def read_pool(draft: Draft, fields: Fields, name: str, at: Located, modes: Modes | None = None) -> None:
    """Take a pool in by the keys that both forms share; `modes` are those of `encapsulation`, if that was given."""
    cidr = fields.prefix("cidr")
    fields.need("a pool", "cidr")
    ipip_mode, vxlan_mode = _modes(fields, modes)
    size = fields.integer("blockSize", 0, 128)
    nat, disabled, no_export = _nat(fields), fields.boolean("disabled"), fields.boolean("disableBGPExport")
    uses = read_uses(fields)
    selector = read_selector(fields, "nodeSelector")
    _namespaces(fields, uses)
    if cidr is None:
        draft.declare("pool", name, at)
        draft.miss("pool")
        return
    pool = Pool(
        name=name,
        cidr=cidr,
        ipip_mode=ipip_mode,
        vxlan_mode=vxlan_mode,
        block_size=size or DEFAULT_BLOCK_SIZE[cidr.version],
        nat_outgoing=bool(nat),
        disabled=bool(disabled),
        disable_bgp_export=bool(no_export),
        node_selector=(fields.text("nodeSelector") or "all()") if selector else "all()",
        allowed_uses=uses,
        place=at.place,
    )
    take_pool(draft, pool, at, fields)


def take_pool(draft: Draft, pool: Pool, at: Located, fields: Fields) -> None:
    """Take a pool in that was read from `fields`."""
    if draft.declare("pool", pool.name, at):
        draft.pools[pool.name] = Stated(pool, at, pool_parts(fields))


def read_uses(fields: Fields) -> tuple[Use, ...]:
    """allowedUses, a set: in one order."""
    given = fields.values("allowedUses", lambda leaf: choice(leaf, Use), "choice")
    return tuple(use for use in Use if use in given) if given else DEFAULT_USES


def _namespaces(fields: Fields, uses: tuple[Use, ...]) -> None:
    if fields.has("namespaceSelector") and Use.TUNNEL in uses:
        message = "namespaceSelector is for workloads alone: leave Tunnel out of allowedUses"
        fields.wrong("namespaceSelector", message, "namespace-tunnel")
    if fields.has("namespaceSelector"):
        read_selector(fields, "namespaceSelector")
    fields.no_effect("there are no namespaces; addresses are given to nodes by their blocks", "namespaceSelector")
    fields.one_of("assignmentMode", ("Automatic", "Manual"))
    fields.no_effect("a block is given to a node by the cluster file, never automatically", "assignmentMode")


def _modes(fields: Fields, modes: Modes | None) -> Modes:
    ipip, vxlan = _mode(fields, "ipipMode"), _mode(fields, "vxlanMode")
    old = _old_ipip(fields)
    if modes and (ipip or vxlan):
        fields.wrong("encapsulation", "encapsulation and ipipMode or vxlanMode cannot both be given", "both-forms")
    if old and ipip:
        fields.wrong("ipip", "ipip is the old form of ipipMode; they cannot both be given", "both-forms")
    return modes or (ipip or old or Mode.NEVER, vxlan or Mode.NEVER)


def _nat(fields: Fields) -> bool | None:
    nat = fields.boolean("natOutgoing")
    if fields.has("nat-outgoing"):
        nat = fields.boolean("nat-outgoing") if nat is None else nat
        fields.wrong("nat-outgoing", "an old spelling of natOutgoing", "old-spelling", Severity.INFO)
    return nat


def _mode(fields: Fields, key: str) -> Mode | None:
    mode = fields.value(key, lambda leaf: _OLD_MODES.get(leaf.text) or choice(leaf, Mode), "choice")
    if mode and mode.value != fields.text(key):
        fields.wrong(key, f"an old spelling of {mode.value}", "old-spelling", Severity.INFO)
    return mode


def _old_ipip(fields: Fields) -> Mode | None:
    """Calico v1's `ipip: {enabled, mode}`."""
    old = fields.fields("ipip")
    if old is None:
        return None
    enabled = old.boolean("enabled")
    mode = old.value("mode", lambda leaf: _OLD_MODES.get(leaf.text) or choice(leaf, Mode), "choice")
    old.finish()
    fields.wrong("ipip", "an old form of ipipMode", "old-spelling", Severity.INFO)
    return (mode or Mode.ALWAYS) if enabled else Mode.NEVER


def pool_parts(fields: Fields) -> Mapping[str, Located]:
    """Where the parts of a pool stand that a rule may be about."""
    old = "ipip" if fields.has("ipip") else "ipipMode"
    ipip, vxlan = ("encapsulation",) * 2 if fields.has("encapsulation") else (old, "vxlanMode")
    return {
        "cidr": located(fields, "cidr"),
        "ipip": located(fields, ipip),
        "vxlan": located(fields, vxlan),
        "block_size": located(fields, "blockSize"),
        "uses": located(fields, "allowedUses"),
        "no_export": located(fields, "disableBGPExport"),
        "node_selector": located(fields, "nodeSelector"),
    }
