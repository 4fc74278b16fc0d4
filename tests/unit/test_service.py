"""A whole agent on ports in memory: nothing but its API socket is of this host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bgpctl import client
from bgpctl.agent import cleanup, config_changes, service
from bgpctl.agent.runner import Ports
from bgpctl.core.cluster.agreement import digest
from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Traffic
from bgpctl.kernel.fake import FakeHost, FakeKernel
from bgpctl.ports import AlreadyRunning, Loaded
from bgpctl.process.clock import LinuxClock
from bgpctl.process.fake import FakeRunDirectory, FakeServiceManager
from bgpctl.speaker.fake import FakeSpeaker
from bgpctl.store.memory import Memory, MemoryStore
from tests.cluster import bare_kernel, member, two_racks
from tests.probers import NoProber
from tests.waiting import wait_until

INTENTS = {
    "crossing": two_racks(vxlan=Mode.CROSS_SUBNET, backend=Backend.VXLAN),
    "always": two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN),
    "smaller": replace(two_racks(vxlan=Mode.CROSS_SUBNET, backend=Backend.VXLAN), vxlan_mtu=1400),
}
START = bare_kernel(member(INTENTS["always"], "a1"))


class Agent:
    """Of node a1."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.kernel = FakeKernel(START)
        self.host, self.manager, self.directory = FakeHost(), FakeServiceManager(), FakeRunDirectory()
        self.store = MemoryStore(Memory("crossing"), LinuxClock(), self._understand)

    @staticmethod
    def _understand(text: str) -> Loaded:
        return INTENTS[text]

    @contextmanager
    def running(self) -> Iterator[None]:
        ports = Ports(lambda: self.kernel, FakeSpeaker(), self.store, LinuxClock(), NoProber())
        process = service.Process(self.host, self.manager, self.directory)
        thread = threading.Thread(target=service.run, args=("a1", ports, process, service.Servers(self.socket)))
        thread.start()
        try:
            wait_until(lambda: ("converged", True) in self.manager.statuses)
            yield
        finally:
            self.manager.terminate()
            thread.join()


@pytest.fixture
def agent() -> Iterator[Agent]:
    with TemporaryDirectory() as directory:
        yield Agent(Path(directory) / client.SOCKET)


def test_each_edit_is_known_without_the_module_that_makes_it() -> None:
    assert set(service._EDITS) == set(config_changes.EDITS)


def test_an_agent_starts_converges_and_ends_when_it_is_asked_to(agent: Agent) -> None:
    with agent.running():
        assert client.read(agent.socket, "summary")["converged"]
        with pytest.raises(AlreadyRunning), agent.directory.hold():
            raise AssertionError("two agents")
    assert agent.manager.is_stopping
    assert agent.kernel.observe() != START


def test_a_change_is_planned_applied_and_taken_back(agent: Agent) -> None:
    agent.host.peers = frozenset({Address.parse("10.0.0.2")})
    with agent.running():
        plan = client.read(agent.socket, "plan", content="always")
        assert [item["node"] for item in plan["nodes"]] == ["a1"]
        assert plan["nodes"][0]["steps"]
        assert client.ask(agent.socket, "apply", {"within_s": "60"}, content="always")["files"] == ["memory"]
        assert client.read(agent.socket, "summary")["unconfirmed_s"] > 0
        client.ask(agent.socket, "undo")
        assert (agent.store.load(), agent.store.unconfirmed_s()) == (INTENTS["crossing"], None)


def test_after_an_edit_converged_means_by_the_new_configuration(agent: Agent) -> None:
    def converged() -> bool:
        found.append(client.read(agent.socket, "summary"))
        return bool(found[-1]["converged"])

    found: list[dict[str, Any]] = []
    with agent.running():
        edits = (("apply", "smaller"), ("undo", "crossing"), ("undo", "smaller"), ("undo", "crossing"))
        for verb, wanted in edits:
            done = client.ask(agent.socket, verb, content="smaller" if verb == "apply" else "")
            wait_until(converged, within_s=15)
            assert found[-1]["generation"] >= done["generation"]
            assert found[-1]["configuration"] == digest(INTENTS[wanted])


def test_the_journal_is_written_into_the_run_directory_and_traffic_is_the_hosts(agent: Agent) -> None:
    with agent.running():
        link = next(link.name for link in agent.kernel.observe().links if link.owned)
        agent.host.counters = {link: Traffic(1, 2, 3, 4)}
        (tunnel,) = client.read(agent.socket, "tunnels")["tunnels"]
        assert tunnel["traffic"]["sent_bytes"] == 4
        answer = client.ask(agent.socket, "journal")
    assert list(agent.directory.files) == [answer["file"]] == ["journal.jsonl"]
    header = json.loads(agent.directory.files["journal.jsonl"].splitlines()[0])
    assert (header["schema"], header["node"], header["entries"]) == ("bgpctl/journal/v2", "a1", answer["events"])


def test_a_cleanup_leaves_the_kernel_as_it_was(agent: Agent) -> None:
    with agent.running(), pytest.raises(AlreadyRunning):
        cleanup.clean_up(lambda: agent.kernel, FakeSpeaker(), agent.directory)
    ops, failures = cleanup.clean_up(lambda: agent.kernel, FakeSpeaker(), agent.directory)
    assert ops
    assert failures == ()
    left = agent.kernel.observe()
    assert (left.links, left.routes, left.next_hops) == (START.links, START.routes, START.next_hops)
