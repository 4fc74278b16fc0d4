"""The calls of container runtimes as they make them, and the documents that answer them (CNI specification 1.1.0)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bgpctl.attach import cni
from bgpctl.attach.cni import Attachment, CniError, Code, Network
from bgpctl.cli.cni import answered
from bgpctl.core.ipam.ledger import Request, Workload
from bgpctl.core.net.addresses import Address, Mac
from tests.cluster import two_racks, with_ipv6

INTENT = with_ipv6(two_racks())
ID = "5f1e" * 16
CONFIGURATION: Mapping[str, Any] = {"cniVersion": "1.0.0", "name": "blue", "type": "bgpctl-cni", "pool": "blue"}
ENVIRONMENT: Mapping[str, str] = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": ID,
    "CNI_IFNAME": "eth0",
    "CNI_NETNS": "/run/netns/netns-1",
    "CNI_PATH": "/opt/cni/bin",
}
NOTHING: Mapping[str, str] = {}
OWN = Address.parse("10.244.1.8")


def call(configuration: Mapping[str, Any] = CONFIGURATION, **environment: str) -> cni.Call:
    known = {**ENVIRONMENT, **environment}
    return cni.call_of(cni.command_of(known), known, json.dumps(configuration))


def workload(made: cni.Call, *addresses: Address) -> Workload:
    mac = Mac("0a:00:00:00:00:01")
    return Workload(made.request(INTENT), "cali0123456789a", mac, addresses or (OWN,), 1450, 0.0, complete=True)


def refusal(
    configuration: Mapping[str, Any] = CONFIGURATION, environment: Mapping[str, str] = NOTHING
) -> tuple[int, str]:
    """The code and the words of the answer to a call that is refused."""
    answer, code = answered({**ENVIRONMENT, **environment}, json.dumps(configuration))
    assert code == 1
    assert answer["cniVersion"] in cni.VERSIONS
    return answer["code"], answer["msg"]


def test_podman_asks_for_versions_before_each_call() -> None:
    answer = answered({"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy"}, '{"cniVersion":"1.0.0"}')
    assert answer == ({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}, 0)


def test_podman_passes_address_and_mac_by_cni_args() -> None:
    made = call(CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAME=web;MAC=0A:00:00:00:00:07;IP=10.244.1.20")
    assert made.request(INTENT) == Request(
        made.needed().workload,
        "/run/netns/netns-1",
        (),
        (Address.parse("10.244.1.20"),),
        Mac("0a:00:00:00:00:07"),
        labels=(("cni.container", ID), ("cni.interface", "eth0"), ("cni.name", "web"), ("cni.network", "blue")),
    )


def test_others_pass_them_by_runtime_config() -> None:
    made = call({**CONFIGURATION, "runtimeConfig": {"ips": ["10.244.1.20/26", "fd00::5"], "mac": "0a:00:00:00:00:07"}})
    assert [str(address) for address in made.addresses] == ["10.244.1.20", "fd00::5"]
    assert made.mac == "0a:00:00:00:00:07"


def test_an_address_that_was_chosen_takes_the_place_of_its_own_pools_next_one_alone() -> None:
    named = {key: value for key, value in CONFIGURATION.items() if key != "pool"}
    made = call({**named, "pools": ["blue", "six"], "runtimeConfig": {"ips": ["10.244.1.20"]}})
    assert made.request(INTENT).pools == ("six",)


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"runtimeConfig": {"ips": ["192.0.2.1"]}}, "192.0.2.1 is in no pool of network blue"),
        ({"pools": []}, 'network blue has no pool: add "pool" to its configuration; see: bgpctl show pools'),
    ],
)
def test_a_request_that_no_pool_can_meet_is_refused(configuration: dict[str, Any], words: str) -> None:
    kept = {key: value for key, value in CONFIGURATION.items() if key != "pool" or "pools" not in configuration}
    with pytest.raises(CniError, match=words):
        call({**kept, **configuration}).request(INTENT)


def test_containerd_deletes_without_a_namespace_by_an_id_that_is_no_number() -> None:
    made = call(CNI_COMMAND="DEL", CNI_CONTAINERID="default-t1", CNI_NETNS="")
    assert made.needed() == Attachment("blue", "default-t1", "eth0")


def test_what_was_refused_can_be_deleted_all_the_same() -> None:
    wrong = {"ipam": {"type": "host-local"}, "pool": 5, "pools": "x", "files": 7, "cni.dev/valid-attachments": 0}
    made = call({**CONFIGURATION, **wrong}, CNI_COMMAND="DEL", CNI_ARGS="IP=nonsense")
    assert made.needed() == call().needed()


def test_a_container_keeps_its_workload_in_a_namespace_made_anew() -> None:
    assert call().needed() == call(CNI_NETNS="/run/netns/netns-2").needed()
    others = [call(CNI_IFNAME="eth1"), call(CNI_CONTAINERID="b"), call({**CONFIGURATION, "name": "red"})]
    assert len({call().needed().workload, *(other.needed().workload for other in others)}) == 4


@pytest.mark.parametrize(("version", "has_version"), [("0.4.0", True), ("1.0.0", False), ("1.1.0", False)])
def test_a_result_is_written_in_the_version_of_the_call(version: str, *, has_version: bool) -> None:
    made = call({**CONFIGURATION, "cniVersion": version})
    answer = cni.result(made, workload(made, OWN, Address.parse("fd00:10:244::141")))
    assert answer["cniVersion"] == version
    assert [ip["address"] for ip in answer["ips"]] == ["10.244.1.8/32", "fd00:10:244::141/128"]
    assert ["version" in ip for ip in answer["ips"]] == [has_version, has_version]
    near, inside = answer["interfaces"]
    assert near == {"name": "cali0123456789a"}
    assert inside == {"name": "eth0", "mac": "0a:00:00:00:00:01", "sandbox": "/run/netns/netns-1"}
    assert [ip["interface"] for ip in answer["ips"]] == [1, 1]
    assert answer["routes"] == [
        {"dst": "0.0.0.0/0", "gw": "169.254.1.1"},
        {"dst": "::/0", "gw": "fe80::ecee:eeff:feee:eeee"},
    ]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"CNI_COMMAND": "PLUG"}, "CNI_COMMAND is 'PLUG', not one of ADD, DEL, CHECK, GC, STATUS, VERSION"),
        ({"CNI_CONTAINERID": ""}, "CNI_CONTAINERID is '', and no container's id"),
        ({"CNI_CONTAINERID": "../x"}, "CNI_CONTAINERID is '../x', and no container's id"),
        ({"CNI_IFNAME": "a/b"}, "CNI_IFNAME is 'a/b', and no name for a link"),
        ({"CNI_IFNAME": "sixteen-letters-"}, "CNI_IFNAME is 'sixteen-letters-', and no name for a link"),
        ({"CNI_NETNS": ""}, "CNI_NETNS is '', and no path of a network namespace"),
    ],
)
def test_an_environment_that_is_wrong_is_named(environment: dict[str, str], words: str) -> None:
    assert refusal(environment=environment) == (Code.BAD_ENVIRONMENT, words)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"cniVersion": "2.0.0"}, Code.INCOMPATIBLE_VERSION, "cniVersion '2.0.0' is not one of 0.4.0, 1.0.0, 1.1.0"),
        ({"name": ""}, Code.BAD_CONFIGURATION, "the network configuration has no name"),
        ({"pools": ["x"]}, Code.BAD_CONFIGURATION, "pool and pools exclude each other"),
        ({"pool": 5}, Code.BAD_CONFIGURATION, "pool is to be a string, or pools a list of strings"),
        ({"node": 5}, Code.BAD_CONFIGURATION, "node is to be a string"),
        (
            {"ipam": {"type": "host-local"}},
            Code.BAD_CONFIGURATION,
            "ipam: addresses come from this node's blocks of the pool; remove it from the conflist",
        ),
        ({"runtimeConfig": {"ips": ["x"]}}, Code.BAD_CONFIGURATION, "'x' is no IP address"),
        ({"runtimeConfig": {"mac": "x"}}, Code.BAD_CONFIGURATION, "'x' is no MAC address"),
    ],
)
def test_a_configuration_that_is_wrong_is_named(changes: dict[str, Any], code: Code, words: str) -> None:
    assert refusal({**CONFIGURATION, **changes}) == (code, words)


@pytest.mark.parametrize("text", ["{", "", "[]", "[" * 100_000, "\ufffd"])
def test_input_that_is_no_json_object_is_refused(text: str) -> None:
    answer, code = answered(ENVIRONMENT, text)
    assert (answer["code"], code) == (Code.UNDECODABLE, 1)


def test_only_attachments_of_the_network_that_are_not_valid_are_stale() -> None:
    kept, gone = call(), call(CNI_CONTAINERID="b")
    elsewhere = call({**CONFIGURATION, "name": "red"}, CNI_CONTAINERID="b")
    by_hand = replace(workload(gone), request=Request("db", "db"))
    network = Network("1.1.0", "blue", valid=frozenset({kept.needed()}))
    found = cni.stale(network, [*map(workload, (kept, gone, elsewhere)), by_hand])
    assert found == [gone.needed().workload]


def test_gc_that_does_not_say_what_is_valid_removes_nothing() -> None:
    with pytest.raises(CniError, match="would remove everything"):
        cni.stale(call().network, [])


@pytest.mark.parametrize("valid", ["none", {}, 5, ["a"], [{"containerID": ID}], [{"containerID": 5, "ifname": "eth0"}]])
def test_a_list_that_is_not_understood_removes_nothing(valid: object) -> None:
    code, words = refusal({**CONFIGURATION, "cni.dev/valid-attachments": valid}, {"CNI_COMMAND": "GC"})
    assert (code, words.partition(":")[0].partition(" ")[0]) == (Code.BAD_CONFIGURATION, "cni.dev/valid-attachments")


def test_valid_attachments_are_read_as_the_specification_writes_them() -> None:
    made = call(
        {**CONFIGURATION, "cni.dev/valid-attachments": [{"containerID": ID, "ifname": "eth0"}]}, CNI_COMMAND="GC"
    )
    assert made.network.valid == frozenset({call().needed()})


def test_a_check_names_the_difference() -> None:
    expected = {"prevResult": {"ips": [{"address": "10.244.1.8/32"}]}}
    made = call({**CONFIGURATION, **expected}, CNI_COMMAND="CHECK")
    here = workload(call())
    assert not cni.differences(made, here, frozenset({OWN}))
    absent = cni.differences(made, here, None)
    assert absent == "/run/netns/netns-1 has no interface eth0 with the MAC address 0a:00:00:00:00:01"
    assert cni.differences(made, here, frozenset()) == "eth0 in /run/netns/netns-1 lacks 10.244.1.8"
    other = workload(call(), Address.parse("10.244.1.9"))
    words = cni.differences(made, other, frozenset({Address.parse("10.244.1.9")}))
    assert words == "the runtime expects 10.244.1.8, and it has 10.244.1.9"
