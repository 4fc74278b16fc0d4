"""Services in cluster files: what they are, how they are written again, and what is refused."""

from __future__ import annotations

import pytest

from bgpctl.core.cluster.configuration import Check, Service
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.render_short import short
from bgpctl.core.net.addresses import Address
from bgpctl.store.yaml import documents
from tests.documents import bad, good, plain, seen

CLUSTER = """\
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: None}
  lb: {cidr: 198.51.100.0/24, allowedUses: [LoadBalancer]}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26], labels: {role: web}}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26], labels: {role: web}}
  a3: {address: 10.0.0.3/24, blocks: [10.244.3.0/26]}
announce:
"""
WEB = Address.parse("192.0.2.80")


def service(text: str) -> Service:
    (found,) = good(f"{CLUSTER}  web: {text}").services
    return found


def test_a_service_has_defaults() -> None:
    assert service("{address: 192.0.2.80, check: {tcp: 80}}") == Service(
        "web", WEB, Check(tcp=80), nodes=("a1", "a2", "a3"), interval_ms=1000, timeout_ms=1000, rise=2, fall=3
    )


def test_a_timeout_that_is_not_given_is_no_longer_than_the_interval() -> None:
    assert service("{address: 192.0.2.80, check: {tcp: 80}, interval: 200ms}").timeout_ms == 200


@pytest.mark.parametrize("address", ["192.0.2.80", "192.0.2.80/32", "2001:db8::80", "2001:db8::80/128", "198.51.100.9"])
def test_an_address_is_one_of_a_host_outside_the_pools_for_workloads(address: str) -> None:
    text = address if ":" not in address else f"'{address}'"
    assert str(service(f"{{address: {text}, check: {{tcp: 80}}}}").address) == address.split("/", maxsplit=1)[0]


def test_all_keys_are_read_and_written_again() -> None:
    text = """\
{address: 192.0.2.80, nodes: "role == 'web'", workloads: [10.244.1.7, 10.244.2.7], check: {http: 8080, path: /healthz},
       interval: 2s, timeout: 500ms, rise: 1, fall: 5, communities: ["64512:80", "64512:1:2"]}"""
    intent = good(f"{CLUSTER}  web: {text}\n  dns: {{address: 192.0.2.53, check: {{command: [/bin/dns, -q]}}}}")
    dns, web = intent.services
    assert dns.check == Check(command=("/bin/dns", "-q"))
    assert (web.nodes, web.interval_ms, web.timeout_ms, web.rise, web.fall) == (("a1", "a2"), 2000, 500, 1, 5)
    assert web.check == Check(http=8080, path="/healthz")
    assert web.communities == ((64512, 80), (64512, 1, 2))
    written = short(intent)["announce"]
    assert written["web"]["check"] == {"http": 8080, "path": "/healthz"}  # type: ignore[index]
    assert plain(next(iter(documents(str(written), "c.yaml"))))["dns"]["check"] == {"command": ["/bin/dns", "-q"]}  # type: ignore[index]


def test_a_workload_is_the_instance_of_the_node_that_has_its_block() -> None:
    intent = good(f"{CLUSTER}  web: {{address: 192.0.2.80, workloads: [10.244.1.7], check: {{tcp: 80}}}}")
    a1, a2 = (intent.by_name[name] for name in ("a1", "a2"))
    assert [intent.has_instance(intent.services[0], node) for node in (a1, a2)] == [True, False]
    assert intent.workload_of(intent.services[0], a1) == Address.parse("10.244.1.7")


WRONG = {
    "{check: {tcp: 80}}": "missing",
    "{address: 192.0.2.80}": "missing",
    "{address: 192.0.2.0/24, check: {tcp: 80}}": "address",
    "{address: web, check: {tcp: 80}}": "address",
    "{address: 127.0.0.5, check: {tcp: 80}}": "martian",
    "{address: 224.0.0.5, check: {tcp: 80}}": "martian",
    "{address: 10.0.0.80, check: {tcp: 80}}": "on-underlay",
    "{address: 10.0.0.1, check: {tcp: 80}}": "on-underlay",
    "{address: 10.244.1.7, check: {tcp: 80}}": "others-block",
    "{address: 10.244.9.7, check: {tcp: 80}}": "service-in-pool",
    "{address: 192.0.2.80, check: {}}": "one-check",
    "{address: 192.0.2.80, check: {tcp: 80, http: 80}}": "one-check",
    "{address: 192.0.2.80, check: {tcp: 0}}": "range",
    "{address: 192.0.2.80, check: {tcp: 80, path: /x}}": "path",
    "{address: 192.0.2.80, check: {http: 80, path: x}}": "path",
    "{address: 192.0.2.80, check: {http: 80, path: '/a b'}}": "path",
    "{address: 192.0.2.80, check: {command: []}}": "command",
    "{address: 192.0.2.80, check: {command: [check-web]}}": "command",
    "{address: 192.0.2.80, check: {command: /bin/true}}": "type",
    "{address: 192.0.2.80, check: {tcp: 80, prot: x}}": "unknown-key",
    "{address: 192.0.2.80, check: {tcp: 80}, interval: 10ms}": "duration",
    "{address: 192.0.2.80, check: {tcp: 80}, timeout: 2s}": "timeout",
    "{address: 192.0.2.80, check: {tcp: 80}, rise: 0}": "range",
    "{address: 192.0.2.80, check: {tcp: 80}, fall: 101}": "range",
    "{address: 192.0.2.80, check: {tcp: 80}, communities: [x]}": "community",
    "{address: 192.0.2.80, check: {tcp: 80}, nodes: 'role =='}": "selector",
    "{address: 192.0.2.80, check: {tcp: 80}, workloads: ['fd00::1']}": "family",
    "{address: 192.0.2.80, check: {tcp: 80}, nodes: has(role), workloads: [10.244.3.7]}": "unselected-node",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_has_its_rule_and_its_line(text: str) -> None:
    found = seen(bad(f"{CLUSTER}  web: {text}"))
    assert (9, WRONG[text]) in [(line, rule) for line, _, rule in found]


def test_two_services_have_two_addresses() -> None:
    text = CLUSTER + "".join(f"  {name}: {{address: 192.0.2.80, check: {{tcp: 80}}}}\n" for name in ("web", "www"))
    assert [(line, rule) for line, _, rule in seen(bad(text))] == [(10, "duplicate-service")]


def test_a_cluster_without_bgp_has_no_services() -> None:
    """Its members would not learn which instances are well."""
    text = f"calico_backend: vxlan\n{CLUSTER}  web: {{address: 192.0.2.80, check: {{tcp: 80}}}}"
    found = bad(text.replace("encapsulation: None", "encapsulation: VXLAN"))
    assert [(p.place.line, p.rule) for p in found] == [(10, "needs-bgp")]
    assert "calico_backend is vxlan" in found[0].message


def test_a_peer_is_no_service() -> None:
    peer = "peers: {t: {ip: 192.0.2.80, asNumber: 65001}}"
    text = f"{CLUSTER}  web: {{address: 192.0.2.80, check: {{tcp: 80}}}}\n{peer}"
    assert [rule for *_, rule in seen(bad(text))] == ["peer-is-service"]


def test_a_selector_that_waits_for_its_nodes_is_a_warning() -> None:
    intent = good(f"{CLUSTER}  web: {{address: 192.0.2.80, nodes: role == 'db', check: {{tcp: 80}}}}")
    assert [(p.rule, p.severity) for p in intent.remarks] == [("no-node", Severity.WARNING)]


def test_a_node_has_so_many_services_and_no_more() -> None:
    lines = [f"  s{n}: {{address: 192.0.2.{n}, check: {{tcp: 80}}}}\n" for n in range(1, 66)]
    assert len(good(CLUSTER + "".join(lines[:-1])).services) == 64
    assert {rule for *_, rule in seen(bad(CLUSTER + "".join(lines)))} == {"too-many-services"}
