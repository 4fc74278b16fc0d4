"""
The note that each request carries for the agent that gets it: a digest of the sender's configuration.

A reply is the kernel's and repeats the request, so a note travels one way; each node sends its own. It follows the
secret of the request (kernel/probe_packets.py), which agents without notes ignore as they ignore what pads a request.

    octets   0-3   "bgpn"
             4     version, 1; a later one appends, and changes nothing of these 24 octets
             5-7   zero
             8-15  digest of the whole configuration (core/cluster/agreement.py)
            16-23  digest of the names and addresses of all members

Refuses to know: how a request travels, and which note is right.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from bgpctl.core.cluster.agreement import Fingerprint
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address

MAGIC: Final = b"bgpn"
_NOTE: Final = struct.Struct("!4sB3x8s8s")
_VERSION: Final = 1
_DIGEST_BYTES: Final = 8
SETTLE_S: Final = 5.0
"""A change of the configuration reaches all nodes within this time; until then differences are no news."""


class Note(NamedTuple):
    """Two digests of 8 octets each."""

    configuration: bytes
    members: bytes


class HeardNote(NamedTuple):
    """The last note of a member, and when it came, in seconds of the agent's clock."""

    note: Note
    at_s: float


def note_of(fingerprint: Fingerprint) -> Note:
    """The note that a node with this configuration sends."""
    return Note(fingerprint.total.to_bytes(_DIGEST_BYTES, "big"), _members(fingerprint.intent))


def _members(intent: Intent) -> bytes:
    lines = sorted(f"{node.name} {' '.join(sorted(map(str, node.addresses)))}\n" for node in intent.nodes)
    return hashlib.blake2b("".join(lines).encode(), digest_size=_DIGEST_BYTES).digest()


def encode(note: Note) -> bytes:
    """As it follows the secret of a request."""
    return _NOTE.pack(MAGIC, _VERSION, note.configuration, note.members)


def decode(octets: bytes) -> Note | None:
    """The note at the beginning of these octets, of this version or a later one; None if there is none."""
    if len(octets) < _NOTE.size:
        return None
    magic, version, configuration, members = _NOTE.unpack_from(octets)
    return Note(configuration, members) if magic == MAGIC and version >= _VERSION else None


class Difference(NamedTuple):
    """A member that has another configuration; `members`: it has other members too."""

    member: str
    members: bool


def differences(
    own: Note, since_s: float, heard: Mapping[Address, HeardNote], intent: Intent
) -> tuple[Difference, ...]:
    """The members whose last note is another one than ours, which we have had since `since_s`; sorted by name."""
    names = {address: node.name for node in intent.nodes for address in node.addresses}
    found = {
        Difference(names[address], item.note.members != own.members)
        for address, item in heard.items()
        if address in names and item.note != own and item.at_s >= since_s + SETTLE_S
    }
    return tuple(sorted(found))
