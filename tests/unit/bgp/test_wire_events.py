"""A decoded UPDATE as events of the core."""

from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.speaker import EndOfRib, Update
from bgpctl.core.bgp.wire.events import events
from bgpctl.core.bgp.wire.message import IPV4_UNICAST, SessionFacts, UpdateMessage
from bgpctl.core.bgp.wire.update import decode
from bgpctl.core.net.addresses import Address, Asn, Prefix

PEER = Address.parse("10.99.0.10")
SESSION = SessionFacts(Asn(64512), Asn(65001), internal=False)


def decoded(body: str) -> UpdateMessage:
    meaning = decode(bytes.fromhex(body), SESSION)
    assert isinstance(meaning, UpdateMessage)
    return meaning


def test_announced_and_withdrawn_prefixes_are_one_update() -> None:
    message = decoded("0004 18ac1402 001b 40010100 40020602010000fde9 4003040a63000a 80040400000032 18ac1401 18ac1403")
    shared = {"as_path": (65001,), "origin": "igp", "med": 50}
    paths = (Path(Prefix.parse(text), PEER, **shared) for text in ("172.20.1.0/24", "172.20.3.0/24"))  # type: ignore[arg-type]
    assert events(PEER, message) == (Update(PEER, tuple(paths), (Prefix.parse("172.20.2.0/24"),)),)


def test_end_of_rib_is_an_event_of_its_own() -> None:
    assert events(PEER, UpdateMessage(end_of_rib=IPV4_UNICAST)) == (EndOfRib(PEER, 4),)


def test_a_message_without_news_is_no_event() -> None:
    assert events(PEER, UpdateMessage()) == ()
