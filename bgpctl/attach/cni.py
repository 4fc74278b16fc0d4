"""
The Container Network Interface as values: a call of a container runtime, and the documents that answer it.

CNI specification 1.1.0; runtimes that speak 1.0.0 (podman 4, containerd) or 0.4.0 are answered in their version. An
attachment is known by network, container and interface: a container keeps its id when it is stopped and started, and
has another namespace then. Its workload's name is a digest of the three, because ids are longer than names may be; the
three are its labels.

Refuses to know: processes, files, how a workload is attached (workloads.py).
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bgpctl.attach.wiring import GATEWAYS
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.ledger import CNI_NAME, Request, Workload
from bgpctl.core.ipam.names import CNI_NETWORK
from bgpctl.core.net.addresses import Address, Mac

NEWEST: Final = "1.1.0"
VERSIONS: Final = ("0.4.0", "1.0.0", NEWEST)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LINK_NAME: Final = re.compile(r"[^/:\s]{1,15}")
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_CONTAINER: Final = "cni.container"
_INTERFACE: Final = "cni.interface"
_VALID: Final = "cni.dev/valid-attachments"
_NO_IPAM: Final = "ipam: addresses come from this node's blocks of the pool; remove it from the conflist"
_EVERYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}


class Command(enum.Enum):
    """CNI_COMMAND."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"
    VERSION = "VERSION"


_OF_A_CONTAINER: Final = frozenset({Command.ADD, Command.DEL, Command.CHECK})


class Code(enum.IntEnum):
    """The specification's error codes; from 100 on they are the plugin's own."""

    INCOMPATIBLE_VERSION = 1
    UNKNOWN_CONTAINER = 3
    BAD_ENVIRONMENT = 4
    UNDECODABLE = 6
    BAD_CONFIGURATION = 7
    TRY_AGAIN = 11
    NOT_AVAILABLE = 50
    REFUSED = 100
    DIFFERENT = 101


class CniError(Exception):
    """The call failed; `str()` and `details` are for who runs containers."""

    def __init__(self, code: Code, text: str, details: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Attachment:
    """One container's interface in a network."""

    network: str
    container: str
    interface: str

    @property
    def workload(self) -> str:
        """The name of its workload."""
        text = f"{self.network}\0{self.container}\0{self.interface}"
        return f"cni-{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """The labels of its workload."""
        return ((_CONTAINER, self.container), (_INTERFACE, self.interface), (CNI_NETWORK, self.network))


@dataclass(frozen=True, slots=True)
class Network:
    """
    A network's configuration, as it is in a conflist.

    Attributes:
        pools: each gives one address; one pool of each IP version.
        files, store, node, state_dir: as `bgpctl workload add` has them; empty for its defaults.
        valid: the attachments that exist (GC); None where the call says nothing about them.
    """

    version: str
    name: str
    pools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    node: str = ""
    state_dir: str = ""
    store: str = ""
    valid: frozenset[Attachment] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """
    One call.

    Attributes:
        attachment: of ADD, DEL and CHECK.
        netns: empty in a DEL after the container's end.
        addresses, mac: those that the user asked for.
        expected: the addresses of the result of ADD, which CHECK brings along.
        called: the container's name, where the runtime passes one.
    """

    command: Command
    network: Network
    attachment: Attachment | None = None
    netns: str = ""
    addresses: tuple[Address, ...] = ()
    mac: Mac | None = None
    expected: tuple[Address, ...] = ()
    called: str = ""

    def request(self, intent: Intent) -> Request:
        """The workload that an ADD asks for: an address that the user chose takes the place of the pool's next one."""
        attachment, pools = self.needed(), self.network.pools
        if not pools:
            text = f'network {self.network.name} has no pool: add "pool" to its configuration; see: bgpctl show pools'
            raise CniError(Code.BAD_CONFIGURATION, text)
        chosen = {pool.name: pool for pool in intent.pools if pool.name in pools}
        for address in self.addresses:
            if not any(pool.cidr.covers(address.host_prefix) for pool in chosen.values()):
                raise CniError(Code.BAD_CONFIGURATION, f"{address} is in no pool of network {self.network.name}")
        asked = {address.version for address in self.addresses}
        others = (name for name in pools if name not in chosen or chosen[name].cidr.version not in asked)
        return Request(
            attachment.workload,
            self.netns,
            pools=tuple(others),
            addresses=self.addresses,
            mac=self.mac,
            inner=attachment.interface,
            labels=tuple(sorted((*attachment.labels, *(((CNI_NAME, self.called),) if self.called else ())))),
        )

    def needed(self) -> Attachment:
        """The attachment of a call that has one."""
        if self.attachment is None:
            raise CniError(Code.BAD_ENVIRONMENT, f"{self.command.value} is not about a container")
        return self.attachment


# Calls -----------------------------------------------------------------------------------------------------------


def command_of(environment: Mapping[str, str]) -> Command:
    """Raises CniError."""
    text = environment.get("CNI_COMMAND", "")
    try:
        return Command(text)
    except ValueError as error:
        known = ", ".join(command.value for command in Command)
        raise CniError(Code.BAD_ENVIRONMENT, f"CNI_COMMAND is {text!r}, not one of {known}") from error


def call_of(command: Command, environment: Mapping[str, str], text: str) -> Call:
    """The call of a runtime: its environment, and its standard input. Raises CniError."""
    document = _document(text)
    if command is Command.DEL:  # a container whose addition was refused must go all the same
        own = _place(document)
        return Call(command, own, _attachment(own, environment), _namespace(command, environment))
    network = _network(document)
    if command not in _OF_A_CONTAINER:
        return Call(command, network)
    attachment, namespace = _attachment(network, environment), _namespace(command, environment)
    if document.get("ipam"):
        raise CniError(Code.BAD_CONFIGURATION, _NO_IPAM)
    addresses, mac, called = _asked(document, environment)
    return Call(command, network, attachment, namespace, addresses, mac, _expected(document), called)


def _asked(document: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[tuple[Address, ...], Mac | None, str]:
    """
    The addresses that the user asked for, and the container's name: podman passes both by CNI_ARGS, others addresses by
    runtimeConfig.
    """
    args = _args(environment.get("CNI_ARGS", ""))
    runtime = _mapping(document.get("runtimeConfig"))
    ips = [*_texts(runtime.get("ips")), *(args["IP"].split(",") if args.get("IP") else [])]
    mac = args.get("MAC") or runtime.get("mac")
    return tuple(dict.fromkeys(map(_address, ips))), _mac(mac) if mac else None, args.get("K8S_POD_NAME", "")


def _expected(document: Mapping[str, Any]) -> tuple[Address, ...]:
    """The addresses in the result of ADD, which CHECK brings along."""
    return tuple(_address(item.get("address")) for item in _mappings(_mapping(document.get("prevResult")).get("ips")))


def version_of(text: str) -> str:
    """The version that an answer is written in, whatever else is wrong with the input."""
    try:
        version = json.loads(text)["cniVersion"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return NEWEST
    return version if version in VERSIONS else NEWEST


def _document(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(Code.UNDECODABLE, f"the network configuration is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CniError(Code.UNDECODABLE, "the network configuration is no JSON object")
    return document


def _place(document: Mapping[str, Any]) -> Network:
    """The version, the name, and where the ledger is: all that is needed to take a container out."""
    version, name = document.get("cniVersion", NEWEST), document.get("name")
    if version not in VERSIONS:
        text = f"cniVersion {version!r} is not one of {', '.join(VERSIONS)}"
        raise CniError(Code.INCOMPATIBLE_VERSION, text, "change the conflist")
    if not isinstance(name, str) or not name:
        raise CniError(Code.BAD_CONFIGURATION, "the network configuration has no name")
    node, store, state_dir = (_text(document, key) for key in ("node", "store", "stateDir"))
    return Network(version, name, node=node, store=store, state_dir=state_dir)


def _network(document: Mapping[str, Any]) -> Network:
    own = _place(document)
    return replace(
        own,
        pools=_one_or_more(document, "pool", "pools"),
        files=_one_or_more(document, "file", "files"),
        valid=_valid(own.name, document.get(_VALID)),
    )


def _valid(network: str, found: Any) -> frozenset[Attachment] | None:
    """Raises CniError for a part that is not understood: an attachment that is not named is removed."""
    if found is None:
        return None
    if not isinstance(found, list):
        raise CniError(Code.BAD_CONFIGURATION, f"{_VALID} is to be a list")
    return frozenset(_named(network, item) for item in found)


def _named(network: str, item: Any) -> Attachment:
    container, interface = (_mapping(item).get(key) for key in ("containerID", "ifname"))
    if not isinstance(container, str) or not isinstance(interface, str):
        raise CniError(Code.BAD_CONFIGURATION, f"{_VALID}: an attachment has a containerID and an ifname")
    return Attachment(network, container, interface)


def _attachment(network: Network, environment: Mapping[str, str]) -> Attachment:
    container, interface = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if not _ID.fullmatch(container):
        raise CniError(Code.BAD_ENVIRONMENT, f"CNI_CONTAINERID is {container!r}, and no container's id")
    if not _LINK_NAME.fullmatch(interface) or interface in {".", ".."}:
        raise CniError(Code.BAD_ENVIRONMENT, f"CNI_IFNAME is {interface!r}, and no name for a link")
    return Attachment(network.name, container, interface)


def _namespace(command: Command, environment: Mapping[str, str]) -> str:
    path = environment.get("CNI_NETNS", "")
    if command is not Command.DEL and not path.startswith("/"):
        raise CniError(Code.BAD_ENVIRONMENT, f"CNI_NETNS is {path!r}, and no path of a network namespace")
    return path


def _args(text: str) -> dict[str, str]:
    """CNI_ARGS: `K=V;K=V`."""
    pairs = (pair.partition("=") for pair in text.split(";") if pair)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _address(text: Any) -> Address:
    """With or without a length: what it is part of is the pool's affair."""
    try:
        return Address.parse(str(text).partition("/")[0])
    except ValueError as error:
        raise CniError(Code.BAD_CONFIGURATION, f"{text!r} is no IP address") from error


def _mac(text: Any) -> Mac:
    if not _MAC.fullmatch(str(text)):
        raise CniError(Code.BAD_CONFIGURATION, f"{text!r} is no MAC address")
    return Mac(str(text).lower())


def _one_or_more(document: Mapping[str, Any], one: str, more: str) -> tuple[str, ...]:
    if one in document and more in document:
        raise CniError(Code.BAD_CONFIGURATION, f"{one} and {more} exclude each other")
    found = [document[one]] if one in document else document.get(more, [])
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise CniError(Code.BAD_CONFIGURATION, f"{one} is to be a string, or {more} a list of strings")
    return tuple(found)


def _text(document: Mapping[str, Any], key: str) -> str:
    found = document.get(key, "")
    if not isinstance(found, str):
        raise CniError(Code.BAD_CONFIGURATION, f"{key} is to be a string")
    return found


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _mappings(found: Any) -> list[Mapping[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _texts(found: Any) -> list[str]:
    return [str(item) for item in found] if isinstance(found, list) else []


# Answers ---------------------------------------------------------------------------------------------------------


def versions(version: str) -> dict[str, Any]:
    """The answer to VERSION."""
    return {"cniVersion": version, "supportedVersions": list(VERSIONS)}


def result(call: Call, workload: Workload) -> dict[str, Any]:
    """The answer to ADD. The container's interface has its MAC address: podman refuses a result without."""
    version = call.network.version
    own = workload.addresses
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": workload.device},
            {"name": workload.request.inner, "mac": workload.mac, "sandbox": call.netns},
        ],
        "ips": [_ip(address, version) for address in own],
        "routes": [{"dst": _EVERYWHERE[one], "gw": str(GATEWAYS[one])} for one in sorted({a.version for a in own})],
        "dns": {},
    }


def _ip(address: Address, version: str) -> dict[str, Any]:
    item = {"address": str(address.host_prefix), "gateway": str(GATEWAYS[address.version]), "interface": 1}
    return {"version": str(address.version), **item} if version.startswith("0.") else item


def failure(version: str, error: CniError) -> dict[str, Any]:
    """The answer where a call failed."""
    more = {"details": error.details} if error.details else {}
    return {"cniVersion": version, "code": int(error.code), "msg": str(error), **more}


# The ledger ------------------------------------------------------------------------------------------------------


def attachment_of(workload: Workload) -> Attachment | None:
    """The attachment of which it is the workload; None if it came by another way."""
    labels = dict(workload.request.labels)
    found = Attachment(*(labels.get(key, "") for key in (CNI_NETWORK, _CONTAINER, _INTERFACE)))
    return found if found.workload == workload.name else None


def stale(network: Network, workloads: Iterable[Workload]) -> list[str]:
    """The names of the network's workloads whose attachment the runtime does not have any more. Raises CniError."""
    if network.valid is None:
        raise CniError(Code.BAD_CONFIGURATION, f"GC without {_VALID} would remove everything")
    found = ((workload.name, attachment_of(workload)) for workload in workloads)
    return sorted(name for name, own in found if own and own.network == network.name and own not in network.valid)


def differences(call: Call, workload: Workload, inside: Iterable[Address] | None) -> str:
    """
    The difference that CHECK finds; empty if there is none. `inside`: the addresses of the container's interface, None
    if it has no such interface.
    """
    interface = workload.request.inner
    if inside is None:
        return f"{call.netns} has no interface {interface} with the MAC address {workload.mac}"
    if missing := set(workload.addresses).difference(inside):
        return f"{interface} in {call.netns} lacks {' and '.join(map(str, sorted(missing)))}"
    if call.expected and set(call.expected) != set(workload.addresses):
        return f"the runtime expects {_joined(call.expected)}, and it has {_joined(workload.addresses)}"
    return ""


def _joined(addresses: Iterable[Address]) -> str:
    return " and ".join(map(str, sorted(addresses)))
