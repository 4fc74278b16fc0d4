"""Which addresses workloads get, and which they never do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.cluster.allocations import NodeAllocations, TunnelAddress
from bgpctl.core.cluster.configuration import Peer, Pool, Use
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.allocate import COOL_DOWN_S, allocate, confirm
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.ipam.ledger import Freed, Ledger, Moment, Request, Workload
from bgpctl.core.net.addresses import Address, Asn, Mac, Prefix
from tests.cluster import allocated, blocks, prefixes, two_racks, with_ipv6

NOW = Moment("boot", 1000.0)
NEW = Ledger()
SMALL = replace(
    two_racks(),
    pools=(Pool("blue", Prefix.parse("10.244.0.0/16"), block_size=29),),
    allocations=blocks(a1=["10.244.1.0/29"], a2=["10.244.2.0/29"]),
)


def blocks_of(intent: Intent, name: str = "a1") -> NodeBlocks:
    node = intent.node(name)
    assert node
    return NodeBlocks.of(intent, node)


def asking(*words: str, name: str = "db") -> Request:
    """Pools by their names, and addresses."""
    addresses = tuple(Address.parse(word) for word in words if word[-1].isdigit())
    return Request(name, "ns", tuple(word for word in words if not word[-1].isdigit()), addresses)


def having(*addresses: str, name: str = "web") -> Workload:
    return Workload(
        asking("blue", name=name), "cali0", Mac("0a:00:00:00:00:01"), tuple(map(Address.parse, addresses)), 1, 0
    )


def given(
    intent: Intent, *words: str, ledger: Ledger = NEW, in_use: tuple[str, ...] = (), now: Moment = NOW
) -> list[str]:
    found = allocate(ledger, asking(*words), blocks_of(intent), map(Prefix.parse, in_use), now)
    return list(map(str, found))


def refusal(intent: Intent, *words: str, ledger: Ledger = NEW, in_use: tuple[str, ...] = ()) -> tuple[Rule, str]:
    with pytest.raises(NotGiven) as caught:
        given(intent, *words, ledger=ledger, in_use=in_use)
    return caught.value.rule, str(caught.value)


def test_a_workload_gets_the_lowest_free_address_of_each_pool_that_of_ipv4_first() -> None:
    intent = with_ipv6(two_racks())
    (block6,) = (block for block in blocks_of(intent).blocks if block.version == 6)
    assert given(intent, "six", "blue") == ["10.244.1.1", str(block6.nth(1))]
    assert given(intent, "blue", ledger=Ledger().with_workload(having("10.244.1.1"))) == ["10.244.1.2"]


@pytest.mark.parametrize("mode", [Mode.NEVER, Mode.ALWAYS])
def test_the_first_address_of_a_block_is_the_tunnels_also_before_there_is_a_tunnel(mode: Mode) -> None:
    intent = replace(two_racks(ipip=mode), allocations=blocks(a1=["10.244.1.0/26", "10.244.9.0/26"]))
    assert given(intent, "blue") == ["10.244.1.1"]
    assert {refusal(intent, first)[0] for first in ("10.244.1.0", "10.244.9.0")} == {Rule.ADDRESS_KEPT}


def test_the_last_address_of_a_block_is_given_and_then_the_next_block_is_used() -> None:
    intent = replace(SMALL, allocations=blocks(a1=["10.244.1.0/29", "10.244.3.0/29"]))
    assert given(intent, "10.244.3.7") == ["10.244.3.7"]
    almost = Ledger().with_workload(having(*(f"10.244.1.{number}" for number in range(1, 7))))
    assert given(intent, "blue", ledger=almost) == ["10.244.1.7"]
    assert given(intent, "blue", ledger=almost.with_workload(having("10.244.1.7", name="x"))) == ["10.244.3.1"]


def test_a_block_of_one_address_is_for_a_workload() -> None:
    pools = (replace(SMALL.pools[0], block_size=32),)
    assert given(replace(SMALL, pools=pools, allocations=blocks(a1=["10.244.1.7/32"])), "blue") == ["10.244.1.7"]


def test_a_pool_that_no_tunnel_may_use_has_its_first_address_for_workloads() -> None:
    pools = (replace(SMALL.pools[0], allowed_uses=(Use.WORKLOAD,)),)
    assert given(replace(SMALL, pools=pools), "blue") == ["10.244.1.0"]


def test_a_tunnel_address_that_was_given_is_no_workloads() -> None:
    ends = frozenset({TunnelAddress(IPIP, Address.parse("10.244.1.5"))})
    intent = allocated(two_racks(ipip=Mode.ALWAYS), "a1", tunnel_addresses=ends)
    assert refusal(intent, "10.244.1.5") == (Rule.ADDRESS_KEPT, "10.244.1.5 is the tunnel address of this node")


def test_an_address_that_another_node_borrowed_is_no_workloads_here() -> None:
    intent = allocated(SMALL, "b1", borrowed=prefixes("10.244.1.1/32"))
    assert given(intent, "blue") == ["10.244.1.2"]
    assert refusal(intent, "10.244.1.1") == (Rule.ADDRESS_KEPT, "10.244.1.1 is borrowed by node b1")


def test_an_address_that_this_node_borrowed_is_given_if_it_is_named() -> None:
    intent = allocated(SMALL, "a1", borrowed=prefixes("10.244.2.3/32"))
    assert given(intent, "10.244.2.3", "blue") == ["10.244.2.3"]


def test_addresses_of_nodes_and_bgp_peers_are_no_workloads() -> None:
    peer = Peer("tor", Address.parse("10.244.1.1"), Asn(65000), ("a1",))
    assert given(replace(SMALL, peers=(peer,)), "blue") == ["10.244.1.2"]


def test_a_reserved_address_is_given_only_if_it_is_named() -> None:
    intent = replace(SMALL, reserved=prefixes("10.244.1.0/30"))
    assert given(intent, "blue") == ["10.244.1.4"]
    assert given(intent, "10.244.1.1") == ["10.244.1.1"]


def test_an_address_that_the_kernel_has_for_something_else_is_not_given() -> None:
    assert given(SMALL, "blue", in_use=("10.244.1.0/30",)) == ["10.244.1.4"]
    rule, text = refusal(SMALL, "10.244.1.3", in_use=("10.244.1.0/30",))
    assert (rule, "10.244.1.0/30" in text) == (Rule.ADDRESS_IN_USE, True)


def test_of_former_addresses_the_one_that_was_freed_first_is_given_after_all_new_ones() -> None:
    freed = tuple(Freed(Address.parse(f"10.244.1.{number}"), Moment("boot", 0.0)) for number in (4, 2))
    taken = Ledger(freed=freed).with_workload(having(*(f"10.244.1.{number}" for number in (1, 3, 5, 6))))
    assert given(SMALL, "blue", ledger=taken) == ["10.244.1.7"]
    full = taken.with_workload(having("10.244.1.7", name="last"))
    assert given(SMALL, "blue", ledger=full) == ["10.244.1.4"]


def test_a_freed_address_rests_unless_it_is_named_or_the_host_was_booted() -> None:
    taken = Ledger().with_workload(having(*(f"10.244.1.{number}" for number in range(1, 7))))
    resting = taken.with_workload(having("10.244.1.7", name="last")).without("last", NOW)
    rule, text = refusal(SMALL, "blue", ledger=resting)
    assert (rule, text.rpartition("; ")[2]) == (
        Rule.COOLING_DOWN,
        f"an address that was in use before is free in {COOL_DOWN_S:.0f} s",
    )
    assert given(SMALL, "10.244.1.7", ledger=resting) == ["10.244.1.7"]
    for later in (Moment("boot", NOW.since_boot_s + COOL_DOWN_S), Moment("next boot", 1.0)):
        assert given(SMALL, "blue", ledger=resting, now=later) == ["10.244.1.7"]


def test_a_full_block_is_named() -> None:
    full = Ledger().with_workload(having(*(f"10.244.1.{number}" for number in range(1, 8))))
    assert refusal(SMALL, "blue", ledger=full) == (
        Rule.FULL,
        "pool blue is exhausted on node a1: 10.244.1.0/29; add a block to the node in the cluster file",
    )


@pytest.mark.parametrize(
    ("intent", "words", "rule", "text"),
    [
        (SMALL, ("green",), Rule.POOL_NOT_KNOWN, "the cluster file has no pool green; it has: blue"),
        (
            SMALL,
            ("blue", "blue"),
            Rule.SAME_VERSION,
            "two pools of IPv4; a workload has one address of each IP version",
        ),
        (
            SMALL,
            ("10.244.1.1", "10.244.1.2"),
            Rule.SAME_VERSION,
            "two addresses of IPv4; a workload has one address of each IP version",
        ),
        (SMALL, ("10.244.2.1",), Rule.OUTSIDE_BLOCKS, "10.244.2.1 is in a block of node a2"),
        (SMALL, ("10.244.9.1",), Rule.OUTSIDE_BLOCKS, "10.244.9.1 is in no block of node a1: 10.244.1.0/29"),
        (
            replace(SMALL, allocations=blocks(a2=["10.244.2.0/29"])),
            ("blue",),
            Rule.NO_BLOCK,
            "node a1 has no block of pool blue; add one to its blocks in the cluster file",
        ),
        (
            replace(SMALL, pools=(replace(SMALL.pools[0], disabled=True),)),
            ("blue",),
            Rule.POOL_NOT_USABLE,
            "pool blue is disabled: it gives no new addresses",
        ),
        (
            replace(SMALL, pools=(replace(SMALL.pools[0], allowed_uses=(Use.TUNNEL,)),)),
            ("blue",),
            Rule.POOL_NOT_USABLE,
            "pool blue is not for workloads (allowedUses)",
        ),
        (
            replace(SMALL, pools=(replace(SMALL.pools[0], node_selector="rack == 'b'"),)),
            ("10.244.1.1",),
            Rule.POOL_NOT_USABLE,
            "pool blue is not for node a1 (nodeSelector)",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_the_reason(
    intent: Intent, words: tuple[str, ...], rule: Rule, text: str
) -> None:
    assert refusal(intent, *words) == (rule, text)


def test_an_address_outside_of_the_pool_that_was_asked_for_is_refused() -> None:
    green = Pool("green", Prefix.parse("10.245.0.0/16"), block_size=29)
    given_blocks = {"a1": NodeAllocations(prefixes("10.244.1.0/29", "10.245.1.0/29"))}
    intent = replace(SMALL, pools=(*SMALL.pools, green), allocations=replace(SMALL.allocations, by_node=given_blocks))
    assert refusal(intent, "blue", "10.245.1.1") == (Rule.OUTSIDE_BLOCKS, "10.245.1.1 is in pool green, not in blue")


def test_a_workload_keeps_its_address_while_it_is_in_the_nodes_blocks_and_nothing_else_has_it() -> None:
    web = having("10.244.1.1")
    ledger = Ledger().with_workload(web)
    confirm(ledger, "web", blocks_of(SMALL), (), web.addresses)
    disabled = replace(SMALL, pools=(replace(SMALL.pools[0], disabled=True),))
    confirm(ledger, "web", blocks_of(disabled), (), web.addresses)
    with pytest.raises(NotGiven, match="in use on this host"):
        confirm(ledger, "web", blocks_of(SMALL), prefixes("10.244.1.1/32"), web.addresses)
    with pytest.raises(NotGiven, match="in no block of node a2"):
        confirm(
            ledger, "web", blocks_of(replace(SMALL, allocations=blocks(a2=["10.244.2.0/29"])), "a2"), (), web.addresses
        )
