"""
Docker's own answer to which networks and endpoints there are, by its API on a unix socket.

Refuses to know: what is done with it.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgpctl.core.net.addresses import Address, InterfaceAddress

SOCKET: Final = Path("/run/docker.sock")
_ANSWER_S: Final = 5.0
_LONGEST_BYTES: Final = 64 << 20


class NoAnswer(Exception):
    """Docker does not answer, or not all: nothing is known."""


class Place(NamedTuple):
    """Where an endpoint is: its network, its container's namespace, and its gateway there."""

    network: str
    sandbox: str
    gateway: Address


class Called(NamedTuple):
    """The names of a container that has an endpoint, and that of the endpoint's network, as an operator knows them."""

    container: str
    network: str
    aliases: tuple[str, ...]


class Seen(NamedTuple):
    """All networks and endpoints that Docker has, by its names, and the addresses of endpoints of any driver."""

    networks: frozenset[str]
    endpoints: frozenset[str]
    addresses: frozenset[Address]


def seen(path: Path) -> Seen:
    """Everything, or NoAnswer is raised."""
    with _answering(path):
        networks = [str(item["Id"]) for item in _get(path, "/networks")]
        found = [item for name in networks for item in _endpoints(path, name)]
        endpoints = frozenset(str(item["EndpointID"]) for item in found)
        return Seen(frozenset(networks), endpoints, frozenset(own for item in found for own in _addresses(item)))


def place(path: Path, endpoint: str) -> Place:
    """The place of an endpoint of a running container. Raises NoAnswer."""
    with _answering(path):
        for item in _get(path, "/containers/json"):
            settings = _get(path, f"/containers/{item['Id']}/json")["NetworkSettings"]
            for network in settings["Networks"].values():
                if network["EndpointID"] == endpoint:
                    own = Address.parse(network["Gateway"])
                    return Place(str(network["NetworkID"]), str(settings["SandboxKey"]), own)
    raise NoAnswer(f"Docker has no running container with the endpoint {endpoint}")


def called(path: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Called]:
    """By its id, each endpoint that is wanted, of all containers that run. Raises NoAnswer."""
    found = {}
    with _answering(path):
        for item in _get(path, "/containers/json"):
            networks = item["NetworkSettings"]["Networks"]
            if not any(wanted(network["EndpointID"]) for network in networks.values()):
                continue
            whole = _get(path, f"/containers/{item['Id']}/json")
            for name, network in whole["NetworkSettings"]["Networks"].items():
                aliases = tuple(alias for alias in network["Aliases"] or () if not str(item["Id"]).startswith(alias))
                found[str(network["EndpointID"])] = Called(whole["Name"].removeprefix("/"), name, aliases)
    return found


@contextmanager
def _answering(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoAnswer(f"Docker does not answer at {path}: {error!r}") from error


def _endpoints(path: Path, network: str) -> Iterator[dict[str, Any]]:
    yield from (_get(path, f"/networks/{network}").get("Containers") or {}).values()


def _addresses(endpoint: dict[str, Any]) -> Iterator[Address]:
    for key in ("IPv4Address", "IPv6Address"):
        if endpoint.get(key):
            yield InterfaceAddress.parse(endpoint[key]).address


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(str(self._path))


def _get(path: Path, target: str) -> Any:
    connection = _Connection(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ValueError(f"status {answer.status} of {target}")
        return json.loads(answer.read(_LONGEST_BYTES))
    finally:
        connection.close()
