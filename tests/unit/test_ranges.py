"""Peers of a range of addresses at ExaBGP's end: the AS in an OPEN, and the lines about them."""

from __future__ import annotations

import pytest

from bgpctl.core.bgp.speaker import PeerConnecting, Session, SpeakerConfig
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.speaker import conf, decode, encode
from bgpctl.speaker.range_patches import asn_of_open

PEER = Address.parse("10.9.0.7")
US = Address.parse("10.9.0.1")


@pytest.mark.parametrize(
    ("body", "asn"),
    [
        ("04 fde9 001e 0a090007 00", 65001),
        ("04 5ba0 001e 0a090007 08 02 06 4104 fa56ea00", 4200000000),
        ("04 fde9 001e 0a090007 10 02 06 0104 00010001 02 06 4104 0000fde9", 65001),
        ("04 5ba0 001e 0a090007 ff ff 0009 02 0006 4104 fa56ea00", 4200000000),
        ("04 fde9 001e 0a090007 04 02 09 4104", 65001),
        ("04 fde9 001e 0a090007 ff", 65001),
    ],
)
def test_the_as_of_an_open_is_found(body: str, asn: int) -> None:
    assert asn_of_open(bytes.fromhex(body)) == asn


def test_a_connection_that_waits_is_an_event() -> None:
    assert decode.decode(f"connects {PEER} 65001") == decode.Connects(PeerConnecting(PEER, Asn(65001)))
    assert isinstance(decode.decode("connects me 65001"), decode.Unrecognised)


def test_the_ranges_are_one_command() -> None:
    assert encode.listen_ranges([Prefix.parse("10.9.0.0/16"), Prefix.parse("fd00::/64")]) == (
        "ranges 10.9.0.0/16 fd00::/64\n"
    )


def test_a_new_agent_finds_the_peers_of_ranges_in_the_file() -> None:
    named = Session(Address.parse("10.9.0.3"), "tor", US, Asn(64512), Asn(65003), passive=False)
    accepted = Session(PEER, f"edge-{PEER}", US, Asn(64512), Asn(65001), passive=True, accepted=True)
    config = SpeakerConfig(US, US, 179, (named, accepted))
    text = conf.render(config, "/bridge", {})
    assert conf.accepted_peers(text) == (PeerConnecting(PEER, Asn(65001)),)
