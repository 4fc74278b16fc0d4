"""Docker's requests as engines 20.10 to 28.5 send them, and the answers; what is not understood is rejected."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from bgpctl.attach.docker import messages
from bgpctl.attach.docker.messages import AddressRequest, EndpointRequest, JoinRequest, NetworkRequest, Rejected
from bgpctl.attach.wiring import gateway
from bgpctl.core.ipam.docker_pools import DockerPool, PoolRequest
from bgpctl.core.ipam.ledger import PublishedPort
from bgpctl.core.net.addresses import Address, Mac, Prefix

NETWORK: Final = "0f" * 32
ENDPOINT: Final = "2a89442364a1" + "0" * 52
SUBNET: Final = Prefix.parse("10.66.0.0/24")
OWN: Final = Address.parse("10.66.0.1")
OWN6: Final = Address.parse("fd00:66::1")
WEB: Final = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}
DATA: Final = {"AddressSpace": "bgpctl", "Gateway": "169.254.1.1/32", "Pool": "10.66.0.0/24"}


def network(**more: Any) -> dict[str, Any]:
    options = {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": {}, **more.pop("Options", {})}
    return {"NetworkID": NETWORK, "Options": options, "IPv4Data": [DATA], "IPv6Data": [], **more}


def endpoint(*ports: dict[str, Any], **interface: str) -> dict[str, Any]:
    own = {"Address": "10.66.0.1/32", "AddressIPv6": "", "MacAddress": "", **interface}
    exposed = [{"Proto": 6, "Port": 80}]
    options = {"com.docker.network.endpoint.exposedports": exposed, "com.docker.network.portmap": list(ports)}
    return {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Interface": own, "Options": options}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (
            {"AddressSpace": "bgpctl", "Pool": "", "SubPool": "", "Options": {"pool": "blue"}, "V6": False},
            PoolRequest(4, options={"pool": "blue"}),
        ),
        (
            {
                "AddressSpace": "bgpctl",
                "Pool": "10.66.0.0/24",
                "SubPool": "10.66.0.64/26",
                "Options": None,
                "V6": False,
            },
            PoolRequest(4, SUBNET, Prefix.parse("10.66.0.64/26")),
        ),
        ({"Pool": "", "SubPool": "", "Options": {}, "V6": True}, PoolRequest(6)),
        ({"Pool": "0.0.0.0/0", "SubPool": "", "Options": {}, "V6": False}, PoolRequest(4)),
    ],
)
def test_a_pool_is_requested_by_options_subnet_and_range(body: dict[str, Any], asked: PoolRequest) -> None:
    assert messages.pool_request(body) == asked


def test_a_pool_is_answered_with_its_gateway_and_without_a_subnet_as_all_addresses() -> None:
    named = messages.pool_answer(DockerPool("blue", SUBNET), PoolRequest(4, SUBNET), gateway(4, 1))
    assert named == {
        "PoolID": "blue/10.66.0.0/24",
        "Pool": "10.66.0.0/24",
        "Data": {"com.docker.network.gateway": "169.254.1.1/32"},
    }
    assert messages.pool_answer(DockerPool("blue"), PoolRequest(4), gateway(4, 1))["Pool"] == "0.0.0.0/0"
    assert messages.pool_answer(DockerPool("six"), PoolRequest(6), gateway(6, 1)) == {
        "PoolID": "six",
        "Pool": "::/0",
        "Data": {"com.docker.network.gateway": "fe80::ecee:eeff:feee:eeee/128"},
    }


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"PoolID": "blue", "Address": "", "Options": None}, AddressRequest(DockerPool("blue"), None, False)),
        (
            {"PoolID": "blue/10.66.0.0/24", "Address": "10.66.0.1", "Options": {}},
            AddressRequest(DockerPool("blue", SUBNET), OWN, False),
        ),
        (
            {
                "PoolID": "blue",
                "Address": "169.254.1.1",
                "Options": {"RequestAddressType": "com.docker.network.gateway"},
            },
            AddressRequest(DockerPool("blue"), gateway(4, 1), True),
        ),
    ],
)
def test_an_address_is_requested_and_released_by_the_pools_name(body: dict[str, Any], asked: AddressRequest) -> None:
    assert messages.address_request(body) == asked


def test_an_address_is_answered_as_a_host_prefix() -> None:
    assert messages.address_answer(OWN) == {"Address": "10.66.0.1/32"}
    assert messages.address_answer(OWN6) == {"Address": "fd00:66::1/128"}


@pytest.mark.parametrize(
    ("generic", "mtu_bytes"),
    [({}, None), ({"bgpctl.mtu": "1400"}, 1400), ({"com.docker.network.driver.mtu": "9000"}, 9000)],
)
def test_a_network_is_created_with_an_mtu_or_none(generic: dict[str, str], mtu_bytes: int | None) -> None:
    body = network(Options={"com.docker.network.generic": generic, "com.docker.network.enable_ipv4": True})
    assert messages.network_request(body) == NetworkRequest(NETWORK, mtu_bytes)


def test_an_endpoint_is_created_with_addresses_a_mac_and_published_ports() -> None:
    assert messages.endpoint_request(endpoint()) == EndpointRequest(NETWORK, ENDPOINT, (OWN,), None, ())
    ports = WEB, {**WEB, "Proto": 17, "HostIP": "10.0.0.1", "HostPort": 53, "HostPortEnd": 53, "Port": 53}
    body = endpoint(*ports, AddressIPv6="fd00:66::1/128", MacAddress="02:42:AC:00:00:01")
    assert messages.endpoint_request(body) == EndpointRequest(
        NETWORK,
        ENDPOINT,
        (OWN, OWN6),
        Mac("02:42:ac:00:00:01"),
        (PublishedPort("tcp", None, 8080, 80), PublishedPort("udp", Address.parse("10.0.0.1"), 53, 53)),
    )


def test_an_answer_to_an_endpoint_has_no_mac_that_docker_asked_for() -> None:
    own = Mac("0a:00:00:00:00:01")
    assert messages.endpoint_answer(own, messages.endpoint_request(endpoint())) == {"Interface": {"MacAddress": own}}
    asked = messages.endpoint_request(endpoint(MacAddress="02:42:ac:00:00:01"))
    assert messages.endpoint_answer(own, asked) == {"Interface": {}}


def test_a_join_is_answered_with_the_link_and_a_connected_route_to_each_gateway() -> None:
    body = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "SandboxKey": "/run/docker/netns/860667150f44", "Options": {}}
    assert messages.join_request(body) == JoinRequest(ENDPOINT, "/run/docker/netns/860667150f44")
    assert messages.join_answer("temp2a89442364a", {4: gateway(4, 1), 6: gateway(6, 2)}) == {
        "InterfaceName": {"SrcName": "temp2a89442364a", "DstPrefix": "eth"},
        "Gateway": "169.254.1.1",
        "GatewayIPv6": "fe80::ecee:eeff:feee:eeef",
        "StaticRoutes": [
            {"Destination": "169.254.1.1/32", "RouteType": 1, "NextHop": ""},
            {"Destination": "fe80::ecee:eeff:feee:eeef/128", "RouteType": 1, "NextHop": ""},
        ],
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (network(Options={"com.docker.network.internal": True}), "an --internal network is not supported"),
        (network(IPv4Data=[{**DATA, "AddressSpace": "LocalDefault"}]), "add --ipam-driver bgpctl"),
        (network(IPv4Data=[{**DATA, "AuxAddresses": {"x": "10.66.0.9"}}]), "--aux-address is not supported"),
        (network(Options={"com.docker.network.generic": {"mtu": "1400"}}), "there is no option mtu"),
        (network(Options={"com.docker.network.generic": {"bgpctl.mtu": "100"}}), "'100' is no MTU"),
        (network(NetworkID="../x"), "is not 64 hexadecimal digits"),
        (network(IPv4Data={}), ""),
        (network(IPv4Data=["x"]), "IPv4Data is no list of JSON objects"),
    ],
)
def test_a_network_that_could_not_be_as_it_is_asked_for_is_rejected(body: dict[str, Any], text: str) -> None:
    if not text:
        assert messages.network_request(body)
        return
    with pytest.raises(Rejected, match=text):
        messages.network_request(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (endpoint({**WEB, "HostPort": 0, "HostPortEnd": 0}), "such as -p 8080:80"),
        (endpoint({**WEB, "HostPortEnd": 8090}), "such as -p 8080:80"),
        (endpoint({**WEB, "Proto": 1}), "protocol 1 is not supported"),
        (endpoint({**WEB, "HostPort": "8080"}), "'8080' is no number"),
        (endpoint({**WEB, "HostIP": "host"}), "HostIP: "),
        (endpoint(Address="10.66.0"), "Address: "),
        (endpoint(MacAddress="01:42:ac:00:00:01"), "not a unicast MAC address"),
        ({**endpoint(), "EndpointID": "0" * 63}, "EndpointID '0+' is not 64 hexadecimal digits"),
        ({**endpoint(), "Interface": []}, ""),
        ({**endpoint(), "Interface": 7}, "Interface is no JSON object"),
    ],
)
def test_an_endpoint_that_could_not_be_as_it_is_asked_for_is_rejected(body: dict[str, Any], text: str) -> None:
    if not text:
        assert messages.endpoint_request(body).addresses == ()
        return
    with pytest.raises(Rejected, match=text):
        messages.endpoint_request(body)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"])
def test_what_is_no_json_object_is_rejected(content: bytes) -> None:
    with pytest.raises(Rejected):
        messages.body_of(content)


@pytest.mark.parametrize("content", [b"", b"null", b"{}"])
def test_a_call_may_have_no_content(content: bytes) -> None:
    assert messages.body_of(content) == {}


@pytest.mark.parametrize("sandbox", ["", "run/docker/netns/1", "/run\0", 7])
def test_a_sandbox_is_a_path(sandbox: object) -> None:
    with pytest.raises(Rejected, match="SandboxKey"):
        messages.join_request({"EndpointID": ENDPOINT, "SandboxKey": sandbox})


def test_every_answer_is_json_and_a_rejection_has_the_keys_of_both_drivers() -> None:
    fixed = (messages.ACTIVATED, messages.NETWORK_CAPABILITIES, messages.ADDRESS_SPACES, messages.ENDPOINT_INFO)
    assert [json.loads(json.dumps(answer)) for answer in fixed] == [
        {"Implements": ["NetworkDriver", "IpamDriver"]},
        {"Scope": "local", "ConnectivityScope": "global"},
        {"LocalDefaultAddressSpace": "bgpctl", "GlobalDefaultAddressSpace": "bgpctl"},
        {"Value": {}},
    ]
    assert messages.rejection("full") == {"Err": "full", "Error": "full"}
