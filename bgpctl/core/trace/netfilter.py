"""
The fate of a packet in the chains of other programs, as far as their rules can be read.

A hook's base chains are consulted by ascending priority. `accept` ends one chain, and the next one is consulted all the
same; `drop` and `reject` are final (nft(8)). A rule that is not understood may match or not: then all that can follow
is followed, and only an end that all have in common is an answer.

Chains of type nat see the first packet of a connection alone. What they translate is reported; passage.py
applies it.

Refuses to know: rates, quotas, sets that the kernel fills, helpers, flow tables, rules of iptables-legacy.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.trace.packet import Packet

_MOST_JUMPS: Final = 16
"""NFT_JUMP_STACK_SIZE."""


class Field(enum.Enum):
    """The part of a packet that a condition is about. OTHER: something that is not understood."""

    SOURCE = "saddr"
    DESTINATION = "daddr"
    VERSION = "version"
    PROTOCOL = "protocol"
    SOURCE_PORT = "sport"
    DESTINATION_PORT = "dport"
    ARRIVES = "iifname"
    LEAVES = "oifname"
    MARK = "mark"
    STATE = "ct state"
    OTHER = "other"


class Addresses(NamedTuple):
    """A range with both ends."""

    first: Address
    last: Address


class Numbers(NamedTuple):
    """A range with both ends; one number is its own first and last."""

    first: int
    last: int


Value: TypeAlias = Prefix | Addresses | Numbers | str
"""A prefix, a range, or a link or a state, which may end in `*`."""
Values: TypeAlias = tuple[Value, ...]


class Condition(NamedTuple):
    """True of packets of which the value is one of `values`, or with `inverted` none of them."""

    field: Field
    values: Values = ()
    inverted: bool = False
    version: int = 0


class Verdict(enum.Enum):
    """The end of a rule. CONTINUE: it has none. OTHER: one that is not understood (queue, map)."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"
    MASQUERADE = "masquerade"
    SNAT = "snat"
    DNAT = "dnat"
    CONTINUE = "continue"
    OTHER = "other"


class Rule(NamedTuple):
    """`target`: the chain of a jump, or the address that is written into the packet; `handle` names it to nft."""

    handle: int
    conditions: tuple[Condition, ...] = ()
    verdict: Verdict = Verdict.CONTINUE
    target: str = ""


class Chain(NamedTuple):
    """A base chain, and the others of its table by name. `type` is `filter`, `nat` or `route`."""

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int
    policy: Verdict = Verdict.ACCEPT
    rules: tuple[Rule, ...] = ()
    others: tuple[tuple[str, tuple[Rule, ...]], ...] = ()

    def sees(self, version: int) -> bool:
        """True if packets of the IP version pass it."""
        return self.family == "inet" or self.family == {4: "ip", 6: "ip6"}[version]


class Passing(NamedTuple):
    """A packet at a hook; `arrives` and `leaves` are empty where it has no such link."""

    packet: Packet
    arrives: str = ""
    leaves: str = ""


class Fate(NamedTuple):
    """The end of a packet in one chain. `rule` None: the policy. `verdict` ACCEPT passes, OTHER is not known."""

    chain: Chain
    verdict: Verdict
    rule: Rule | None = None


def fate(chains: Iterable[Chain], hook: str, passing: Passing) -> Fate | None:
    """The end of the packet at this hook, in the first chain that ends it or may; None if it passes."""
    for chain in _at(chains, hook, passing, kinds=("filter", "route")):
        ends = {(end.verdict, end.rule): end for end in _ends(chain, passing)}
        stopping = [end for end in ends.values() if end.verdict in _STOPPING]
        if stopping:
            unknown = len(stopping) < len(ends) or any(end.verdict is Verdict.OTHER for end in stopping)
            return stopping[0]._replace(verdict=Verdict.OTHER) if unknown else stopping[0]
    return None


def translation(chains: Iterable[Chain], hook: str, passing: Passing) -> Fate | None:
    """The first rule that translates an address of the packet, or that may (verdict OTHER); else None."""
    if passing.packet.answers:
        return None
    for chain in _at(chains, hook, passing, kinds=("nat",)):
        ends = {(end.verdict, end.rule): end for end in _ends(chain, passing)}
        found = [end for end in ends.values() if end.verdict is not Verdict.ACCEPT]
        if found:
            return found[0] if len(ends) == 1 else found[0]._replace(verdict=Verdict.OTHER)
    return None


_STOPPING: Final = frozenset({Verdict.DROP, Verdict.REJECT, Verdict.OTHER})


def _at(chains: Iterable[Chain], hook: str, passing: Passing, kinds: Sequence[str]) -> list[Chain]:
    version = passing.packet.version
    found = [chain for chain in chains if chain.hook == hook and chain.type in kinds and chain.sees(version)]
    return sorted(found, key=lambda chain: chain.priority)


def _ends(chain: Chain, passing: Passing) -> Iterator[Fate]:
    """Every end that the packet may have here; more than one only where a rule is not understood."""
    for verdict, rule in _Search(dict(chain.others), passing).ends(chain.rules, 0):
        yield Fate(chain, chain.policy if verdict in _FALLS_THROUGH else verdict, rule)


_FALLS_THROUGH: Final = frozenset({Verdict.CONTINUE, Verdict.RETURN})
_End: TypeAlias = tuple[Verdict, Rule | None]


class _Search:
    """
    The ends of one packet in the chains of one table. Each chain is gone through once for each depth of jumps: among
    rules that are not understood, each of which may match or not, the courses are more than could be followed.
    """

    def __init__(self, others: Mapping[str, tuple[Rule, ...]], passing: Passing) -> None:
        self._others = others
        self._passing = passing
        self._known: dict[tuple[str, int], tuple[_End, ...]] = {}

    def ends(self, rules: Iterable[Rule], depth: int) -> Iterator[_End]:
        """CONTINUE where the packet may come to the end of the rules."""
        for rule in rules:
            matches = _all_hold(rule.conditions, self._passing)
            if matches is False or rule.verdict is Verdict.CONTINUE:
                continue
            goes_on = matches is None
            for verdict, by in self._behind(rule, depth):
                if verdict is Verdict.CONTINUE and rule.verdict is Verdict.JUMP:
                    goes_on = True
                else:
                    yield verdict, by
            if not goes_on:
                return
        yield Verdict.CONTINUE, None

    def _behind(self, rule: Rule, depth: int) -> tuple[_End, ...]:
        """The ends of a rule that matches. CONTINUE: the chain that was jumped to has none, or returns."""
        if rule.verdict not in (Verdict.JUMP, Verdict.GOTO):
            return ((rule.verdict, None if rule.verdict is Verdict.RETURN else rule),)
        if rule.target not in self._others or depth >= _MOST_JUMPS:
            return ((Verdict.OTHER, rule),)
        key = (rule.target, depth)
        if key not in self._known:
            found = self.ends(self._others[rule.target], depth + 1)
            plain = ((Verdict.CONTINUE, None) if verdict in _FALLS_THROUGH else (verdict, by) for verdict, by in found)
            self._known[key] = tuple(dict.fromkeys(plain))
        return self._known[key]


def _all_hold(conditions: Iterable[Condition], passing: Passing) -> bool | None:
    answers = [holds(condition, passing) for condition in conditions]
    if False in answers:
        return False
    return None if None in answers else True


def holds(condition: Condition, passing: Passing) -> bool | None:
    """True if the packet has what is asked; None if that is not known."""
    if condition.version and condition.version != passing.packet.version:
        return False
    value = _value(condition.field, passing)
    if value is None:
        return None
    return any(_is(value, item) for item in condition.values) is not condition.inverted


def _value(field: Field, passing: Passing) -> Address | int | str | None:
    packet = passing.packet
    match field:
        case Field.SOURCE:
            return packet.source
        case Field.DESTINATION:
            return packet.destination
        case Field.VERSION:
            return packet.version
        case Field.PROTOCOL:
            return packet.protocol
        case Field.SOURCE_PORT | Field.DESTINATION_PORT:
            return packet.ports[field is Field.DESTINATION_PORT] if packet.ports else None
        case Field.ARRIVES:
            return passing.arrives
        case Field.LEAVES:
            return passing.leaves
        case Field.MARK:
            return packet.mark
        case Field.STATE:
            return "established" if packet.answers else "new"
        case Field.OTHER:
            return None


def _is(value: Address | int | str, wanted: Value) -> bool:
    match value, wanted:
        case Address(), Prefix():
            return wanted.holds(value)
        case Address(), Addresses(first, last):
            return first <= value <= last
        case int(), Numbers(lowest, highest):
            return lowest <= value <= highest
        case str(), str():
            return value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted
        case _:
            return False
