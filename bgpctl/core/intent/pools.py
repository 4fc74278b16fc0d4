"""
Pools: what both forms say alike, and the words of old releases.

Refuses to know: what a pool's mode leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Pool, Use
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, Encapsulation, Mode, tunnels
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import Draft, Located, Stated, located, read_selector
from bgpctl.core.intent.fields import Fields, choice
from bgpctl.core.intent.tunnel_keys import mode_key

Crossing: TypeAlias = tuple[Encapsulation, Mode]
"""How packets of a pool cross the underlay."""

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


def read_pool(draft: Draft, fields: Fields, name: str, at: Located, given: Crossing | None = None) -> None:
    """Take a pool in by the keys that both forms share; `given` is what `encapsulation` says, if it is there."""
    cidr = fields.prefix("cidr")
    fields.need("a pool", "cidr")
    encapsulation, mode = _crossing(fields, given)
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
        encapsulation=encapsulation,
        mode=mode,
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
        draft.pools[pool.name] = Stated(pool, at, pool_parts(fields, pool.encapsulation))


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


def _crossing(fields: Fields, given: Crossing | None) -> Crossing:
    said = {item: _mode(fields, mode_key(item)) for item in tunnels().values()}
    old = _old_ipip(fields)
    if given and any(said.values()):
        keys = " or ".join(map(mode_key, said))
        fields.wrong("encapsulation", f"encapsulation and {keys} cannot both be given", "both-forms")
    if old and said[IPIP]:
        fields.wrong("ipip", "ipip is the old form of ipipMode; they cannot both be given", "both-forms")
    said[IPIP] = said[IPIP] or old
    return given or _only(fields, {item: mode for item, mode in said.items() if mode and mode is not Mode.NEVER})


def _only(fields: Fields, modes: Mapping[Encapsulation, Mode]) -> Crossing:
    """The one that is not Never; of several the first, and a problem."""
    if len(modes) > 1:
        keys = [mode_key(item) for item in modes]
        said = ", ".join(f"{key}: {mode.value}" for key, mode in zip(keys, modes.values(), strict=True))
        fields.wrong(keys[-1], f"{' and '.join(keys)} cannot both be set ({said})", "both-modes")
    return next(iter(modes.items()), (DIRECT, Mode.NEVER))


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


def pool_parts(fields: Fields, encapsulation: Encapsulation) -> Mapping[str, Located]:
    """Where the parts of a pool stand that a rule may be about."""
    return {
        "cidr": located(fields, "cidr"),
        "encapsulation": located(fields, _crossing_key(fields, encapsulation)),
        "block_size": located(fields, "blockSize"),
        "uses": located(fields, "allowedUses"),
        "no_export": located(fields, "disableBGPExport"),
        "node_selector": located(fields, "nodeSelector"),
    }


def _crossing_key(fields: Fields, encapsulation: Encapsulation) -> str:
    """The key that says how the pool is crossed; one that is not there, if none does."""
    chosen = [encapsulation] if encapsulation != DIRECT else list(tunnels().values())
    old = ["ipip"] if IPIP in chosen else []
    keys = ["encapsulation", *old, *map(mode_key, chosen)]
    return next((key for key in keys if fields.has(key)), keys[0])
