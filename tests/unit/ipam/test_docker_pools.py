"""The pool that a network of Docker has, and its name in later requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.cluster.configuration import Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.allocate import allocate
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven
from bgpctl.core.ipam.docker_pools import DockerPool, PoolRequest, docker_pool
from bgpctl.core.ipam.ledger import Endpoint, Ledger, Moment, Request, Workload
from bgpctl.core.net.addresses import Address, Mac, Prefix
from tests.cluster import two_racks, with_ipv6

NOW = Moment("boot", 1000.0)
BOTH = with_ipv6(two_racks())
GREEN = replace(BOTH, pools=(*BOTH.pools, Pool("green", Prefix.parse("10.245.0.0/16"))))
FIRST = Address.parse("10.244.1.1")


def blocks_of(intent: Intent) -> NodeBlocks:
    node = intent.node("a1")
    assert node
    return NodeBlocks.of(intent, node)


def found(intent: Intent, version: int = 4, subnet: str = "", part: str = "", **options: str) -> str:
    whole, chosen = (Prefix.parse(text) if text else None for text in (subnet, part))
    return str(docker_pool(PoolRequest(version, whole, chosen, options), blocks_of(intent)))


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        (found(BOTH, pool="blue"), DockerPool("blue")),
        (found(BOTH), DockerPool("blue")),
        (found(BOTH, 6), DockerPool("six")),
        (found(BOTH, 4, pool="six,blue"), DockerPool("blue")),
        (found(BOTH, 6, pool="six,blue"), DockerPool("six")),
        (found(GREEN, subnet="10.244.0.0/16"), DockerPool("blue", Prefix.parse("10.244.0.0/16"))),
        (
            found(GREEN, subnet="10.244.1.0/24", part="10.244.1.32/27"),
            DockerPool("blue", Prefix.parse("10.244.1.32/27")),
        ),
    ],
)
def test_a_pool_is_named_by_an_option_by_the_subnet_or_by_being_the_only_one(name: str, pool: DockerPool) -> None:
    assert (DockerPool.parse(name), str(pool)) == (pool, name)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"pool": "red"}, "the cluster file has no pool red; it has: "),
        ({"pool": "six"}, "no pool of IPv4 is named by --ipam-opt pool=six"),
        ({"pool": "blue,green"}, "blue and green are two pools of one version"),
        ({"Pool": "blue"}, "there is no --ipam-opt Pool"),
        ({}, r"has 2 pools \(blue, green\) of IPv4 for workloads; choose one with --ipam-opt pool=NAME"),
        ({"subnet": "10.9.0.0/16"}, "has no pool of IPv4 for workloads that 10.9.0.0/16 is in"),
        ({"pool": "blue", "subnet": "10.9.0.0/16"}, "10.9.0.0/16 is not in pool blue, which has 10.244.0.0/16"),
        ({"pool": "blue", "subnet": "10.244.9.0/24"}, "node a1 has no block of pool blue in 10.244.9.0/24; it has: "),
        ({"subnet": "10.244.1.0/24", "part": "10.244.2.0/24"}, "is not in --subnet 10.244.1.0/24"),
        ({"pool": "green"}, "node a1 has no block of pool green"),
    ],
)
def test_a_pool_that_cannot_be_meant_is_refused_with_the_reason(words: dict[str, str], text: str) -> None:
    with pytest.raises(NotGiven, match=text):
        found(GREEN, 4, **words)


def test_addresses_are_chosen_within_the_prefix() -> None:
    asked = Request("web", "", ("blue",))
    given = allocate(Ledger(), asked, blocks_of(BOTH), (), NOW, Prefix.parse("10.244.1.32/27"))
    assert list(map(str, given)) == ["10.244.1.32"]


def test_an_address_is_held_from_its_reservation_until_it_is_released_after_its_endpoint() -> None:
    blocks, asked = blocks_of(BOTH), Request("docker/2a", "", ("blue",))
    ledger = Ledger().with_reserved((FIRST,), NOW)

    def is_held(ledger: Ledger) -> bool:
        with pytest.raises(NotGiven, match=f"{FIRST} is "):
            allocate(ledger, replace(asked, addresses=(FIRST,)), blocks, (), NOW)
        return allocate(ledger, asked, blocks, (), NOW) != (FIRST,)

    assert is_held(ledger)
    made = Workload(asked, "cali0", Mac("0a:00:00:00:00:01"), (FIRST,), 1450, 0.0, endpoint=Endpoint("2a", "0f"))
    ledger = ledger.with_workload(made)
    assert is_held(ledger.without_reserved(FIRST, NOW))
    assert not ledger.reserved
    ledger = ledger.without_endpoint("2a", NOW)
    assert is_held(ledger)
    assert ledger.without_reserved(FIRST, NOW, since=Moment("boot", 1.0)) == ledger
    ledger = ledger.without_reserved(FIRST, NOW)
    assert (ledger.reserved, [item.address for item in ledger.freed]) == ({}, [FIRST])
