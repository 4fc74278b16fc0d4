"""Views of `show peers`, `show neighbor` and `show rib`, from states made by plays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bgpctl.agent import bgp_words
from bgpctl.agent.api import Api
from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import answer
from bgpctl.cli.main import main
from bgpctl.core.agent.events import Configure, IntentLoaded, Observe, Speak
from bgpctl.core.bgp.decision import Lost
from bgpctl.core.bgp.peer_table import PeerTable
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import DownKind, Session, SessionDown, SessionOpened, Update, Withdraw
from bgpctl.core.cluster.configuration import Role
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import path
from tests.stories.mesh import A2, B1, EDGE, TOR, at_the_edge, converged
from tests.stories.play import Play

SESSION = Session(TOR, "tor", Address.parse("10.0.0.1"), Asn(64512), Asn(65001), passive=False)


def view_of(play: Play, view: str, **query: str) -> dict[str, Any]:
    return answer(view, Snapshot(play.state, play.now_s + 41, query))


def row(play: Play, peer: str) -> dict[str, Any]:
    (found,) = [row for row in view_of(play, "peers")["peers"] if row["name"] == peer]
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("step", Lost)
def test_every_step_of_the_decision_has_a_text(step: Lost) -> None:
    assert bgp_words.lost(step)


@pytest.mark.parametrize("reason", RejectCode)
def test_every_refusal_has_a_text_that_names_its_subject(reason: RejectCode) -> None:
    words = bgp_words.rejection(Rejection(reason, "10.9.9.9"))
    assert words
    assert "{" not in words


def test_each_kind_of_session_failure_has_its_own_text_and_a_next_command() -> None:
    errors = [bgp_words.session_error(SESSION, PeerTable(down=kind, last_error="(2,7)")) for kind in DownKind]
    assert len({error.text for error in errors if error}) == len(DownKind)
    assert all(error and error.command and "{" not in error.text + error.command for error in errors)


def test_wrong_password_port_and_as_number_and_a_silent_peer_are_distinguished() -> None:
    def words(kind: DownKind, secret: str | None = None) -> str:
        error = bgp_words.session_error(replace(SESSION, password_file=secret), PeerTable(down=kind, asn=Asn(65009)))
        assert error is not None
        return error.text

    assert "password differs" in words(DownKind.NO_ANSWER, "secrets/tor")
    assert "requires a TCP MD5 password" in words(DownKind.NO_ANSWER)
    assert "no daemon listens" in words(DownKind.REFUSED)
    assert "sends no OPEN" in words(DownKind.SILENT)
    assert words(DownKind.WRONG_AS) == "the OPEN of 10.0.0.254 has AS 65009, the cluster file has AS 65001"


@pytest.mark.parametrize(
    ("role", "strict", "numbers", "text"),
    [
        (
            Role.PROVIDER,
            False,
            (0,),
            "role provider; the cluster file has localRole provider, whose counterpart is customer",
        ),
        (
            Role.RS,
            True,
            (),
            "no role; the cluster file has localRole rs, whose counterpart is rs-client, and strictRole",
        ),
        (None, False, (1, 9), "roles rs and 9; it requires one of this node: set localRole"),
    ],
)
def test_roles_that_do_not_belong_together_are_shown_with_both(
    role: Role | None, numbers: tuple[int, ...], text: str, *, strict: bool
) -> None:
    session = replace(SESSION, role=role, strict_role=strict)
    error = bgp_words.session_error(session, PeerTable(down=DownKind.WRONG_ROLE, roles=numbers))
    assert error
    assert error.text == f"the OPEN of 10.0.0.254 has {text}"


def test_a_session_that_was_never_up_names_the_end_that_has_to_connect() -> None:
    waiting = bgp_words.session_error(replace(SESSION, passive=True), PeerTable())
    assert waiting is not None
    assert waiting.text == "waiting for 10.0.0.254 to connect"
    connecting = bgp_words.session_error(SESSION, PeerTable())
    assert connecting is not None
    assert connecting.text == "connecting to 10.0.0.254 port 179"


def test_peers_count_received_rejected_and_advertised_prefixes() -> None:
    play = at_the_edge()
    play.give(Update(TOR, (path("0.0.0.0/0", TOR, 65001), path("192.0.2.0/24", TOR, 65001)))).expect(Observe())
    play.settle()
    tor = row(play, "tor")
    assert (tor["received"], tor["rejected"], tor["advertised"]) == (2, 2, 4)
    assert (tor["type"], tor["error"]) == ("external", None)


def test_a_peer_with_another_as_number_is_reported_with_both_numbers() -> None:
    play = Play()
    play.give(IntentLoaded(EDGE)).expect(Configure(speaker_config(EDGE, "a1")), Observe())
    play.give(SessionOpened(TOR, Asn(65009), TOR, 30, None, forwarding_preserved=False))
    play.give(SessionDown(TOR, "notification sent (2,2)", notified=True, kind=DownKind.WRONG_AS))
    tor = row(play, "tor")
    assert tor["error"] == "the OPEN of 10.0.0.254 has AS 65009, the cluster file has AS 65001"
    assert tor["next"] == "bgpctl show neighbor tor"


def test_a_peer_over_its_prefix_limit_is_reported_though_its_session_is_up() -> None:
    play = at_the_edge()
    limit = play.state.intent.policy.limit if play.state.intent.policy else 0
    flood = tuple(path(Prefix(4, (192 << 24) + number, 32), TOR, 65001) for number in range(limit + 1))
    play.give(Update(TOR, flood)).expect(Observe())
    play.settle()
    assert row(play, "tor")["prefix_limit_exceeded"] is True
    assert any("exceeds the prefix limit" in problem for problem in view_of(play, "summary")["problems"])


def test_a_neighbor_is_found_by_name_or_address_with_its_adj_rib_out() -> None:
    play = at_the_edge()
    play.give(Update(TOR, (path("0.0.0.0/0", TOR, 65001), path("0.0.0.0/1", TOR, 65001)))).expect(Observe())
    play.settle()
    (tor,) = view_of(play, "neighbor", peer="tor")["neighbors"]
    assert view_of(play, "neighbor", peer=str(TOR))["neighbors"] == [tor]
    assert tor["rejected_by_rule"] == {"default-route": 1, "own-block": 1}
    assert tor["prefix_limit"] == 11024
    assert {item["prefix"] for item in tor["advertised_routes"]} >= {"10.244.1.0/26", "10.244.4.0/26"}
    assert view_of(play, "neighbor", peer="unknown")["neighbors"] == []


def test_a_route_that_does_not_fit_in_a_message_is_not_listed_as_advertised_and_reported() -> None:
    play = at_the_edge()
    marked = replace(path("10.244.2.0/24", TOR, 65001), communities=tuple((65001, number) for number in range(1100)))
    play.give(Update(A2, (replace(marked, prefix=Prefix.parse("10.244.2.0/26"), next_hop=A2, as_path=()),))).expect(
        Observe()
    )
    play.settle(Speak((Withdraw(Prefix.parse("10.244.2.0/26"), TOR),)))
    (tor,) = view_of(play, "neighbor", peer="tor")["neighbors"]
    assert tor["too_large"] == ["10.244.2.0/26"]
    assert "10.244.2.0/26" not in {item["prefix"] for item in tor["advertised_routes"]}
    assert tor["advertised"] == len(tor["advertised_routes"])
    assert any("peer tor is not sent 1 route" in problem for problem in view_of(play, "summary")["problems"])


def test_the_subcode_of_a_notification_is_shown_in_words() -> None:
    play = at_the_edge()
    play.give(SessionDown(TOR, "notification received (6,10)", notified=True)).expect(Observe())
    assert row(play, "tor")["error"] == "notification received (6,10): BFD down"


def test_the_rib_shows_the_fate_of_each_path() -> None:
    play = at_the_edge()
    play.give(Update(TOR, (path("0.0.0.0/0", TOR, 65001), path("10.244.2.0/26", A2, 65001)))).expect(Observe())
    play.settle()
    fates = {(item["peer"], item["prefix"]): item for item in view_of(play, "rib")["paths"]}
    assert fates["tor", "10.244.2.0/26"]["reason"] == "longer AS path"
    assert fates["a2", "10.244.2.0/26"]["status"] == "best"
    assert fates["tor", "0.0.0.0/0"]["reason"] == "a default route, and no filter accepts it"
    assert [item["prefix"] for item in view_of(play, "rib", which="rejected")["paths"]] == ["0.0.0.0/0"]
    assert len(view_of(play, "rib", which="best")["paths"]) == 3
    assert {item["peer"] for item in view_of(play, "rib", prefix="10.244.2.0/26")["paths"]} == {"a2", "tor"}


def test_a_path_received_since_the_last_decision_is_pending() -> None:
    play = converged()
    play.give(Update(B1, (path("10.244.8.0/26", B1),))).expect(Observe())
    (new,) = view_of(play, "rib", prefix="10.244.8.0/26")["paths"]
    assert new["status"] == "pending"


def test_a_route_has_the_age_of_its_path_and_an_own_block_has_none() -> None:
    play = converged()
    (learned,) = view_of(play, "routes", prefix="10.244.3.0/26")["routes"]
    (own,) = view_of(play, "routes", prefix="10.244.1.0/26")["routes"]
    assert 41 <= learned["age_s"] < 42
    assert own["age_s"] is None


def test_the_command_line_shows_a_neighbor_and_the_next_command(tmp_path: Path) -> None:
    play = at_the_edge()
    play.give(SessionDown(TOR, "connection refused", notified=False, kind=DownKind.REFUSED)).expect(Observe())
    play.settle()
    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)))
    runner, at = CliRunner(), ["show", "--run-dir", str(tmp_path)]
    try:
        peers = runner.invoke(main, [*at, "peers"])
        tor = runner.invoke(main, [*at, "neighbor", "tor"])
        unknown = runner.invoke(main, [*at, "neighbor", "unknown"])
    finally:
        api.close()
    assert "! tor: 10.0.0.254 refuses connections to port 179: no daemon listens there" in peers.output
    assert "; see: nc -vz" in peers.output
    assert "prefix limit" in tor.output
    assert "10.244.1.0/26" in tor.output
    assert (unknown.exit_code, "no session with unknown" in unknown.output) == (2, True)
