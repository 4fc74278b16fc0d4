"""Configurations of the routers and nodes of a lab that run another daemon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.lab import foreign, lab
from bgpctl.lab.daemons import session_options
from bgpctl.lab.topology import Program, Topology
from tests.topologies import TOPOLOGIES, read_topology


def shipped(name: str) -> Topology:
    return read_topology(TOPOLOGIES / f"{name}.yaml")


def test_a_router_has_the_other_end_of_each_session_and_one_with_the_router_of_another_as_beside_it() -> None:
    router = foreign.configured(shipped("tor-peering"), "tor-a1")
    assert router.asn == 65001
    assert router.routes == {}
    assert {(str(n.address), str(n.local), n.asn) for n in router.neighbors} == {
        ("10.0.0.1", "10.0.0.253", 64601),
        ("10.0.0.2", "10.0.0.253", 64601),
        ("192.168.1.2", "192.168.1.1", 65002),
    }


def test_a_node_announces_its_block_and_is_passive_where_calico_s_rule_wants_it() -> None:
    router = foreign.configured(shipped("calico-neighbours"), "c1")
    assert list(map(str, router.routes)) == ["10.244.3.0/26"]
    assert {str(n.address): n.passive for n in router.neighbors} == {
        "10.0.0.1": False,
        "10.0.0.2": True,
        "10.0.0.11": True,
    }
    assert router.router_id == Address.parse("10.0.0.10")


def test_a_lab_whose_program_is_missing_is_refused_by_its_name_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_options, "found", lambda _: None)
    topology = replace(shipped("calico-neighbours"), runs={"c1": Program.BIRD, "c2": Program.FRR})
    with pytest.raises(RuntimeError, match=r"needs programs that are not installed here: bird \(Debian's bird2\), frr"):
        lab.up(topology, "x1-never", keep=False)
    assert "x1-never" not in lab.lab_names()
