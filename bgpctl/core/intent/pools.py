"""
Pools: the part that both forms share, and the values of old releases.

Refuses to know: the effect of a pool's mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Pool, Use
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, Encapsulation, Mode, tunnels, words
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import Draft, Located, Stated, located, read_selector
from bgpctl.core.intent.field_kinds import BOOLEAN, PREFIX, SELECTOR, FieldKind, coded, integer, no_effect, word
from bgpctl.core.intent.fields import Fields, choice
from bgpctl.core.intent.shapes import Shape, many, ref
from bgpctl.core.intent.tables import Row, Table, Values, Written, always, read_only
from bgpctl.core.intent.tunnel_keys import mode_key, mode_keys, per_encapsulations

Crossing: TypeAlias = tuple[Encapsulation, Mode]
"""The encapsulation and mode of a pool."""

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


# Fields that are like no others --------------------------------------------------------------------------------


def _read_nat(fields: Fields, key: str) -> bool | None:
    """The old spelling of natOutgoing."""
    nat = fields.boolean(key) if fields.has(key) else None
    if fields.has(key):
        fields.wrong(key, "an old spelling of natOutgoing", "old-spelling", Severity.INFO)
    return nat


def _read_mode(fields: Fields, key: str) -> Mode | None:
    mode = _spelt(fields, key)
    if mode and mode.value != fields.text(key):
        fields.wrong(key, f"an old spelling of {mode.value}", "old-spelling", Severity.INFO)
    return mode


def _spelt(fields: Fields, key: str) -> Mode | None:
    return fields.value(key, lambda leaf: _OLD_MODES.get(leaf.text) or choice(leaf, Mode), "choice")


def _read_old_ipip(fields: Fields, key: str) -> Mode | None:
    """Calico v1's `ipip: {enabled, mode}`."""
    old = fields.fields(key)
    if old is None:
        return None
    found = _OLD_IPIP.read(old)
    old.finish()
    fields.wrong(key, "an old form of ipipMode", "old-spelling", Severity.INFO)
    return found.get("mode", Mode.ALWAYS) if found.get("enabled") else Mode.NEVER


def _read_uses(fields: Fields, key: str) -> tuple[Use, ...] | None:
    """A set: in one order."""
    given = fields.values(key, lambda leaf: choice(leaf, Use), "choice")
    return tuple(use for use in Use if use in given) or None


def _read_namespaces(fields: Fields, key: str) -> None:
    if fields.has(key) and Use.TUNNEL in (_read_uses(fields, "allowedUses") or DEFAULT_USES):
        message = "namespaceSelector is for workloads alone: leave Tunnel out of allowedUses"
        fields.wrong(key, message, "namespace-tunnel")
    if fields.has(key):
        read_selector(fields, key)
    fields.no_effect("there are no namespaces; addresses are given to nodes by their blocks", key)


_MODE_SHAPE: Final[Shape] = {
    "anyOf": [
        {"enum": [mode.value for mode in Mode]},
        # YAML 1.1 reads off as a boolean.
        {"description": "An old spelling.", "enum": [*_OLD_MODES, False, None]},
    ]
}
_MODE: Final = FieldKind(_read_mode, _MODE_SHAPE, lambda mode: mode.value)
_GIVEN_MODE: Final = replace(_MODE, shape={**_MODE_SHAPE, "default": Mode.NEVER.value})
_OLD_IPIP: Final = Table(
    (Row("enabled", BOOLEAN, "enabled"), Row("mode", FieldKind(_spelt, _MODE_SHAPE, None), "mode")),
)
_USES: Final = FieldKind(
    _read_uses,
    many({"enum": [use.value for use in Use]}),
    lambda uses: [use.value for use in uses],
    "The uses of its addresses; Workload and Tunnel by default.",
)


# The table -----------------------------------------------------------------------------------------------------


def _usual_block_size(pool: Pool) -> int:
    return DEFAULT_BLOCK_SIZE[pool.cidr.version]


CIDR: Final = Row("cidr", PREFIX, "cidr", needed=True)
BLOCK_SIZE: Final = Row(
    "blockSize",
    integer(0, 128),
    "block_size",
    "Prefix length of a block: 20 to 32 for IPv4, 116 to 128 for IPv6; 0 for the default, 26 or 122.",
    implied=_usual_block_size,
)
NO_EXPORT: Final = Row("disableBGPExport", BOOLEAN, "disable_bgp_export", "Its blocks are not announced.")
NODE_SELECTOR: Final = Row("nodeSelector", SELECTOR, "node_selector", "The nodes that may have its blocks.")
ALLOWED_USES: Final = Row("allowedUses", _USES, "allowed_uses")
ASSIGNMENT: Final = Row(
    "assignmentMode",
    no_effect("a block is given to a node by the cluster file, never automatically", word("Automatic", "Manual")),
    about="No effect here: a node's blocks are given.",
)


def _mode_rows(kind: FieldKind[Mode]) -> tuple[Row, ...]:
    return tuple(
        Row(mode_key(item), kind, mode_key(item), _about_mode(item), always=True) for item in tunnels().values()
    )


def _about_mode(encapsulation: Encapsulation) -> str:
    only = " and ".join(f"IPv{version}" for version in encapsulation.versions)
    limit = f" {only} only." if len(encapsulation.versions) == 1 else ""
    return f"{encapsulation.title} to nodes: never, in other subnets, always.{limit}"


_REST: Final = (
    Row(
        "natOutgoing",
        BOOLEAN,
        "nat_outgoing",
        "Workloads reach hosts outside all pools with their node's address.",
    ),
    BLOCK_SIZE,
    Row("disabled", BOOLEAN, "disabled", "No new blocks; present ones stay."),
    NO_EXPORT,
    NODE_SELECTOR,
    ALLOWED_USES,
    ASSIGNMENT,
    Row(
        "namespaceSelector",
        FieldKind(_read_namespaces, ref("selector"), None),
        about="No effect here: there are no namespaces.",
    ),
    Row("nat-outgoing", FieldKind(_read_nat, BOOLEAN.shape, None), "nat_outgoing", "Old spelling of natOutgoing."),
    Row("ipip", FieldKind(_read_old_ipip, _OLD_IPIP.shape(nullable=True), None), "old_ipip", "Old form of ipipMode."),
)


def crossing_row() -> Row:
    """The operator's word for encapsulation and mode."""
    about = f"{' and '.join(map(mode_key, tunnels().values()))} in one word."
    return Row("encapsulation", coded(words()), "crossing", about, always=True)


@per_encapsulations
def calico_pool() -> Table:
    """Calico's IPPool."""
    return Table((CIDR, *_mode_rows(_GIVEN_MODE), *always(_REST, "natOutgoing", "blockSize")), Pool, "a pool")


@per_encapsulations
def short_pool() -> Table:
    """A pool of the short form."""
    rows = (CIDR, crossing_row(), *map(read_only, _mode_rows(_MODE)), *_REST)
    return Table(rows, Pool, "a pool", "A pool of addresses for workloads.")


# Reading and writing -------------------------------------------------------------------------------------------


def read_pool(draft: Draft, fields: Fields, table: Table, name: str, at: Located) -> None:
    """Take a pool in, by the keys of its form."""
    found = table.read(fields)
    encapsulation, mode = _crossing(fields, found)
    cidr, size = found.pop("cidr", None), found.pop("block_size", 0)
    if cidr is None:
        draft.declare("pool", name, at)
        draft.miss("pool")
        return
    size = size or DEFAULT_BLOCK_SIZE[cidr.version]
    pool = Pool(name, cidr, encapsulation, mode, size, **found, place=at.place)
    take_pool(draft, pool, at, fields)


def take_pool(draft: Draft, pool: Pool, at: Located, fields: Fields) -> None:
    """Take a pool in that was read from `fields`."""
    if draft.declare("pool", pool.name, at):
        draft.pools[pool.name] = Stated(pool, at, pool_parts(fields, pool.encapsulation))


def _crossing(fields: Fields, found: Values) -> Crossing:
    """Take encapsulation and modes out of the values."""
    given, old = found.pop("crossing", None), found.pop("old_ipip", None)
    modes = {item: found.pop(mode_key(item), None) for item in tunnels().values()}
    if given and any(modes.values()):
        keys = " or ".join(map(mode_key, modes))
        fields.wrong("encapsulation", f"encapsulation and {keys} cannot both be given", "both-forms")
    if old and modes[IPIP]:
        fields.wrong("ipip", "ipip is the old form of ipipMode; they cannot both be given", "both-forms")
    modes[IPIP] = modes[IPIP] or old
    return given or _only(fields, {item: mode for item, mode in modes.items() if mode and mode is not Mode.NEVER})


def _only(fields: Fields, modes: Mapping[Encapsulation, Mode]) -> Crossing:
    """The one that is not Never; of several the first, and a problem."""
    if len(modes) > 1:
        keys = [mode_key(item) for item in modes]
        given = ", ".join(f"{key}: {mode.value}" for key, mode in zip(keys, modes.values(), strict=True))
        fields.wrong(keys[-1], f"{' and '.join(keys)} cannot both be set ({given})", "both-modes")
    return next(iter(modes.items()), (DIRECT, Mode.NEVER))


def written_pool(pool: Pool) -> Written:
    """The spec of Calico's IPPool."""
    return calico_pool().write(pool, **mode_keys(pool.encapsulation, pool.mode))


def written_short_pool(pool: Pool) -> Written:
    """The pool in the short form."""
    return short_pool().write(pool, crossing=(pool.encapsulation, pool.mode))


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
    """The key of the pool's encapsulation; one that is absent, if none is given."""
    known = [encapsulation] if encapsulation != DIRECT else list(tunnels().values())
    old = ["ipip"] if IPIP in known else []
    keys = ["encapsulation", *old, *map(mode_key, known)]
    return next((key for key in keys if fields.has(key)), keys[0])
