"""Foreign objects that conflict with ours stay as they are, and the operator is informed."""

import itertools

import pytest

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.reasons import UnmetCode
from bgpctl.core.dataplane.plan import NOT_WANTED, plan
from bgpctl.core.fabric.desired import gather
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.net.addresses import InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, LinkKind, Plain, Route
from tests.cluster import bare_kernel, derived, member, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
KERNEL = bare_kernel(member(INTENT, "a1"))
THEIRS = LinkAddress("tunl0", InterfaceAddress.parse("192.168.99.1/24"))


def with_tunl0(kind: LinkKind, *addresses: LinkAddress, up: bool = True) -> Dataplane:
    tunl0 = Link("tunl0", kind, 1480, up=up, owned=False)
    return KERNEL.put((tunl0, *addresses))


@pytest.mark.parametrize("kernel", [with_tunl0(Plain("bridge"), THEIRS), with_tunl0(Ipip(), THEIRS)])
def test_a_foreign_tunl0_is_not_touched_and_carries_none_of_our_traffic(kernel: Dataplane) -> None:
    made = plan(derived(INTENT, observed=kernel), kernel)
    assert not [op for op in made.ops if "tunl0" in str(op.object)]
    assert (UnmetCode.KEY_TAKEN, "link tunl0") in {(item.code, item.subject) for item in made.blocked}
    assert {str(op.object.prefix) for op in made.ops if isinstance(op.object, Route)} == {
        "10.244.1.0/26",
        "10.244.2.0/26",
    }


def test_the_bare_tunl0_that_the_ipip_module_brings_is_taken_over() -> None:
    kernel = with_tunl0(Ipip(), up=False)
    made = plan(derived(INTENT, observed=kernel), kernel)
    assert made.blocked == ()
    assert Link("tunl0", Ipip(), 1480) in [op.object for op in made.ops]


def blackholes(count: int) -> list[Route]:
    """Neighbouring blocks, with a host prefix inside of each fourth."""
    blocks = [Prefix(4, (10 << 24) + 64 * number, 26) for number in range(count)]
    return [
        Route(prefix)
        for block in blocks
        for prefix in (block, *([block.nth(1).host_prefix] if block.network % 256 == 0 else []))
    ]


def ascending(prefixes: list[Prefix]) -> int:
    """How often a prefix comes right after its lower neighbour."""
    return sum(after.network - before.network == 64 for before, after in itertools.pairwise(prefixes))


@pytest.mark.parametrize("count", [30, 2000])
def test_host_prefixes_come_first_and_go_last_however_many_routes_there_are(count: int) -> None:
    routes = blackholes(count)
    wanted = gather(((route, NOT_WANTED) for route in routes), (), ())
    added = [op.object.prefix for op in plan(wanted, Dataplane()).ops if isinstance(op.object, Route)]
    gone = [
        op.object.prefix for op in plan(gather((), (), ()), Dataplane.of(routes)).ops if isinstance(op.object, Route)
    ]
    assert sorted(added) == sorted(gone) == sorted(route.prefix for route in routes)
    assert [prefix.length for prefix in added] == sorted((prefix.length for prefix in added), reverse=True)
    blocks = [prefix for prefix in added if prefix.length == 26]
    # In an order for people if there are few, for the kernel's trie if there are many.
    assert ascending(blocks) == (count - 1 if count < 1000 else 0)
