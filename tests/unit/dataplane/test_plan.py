"""Foreign objects that conflict with ours stay as they are, and the operator is informed."""

import pytest

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.reasons import UnmetCode
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.net.addresses import InterfaceAddress
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
