"""
A member's kernel by the channel between agents: real TLS, and a namespace with objects of another program in it, over
both IP versions. What a member gets is what a program in that namespace reads.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from bgpctl import channel, client
from bgpctl.agent import trace_codec, views
from bgpctl.agent.others import Others
from bgpctl.agent.snapshot import Snapshot
from bgpctl.channel import Answer, Member, NoAnswer
from bgpctl.core.agent.state import State, begin
from bgpctl.core.cluster.agreement import digest
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import InterfaceAddress, Prefix
from bgpctl.core.trace.netfilter import Verdict
from bgpctl.kernel import snapshot
from bgpctl.kernel.host import LinuxHost
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.process import keys
from tests.contract.kernel_rig import own_namespace, shell
from tests.probers import NoProber
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

PORT: Final = 9179
HOSTS: Final = {4: "10.9.0.{}", 6: "fd00:9::{}"}
LENGTHS: Final = {4: 24, 6: 64}
NODES: Final = tuple(
    Node(f"h{n}", InterfaceAddress.parse(f"10.9.0.{n}/24"), InterfaceAddress.parse(f"fd00:9::{n}/64")) for n in (1, 2)
)
THEIRS: Final = (
    "add table inet theirs",
    "add chain inet theirs forward { type filter hook forward priority 10 ; policy accept ; }",
    "add rule inet theirs forward ip saddr 10.244.1.0/26 tcp dport 1-99 reject",
)


@dataclass
class Agent:
    """h1's agent, as far as the channel goes: a runner and its answers."""

    state: State
    generation: int = 0
    settled: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, view: str, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append(view)
        return views.kernel(Snapshot(self.state, 1.0, query), LinuxHost().snapshot)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ca") / "keys"
    keys.make_ca(made)
    for name in ("h1", "h2", "h4"):
        keys.issue(made, name)
    return made / keys.NODES


@pytest.fixture(scope="module")
def agent(authority: Path) -> Iterator[Agent]:
    with own_namespace():
        shell("link set lo up")
        for version, length in LENGTHS.items():
            for number in (1, 2, 4):
                shell(f"-{version} address add {HOSTS[version].format(number)}/{length} dev lo")
        shell("route add blackhole 10.244.9.0/26 proto bird", "rule add priority 99 from 10.244.1.7 lookup 77")
        for command in THEIRS:
            subprocess.run(("nft", command), check=True)
        kernel = LinuxKernel()
        begun = begin("h1", 0.0)
        state = replace(
            begun,
            intent=begun.intent.accepted(Intent(nodes=NODES, channel_port=PORT)),
            kernel=begun.kernel.seen(kernel.observe()),
        )
        kernel.close()
        made = Agent(state)
        others = Others(lambda: made, authority / "h1", lambda: 0.0, time.monotonic, NoProber().watch)  # type: ignore[arg-type, return-value]
        others.serve(made.answer)
        others.beat(state)
        for version in HOSTS:
            wait_until(lambda version=version: listens(version), within_s=15)  # type: ignore[misc]
        yield made
        others.close()


def place(version: int, number: int) -> tuple[str, int]:
    return HOSTS[version].format(number), PORT


def listens(version: int) -> bool:
    with suppress(OSError), socket.create_connection(place(version, 1), 5, (place(version, 2)[0], 0)):
        return True
    return False


def ask(version: int, directory: Path, number: int = 2, request: str = "kernel") -> Answer:
    tls = channel.context(directory, server=False)
    member = Member("h1", *place(version, 1), HOSTS[version].format(number))
    return channel.ask(member, request, 15, tls)


@pytest.mark.parametrize("version", sorted(HOSTS))
def test_a_member_gets_what_a_program_there_reads(agent: Agent, authority: Path, version: int) -> None:
    answer = ask(version, authority / "h2")
    assert not isinstance(answer, NoAnswer), answer
    assert answer.pop("schema") == client.schema("kernel")
    found = trace_codec.decode(answer)
    assert agent.state.intent.in_force
    assert (found.node, found.configuration) == ("h1", digest(agent.state.intent.in_force))
    assert found.snapshot == snapshot.read()
    (chain,) = found.snapshot.chains
    assert [rule.verdict for rule in chain.rules] == [Verdict.REJECT]
    assert Prefix.parse("10.244.9.0/26") in {route.prefix for route in found.snapshot.dataplane.routes}
    assert "from 10.244.1.7" in {rule.selector.removesuffix("/32") for rule in found.snapshot.dataplane.rules}


@pytest.mark.parametrize("version", sorted(HOSTS))
def test_without_a_members_certificate_nothing_is_read_and_nothing_is_told(
    agent: Agent, authority: Path, tmp_path: Path, version: int
) -> None:
    before = len(agent.asked)
    keys.make_ca(tmp_path / "other")
    foreign = keys.issue(tmp_path / "other", "h2")
    (foreign / "ca.crt").write_bytes((authority / "h1" / "ca.crt").read_bytes())
    refused = [ask(version, foreign), ask(version, authority / "h4", 4), ask(version, authority / "h2", 4)]
    assert [isinstance(answer, NoAnswer) for answer in refused] == [True] * 3
    assert b"200 OK" not in without_certificate(version)
    assert len(agent.asked) == before
    intent = ask(version, authority / "h2", request="intent")
    assert isinstance(intent, NoAnswer)
    assert "no such view" in intent.reason


def without_certificate(version: int) -> bytes:
    """All that the agent says to a client that has none."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    received = b""
    plain = socket.create_connection(place(version, 1), 15, (place(version, 2)[0], 0))
    with plain, suppress(OSError), tls.wrap_socket(plain) as opened:
        opened.sendall(b"GET /v1/kernel HTTP/1.1\r\nHost: h1\r\n\r\n")
        while chunk := opened.recv(1000):
            received += chunk
    return received
