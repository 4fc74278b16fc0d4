"""The octets of attributes as the patched ExaBGP sends them to each peer."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from bgpctl.core.bgp.path import Attributes
from bgpctl.core.bgp.wire import encode
from bgpctl.core.net.addresses import Asn
from bgpctl.speaker import sent_patches

HOP = socket.inet_aton("10.0.0.1")


def sent(attributes: Attributes, *, internal: bool) -> bytes:
    """To a peer whose OPEN has four octets for an AS."""
    raw = sent_patches._attributes_class()
    octets = encode.encode(attributes, four_octet=True), encode.encode(attributes, four_octet=False)
    ends = {"local-as": 64512, "peer-as": 64512 if internal else 65001}
    packed: bytes = raw(*octets, HOP).pack(SimpleNamespace(asn4=True, neighbor=ends))
    return packed


def codes(octets: bytes) -> list[int]:
    found, at = [], 0
    while at < len(octets):
        found.append(octets[at + 1])
        at += 4 + int.from_bytes(octets[at + 2 : at + 4], "big") if octets[at] & 0x10 else 3 + octets[at + 2]
    return found


@pytest.mark.parametrize("internal", [True, False])
def test_every_route_has_local_pref_to_internal_peers_alone(internal: bool) -> None:
    without = Attributes(as_path=(Asn(65001),), communities=((64512, 7),))
    assert codes(sent(without, internal=internal)) == ([1, 2, 3, 5, 8] if internal else [1, 2, 3, 8])


def test_a_local_pref_that_is_given_stays_and_100_is_the_default() -> None:
    given = sent(Attributes(local_pref=300), internal=True)
    assert codes(given).count(5) == 1
    assert (300).to_bytes(4, "big") in given
    assert bytes([0x40, 5, 4]) + (100).to_bytes(4, "big") in sent(Attributes(), internal=True)
