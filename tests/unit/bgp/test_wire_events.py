"""A decoded UPDATE as events of the core."""

from bgpctl.core.bgp.path import AsSet, Path
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


def test_a_set_is_one_item_of_the_path() -> None:
    message = decoded("0000 001e 40010100 400210 0201 0000fde9 0102 0000fdf2 0000fdf3 4003040a63000a 18ac1401")
    (update,) = events(PEER, message)
    assert isinstance(update, Update)
    assert update.announced[0].as_path == (65001, AsSet((Asn(65010), Asn(65011))))


def test_attributes_that_no_decision_reads_are_passed_on() -> None:
    attributes = "40010100 40020602010000fde9 4003040a63000a 400600 e00708 0000fde901020304 c0c802 abcd c02304 0000fde9"
    size = len(bytes.fromhex(attributes))
    (update,) = events(PEER, decoded(f"0000 {size:04x} {attributes} 18ac1401"))
    assert isinstance(update, Update)
    passed_on = [str(raw) for raw in update.announced[0].passed_on]
    assert passed_on == ["40 6 ", "e0 7 0000fde901020304", "c0 35 0000fde9", "e0 200 abcd"]


def test_end_of_rib_is_an_event_of_its_own() -> None:
    assert events(PEER, UpdateMessage(end_of_rib=IPV4_UNICAST)) == (EndOfRib(PEER, 4),)


def test_a_message_without_news_is_no_event() -> None:
    assert events(PEER, UpdateMessage()) == ()
