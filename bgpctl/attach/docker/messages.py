"""
Docker's plugin protocol as values: what its requests ask for, and the answers (version 1: NetworkDriver, IpamDriver).

A request that cannot be met is rejected in words for the one who typed `docker`; he sees them. Nothing of a request is
passed over that would change what its sender gets: an option that is not known is rejected too.

Refuses to know: sockets, how a request is met.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from bgpctl.core.ipam.docker_pools import EVERYTHING, DockerPool, PoolRequest
from bgpctl.core.ipam.ledger import PublishedPort
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix

T = TypeVar("T")

SPACE: Final = "bgpctl"
"""The address space of our pools: a network that has another one has its addresses from another driver."""
GATEWAY: Final = "com.docker.network.gateway"
_INTERNAL: Final = "com.docker.network.internal"
_GENERIC: Final = "com.docker.network.generic"
_PORTMAP: Final = "com.docker.network.portmap"
_REQUEST_TYPE: Final = "RequestAddressType"
MTU_OPTION: Final = "bgpctl.mtu"
_MTU_OPTIONS: Final = (MTU_OPTION, "com.docker.network.driver.mtu")
_MTU_BYTES: Final = range(1280, 65536)
"""From the least that IPv6 works with (RFC 8200, section 5)."""
_ID: Final = re.compile(r"[0-9a-f]{64}")
_MAC: Final = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
_PROTOCOLS: Final = {6: "tcp", 17: "udp", 132: "sctp"}
_MULTICAST: Final = 0x01
CONNECTED: Final = 1
"""A route to what is on the link, of libnetwork's two types."""

Body = Mapping[str, Any]


class Rejected(Exception):
    """The request is not met; the text is for the user of Docker."""


class AddressRequest(NamedTuple):
    """`address` is None if any will do; `is_gateway`: it is to be the host's own."""

    pool: DockerPool
    address: Address | None
    is_gateway: bool


class NetworkRequest(NamedTuple):
    """`mtu_bytes` is None where the option is not given."""

    id: str
    mtu_bytes: int | None


class EndpointRequest(NamedTuple):
    """`mac` is None if any will do."""

    network: str
    id: str
    addresses: tuple[Address, ...]
    mac: Mac | None
    published: tuple[PublishedPort, ...]


class JoinRequest(NamedTuple):
    """`sandbox`: the path of the container's network namespace, which may not be there yet."""

    endpoint: str
    sandbox: str


# Requests --------------------------------------------------------------------------------------------------------


def body_of(content: bytes) -> Body:
    """The object in a request; some have none. Raises Rejected."""
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise Rejected(f"the request is no JSON: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Rejected("the request is no JSON object")
    return found


def pool_request(body: Body) -> PoolRequest:
    """Of IpamDriver.RequestPool."""
    version = 6 if body.get("V6") else 4
    prefixes = [_optional(body, key, Prefix.parse) for key in ("Pool", "SubPool")]
    if prefixes[0] == EVERYTHING[version]:  # as it was answered, at a restart of the daemon
        prefixes[0] = None
    if any(prefix.version != version for prefix in prefixes if prefix):
        raise Rejected(f"{body.get('Pool')} is no prefix of IPv{version}")
    return PoolRequest(version, prefixes[0], prefixes[1], _texts(body, "Options"))


def address_request(body: Body) -> AddressRequest:
    """Of IpamDriver.RequestAddress and ReleaseAddress."""
    kind = _texts(body, "Options").get(_REQUEST_TYPE)
    pool = _parsed(_text(body, "PoolID"), "PoolID", DockerPool.parse)
    return AddressRequest(pool, _optional(body, "Address", _address), kind == GATEWAY)


def network_request(body: Body) -> NetworkRequest:
    """Of NetworkDriver.CreateNetwork."""
    options = _object(body, "Options")
    if options.get(_INTERNAL):
        text = "an --internal network is not supported: workloads of a pool reach what the pool's routes and firewalls"
        raise Rejected(f"{text} let them")
    for data in (*_objects(body, "IPv4Data"), *_objects(body, "IPv6Data")):
        if data.get("AddressSpace") != SPACE:
            raise Rejected("this network driver has addresses of its own pools alone: add --ipam-driver bgpctl")
        if data.get("AuxAddresses"):
            text = "--aux-address is not supported: each host would need the address"
            raise Rejected(f"{text}; an IPReservation in the cluster file keeps addresses out of use")
    generic = _texts(options, _GENERIC)
    unknown = sorted(set(generic) - set(_MTU_OPTIONS))
    if unknown:
        raise Rejected(f"there is no option {unknown[0]} (-o); there is: {', '.join(_MTU_OPTIONS)}")
    return NetworkRequest(_id(body, "NetworkID"), _mtu_bytes(generic))


def endpoint_request(body: Body) -> EndpointRequest:
    """Of NetworkDriver.CreateEndpoint."""
    interface = _object(body, "Interface")
    found = (_optional(interface, key, _address) for key in ("Address", "AddressIPv6"))
    addresses = tuple(address for address in found if address)
    mac = _optional(interface, "MacAddress", _mac)
    published = tuple(_published(port) for port in _objects(_object(body, "Options"), _PORTMAP))
    return EndpointRequest(_id(body, "NetworkID"), _id(body, "EndpointID"), addresses, mac, published)


def join_request(body: Body) -> JoinRequest:
    """Of NetworkDriver.Join."""
    sandbox = _text(body, "SandboxKey")
    if not sandbox.startswith("/") or "\0" in sandbox:
        raise Rejected(f"SandboxKey {sandbox!r} is no path")
    return JoinRequest(_id(body, "EndpointID"), sandbox)


def endpoint_of(body: Body) -> str:
    """The endpoint that a request is about."""
    return _id(body, "EndpointID")


def network_of(body: Body) -> str:
    """The network that a request is about."""
    return _id(body, "NetworkID")


def _published(item: Body) -> PublishedPort:
    protocol = _PROTOCOLS.get(_number(item, "Proto"))
    port, first, last = (_number(item, key) for key in ("Port", "HostPort", "HostPortEnd"))
    if protocol is None:
        raise Rejected(f"a published port of protocol {item.get('Proto')} is not supported; TCP, UDP and SCTP are")
    if first != (last or first) or not 0 < first < 1 << 16:
        text = "docker ps would not show which port of the host was chosen"
        raise Rejected(f"a published port needs one number of the host, such as -p 8080:{port}: {text}")
    host = _optional(item, "HostIP", Address.parse)
    return PublishedPort(protocol, host if host and host.value else None, first, port)


def _mtu_bytes(generic: Mapping[str, str]) -> int | None:
    text = next((generic[name] for name in _MTU_OPTIONS if name in generic), None)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) not in _MTU_BYTES:
        raise Rejected(f"{text!r} is no MTU: {_MTU_BYTES.start} to {_MTU_BYTES[-1]} bytes")
    return int(text)


def _id(body: Body, key: str) -> str:
    text = _text(body, key)
    if not _ID.fullmatch(text):
        raise Rejected(f"{key} {text!r} is not 64 hexadecimal digits")
    return text


def _text(body: Body, key: str) -> str:
    found = body.get(key)
    if not isinstance(found, str) or not found:
        raise Rejected(f"the request has no {key}")
    return found


def _number(body: Body, key: str) -> int:
    found = body.get(key, 0)
    if not isinstance(found, int) or isinstance(found, bool):
        raise Rejected(f"{key} {found!r} is no number")
    return found


def _optional(body: Body, key: str, parse: Callable[[str], T]) -> T | None:
    return _parsed(_text(body, key), key, parse) if body.get(key) else None


def _parsed(text: str, key: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise Rejected(f"{key}: {error}") from error


def _address(text: str) -> Address:
    """With or without the length of a network, which does not count."""
    return InterfaceAddress.parse(text).address


def _mac(text: str) -> Mac:
    if not _MAC.fullmatch(text) or int(text[:2], 16) & _MULTICAST:
        raise ValueError(f"{text!r} is not a unicast MAC address")
    return Mac(text.lower())


def _object(body: Body, key: str) -> Body:
    found = body.get(key) or {}
    if not isinstance(found, dict):
        raise Rejected(f"{key} is no JSON object")
    return found


def _objects(body: Body, key: str) -> Iterator[Body]:
    found = body.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Rejected(f"{key} is no list of JSON objects")
    return iter(found)


def _texts(body: Body, key: str) -> Mapping[str, str]:
    found = _object(body, key)
    if not all(isinstance(item, str) for item in found.values()):
        raise Rejected(f"{key} has a value that is no text")
    return found


# Answers ---------------------------------------------------------------------------------------------------------

ACTIVATED: Final[Body] = {"Implements": ["NetworkDriver", "IpamDriver"]}
NETWORK_CAPABILITIES: Final[Body] = {"Scope": "local", "ConnectivityScope": "global"}
ADDRESS_SPACES: Final[Body] = {"LocalDefaultAddressSpace": SPACE, "GlobalDefaultAddressSpace": SPACE}
NOTHING: Final[Body] = {}
ENDPOINT_INFO: Final[Body] = {"Value": {}}


def pool_answer(pool: DockerPool, request: PoolRequest, gateway: Address) -> Body:
    """Of IpamDriver.RequestPool. With a gateway named here, Docker asks for no address for one."""
    cidr = request.subnet or EVERYTHING[request.version]
    return {"PoolID": str(pool), "Pool": str(cidr), "Data": {GATEWAY: str(gateway.host_prefix)}}


def address_answer(address: Address) -> Body:
    """Of IpamDriver.RequestAddress: a host prefix; with a shorter one the container would have a route to all of it."""
    return {"Address": str(address.host_prefix)}


def endpoint_answer(mac: Mac, request: EndpointRequest) -> Body:
    """Of NetworkDriver.CreateEndpoint. Docker refuses an answer with what it asked for."""
    return {"Interface": NOTHING if request.mac else {"MacAddress": mac}}


def join_answer(source: str, gateways: Mapping[int, Address]) -> Body:
    """Of NetworkDriver.Join: the link that Docker is to move into the container, and routes; gateways by IP version."""
    routes = [{"Destination": str(own.host_prefix), "RouteType": CONNECTED, "NextHop": ""} for own in gateways.values()]
    answer: dict[str, Any] = {"InterfaceName": {"SrcName": source, "DstPrefix": "eth"}, "StaticRoutes": routes}
    names = {4: "Gateway", 6: "GatewayIPv6"}
    return answer | {names[version]: str(own) for version, own in gateways.items()}


def rejection(text: str) -> Body:
    """Each driver has a key of its own for it (with status 500 Docker heeds both)."""
    return {"Err": text, "Error": text}
