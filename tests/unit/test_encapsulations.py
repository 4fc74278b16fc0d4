"""One value per encapsulation: what one more would touch, and that one more is everywhere once it is in the tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.agent import words as agent_words
from bgpctl.core.bgp.encap_community import accepted, communities
from bgpctl.core.cluster.encapsulation import ENCAPSULATIONS, IPIP, VXLAN, Mode, words
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import derive
from bgpctl.core.fabric.encapsulations import BEHAVIOURS, accepted_by_kernel
from bgpctl.core.fabric.host import Facts
from bgpctl.core.fabric.nat import free_udp_ports
from bgpctl.core.intent.nodes import short_node
from bgpctl.core.intent.pools import calico_pool, short_pool
from bgpctl.core.intent.render_calico import calico
from bgpctl.core.intent.render_short import short
from bgpctl.core.intent.schema import cluster_schema
from bgpctl.core.intent.short import lab_keys
from bgpctl.core.net.objects import Link
from bgpctl.core.simulate.preview import assumed_kernel, converged
from bgpctl.core.trace.doctor import examine, needs_of
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.lab import labfile
from bgpctl.lab.schema import lab_schema
from bgpctl.lab.topology import Topology
from bgpctl.lab.wire import FORMATS
from tests.cluster import learned_from_all, member, two_racks
from tests.documents import good
from tests.toy.encapsulation import LINK, PORT, TOY, registered

CODE = Path(__file__).parents[2] / "bgpctl"
NAMES = re.compile("ipip|vxlan", re.IGNORECASE)

TOUCHED = {
    "core/cluster/encapsulation.py": "its identity, and the table",
    "core/fabric/encapsulations.py": "the table",
    "kernel/encapsulations.py": "the table",
    "lab/wire.py": "its format, and the table",
    "core/cluster/configuration.py": "a setting for the MTU of its device, if operators are to have one",
    "core/intent/draft.py": "likewise",
    "core/intent/tunnel_keys.py": "the key of that setting, and Calico's keys if Calico has it too",
    "schema/cluster.json": "its words, for editors",
    "schema/lab.json": "its words, for editors",
}
NEW = ("core/fabric/NAME.py", "kernel/NAME.py")
EXCEPTIONS = {
    "core/fabric/ipip.py": "the inside of one",
    "core/fabric/vxlan.py": "the inside of one",
    "kernel/vxlan.py": "the inside of one",
    "kernel/vxlan_guard.py": "the inside of one",
    "kernel/ipip/__init__.py": "the inside of one",
    "kernel/ipip/implementation.py": "the inside of one",
    "kernel/ipip/drivers.py": "the inside of one",
    "kernel/ipip/module.py": "the inside of one",
    "kernel/ipip/bpf.py": "the inside of one",
    "kernel/ipip/path_mtu.py": "the inside of one",
    "kernel/bpf/programs.py": "the programs of the BPF driver of one",
    "core/intent/pools.py": "reads Calico v1's `ipip`, the old form of a mode",
    "core/intent/field_kinds.py": "describes the values of calico_backend, one of which is vxlan",
    "core/intent/settings.py": "reads and writes VNI and port, which of Calico's only VXLAN has",
    "core/intent/check.py": "the port that is VXLAN's in Calico against the ports of other programs",
    "core/intent/felix.py": "reads Calico's FelixConfiguration",
    "core/intent/installation.py": "reads the operator's Installation: its defaults, and calico_backend vxlan",
    "lab/compose.py": "a comment in the file that it writes",
}


def named_in(file: Path) -> bool:
    """In code: comments and docstrings may explain by example."""
    text = file.read_text()
    return any(map(NAMES.search, spoken(ast.parse(text)) if file.suffix == ".py" else [text]))


def spoken(tree: ast.Module) -> Iterator[str]:
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str) and id(node) not in silent:
                yield value


def test_one_more_encapsulation_touches_at_most_twelve_files() -> None:
    found = {
        str(file.relative_to(CODE)) for pattern in ("*.py", "*.json") for file in CODE.rglob(pattern) if named_in(file)
    }
    assert found == TOUCHED.keys() | EXCEPTIONS.keys()
    assert len(TOUCHED) + len(NEW) <= 12


def test_every_table_has_every_encapsulation() -> None:
    assert BEHAVIOURS.keys() == IMPLEMENTATIONS.keys() == ENCAPSULATIONS.keys()
    assert FORMATS.keys() == ENCAPSULATIONS.keys() - {"direct"}
    for name, item in ENCAPSULATIONS.items():
        assert (item.name, BEHAVIOURS[name].encapsulation, IMPLEMENTATIONS[name].encapsulation) == (name, item, item)


def test_a_name_is_registered_once_and_gone_afterwards() -> None:
    with registered():
        assert "Toy" in words()
        with pytest.raises(ValueError, match="there is an encapsulation toy already"), registered():
            pass
        assert "ToyCrossSubnet" in words()
    assert not {"Toy", "ToyCrossSubnet"} & words().keys()


CLUSTER = """
calico_backend: vxlan
pools: {p: {cidr: 10.244.0.0/16, ENCAPSULATION, natOutgoing: true}}
nodes:
  a: {address: 10.0.0.1/24, blocks: [10.244.1.0/26], toyTunnelAddress: 10.244.1.9, accepts: [toy]}
  b: {address: 10.1.0.2/24, blocks: [10.244.2.0/26]}
"""


@pytest.mark.parametrize("given", ["encapsulation: ToyCrossSubnet", "toyMode: CrossSubnet"])
def test_a_registered_encapsulation_brings_its_values_and_keys(given: str) -> None:
    with registered():
        intent = good(CLUSTER.replace("ENCAPSULATION", given))
        (pool,), (a, b) = intent.pools, intent.nodes
        assert (pool.encapsulation, pool.mode, a.accepts) == (TOY, Mode.CROSS_SUBNET, frozenset({TOY}))
        assert [str(intent.tunnel_address(node, TOY, 4)) for node in (a, b)] == ["10.244.1.9", "10.244.2.0"]
        assert short(intent)["pools"] == {
            "p": {"cidr": "10.244.0.0/16", "encapsulation": "ToyCrossSubnet", "natOutgoing": True}
        }
        modes = next(item["spec"] for item in calico(intent) if item["kind"] == "IPPool")
        assert isinstance(modes, dict)
        assert [modes[key] for key in ("ipipMode", "vxlanMode", "toyMode")] == ["Never", "Never", "CrossSubnet"]


def test_lab_files_and_schemas_have_a_registered_encapsulation() -> None:
    path = Path(__file__).parents[1] / "toy" / "lab.yaml"
    assert not isinstance(labfile.load(path), Topology)
    with registered():
        assert isinstance(labfile.load(path), Topology)
        there = [str(cluster_schema()), str(lab_schema())]
    assert [[word in text for word in ("ToyCrossSubnet", "toy")] for text in there] == [[True, True]] * 2
    assert "oy" not in " ".join(calico_pool().keys() + short_pool().keys() + short_node().keys() + lab_keys())


def test_a_registered_encapsulation_is_derived_planned_checked_and_worded() -> None:
    with registered():
        intent = good(CLUSTER.replace("ENCAPSULATION", "encapsulation: Toy"))
        here = member(intent, "a")
        kernel = assumed_kernel(here)
        desired = derive(intent, here, {}, learned_from_all(intent, here), kernel)
        (masquerade,) = desired.dataplane.masquerades
        assert masquerade.udp_ports == free_udp_ports((4789, PORT))
        assert {op.object.name for op in plan(desired, kernel).ops if isinstance(op.object, Link)} == {LINK}
        after = converged(intent, here, kernel)
        assert accepted_by_kernel(after) == {4: {TOY}, 6: set()}
        findings = {item.check: item.message for item in examine(Facts("6.1", dataplane=after), needs_of(intent, here))}
        assert findings["toy"] == "toys on Linux 6.1: not surveyed"
        assert not findings.keys() & {"ipip", "vxlan"}
        assert agent_words.reason(Reason(ReasonCode.TUNNEL, encapsulation=TOY), here) == "a pool uses Toy"


def test_members_announce_a_registered_encapsulation_by_its_tunnel_type() -> None:
    tunnels = frozenset({IPIP, TOY, VXLAN})
    with registered():
        assert accepted(communities(tunnels)) == tunnels
    assert accepted(communities(tunnels)) == {IPIP, VXLAN}


def test_identities_are_the_same_by_name_alone() -> None:
    assert [item.name for item in sorted(ENCAPSULATIONS.values())] == ["direct", "ipip", "vxlan"]
    assert two_racks(ipip=Mode.ALWAYS).pools[0].encapsulation == IPIP
