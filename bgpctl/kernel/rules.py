"""
Policy rules as the kernel lists them (RTM_NEWRULE) → nouns. Pure.

A rule can select packets by more than their destination. Selectors that `Rule` cannot express become text
(`selector`), so that a lookup can report that it depends on them. An unknown attribute counts as such a selector too:
a rule that is understood in part must not be taken for one that matches every packet.

Refuses to know: the result of a rule (core/net/fib.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import Rule, RuleAction
from bgpctl.kernel.encode import FAMILY, RTMSG
from bgpctl.kernel.netlink import attributes

_FRA_DST: Final = 1
_FRA_SRC: Final = 2
_FRA_IIFNAME: Final = 3
_FRA_GOTO: Final = 4
_FRA_PRIORITY: Final = 6
_FRA_FWMARK: Final = 10
_FRA_FLOW: Final = 11
_FRA_TUN_ID: Final = 12
_FRA_SUPPRESS_IFGROUP: Final = 13
_FRA_SUPPRESS_PREFIXLEN: Final = 14
_FRA_TABLE: Final = 15
_FRA_FWMASK: Final = 16
_FRA_OIFNAME: Final = 17
_FRA_PAD: Final = 18
_FRA_L3MDEV: Final = 19
_FRA_UID_RANGE: Final = 20
_FRA_PROTOCOL: Final = 21
_FRA_IP_PROTO: Final = 22
_FRA_SPORT_RANGE: Final = 23
_FRA_DPORT_RANGE: Final = 24
_FRA_SPORT_MASK: Final = 28
_FRA_DPORT_MASK: Final = 29

_FIB_RULE_INVERT: Final = 2
_EVERY_BIT: Final = (1 << 32) - 1
_VERSION: Final = {family: version for version, family in FAMILY.items()}
_ACTIONS: Final = {int(action): action for action in RuleAction}
_NO_SELECTOR: Final = frozenset(
    {
        *(_FRA_DST, _FRA_SRC, _FRA_GOTO, _FRA_PRIORITY, _FRA_FLOW, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PAD),
        *(_FRA_PROTOCOL, _FRA_FWMARK, _FRA_FWMASK, _FRA_SPORT_MASK, _FRA_DPORT_MASK),
    }
)
"""Attributes for the action of a rule, for its maker, and those read elsewhere or that belong to another selector."""


def rules(bodies: Iterable[bytes]) -> Iterator[Rule]:
    """The rules of both IP versions, in the order of a dump, which is the one in which the kernel consults them."""
    seen: dict[tuple[int, int], int] = {}
    for rule in filter(None, map(_rule, bodies)):
        at = (rule.version, rule.priority)
        seen[at] = seen.get(at, -1) + 1
        yield rule._replace(place=seen[at])


def _rule(body: bytes) -> Rule | None:
    """None for other families (multicast forwarding has rules too) and for actions that the kernel does not have."""
    # struct fib_rule_hdr is laid out as struct rtmsg is, with the action where that has the type.
    family, length, source_length, tos, table, _, _, action, flags = RTMSG.unpack_from(body)
    if family not in _VERSION or action not in _ACTIONS:
        return None
    version, found = _VERSION[family], attributes(body, RTMSG.size)
    # FRA_SUPPRESS_PREFIXLEN is -1 for none.
    suppressed = found.get(_FRA_SUPPRESS_PREFIXLEN, b"\xff" * 4)
    return Rule(
        version,
        _number(found.get(_FRA_PRIORITY, b"")),
        _number(found[_FRA_TABLE]) if _FRA_TABLE in found else table,
        _ACTIONS[action],
        _prefix(version, found[_FRA_DST], length) if _FRA_DST in found else None,
        " ".join(_selectors(version, found, source_length, tos)),
        inverted=bool(flags & _FIB_RULE_INVERT),
        suppress_prefixlength=int.from_bytes(suppressed, sys.byteorder, signed=True),
        goto=_number(found.get(_FRA_GOTO, b"")),
    )


def _selectors(version: int, found: Mapping[int, bytes], source_length: int, tos: int) -> Iterator[str]:
    """The selectors other than the destination, in the words of ip-rule(8)."""
    if _FRA_SRC in found:
        yield f"from {_prefix(version, found[_FRA_SRC], source_length)}"
    if tos:
        yield f"tos {tos:#x}"
    if _FRA_FWMARK in found or _FRA_FWMASK in found:
        yield _fwmark(found)
    for kind, value in sorted(found.items()):
        if kind in _WORDS:
            name, worded = _WORDS[kind]
            yield f"{name} {worded(value)}".rstrip()
        elif kind not in _NO_SELECTOR:
            yield f"attribute {kind}"


def _fwmark(found: Mapping[int, bytes]) -> str:
    mark, mask = _number(found.get(_FRA_FWMARK, b"")), _number(found.get(_FRA_FWMASK, b"\xff" * 4))
    return f"fwmark {mark:#x}" if mask == _EVERY_BIT else f"fwmark {mark:#x}/{mask:#x}"


def _prefix(version: int, packed: bytes, length: int) -> Prefix:
    return Prefix(version, int.from_bytes(packed, "big"), length)


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, sys.byteorder)


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="replace")


def _decimal(packed: bytes) -> str:
    return str(_number(packed))


def _range(packed: bytes) -> str:
    half = len(packed) // 2
    return f"{_number(packed[:half])}-{_number(packed[half:])}"


def _nothing(_: bytes) -> str:
    return ""


_WORDS: Final[Mapping[int, tuple[str, Callable[[bytes], str]]]] = {
    _FRA_IIFNAME: ("iif", _text),
    _FRA_OIFNAME: ("oif", _text),
    _FRA_TUN_ID: ("tun_id", lambda packed: str(int.from_bytes(packed, "big"))),
    _FRA_SUPPRESS_IFGROUP: ("suppress_ifgroup", _decimal),
    _FRA_L3MDEV: ("l3mdev", _nothing),
    _FRA_UID_RANGE: ("uidrange", _range),
    _FRA_IP_PROTO: ("ipproto", _decimal),
    _FRA_SPORT_RANGE: ("sport", _range),
    _FRA_DPORT_RANGE: ("dport", _range),
}
