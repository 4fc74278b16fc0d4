import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp.path import (
    AsSet,
    Attributes,
    Path,
    RawAttribute,
)
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    DownKind,
    EndOfRib,
    RefreshBegun,
    RefreshEnded,
    SendEndOfRib,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerCommand,
    SpeakerEvent,
    Update,
    Withdraw,
)
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.speaker import decode, encode
from bgpctl.speaker.orphaned_routes import OrphanedRoutes

PEER = Address.parse("192.0.2.7")
OTHER = Address.parse("192.0.2.8")
NEXT_HOP = Address.parse("192.0.2.9")
BLUE, RED = Prefix.parse("10.1.0.0/26"), Prefix.parse("10.1.0.64/26")


def line(kind: str, **neighbor: Any) -> str:
    """A line as ExaBGP 5.0.15 writes it."""
    about = {"address": {"local": "192.0.2.1", "peer": str(PEER)}, "asn": {"local": 64512, "peer": 64512}}
    header = {"exabgp": "5.0.0", "time": 1.5, "host": "h", "pid": 9, "ppid": 1, "counter": 4, "type": kind}
    return json.dumps({**header, "neighbor": {**about, **neighbor}})


def update(attribute: dict[str, Any] | None = None, **changes: Any) -> str:
    body = {"attribute": attribute, **changes} if attribute is not None else changes
    return line("update", direction="receive", message={"update": body})


def event(text: str) -> SpeakerEvent | None:
    received = decode.decode(text)
    assert isinstance(received, decode.Received), received
    assert (received.peer, received.counter) == (PEER, 4)
    return received.event


def announced(text: str) -> tuple[Path, ...]:
    change = event(text)
    assert isinstance(change, Update)
    return change.announced


# Sessions ------------------------------------------------------------------------------------------------------


def test_a_connection_is_not_yet_a_session() -> None:
    assert event(line("state", state="connected")) is None
    assert event(line("state", state="up")) == SessionUp(PEER)


@pytest.mark.parametrize(
    ("reason", "notified"),
    [("closing connection", False), ("notification received (6,2)", True), ("notification sent (4,0)", True)],
)
def test_only_a_notification_forbids_to_retain(reason: str, notified: bool) -> None:
    down = event(line("state", state="down", reason=reason))
    assert isinstance(down, SessionDown)
    assert (down.peer, down.reason, down.notified) == (PEER, reason, notified)


@pytest.mark.parametrize(
    ("reason", "is_final"),
    [
        ("notification received (6,2)", True),
        ("notification received (6,3)", True),
        ("notification received (6,9)", True),
        ("notification received (6,4)", False),
        ("notification sent (4,0)", False),
        ("notification received (4,0)", False),
        ("closing connection", False),
    ],
)
def test_some_notifications_end_a_session_for_good(reason: str, is_final: bool) -> None:
    down = event(line("state", state="down", reason=reason))
    assert isinstance(down, SessionDown)
    assert down.is_final is is_final


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("connect: Connection refused", DownKind.REFUSED),
        ("connect: No route to host", DownKind.UNREACHABLE),
        ("connect: Network is unreachable", DownKind.UNREACHABLE),
        ("connect: no answer", DownKind.NO_ANSWER),
        ("closing connection", DownKind.CLOSED),
        ("notification sent (1,1)", DownKind.SILENT),
        ("notification received (1,1)", DownKind.OTHER),
        ("notification sent (2,2)", DownKind.WRONG_AS),
        ("notification received (2,2)", DownKind.WRONG_AS),
        ("notification received (2,6)", DownKind.BAD_OPEN),
        ("notification sent (2,11)", DownKind.WRONG_ROLE),
        ("notification received (2,11)", DownKind.WRONG_ROLE),
        ("notification sent (4,0)", DownKind.HOLD_EXPIRED),
        ("notification received (6,1)", DownKind.PREFIX_LIMIT),
        ("notification received (6,2)", DownKind.SHUT_DOWN),
        ("notification received (6,5)", DownKind.NOT_CONFIGURED),
        ("notification received (6,7)", DownKind.OTHER),
        ("notification received (99999999999999999999,1)", DownKind.OTHER),
        ("", DownKind.OTHER),
    ],
)
def test_different_ends_of_a_session_are_distinguished(reason: str, kind: DownKind) -> None:
    down = event(line("state", state="down", reason=reason))
    assert isinstance(down, SessionDown)
    assert down.kind is kind


def test_a_down_may_come_without_a_reason() -> None:
    assert event(line("state", state="down")) == SessionDown(PEER, "", notified=False)


def test_graceful_restart_that_does_not_list_the_family_retains_nothing() -> None:
    """FRR's default: `4002 0078`."""
    restart = {"name": "graceful restart", "time": 120, "address-family-flags": {}, "restart-flags": []}
    event_ = opened({"64": restart})
    assert isinstance(event_, SessionOpened)
    assert (event_.restart_time_s, event_.forwarding_preserved) == (None, False)


def opened(capabilities: dict[str, Any]) -> SpeakerEvent | None:
    message = {"version": 4, "asn": 64513, "hold_time": 9, "router_id": "192.0.2.99", "capabilities": capabilities}
    return event(line("open", direction="receive", open=message))


def test_an_open_without_graceful_restart_is_decoded_without_a_restart_time() -> None:
    assert opened({"2": {"name": "route-refresh"}}) == SessionOpened(
        PEER, Asn(64513), Address.parse("192.0.2.99"), 9, None, forwarding_preserved=False, four_octet=False
    )


def test_an_open_without_capabilities_offers_none_of_them() -> None:
    opening = opened({})
    assert isinstance(opening, SessionOpened)
    assert not any((opening.route_refresh, opening.extended_message, opening.four_octet, opening.enhanced_refresh))
    everything = opened({"128": {}, "6": {}, "65": {"asn4": 64513}})
    assert isinstance(everything, SessionOpened)
    assert all((everything.route_refresh, everything.extended_message, everything.four_octet))


def test_the_roles_in_an_open_are_read_as_numbers() -> None:
    opening = opened({"9": {"name": "role", "roles": [3, 256]}})
    assert isinstance(opening, SessionOpened)
    assert opening.roles == (3, 256)


def test_a_peer_with_enhanced_route_refresh_marks_the_end_of_a_table() -> None:
    opening = opened({"2": {"name": "route-refresh"}, "70": {"name": "enhanced-route-refresh"}})
    assert isinstance(opening, SessionOpened)
    assert opening.enhanced_refresh


@pytest.mark.parametrize(("flags", "preserved"), [(["restart"], True), ([], False)])
def test_the_forwarding_bit_is_named_restart_by_exabgp(flags: list[str], preserved: bool) -> None:
    capability = {"time": 60, "address-family-flags": {"ipv4/unicast": flags}, "restart-flags": ["forwarding"]}
    opening = opened({"64": capability})
    assert isinstance(opening, SessionOpened)
    assert (opening.restart_time_s, opening.forwarding_preserved) == (60, preserved)


# Routes --------------------------------------------------------------------------------------------------------


def test_an_announcement_carries_its_attributes() -> None:
    text = update(
        {
            "origin": "igp",
            "as-path": {
                "10": {"element": "as-set", "value": [3]},
                "2": {"element": "as-sequence", "value": [1, 2]},
            },
            "med": 50,
            "local-preference": 100,
            "community": [[64512, 7], [65535, 65281]],
            "large-community": [[64512, 1, 2]],
            "extended-community": [{"value": 219550481834311687, "string": "encap:IPIP"}],
            "originator-id": "192.0.2.3",
            "cluster-list": ["192.0.2.4", "192.0.2.5"],
        },
        announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": str(BLUE)}, {"nlri": str(RED)}]}},
    )
    shared: dict[str, Any] = {
        "next_hop": NEXT_HOP,
        "as_path": (1, 2, 3),
        "local_pref": 100,
        "med": 50,
        "communities": ((64512, 7), (65535, 65281), (64512, 1, 2)),
        "extended": (0x030C000000000007,),
        "originator": Address.parse("192.0.2.3"),
        "cluster_list": (Address.parse("192.0.2.4"), Address.parse("192.0.2.5")),
    }
    assert event(text) == Update(PEER, announced=(Path(BLUE, **shared), Path(RED, **shared)))


def test_withdrawals_are_read() -> None:
    assert event(update(withdraw={"ipv4 unicast": [{"nlri": str(BLUE)}]})) == Update(PEER, withdrawn=(BLUE,))


def test_an_announcement_wins_over_a_withdrawal_in_the_same_update() -> None:
    text = update(
        {"origin": "igp"},
        announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": str(BLUE)}]}},
        withdraw={"ipv4 unicast": [{"nlri": str(BLUE)}, {"nlri": str(RED)}]},
    )
    assert event(text) == Update(PEER, announced=(Path(BLUE, NEXT_HOP),), withdrawn=(RED,))


def test_an_update_with_a_bad_attribute_withdraws_all_it_names() -> None:
    text = update(
        {"origin": "igp", "error": "treat-as-withdraw"},
        announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": str(BLUE)}]}},
        withdraw={"ipv4 unicast": [{"nlri": str(RED)}]},
    )
    assert event(text) == Update(PEER, withdrawn=(BLUE, RED))


@pytest.mark.parametrize("order", [("fd00::2", "fe80::2"), ("fe80::2", "fd00::2")])
def test_of_two_next_hops_the_global_one_is_kept(order: tuple[str, str]) -> None:
    text = update({"origin": "igp"}, announce={"ipv6 unicast": {key: [{"nlri": "fd01::/64"}] for key in order}})
    assert announced(text) == (Path(Prefix.parse("fd01::/64"), Address.parse("fd00::2")),)


def test_an_update_without_next_hop_is_passed_on_as_such() -> None:
    text = update({"origin": "igp"}, announce={"ipv4 unicast": {"no-nexthop": [{"nlri": str(BLUE)}]}})
    assert announced(text) == (Path(BLUE, None),)


def test_bits_behind_the_prefix_length_mean_nothing() -> None:
    text = update({"origin": "igp"}, announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": "10.1.0.1/26"}]}})
    assert announced(text) == (Path(BLUE, NEXT_HOP),)


def test_other_families_are_left_alone() -> None:
    text = update({"origin": "igp"}, announce={"ipv4 flow": {"no-nexthop": [{"string": "flow"}]}})
    assert event(text) == Update(PEER)


def test_end_of_rib_and_refresh_marks_name_the_family() -> None:
    eor = line("update", direction="receive", message={"eor": {"afi": "ipv6", "safi": "unicast"}})
    assert event(eor) == EndOfRib(PEER, 6)

    def refresh(subtype: str) -> SpeakerEvent | None:
        mark = {"afi": "ipv4", "safi": "unicast", "subtype": subtype}
        return event(line("refresh", direction="receive", **{"route-refresh": mark}))

    assert refresh("begin") == RefreshBegun(PEER, 4)
    assert refresh("end") == RefreshEnded(PEER, 4)
    assert refresh("query") is None


# Everything else -----------------------------------------------------------------------------------------------


def test_the_notice_that_exabgp_stops_is_no_event() -> None:
    assert decode.decode('{ "exabgp": "5.0.0", "type": "notification", "notification": "shutdown" }') == decode.Noise()


def test_our_own_messages_are_no_events() -> None:
    assert decode.decode(line("update", direction="send", message={"update": {}})) == decode.Noise()


def test_a_password_in_exabgps_listing_is_not_kept() -> None:
    assert decode.decode('  md5-password "c2VjcmV0";') == decode.Noise()
    assert decode.decode('  description "bgpctl-0a1b";') == decode.Description("bgpctl-0a1b")


def test_a_description_of_several_words_is_read_whole() -> None:
    """Otherwise a session with keepaliveTime is never found in force, and ExaBGP is started again and again."""
    tag = "bgpctl-0a1b role 3 keepalive 10"
    assert decode.decode(f'\tdescription "{tag}";') == decode.Description(tag)


def test_the_first_second_of_a_session_counts_as_established() -> None:
    listing = [
        {"state": "down", "duration": 0, "fsm": "ESTABLISHED", "peer": {"address": str(PEER)}},
        {"state": "down", "duration": 44, "fsm": "ACTIVE", "peer": {"address": str(OTHER)}},
    ]
    states = (decode.NeighborState(PEER, 0), decode.NeighborState(OTHER, None))
    assert decode.decode(json.dumps(listing)) == decode.Neighbors(states)


def test_the_listing_has_which_peers_offer_route_refresh() -> None:
    def listed(capabilities: dict[str, bool | None], fsm: str = "ESTABLISHED") -> bool:
        peer = {"address": str(PEER), "capabilities": capabilities}
        found = decode.decode(json.dumps([{"duration": 9, "fsm": fsm, "peer": peer}]))
        assert isinstance(found, decode.Neighbors)
        return found.states[0].refreshes

    assert listed({"route-refresh": True})
    assert not listed({"route-refresh": False})
    assert listed({"route-refresh": None}, "ACTIVE")


def test_hello_pong_and_advertised_routes_are_read() -> None:
    assert decode.decode('{"bridge": "hello", "exabgp": 7, "lost": true, "version": 1}') == decode.Hello(7, lost=True)
    assert decode.decode("exabgp 5.0.15") == decode.Pong()
    routes = json.dumps({str(PEER): {"routes": [{"prefix": str(BLUE), "family": "ipv4 unicast"}]}})
    assert decode.decode(routes) == decode.Advertised(PEER, (BLUE,))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[[[[" * 50_000,
        "[1]",
        "{}",
        line("state"),
        line("update", message={}),
        update({"origin": 3}, announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": str(BLUE)}]}}),
        update({"as-path": [64512]}, announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": str(BLUE)}]}}),
        update({"community": [[1, 2, 3]]}, announce={"ipv4 unicast": {str(NEXT_HOP): [{"nlri": str(BLUE)}]}}),
        update(withdraw={"ipv4 unicast": [{"nlri": 10}]}),
        update(withdraw={"ipv4 unicast": [{"nlri": "10.0.0.0/99"}]}),
    ],
)
def test_a_line_of_no_known_shape_is_unrecognised(text: str) -> None:
    assert decode.decode(text) == decode.Unrecognised(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
places = ["state", "open", "message", "route-refresh", "reason"]
kinds = st.sampled_from(["state", "open", "update", "refresh", "notification", "other"])


@given(kinds, st.dictionaries(st.sampled_from(places), json_values))
def test_no_json_makes_the_reader_fail(kind: str, neighbor: dict[str, Any]) -> None:
    assert decode.decode(line(kind, **neighbor)) is not None


@given(st.dictionaries(st.sampled_from(["attribute", "announce", "withdraw"]), json_values), json_values)
def test_no_update_makes_the_reader_fail(body: dict[str, Any], entry: Any) -> None:
    assert decode.decode(update(**body)) is not None
    assert decode.decode(update({"med": entry}, announce={"ipv4 unicast": {str(NEXT_HOP): entry}})) is not None


@given(st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    assert decode.decode(text) is not None


prefixes = st.builds(
    lambda value, length: Prefix(4, value >> (32 - length) << (32 - length), length),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
paths = st.builds(
    Path,
    prefix=prefixes,
    next_hop=st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    as_path=st.lists(st.builds(Asn, st.integers(0, 2**32 - 1)), max_size=3).map(tuple),
    origin=st.sampled_from(["igp", "egp", "incomplete"]),
    local_pref=st.none() | st.integers(0, 2**32 - 1),
    med=st.none() | st.integers(0, 2**32 - 1),
)


def written(path: Path) -> str:
    attributes: dict[str, Any] = {
        "origin": path.origin,
        "as-path": {"0": {"element": "as-sequence", "value": list(path.as_path)}},
        "local-preference": path.local_pref,
        "med": path.med,
    }
    known = {name: value for name, value in attributes.items() if value is not None}
    return update(known, announce={"ipv4 unicast": {str(path.next_hop): [{"nlri": str(path.prefix)}]}})


@given(paths)
def test_a_path_survives_being_written_and_read(path: Path) -> None:
    assert announced(written(path)) == (path,)


# Batches -------------------------------------------------------------------------------------------------------

updates = st.builds(
    lambda peer, named: Update(
        peer,
        announced=tuple(Path(prefix, NEXT_HOP, med=med) for prefix, med in named.items() if med),
        withdrawn=tuple(prefix for prefix, med in named.items() if not med),
    ),
    st.sampled_from([PEER, OTHER]),
    st.dictionaries(st.sampled_from([BLUE, RED]), st.integers(0, 3)),
)
changes: st.SearchStrategy[SpeakerEvent] = updates | st.builds(SessionUp, st.sampled_from([PEER, OTHER]))


def table(events: list[SpeakerEvent]) -> dict[tuple[Address, Prefix], Path]:
    paths: dict[tuple[Address, Prefix], Path] = {}
    for happened in events:
        if isinstance(happened, Update):
            paths.update({(happened.peer, path.prefix): path for path in happened.announced})
            for prefix in happened.withdrawn:
                paths.pop((happened.peer, prefix), None)
    return paths


@given(st.lists(changes))
def test_joining_updates_changes_no_table(events: list[SpeakerEvent]) -> None:
    assert table(list(decode.joined(events))) == table(events)


@given(st.lists(changes))
def test_a_joined_update_names_each_prefix_once_and_has_no_neighbour_of_its_peer(events: list[SpeakerEvent]) -> None:
    joined = list(decode.joined(events))
    for happened in joined:
        if isinstance(happened, Update):
            named = [path.prefix for path in happened.announced] + list(happened.withdrawn)
            assert len(named) == len(set(named))
    for former, latter in pairwise(joined):
        assert not (isinstance(former, Update) and isinstance(latter, Update) and former.peer == latter.peer)
    assert [e for e in joined if not isinstance(e, Update)] == [e for e in events if not isinstance(e, Update)]


# Commands ------------------------------------------------------------------------------------------------------


def test_an_announcement_without_attributes_has_ourselves_as_next_hop() -> None:
    assert encode.encode(Announce(BLUE)) == "announce route 10.1.0.0/26 next-hop self\n"


def test_attributes_are_written_as_exabgp_reads_them() -> None:
    attributes = Attributes(
        next_hop=NEXT_HOP,
        as_path=(Asn(64512), Asn(4200000001)),
        local_pref=200,
        med=0,
        communities=((64512, 7), (65535, 0), (64512, 1, 2)),
        extended=(0x030C000000000007, 1),
        originator=OTHER,
        cluster_list=(PEER, OTHER),
        origin="incomplete",
    )
    assert encode.encode(Announce(BLUE, None, attributes)) == (
        "announce route 10.1.0.0/26 next-hop 192.0.2.9 origin incomplete as-path [ 64512 4200000001 ] "
        "local-preference 200 med 0 "
        "community [ 64512:7 65535:0 ] large-community [ 64512:1:2 ] "
        "extended-community [ 0x030c000000000007 0x0000000000000001 ] originator-id 192.0.2.8 "
        "cluster-list [ 192.0.2.7 192.0.2.8 ]\n"
    )


def test_sets_and_attributes_that_are_passed_on_are_written_as_exabgp_reads_them() -> None:
    attributes = Attributes(
        as_path=(Asn(64512), AsSet((Asn(65010), Asn(65011))), Asn(65020)),
        passed_on=(
            RawAttribute(0x40, 6, b""),
            RawAttribute(0xC0, 7, bytes.fromhex("0000fde901020304")),
            RawAttribute(0xC0, 35, bytes.fromhex("0000fde9")),
            RawAttribute(0xE0, 200, b""),
        ),
    )
    assert encode.encode(Announce(BLUE, None, attributes)) == (
        "announce route 10.1.0.0/26 next-hop self as-path [ 64512 ] ( 65010 65011 ) [ 65020 ] "
        "attribute [ 0x06 0x40 0x ] aggregator ( 65001:1.2.3.4 ) attribute [ 0x23 0xc0 0x0000fde9 ] "
        "attribute [ 0xc8 0xe0 0x ]\n"
    )


def test_the_patched_exabgp_gets_the_octets_of_attributes_for_both_sizes_of_as_numbers() -> None:
    attributes = Attributes(NEXT_HOP, (Asn(64512), Asn(4200000001)), passed_on=(RawAttribute(0xE0, 200, b"\xaa"),))
    four, two = "4002 0a 0202 0000fc00 fa56ea01", "4002 06 0202 fc00 5ba0"
    wide, narrow = (bytes.fromhex(f"400101 00 {path}").hex() for path in (four, two))
    assert encode.encode_raw(Announce(BLUE, PEER, attributes)) == (
        f"neighbor 192.0.2.7 announce raw 10.1.0.0/26 192.0.2.9 {wide}e0c801aa "
        f"{narrow}c0110a02020000fc00fa56ea01e0c801aa\n"
    )
    assert encode.encode_raw(Withdraw(BLUE, PEER)) == "neighbor 192.0.2.7 withdraw raw 10.1.0.0/26\n"
    assert encode.encode_raw(SendEndOfRib(PEER, 4)) == encode.encode(SendEndOfRib(PEER, 4))


def test_commands_for_one_peer_name_it() -> None:
    assert encode.encode(Announce(BLUE, PEER)) == "neighbor 192.0.2.7 announce route 10.1.0.0/26 next-hop self\n"
    assert encode.encode(SendEndOfRib(PEER, 4)) == "neighbor 192.0.2.7 announce eor ipv4 unicast\n"
    assert encode.encode(AskRefresh(PEER, 6)) == "neighbor 192.0.2.7 announce route-refresh ipv6 unicast\n"


def sent(orphaned: OrphanedRoutes, *commands: SpeakerCommand) -> list[str]:
    orders = (order for command in commands for order in orphaned.orders(command))
    return [f"{f'neighbor {peer} ' if peer else ''}{text}\n" for peer, text in orders]


def test_routes_of_a_dead_agent_are_withdrawn_before_end_of_rib() -> None:
    orphaned = OrphanedRoutes({PEER: [BLUE, RED], OTHER: [RED]}, patched=False)
    announce, end = Announce(BLUE, PEER), SendEndOfRib(PEER, 4)
    assert sent(orphaned, announce, end) == [
        encode.encode(announce),
        encode.encode(Withdraw(RED, PEER)),
        encode.encode(end),
    ]
    assert sent(orphaned, end) == [encode.encode(end)]


CHEAP, DEAR = Attributes(med=1), Attributes(med=2)


@pytest.mark.parametrize(
    ("before", "withdrawn"),
    [
        ([Announce(BLUE, None, DEAR)], "withdraw route 10.1.0.0/26 next-hop self med 2\n"),
        ([Announce(BLUE, None, DEAR), Announce(BLUE, None, CHEAP)], "withdraw route 10.1.0.0/26 next-hop self med 1\n"),
        ([Announce(BLUE, PEER, CHEAP)], "withdraw route 10.1.0.0/26 next-hop self\n"),
        ([Announce(BLUE, None, DEAR), Withdraw(BLUE)], "withdraw route 10.1.0.0/26 next-hop self\n"),
    ],
)
def test_a_withdrawal_differs_from_its_announcement_in_one_word(before: list[SpeakerCommand], withdrawn: str) -> None:
    assert sent(OrphanedRoutes({}, patched=False), *before, Withdraw(BLUE))[-1] == withdrawn
    assert sent(OrphanedRoutes({}), *before, Withdraw(BLUE))[-1] == "withdraw raw 10.1.0.0/26\n"


def test_one_peer_is_withdrawn_from_with_the_attributes_it_was_sent() -> None:
    orphaned = OrphanedRoutes({}, patched=False)
    sent(orphaned, Announce(BLUE, None, CHEAP), Announce(BLUE, PEER, DEAR))
    assert sent(orphaned, Withdraw(BLUE, PEER)) == [
        "neighbor 192.0.2.7 withdraw route 10.1.0.0/26 next-hop self med 2\n"
    ]
    assert sent(orphaned, Withdraw(BLUE, OTHER)) == [
        "neighbor 192.0.2.8 withdraw route 10.1.0.0/26 next-hop self med 1\n"
    ]


def test_a_route_announced_to_all_is_orphaned_at_no_peer() -> None:
    orphaned = OrphanedRoutes({PEER: [BLUE], OTHER: [BLUE]}, patched=False)
    commands = (Announce(BLUE), SendEndOfRib(PEER, 4), SendEndOfRib(OTHER, 4))
    assert sent(orphaned, *commands) == [encode.encode(command) for command in commands]
