from dataclasses import replace

from bgpctl.core.cluster import Backend, Mode, Peer
from bgpctl.core.model import Address, Asn
from bgpctl.core.sessions import speaker_config, waits_for
from tests.cluster import two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)


def test_every_pair_of_the_mesh_has_exactly_one_active_side() -> None:
    sides = {}
    for node in INTENT.nodes:
        config = speaker_config(INTENT, node.name)
        assert config is not None
        for session in config.sessions:
            sides[(node.address.address, session.peer)] = session.passive
    assert len(sides) == 12
    assert all(sides[(a, b)] is not sides[(b, a)] for a, b in sides)


def test_who_waits_is_decided_by_comparing_strings_as_calico_does() -> None:
    nine, ten = Address.parse("10.0.0.9"), Address.parse("10.0.0.10")
    assert waits_for(ten, nine)
    assert not waits_for(nine, ten)


def test_without_bgp_there_is_no_speaker_at_all() -> None:
    assert speaker_config(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN), "a1") is None


def test_a_configured_peer_is_connected_to_with_its_own_as() -> None:
    tor = Peer("tor-a", Address.parse("10.0.0.254"), Asn(65001), ("a1", "a2"), port=1790)
    config = speaker_config(replace(INTENT, peers=(tor,), mesh=False), "a1")
    assert config is not None
    (session,) = config.sessions
    assert (str(session.peer), session.peer_asn, session.port, session.passive) == ("10.0.0.254", 65001, 1790, False)
    other = speaker_config(replace(INTENT, peers=(tor,), mesh=False), "b1")
    assert other is not None
    assert other.sessions == ()
