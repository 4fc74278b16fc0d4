"""Readiness, liveness, metrics, and the notifications to systemd."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.agent import health, health_http, views
from bgpctl.agent.metrics import Metrics
from bgpctl.agent.pages import TcpPages
from bgpctl.agent.snapshot import Snapshot, Source
from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Configure,
    IntentLoaded,
    KernelLost,
    Observe,
    Observed,
    PeerRequested,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.reconcile import RESYNC_S
from bgpctl.core.bgp.speaker import Announce, SessionDown, SessionUp, SpeakerAttached
from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.dataplane.effects import after
from bgpctl.core.net.objects import Traffic
from bgpctl.ports import StoreStatus, Unavailable
from bgpctl.process.service_manager import Systemd
from tests.cluster import path, two_racks
from tests.stories.mesh import (
    A2,
    B1,
    B2,
    CONFIGURATION,
    INTENT,
    NEXT_HOP,
    OWN,
    OWN_ROUTE,
    READY,
    ROUTE,
    ROUTES,
    TUNNEL,
    VXLAN_DEVICE,
    VXLAN_MEMBERS,
    VXLAN_NEXT_HOPS,
    WORKLOAD_FILTER,
    converged,
    greeting,
    session_up,
    sessions_with,
)
from tests.stories.play import Play, placeholder

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def reasons(play: Play) -> list[str]:
    return list(health.unready(play.state))


def without_bgp() -> Play:
    play = Play()
    play.give(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))).expect(Observe())
    return play


# Ready ---------------------------------------------------------------------------------------------------------


def test_a_node_is_not_ready_before_the_last_wanted_object_is_in_the_kernel() -> None:
    play = without_bgp()
    assert reasons(play) == ["kernel state was not read yet"]
    ops = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(ops))
    for left, op in zip(range(len(ops()), 0, -1), ops(), strict=True):
        assert reasons(play) == [f"{count(left, 'kernel object')} still to be changed"]
        play.kernel = after(play.kernel, op)
        play.give(Applied(())).expect(Observe())
        left_over = [WakeAt(placeholder())] if left > 1 else [WakeAt(play.in_s(RESYNC_S)), Configure(None)]
        play.give(Observed(play.kernel)).expect(*left_over)
    assert reasons(play) == []


def test_a_node_is_not_ready_before_every_peer_has_sent_end_of_rib() -> None:
    play = Play()
    play.give(IntentLoaded(INTENT)).expect(CONFIGURATION, Observe())
    play.settle(*TUNNEL, f"+ {OWN_ROUTE}")
    assert "ExaBGP does not answer yet" in reasons(play)
    play.give(SpeakerAttached(1, ())).expect(Observe())
    play.settle()
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26")):
        session_up(play, peer, path(block, peer), then=[Observe(), greeting(peer, READY)])
        play.settle(f"+ {NEXT_HOP[peer]}", f"+ {ROUTE[peer]}")
    assert reasons(play) == ["no End-of-RIB from peer b2 yet"]
    play.give(SessionUp(B2)).expect(greeting(B2, READY), Observe())
    assert reasons(play) == ["no End-of-RIB from peer b2 yet"]
    session_up(play, B2, path("10.244.4.0/26", B2), then=[greeting(B2, READY)])
    play.settle(f"+ {NEXT_HOP[B2]}", f"+ {ROUTE[B2]}")
    assert reasons(play) == []


def test_a_peer_that_never_comes_is_waited_for_until_its_time_is_over() -> None:
    play = Play()
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26")):
        session_up(play, peer, path(block, peer), then=[greeting(peer)])
    play.give(SessionDown(B2, "connection refused", notified=False))
    play.settle(
        *TUNNEL,
        f"+ {NEXT_HOP[B1]}",
        f"+ {NEXT_HOP[A2]}",
        f"+ {OWN_ROUTE}",
        f"+ {ROUTE[A2]}",
        f"+ {ROUTE[B1]}",
        Speak((Announce(OWN, A2, READY), Announce(OWN, B1, READY))),
    )
    assert reasons(play) == ["no End-of-RIB from peer b2 yet"]
    play.now_s += 121
    play.give(Woken()).expect(Observe())
    play.settle()
    assert reasons(play) == []


def test_a_dead_peer_and_one_that_is_shut_leave_the_others_ready() -> None:
    play = converged()
    play.give(SessionDown(B1, "closing connection", notified=False)).expect(Observe())
    play.settle()
    assert reasons(play) == []
    play.give(PeerRequested(A2, up=False)).expect(Configure(sessions_with(B1, B2)), Observe())
    # b1 is awaited, and is no source of a block of a2's.
    play.settle("- route 10.244.2.0/26 nhid 0x42eafc77 proto 179 metric 1024 table 254")
    assert reasons(play) == []


def test_without_a_kernel_no_node_is_ready() -> None:
    play = converged()
    play.give(KernelLost("the netlink socket is gone")).expect(WakeAt(play.in_s(1)))
    assert len(reasons(play)) == 1
    assert "the netlink socket is gone" in reasons(play)[0]


def test_without_bgp_no_page_mentions_it() -> None:
    play = without_bgp()
    texts = [Metrics(lambda: Snapshot(play.state, 1.0, {})).page().decode(), *reasons(play)]
    play.settle(
        *VXLAN_DEVICE,
        "+ sysctl net/ipv4/ip_forward=1",
        VXLAN_MEMBERS[0],
        WORKLOAD_FILTER,
        *VXLAN_MEMBERS[1:],
        *VXLAN_NEXT_HOPS,
        *ROUTES,
        Configure(None),
    )
    texts += [Metrics(lambda: Snapshot(play.state, 1.0, {})).page().decode(), *reasons(play)]
    about_us = re.sub(r"bgpctl\w*|Lines that bgpctl show summary", "", "\n".join(texts))
    assert not re.search(r"bgp|peer|session", about_us, re.IGNORECASE)


# The pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[tuple[Play, list[float], int]]:
    play, silent_s = converged(), [1.0]
    pages = TcpPages(
        "127.0.0.1", 0, health_http.pages(lambda: Snapshot(play.state, play.now_s, {}), lambda: silent_s[0])
    )
    yield play, silent_s, pages.port
    pages.close()


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def test_the_pages_report_health_by_their_status(served: tuple[Play, list[float], int]) -> None:
    play, silent_s, port = served
    assert get(port, "/readiness")[0] == get(port, "/liveness")[0] == get(port, "/metrics")[0] == 200
    play.give(KernelLost("gone")).expect(WakeAt(play.in_s(1)))
    silent_s[0] = 61.0
    status, text = get(port, "/readiness")
    assert (status, "gone" in text) == (503, True)
    assert get(port, "/liveness")[0] == 503
    assert "bgpctl_ready 0.0" in get(port, "/metrics")[1]


def test_tcp_serves_nothing_else_and_accepts_no_command(served: tuple[Play, list[float], int]) -> None:
    _, _, port = served
    assert get(port, "/v1/summary")[0] == 404
    assert get(port, "/v1/drain", "POST")[0] == 405


def test_a_port_that_is_taken_is_named(served: tuple[Play, list[float], int]) -> None:
    _, _, port = served
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}.*choose another with --health"):
        TcpPages("127.0.0.1", port, {})


def test_the_metrics_are_those_in_the_document_and_no_others() -> None:
    play = converged()
    source = Source(store=StoreStatus("etcd://a:1/default", is_heard=True))
    page = Metrics(lambda: Snapshot(play.state, play.now_s, {}, source=source)).page().decode()
    listed = set(re.findall(r"^# TYPE (bgpctl_\w+) ", page, re.MULTILINE))
    assert listed == set(re.findall(r"^\| `(bgpctl_\w+)", DOCUMENT.read_text(), re.MULTILINE))


def test_a_store_that_is_away_is_in_the_metrics_and_the_problems_with_since_when() -> None:
    play = converged()
    status = StoreStatus(
        "etcd://a:1/default",
        is_heard=False,
        heard_at_s=play.now_s - 12,
        reason="Connection refused",
        uuid="u",
        revision=42,
    )
    snapshot = Snapshot(play.state, play.now_s, {}, source=Source(store=status))
    page = Metrics(lambda: snapshot).page().decode()
    assert "bgpctl_store_up 0.0" in page
    assert "bgpctl_store_silent_seconds 12.0" in page
    assert views.summary(snapshot)["problems"][0] == (
        "store etcd://a:1/default is not heard for 12 s (Connection refused); configuration and allocations are stale:"
        " revision 42, the last that was read; forwarding goes on, and nothing is removed"
    )
    held = Source(
        store=StoreStatus("etcd://a:1/default", is_heard=True, uuid="u", revision=42, problems=("it is another one",))
    )
    problems = views.summary(Snapshot(play.state, play.now_s, {}, source=held))["problems"]
    assert problems[0].startswith(
        "store etcd://a:1/default: it is another one; revision 42 of content u stays in force"
    )
    assert views.summary(Snapshot(play.state, play.now_s, {}))["store"] is None


def test_metrics_agree_with_the_summary() -> None:
    play = converged()
    page = Metrics(lambda: Snapshot(play.state, play.now_s, {})).page().decode()
    for line in (
        'bgpctl_info{backend="bgp",node="a1",version=',
        'bgpctl_phase{phase="converged"} 1.0',
        'bgpctl_phase{phase="degraded"} 0.0',
        'bgpctl_routes{stage="installed"} 3.0',
        'bgpctl_peer_established{address="10.1.0.3",peer="b1"} 1.0',
        "bgpctl_ready 1.0",
        "process_resident_memory_bytes",
    ):
        assert line in page


def test_metrics_count_the_packets_of_each_tunnel() -> None:
    play = converged()
    counted = {"tunl0": Traffic(5, 500, 7, 700, dropped_packets=2)}
    page = Metrics(lambda: Snapshot(play.state, play.now_s, {}, lambda: counted)).page().decode()
    assert 'bgpctl_tunnel_sent_packets_total{tunnel="tunl0"} 7.0' in page
    assert 'bgpctl_tunnel_dropped_packets_total{tunnel="tunl0"} 2.0' in page


# systemd -------------------------------------------------------------------------------------------------------


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(10)
        channel.setblocking(False)
        yield channel


def notifications(systemd: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_systemd_is_notified_of_changes_and_of_each_watchdog_interval(systemd: socket.socket, tmp_path: Path) -> None:
    notifier = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
    assert notifier.beat_s == 2.0
    for at_s, status, started in ((0.0, "starting", False), (0.1, "starting", False), (0.2, "learning", True)):
        notifier.beat(status, at_s, started=started)
    assert notifications(systemd) == ["STATUS=starting\nWATCHDOG=1", "STATUS=learning\nREADY=1\nWATCHDOG=1"]
    notifier.beat("learning", 1.1, started=True)
    assert notifications(systemd) == []
    notifier.beat("learning", 1.3, started=True)
    notifier.stopping()
    assert notifications(systemd) == ["WATCHDOG=1", "STOPPING=1"]


def test_the_watchdog_of_another_process_is_not_ours(systemd: socket.socket, tmp_path: Path) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}
    Systemd(variables).beat("converged", 0.0, started=True)
    assert notifications(systemd) == ["STATUS=converged\nREADY=1"]


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_without_systemd_nothing_is_sent_and_nothing_fails(variables: dict[str, str]) -> None:
    Systemd(variables).beat("converged", 0.0, started=True)
    Systemd(variables).stopping()
