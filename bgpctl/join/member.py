"""
A host as a node: the address that it has, its request to join, and the files of what it was given.

Files with a key or a password have mode 0600; the store's description, which names them, is the last that is written,
so that a join that was cut short is no join, and can be repeated.

Refuses to know: the join service's side, the agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgpctl import filesystem
from bgpctl.core.cluster.join_file import JoinFile
from bgpctl.core.net import autodetect
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.autodetect import CanReach, Method
from bgpctl.join import client
from bgpctl.join.places import Places
from bgpctl.join.refused import JoinRefused
from bgpctl.kernel.own_addresses import own_addresses, source_to
from bgpctl.process import keys

_LONGEST_BYTES: Final = 1 << 16


class Membership(NamedTuple):
    """What a node keeps of its join."""

    node: str
    cluster: str
    host: str
    port: int


def detect(method: Method) -> InterfaceAddress:
    """The address of this host by a method. Raises NoAddress, Unavailable."""
    source = source_to(method.target) if isinstance(method, CanReach) else None
    return autodetect.choose(method, own_addresses(), source)


def refuse_member(places: Places) -> None:
    """Raise JoinRefused if this host is a node already."""
    if places.store.exists():
        raise JoinRefused(
            f"this host is a node already: {places.store} is there; to join another cluster: bgpctl cluster leave"
        )


def join(places: Places, file: JoinFile, node: str, address: InterfaceAddress, wishes: Mapping[str, str]) -> list[str]:
    """Join a cluster; the blocks of the new node. Raises JoinRefused, NotReached, KeysError."""
    public, private = keys.kept_key(places.pending_key)
    body = {"id": file.number, "secret": file.secret, "node": node, "address": str(address), "key": public, **wishes}
    answer = client.ask(file.host, file.port, file.ca, "join", body)
    membership = Membership(node, file.cluster, file.host, file.port)
    try:
        install(places, membership, answer, private)
        return [str(block) for block in answer["blocks"]]
    except (LookupError, TypeError, AttributeError) as error:
        raise JoinRefused(f"the join service answered something else: {error}") from error


def install(places: Places, membership: Membership, answer: Mapping[str, Any], private: bytes) -> None:
    """Write what the join service has given, the store's description last. Raises KeysError, LookupError."""
    ca = str(answer["ca"]).encode()
    keys.install(places.keys, str(answer["certificate"]).encode() + private, ca)
    if answer["revocations"]:
        keys.write_private(places.revocations, str(answer["revocations"]).encode())
    keys.write_private(places.store_password, f"{answer['password']}\n".encode())
    store = answer["store"]
    if store["ca"]:
        keys.write_private(places.store_ca, str(store["ca"]).encode())
    keys.write_private(places.membership, (json.dumps(membership._asdict()) + "\n").encode())
    keys.write_private(places.store, store_text(places, answer).encode())
    places.pending_key.unlink(missing_ok=True)


def store_text(places: Places, answer: Mapping[str, Any]) -> str:
    """The description of the store for this node's agent (store/etcd/options.py)."""
    store = answer["store"]
    lines = [
        f"endpoints: [{', '.join(json.dumps(item) for item in store['endpoints'])}]",
        f"cluster: {store['cluster']}",
        *([f"ca: {places.store_ca.name}"] if store["ca"] else []),
        *([f"{key}: {_below(places, places.node)}" for key in ("certificate", "key")] if store["certificate"] else []),
        f"user: {answer['user']}",
        f"passwordFile: {places.store_password.name}",
        f"snapshot: {places.state / store['cluster']}.json",
    ]
    return "\n".join(lines) + "\n"


def _below(places: Places, path: Path) -> str:
    return str(path.relative_to(places.directory))


def membership_of(places: Places) -> Membership:
    """Raises JoinRefused: this host is no node."""
    try:
        with filesystem.ours(places.directory) as directory:
            found = json.loads(filesystem.read_ours(directory, places.membership.name, _LONGEST_BYTES))
        return Membership(str(found["node"]), str(found["cluster"]), str(found["host"]), int(found["port"]))
    except FileNotFoundError as error:
        raise JoinRefused(f"this host has not joined a cluster: {places.membership} is not there") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise JoinRefused(f"{places.membership} cannot be used: {error}") from error


def leave(places: Places) -> Membership:
    """Make this host a node no more, and remove its secrets. Raises JoinRefused, NotReached."""
    membership = membership_of(places)
    try:
        ca = places.ca_certificate.read_text()
    except OSError as error:
        raise JoinRefused(f"{places.ca_certificate} cannot be read: {error.strerror}") from error
    client.ask(membership.host, membership.port, ca, "leave", {}, places.node)
    forget(places)
    return membership


def forget(places: Places) -> None:
    """Remove what this host has been given as a node."""
    for path in (
        places.store,
        places.store_password,
        places.store_ca,
        places.node,
        places.ca_certificate,
        places.revocations,
        places.pending_key,
        places.membership,
    ):
        path.unlink(missing_ok=True)
