"""
Members and invitations of a cluster in its store, as the join service writes them.

    join/invitations/NUMBER   {"format": 1, "digest": …, "ends_s": …, "node": …, "key": …, "revoked": …}
    join/certificates/NODE    {"format": 1, "serials": […]}    issued to the node
    join/revoked              {"format": 1, "serials": […]}    of nodes that were removed
    join/count                counts registrations: a condition of each, so that they come one after the other

No node may read any of them. A registration is one transaction: the invitation is used, the name is taken, the address
is nobody else's, and the block overlaps none, or nothing has happened.

Refuses to know: certificates, etcd's users, the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.join_secret import Invitation, Refused, judge
from bgpctl.core.net.addresses import InterfaceAddress, Prefix
from bgpctl.join import allocations
from bgpctl.join.refused import JoinRefused
from bgpctl.ports import Loaded, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.store.etcd import records
from bgpctl.store.etcd.duties import ALIVE, REVOCATIONS
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway
from bgpctl.store.etcd.kv import Entry, Kv
from bgpctl.store.etcd.options import Options
from bgpctl.store.etcd.store import EtcdStore

INVITATIONS: Final = "join/invitations/"
CERTIFICATES: Final = "join/certificates/"
REVOKED: Final = "join/revoked"
_WORKLOADS: Final = "workloads/"
_COUNT: Final = "join/count"
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Applicant:
    """A host that asks to be a node: `key` is the digest of its public key; `block` and `pool` are its wishes."""

    node: str
    address: InterfaceAddress
    key: str
    block: str | None = None
    pool: str | None = None


class Registry:
    """Of one cluster. Every method may raise one of follower.FAULTS."""

    def __init__(self, options: Options, gateway: Gateway) -> None:
        self._options = replace(options, snapshot=None)
        self._kv = Kv(gateway, options.cluster)

    # Invitations -----------------------------------------------------------------------------------------------

    def invite(self, invitation: Invitation) -> None:
        """Keep a new one."""
        self._kv.commit({}, {f"{INVITATIONS}{invitation.number}": _written(invitation)})

    def invitations(self) -> tuple[Invitation, ...]:
        """All, by their ends."""
        found = self._kv.list(INVITATIONS).entries
        read = (_read(key.removeprefix(INVITATIONS), entry.value) for key, entry in found.items())
        return tuple(sorted(read, key=lambda item: item.ends_s))

    def revoke(self, number: str) -> Invitation:
        """It lets nobody in from now on. Raises JoinRefused: there is none, or it was used."""
        entry = self._invitation(number)
        if entry is None:
            raise JoinRefused(f"there is no invitation {number}; see: bgpctl cluster invitations")
        invitation = _read(number, entry.value)
        if invitation.node:
            raise JoinRefused(
                f"invitation {number} was used by node {invitation.node}; to remove the node:"
                f" bgpctl cluster remove {invitation.node}"
            )
        after = replace(invitation, is_revoked=True)
        if (
            self._kv.commit({f"{INVITATIONS}{number}": entry.revision}, {f"{INVITATIONS}{number}": _written(after)})
            is None
        ):
            raise JoinRefused(f"invitation {number} was changed at the same time: try again")
        return after

    def _invitation(self, number: str) -> Entry | None:
        key = f"{INVITATIONS}{number}"
        return self._kv.read(key).entries.get(key)

    # Members ---------------------------------------------------------------------------------------------------

    def register(self, number: str, secret: str, applicant: Applicant, now_s: float) -> tuple[Prefix, ...]:
        """
        Make a host a node, by one transaction; its blocks. One who has registered, and asks again with the same key,
        gets the same. Raises JoinRefused.
        """
        for _ in range(_TRIES):
            entry = self._invitation(number)
            invitation = _read(number, entry.value) if entry else None
            refused = judge(invitation, secret, applicant.node, applicant.key, now_s)
            if refused or invitation is None or entry is None:
                why = refused or Refused.UNKNOWN
                raise JoinRefused(f"{why.value}; ask an operator for another join file: bgpctl cluster invite")
            if invitation.node:
                return self._again(applicant)
            used = replace(invitation, node=applicant.node, key=applicant.key)
            key = f"{INVITATIONS}{number}"
            blocks = self._add(applicant, {key: entry.revision}, {key: _written(used)})
            if blocks is not None:
                return blocks
        raise JoinRefused("many hosts join at the same time: try again")

    def add_first(self, applicant: Applicant) -> tuple[Prefix, ...]:
        """Make the operator's own host a node, which needs no invitation; also again. Raises JoinRefused."""
        there = _valid(self._present().load()).node(applicant.node)
        if there and applicant.address.address in there.addresses:
            return self._again(applicant)
        blocks = self._add(applicant, {}, {})
        if blocks is None:
            raise JoinRefused("the store was changed at the same time: try again")
        return blocks

    def _again(self, applicant: Applicant) -> tuple[Prefix, ...]:
        intent = _valid(self._present().load())
        if intent.node(applicant.node) is None:
            raise JoinRefused(f"node {applicant.node} was removed after it had joined; it needs another join file")
        return intent.allocations.of(applicant.node).blocks

    def _add(self, applicant: Applicant, conditions: dict[str, int], puts: dict[str, str]) -> tuple[Prefix, ...] | None:
        """None if something else was written meanwhile."""
        name = applicant.node
        count = self._kv.read(_COUNT).entries.get(_COUNT)
        store = self._present()
        intent = _valid(store.load())
        _refuse_taken(intent, applicant)
        blocks = allocations.first_block(intent, applicant.block, applicant.pool)
        node = records.written_node({"address": str(applicant.address)})
        given = records.written_allocations(map(str, blocks), ())
        _valid(store.preview_member(name, records.document_of(name, node, given)))
        node_key, given_key = f"{records.NODES}{name}", f"{records.ALLOCATIONS}{name}"
        absent = {node_key: 0, given_key: 0, _COUNT: count.revision if count else 0}
        after = {node_key: node, given_key: given, _COUNT: str(int(count.value) + 1 if count else 1)}
        done = self._kv.commit({**conditions, **absent}, {**puts, **after})
        return None if done is None else blocks

    def _present(self) -> EtcdStore:
        """The store, as a majority has it now. Raises Unavailable."""
        store = EtcdStore(self._options, LinuxClock(), answer_s=PATIENT_S)
        store.load()
        if not store.status().is_heard:
            raise Unavailable(store.status().reason)
        return store

    def remove(self, node: str, *, force: bool) -> None:
        """A member is none any more, and what it had is free, unless it gives a sign of life. Raises JoinRefused."""
        key, given, alive = f"{records.NODES}{node}", f"{records.ALLOCATIONS}{node}", f"{ALIVE}{node}"
        found = self._kv.read(key, given, alive).entries
        if key not in found and given not in found:
            raise JoinRefused(f"the store has no node {node}")
        conditions = {} if force else {alive: 0}
        own = self._kv.list(f"{_WORKLOADS}{node}/").entries
        if self._kv.commit(conditions, {}, [key, given, alive]) is None:
            raise JoinRefused(
                f"node {node} is alive: its agent was heard in the last 30 s; end it there (bgpctl cluster leave),"
                " or remove it all the same with --force: workloads there are cut off"
            )
        for workload in own:
            self._kv.commit({}, {}, [workload])

    # Certificates ----------------------------------------------------------------------------------------------

    def note_certificate(self, node: str, serial: str) -> None:
        """Keep the number of a certificate, so that it can be revoked."""
        self._append(f"{CERTIFICATES}{node}", (serial,))

    def revoke_certificates(self, node: str) -> tuple[str, ...]:
        """Those of a node that was removed; the numbers of all that were revoked so far."""
        key = f"{CERTIFICATES}{node}"
        entry = self._kv.read(key).entries.get(key)
        serials = self._append(REVOKED, tuple(_serials(entry)))
        self._kv.commit({}, {}, [key])
        return serials

    def has_issued(self, node: str, serial: str) -> bool:
        """True if this is a certificate of the present node of this name, and of no former one."""
        key = f"{CERTIFICATES}{node}"
        return serial in set(_serials(self._kv.read(key).entries.get(key)))

    def publish_revocations(self, signed: str) -> None:
        """The list that nodes read, in PEM."""
        self._kv.commit({}, {REVOCATIONS: signed})

    def revocations(self) -> str:
        """That list; "" where nothing was revoked yet."""
        entry = self._kv.read(REVOCATIONS).entries.get(REVOCATIONS)
        return entry.value if entry else ""

    def _append(self, key: str, more: tuple[str, ...]) -> tuple[str, ...]:
        for _ in range(_TRIES):
            entry = self._kv.read(key).entries.get(key)
            serials = tuple(dict.fromkeys((*_serials(entry), *more)))
            text = json.dumps({"format": records.FORMAT, "serials": serials})
            if self._kv.commit({key: entry.revision if entry else 0}, {key: text}) is not None:
                return serials
        raise JoinRefused("the store is changed all the time: try again")


def _refuse_taken(intent: Intent, applicant: Applicant) -> None:
    wanted = applicant.address.address
    if (there := intent.node(applicant.node)) is not None:
        raise JoinRefused(
            f"there is a node {applicant.node} already, at {', '.join(map(str, there.addresses))}, and this host has"
            f" {wanted}: give this one another name with --node, or remove the former one with: bgpctl cluster remove"
            f" {applicant.node}"
        )
    for node in intent.nodes:
        if wanted in node.addresses:
            raise JoinRefused(
                f"address {wanted} is that of node {node.name}, so {applicant.node} cannot have it too: choose another"
                f" one with --address, or remove the former node with: bgpctl cluster remove {node.name}"
            )


def _valid(loaded: Loaded) -> Intent:
    if isinstance(loaded, Intent):
        return loaded
    raise JoinRefused(f"the cluster would not be valid: {loaded[0]}")


def _written(invitation: Invitation) -> str:
    fields = {"digest": invitation.digest, "ends_s": invitation.ends_s, "revoked": invitation.is_revoked}
    used = {"node": invitation.node, "key": invitation.key} if invitation.node else {}
    return json.dumps({"format": records.FORMAT, **fields, **used})


def _read(number: str, text: str) -> Invitation:
    """Raises BadRecord."""
    try:
        found: dict[str, Any] = json.loads(text)
        return Invitation(
            number,
            str(found["digest"]),
            float(found["ends_s"]),
            str(found.get("node", "")),
            str(found.get("key", "")),
            bool(found.get("revoked")),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise records.BadRecord(f"invitation {number}: {error}") from error


def _serials(entry: Entry | None) -> Iterator[str]:
    try:
        yield from map(str, json.loads(entry.value)["serials"] if entry else ())
    except (ValueError, LookupError, TypeError) as error:
        raise records.BadRecord(f"a list of certificates: {error}") from error
