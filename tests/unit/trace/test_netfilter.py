"""Packets in the chains of other programs, and the answer where a rule is not understood."""

from __future__ import annotations

from typing import Final

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.trace.netfilter import Chain, Condition, Field, Passing, Rule, Verdict, fate, translation
from bgpctl.core.trace.packet import TCP, Packet
from bgpctl.kernel.chains import chains

PACKET: Final = Packet(Address.parse("10.244.1.10"), Address.parse("10.244.3.10"), protocol=TCP, ports=(40000, 80))
HERE: Final = Passing(PACKET, "w0", "tunl0")
FROM_POOL: Final = Condition(Field.SOURCE, (Prefix.parse("10.244.0.0/16"),), version=4)
NOBODY_KNOWS: Final = Condition(Field.OTHER)


def chain(
    *rules: Rule, policy: Verdict = Verdict.ACCEPT, priority: int = 0, kind: str = "filter", **others: Rule
) -> Chain:
    named = tuple((name, (rule,)) for name, rule in others.items())
    hook = "postrouting" if kind == "nat" else "forward"
    return Chain("inet", "t", f"c{priority}", kind, hook, priority, policy, rules, named)


def end(*found: Chain, passing: Passing = HERE) -> tuple[str, Verdict, int] | None:
    seen = fate(found, "forward", passing)
    return (seen.chain.name, seen.verdict, seen.rule.handle if seen.rule else 0) if seen else None


def test_accept_ends_one_chain_and_not_the_next() -> None:
    assert end(chain(Rule(1, (), Verdict.ACCEPT)), chain(Rule(2, (), Verdict.REJECT), priority=10)) == (
        "c10",
        Verdict.REJECT,
        2,
    )


def test_the_policy_decides_where_no_rule_does() -> None:
    assert end(chain(policy=Verdict.DROP)) == ("c0", Verdict.DROP, 0)
    assert end(chain(Rule(1, (FROM_POOL,), Verdict.ACCEPT), policy=Verdict.DROP)) is None


def test_a_jump_comes_back_and_a_goto_does_not() -> None:
    back = Rule(9, (FROM_POOL,), Verdict.RETURN)
    after = Rule(2, (), Verdict.DROP)
    assert end(chain(Rule(1, (), Verdict.JUMP, "other"), after, other=back)) == ("c0", Verdict.DROP, 2)
    assert end(chain(Rule(1, (), Verdict.GOTO, "other"), after, other=back)) is None


def test_a_rule_that_is_not_understood_is_unknown_only_if_it_matters() -> None:
    unclear = Rule(1, (NOBODY_KNOWS,), Verdict.DROP)
    assert end(chain(unclear)) == ("c0", Verdict.OTHER, 1)
    assert end(chain(unclear, Rule(2, (), Verdict.DROP))) == ("c0", Verdict.DROP, 1)
    assert end(chain(Rule(1, (NOBODY_KNOWS,), Verdict.ACCEPT))) is None
    assert end(chain(unclear._replace(conditions=(NOBODY_KNOWS, FROM_POOL._replace(inverted=True))))) is None


def test_many_rules_that_are_not_understood_are_as_quick_as_few() -> None:
    unclear = tuple(Rule(number, (NOBODY_KNOWS,), Verdict.JUMP, "next") for number in range(2000))
    deep = tuple((f"n{level}", (Rule(1, (NOBODY_KNOWS,), Verdict.JUMP, f"n{level + 1}"),) * 50) for level in range(16))
    last = ("next", (Rule(1, (NOBODY_KNOWS,), Verdict.JUMP, "n0"),) * 50)
    found = chain(*unclear, Rule(9999, (), Verdict.DROP))._replace(others=(last, *deep, ("n16", ())))
    assert end(found) == ("c0", Verdict.OTHER, 1)
    assert end(found._replace(others=(last, ("n0", (Rule(7, (), Verdict.RETURN),))))) == ("c0", Verdict.DROP, 9999)


def test_an_answer_is_of_a_known_connection() -> None:
    known = Rule(1, (Condition(Field.STATE, ("established", "related")),), Verdict.ACCEPT)
    only = chain(known, policy=Verdict.DROP)
    assert end(only) == ("c0", Verdict.DROP, 0)
    assert end(only, passing=Passing(PACKET.answered(), "tunl0", "w0")) is None


def test_a_chain_of_the_other_ip_version_does_not_see_it() -> None:
    assert end(chain(Rule(1, (), Verdict.DROP))._replace(family="ip6")) is None


def test_only_the_first_packet_of_a_connection_is_translated() -> None:
    nat = chain(Rule(7, (FROM_POOL,), Verdict.MASQUERADE), kind="nat", priority=100)
    found = translation([nat], "postrouting", Passing(PACKET, leaves="eth0"))
    assert found
    assert found.verdict is Verdict.MASQUERADE
    assert translation([nat], "postrouting", Passing(PACKET.answered(), leaves="eth0")) is None


def match(left: object, right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


def read(*expressions: dict[str, object], table: str = "t") -> tuple[Chain, ...]:
    base = {"family": "inet", "table": table, "name": "c"}
    return chains(
        [
            {"chain": {**base, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"set": {"family": "inet", "table": table, "name": "s", "elem": ["10.244.1.10"]}},
            {"rule": {"family": "inet", "table": table, "chain": "c", "handle": 3, "expr": list(expressions)}},
        ],
        "bgpctl",
    )


def test_nfts_json_is_read_as_the_kernel_means_it() -> None:
    payload = {"payload": {"protocol": "tcp", "field": "dport"}}
    source = {"payload": {"protocol": "ip", "field": "saddr"}}
    accepting: tuple[tuple[dict[str, object], ...], ...] = (
        (match(payload, 80),),
        (match(payload, {"range": [1, 90]}),),
        (match(source, "@s"),),
        (match(source, {"prefix": {"addr": "10.244.0.0", "len": 16}}), {"counter": {}}),
        (match(source, {"set": [{"range": ["10.244.0.0", "10.244.1.255"]}]}),),
        (match({"meta": {"key": "iifname"}}, "w*"), match({"ct": {"key": "state"}}, ["new", "related"], "in")),
    )
    for expressions in accepting:
        assert end(*read(*expressions, {"accept": None})) is None, expressions
    assert end(*read(match(payload, 443), {"accept": None})) == ("c", Verdict.DROP, 0)


def test_what_is_not_understood_in_json_is_unknown() -> None:
    other: dict[str, object] = {"xt": {"type": "match", "name": "u32"}}
    limit: dict[str, object] = {"limit": {"rate": 1}}
    for unclear in (other, limit, match({"rt": {"key": "mtu"}}, 1)):
        assert end(*read(unclear, {"accept": None})) == ("c", Verdict.OTHER, 0), unclear


def test_our_own_tables_are_no_chains_of_others() -> None:
    assert read({"drop": None}, table="bgpctl_nat") == ()
