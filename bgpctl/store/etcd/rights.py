"""
Users and roles of an etcd: what a node may read and write of a cluster's keys.

Each node has a user and a role of its own. It reads the configuration, the members and what they say of themselves; it
writes what it says of itself, and the tree of the IP address management, which nodes share. Its record as a member is
written by the join service alone: one that a node could write would name other nodes' addresses and blocks its own, or
keep the whole configuration from being understood.

etcd checks every key of a transaction, those of its conditions too.

Refuses to know: who gets which user, where passwords are kept.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgpctl.store.etcd.gateway import Gateway, Rejected

ROOT: Final = "root"
"""The user, and the role, that etcd wants before it enables its rights."""
_NOT_ENABLED: Final = "authentication is not enabled"


class Permission(NamedTuple):
    """One key below the cluster's prefix, or all that begin so where it ends with `/`."""

    key: str
    writes: bool = False


def permissions(node: str) -> tuple[Permission, ...]:
    """The rights of one node, as keys without the cluster's prefix."""
    reads = ("meta", "cluster/", "blobs/", "revoked", "alive/", "workloads/", "digests/")
    writes = (f"alive/{node}", f"workloads/{node}/", f"digests/{node}", "ipam/")
    return (*(Permission(key) for key in reads), *(Permission(key, writes=True) for key in writes))


def user_of(cluster: str, node: str) -> str:
    """The name of a node's user, and of its role."""
    return f"bgpctl.{cluster}.{node}"


class Rights:
    """The users of one cluster in an etcd, as its root sees them. Every method raises what Gateway.call raises."""

    def __init__(self, gateway: Gateway, cluster: str) -> None:
        self._gateway = gateway
        self._cluster = cluster

    def enable(self, password: str) -> None:
        """Have etcd ask for users, with this password for root. What is done already is left."""
        self._user(ROOT, password)
        self._do("role/add", {"name": ROOT})
        self._do("user/grant", {"user": ROOT, "role": ROOT})
        self._gateway.call("/v3/auth/enable", {})

    def are_on(self) -> bool:
        """False of an etcd in which everybody may do everything."""
        try:
            self._gateway.call("/v3/auth/authenticate", {"name": ROOT, "password": ""})
        except Rejected as error:
            return _NOT_ENABLED not in str(error)
        return True

    def admit(self, node: str, password: str) -> str:
        """The user of a node with this password and the rights of a node alone: its name."""
        name = user_of(self._cluster, node)
        self._gateway.call("/v3/auth/role/delete", {"role": name}) if self._has("role", name) else None
        self._do("role/add", {"name": name})
        for permission in permissions(node):
            self._gateway.call("/v3/auth/role/grant", {"name": name, "perm": self._perm(permission)})
        self._user(name, password)
        self._do("user/grant", {"user": name, "role": name})
        return name

    def expel(self, node: str) -> None:
        """A node's user and role are gone; its tokens end with the user."""
        name = user_of(self._cluster, node)
        for kind, body in (("user", {"name": name}), ("role", {"role": name})):
            if self._has(kind, name):
                self._gateway.call(f"/v3/auth/{kind}/delete", body)

    def _perm(self, permission: Permission) -> Mapping[str, str]:
        key = f"/bgpctl/v1/{self._cluster}/{permission.key}".encode()
        kind = "READWRITE" if permission.writes else "READ"
        end = {"range_end": _encoded(key[:-1] + bytes((key[-1] + 1,)))} if permission.key.endswith("/") else {}
        return {"permType": kind, "key": _encoded(key), **end}

    def _user(self, name: str, password: str) -> None:
        """With this password, whether it is there already or not."""
        if self._has("user", name):
            self._gateway.call("/v3/auth/user/changepw", {"name": name, "password": password})
        else:
            self._gateway.call("/v3/auth/user/add", {"name": name, "password": password})

    def _has(self, kind: str, name: str) -> bool:
        return name in set(self._names(kind))

    def _names(self, kind: str) -> Iterator[str]:
        yield from map(str, self._gateway.call(f"/v3/auth/{kind}/list", {}).get(f"{kind}s", ()))

    def _do(self, verb: str, body: Mapping[str, Any]) -> None:
        """What is there already is no error."""
        try:
            self._gateway.call(f"/v3/auth/{verb}", body)
        except Rejected as error:
            if "already" not in str(error):
                raise


def _encoded(key: bytes) -> str:
    return b64encode(key).decode()
