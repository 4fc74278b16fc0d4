"""Other BGP daemons as routers outside the cluster: the top of the rack, and a hostile one."""

from __future__ import annotations

from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons.session_options import Origin
from tests.interop.daemon import Daemon
from tests.interop.rig import UP_WITHIN_S, Rig, router
from tests.interop.world import ADDRESS, BLOCK, POOLS, TWO, US
from tests.waiting import wait_until

TOR = Asn(65001)
OUTSIDE = Prefix.parse("172.20.1.0/24")
OURS = BLOCK["us"]

TORS = f"""\
{POOLS}nodes:
{US}peers:
  tor-one: {{ip: {ADDRESS["one"]}, asNumber: {TOR}, filters: [outside]}}
  tor-two: {{ip: {ADDRESS["two"]}, asNumber: {TOR}, filters: [outside]}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.20.0.0/16, matchOperator: In}}]}}
"""


def tors(rig: Rig, routes: dict[Prefix, Origin]) -> tuple[Daemon, Daemon]:
    """Two routers of one AS, both up."""
    one = rig.start("one", router("one", asn=TOR, routes=routes))
    two = rig.start("two", router("two", asn=TOR, routes=routes))
    for part in ("one", "two"):
        rig.up(part)
    return one, two


def test_two_routers_share_the_traffic(rig: Rig) -> None:
    world, gateways = rig.world, {str(ADDRESS["one"]), str(ADDRESS["two"])}
    world.agree(TORS)
    one, two = tors(rig, {OUTSIDE: Origin()})
    wait_until(lambda: world.gateways(OUTSIDE) == gateways)
    wait_until(lambda: all(has_our_block(daemon) for daemon in (one, two)))
    one.announce({})
    wait_until(lambda: world.gateways(OUTSIDE) == {str(ADDRESS["two"])})
    one.announce({OUTSIDE: Origin()})
    wait_until(lambda: world.gateways(OUTSIDE) == gateways)


def has_our_block(daemon: Daemon) -> bool:
    """True if a router outside has our block, from our AS, without the attributes that are for iBGP only."""
    entry = daemon.table(ADDRESS["us"]).get(OURS)
    return entry is not None and (entry.next_hop, entry.as_path) == (ADDRESS["us"], (64512,))


def test_communities_cross_in_both_directions(rig: Rig) -> None:
    world, marks = rig.world, frozenset({"64512:7", "64512:1:2"})
    world.agree(f'{TORS}prefixAdvertisements: [{{cidr: {OURS}, communities: ["64512:7", "64512:1:2"]}}]\n')
    one, _ = tors(rig, {OUTSIDE: Origin(("65001:9", "65001:3:4"))})
    wait_until(lambda: one.table(ADDRESS["us"])[OURS].communities == marks)
    path = (str(OUTSIDE), "tor-one")
    # FRR may announce the route before it has read the route's attributes.
    wait_until(lambda: set(world.received().get(path, {}).get("communities", ())) == {"65001:9", "65001:3:4"})


EVIL = {
    "0.0.0.0/0": "default-route",
    "0.0.0.0/1": "own-block",
    "10.96.0.0/11": "covers-node",
    "10.99.0.0/24": "covers-node",
    "10.99.0.2/32": "covers-node",
    "10.99.0.64/26": "on-underlay",
    "10.244.0.0/16": "own-block",
    "10.244.1.0/26": "own-block",
    "10.244.1.10/32": "own-block",
    "10.244.3.0/26": "others-block",
    "10.244.9.0/26": "no-policy",
    "192.0.2.0/24": "outside-pools",
}
EVIL_CLUSTER = f"""\
{POOLS}mesh: false
nodes:
{US}{TWO}peers:
  evil: {{ip: {ADDRESS["one"]}, asNumber: {TOR}"""
"""Not closed, so that a filter can be put in."""
LIFTED = {"0.0.0.0/0", "10.244.9.0/26", "192.0.2.0/24"}
"""Routes that a filter can allow."""


def test_a_hostile_router_changes_nothing_and_the_table_shows_why(rig: Rig) -> None:
    world = rig.world
    world.agree(f"{EVIL_CLUSTER}}}\n")
    wait_until(lambda: bool(world.peer(ADDRESS["one"])) and str(OURS) in world.kernel(), within_s=UP_WITHIN_S)
    before = world.kernel()
    rig.start("one", router("one", asn=TOR, routes={Prefix.parse(prefix): Origin() for prefix in EVIL}))
    rig.up("one")
    wait_until(lambda: rules(rig) == EVIL, within_s=UP_WITHIN_S)
    assert world.kernel() <= before
    assert world.peer(ADDRESS["one"])["rejected"] == len(EVIL)


def test_a_filter_that_lets_everything_in_does_not_let_in_what_is_ours(rig: Rig) -> None:
    world = rig.world
    world.agree(f"{EVIL_CLUSTER}, filters: [any]}}\nfilters: {{any: {{importV4: [{{action: Accept}}]}}}}\n")
    rig.start("one", router("one", asn=TOR, routes={Prefix.parse(prefix): Origin() for prefix in EVIL}))
    rig.up("one")
    wait_until(lambda: rules(rig) == {prefix: rule for prefix, rule in EVIL.items() if prefix not in LIFTED})
    kernel = {"default" if prefix == "0.0.0.0/0" else prefix for prefix in LIFTED}
    wait_until(lambda: kernel <= world.kernel())
    assert not (EVIL.keys() - LIFTED - {"10.99.0.0/24", "10.244.1.0/26", "10.244.1.10/32"}) & world.kernel()
    assert world.gateways(OURS) == world.gateways(Prefix.parse("10.99.0.0/24")) == set()


def rules(rig: Rig) -> dict[str, str]:
    """The rejected paths of the router, and the rule of each."""
    return {prefix: row["rule"] for (prefix, _), row in rig.world.received(which="rejected").items()}
