"""
Every fault that loses packets, in a lab of each encapsulation; the same with masks that are too wide, and with files
that differ between nodes. BGPCTL_TEST_CASES is a part of the names of those that are made; without, all are.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.packet_cases import ENCAPSULATED, check, findings, lab_with, rows, run, summary, verified
from tests.lab.packet_cases6 import ENCAPSULATED6, rows6
from tests.lab.rig import kill
from tests.topologies import read_cluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

ONLY = os.environ.get("BGPCTL_TEST_CASES", "")
ALL = {**ENCAPSULATED, **ENCAPSULATED6}
ROWS = {
    **{by: rows(item) for by, item in ENCAPSULATED.items()},
    **{by: rows6(item) for by, item in ENCAPSULATED6.items()},
}
CASES = [(by, name) for by, names in ROWS.items() for name in names if ONLY in f"{by} {name}"]


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    by: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGPCTL_AGENT_RUN_PROVE_EVERY_S", "1s")
        with lab_with(ALL[by], tmp_path_factory.mktemp(by), f"pn{os.getpid()}-{by}") as made:
            yield made


@pytest.mark.parametrize(("lab", "by", "name"), [(by, by, name) for by, name in CASES], indirect=["lab"])
def test_a_fault_is_named_by_every_command_and_mended_by_the_doctors(lab: Lab, by: str, name: str) -> None:
    check(lab, name, ROWS[by][name])


# Other files and other masks ---------------------------------------------------------------------------------------


@contextmanager
def fresh(by: str, directory: Path) -> Iterator[Lab]:
    """A lab of its own, for what cannot be undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGPCTL_AGENT_RUN_PROVE_EVERY_S", "1s")
        with lab_with(ENCAPSULATED[by], directory, f"pf{os.getpid()}-{by}") as made:
            yield made


def restarted(lab: Lab, node: str, text: str) -> None:
    """The node's agent with a file of its own."""
    kill(lab, node, signal.SIGTERM)
    own = lab.directory / f"{node}.yaml"
    own.write_text(text)
    replace(lab, topology=replace(lab.topology, file=own)).start_agent(node)


def says(lab: Lab, node: str, text: str) -> None:
    """The node has not converged, and a problem has this text; doctor has it too."""

    def is_said() -> bool:
        found = summary(lab, node)
        return not found["converged"] and any(text in line for line in found["problems"])

    wait_until(is_said, within_s=60)
    assert any(text in item.message for item in findings(lab, node)), findings(lab, node)


def fails(lab: Lab, intent: Intent, text: str) -> None:
    """Verify by this configuration has a class or a line with the text."""
    seen = replace(lab, topology=replace(lab.topology, intent=intent))
    answers: list[str] = []

    def is_said() -> bool:
        answers.append(verified(seen))
        return text in answers[-1]

    with suppress(AssertionError):
        wait_until(is_said, within_s=30)
    assert text in answers[-1]


def test_a_new_node_in_its_own_file_and_one_others(tmp_path: Path) -> None:
    with fresh("vxlan", tmp_path) as lab:
        text = lab.topology.file.read_text()
        new = text.replace("b2: {address: 10.1.0.4/24}", "b2: {address: 10.1.0.4/24, blocks: [10.244.4.0/26]}")
        old = text.replace("  b2: {address: 10.1.0.4/24}\n", "")
        for node in ("a1", "b2"):
            restarted(lab, node, new)
        for node in ("a2", "b1"):
            restarted(lab, node, old)
        says(lab, "a1", "a2, b1 have other members than this node")
        says(lab, "b2", "no probe reply from a2 by vxlan.bgpctl (UDP port 4789), but without encapsulation")
        fails(lab, read_cluster(tmp_path, new), "a2: ")


def test_a_node_that_all_files_but_its_own_have_lost(tmp_path: Path) -> None:
    with fresh("vxlan", tmp_path) as lab:
        text = lab.topology.file.read_text()
        without = text.replace("  b1: {address: 10.1.0.3/24, blocks: [10.244.3.0/26]}\n", "")
        restarted(lab, "b1", text)
        for node in ("a1", "a2", "b2"):
            restarted(lab, node, without)
        says(lab, "b1", "no probe reply from a1, a2 by vxlan.bgpctl (UDP port 4789), but without encapsulation")
        fails(lab, read_cluster(tmp_path, text), "tunnel packets from 10.1.0.3 are not let in")


@pytest.mark.parametrize("by", ENCAPSULATED)
def test_masks_that_are_too_wide_in_all_files_from_the_beginning(tmp_path: Path, by: str) -> None:
    with fresh(by, tmp_path) as lab:
        text = lab.topology.file.read_text()
        wide = re.sub(r"(address: 10\.[01]\.0\.\d)/24", r"\1/15", text)
        for node in ("a1", "a2", "b1", "b2"):
            kill(lab, node, signal.SIGTERM)
            command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(lab.run_dir(node)))
            assert netns.spawn(lab.names.of(node), command, lab.directory / "cleanup.log").wait(timeout=30) == 0
            own = next(str(item.address.address) for item in lab.topology.intent.nodes if item.name == node)
            gateway = own.rsplit(".", 1)[0] + ".254"
            run(lab, node, f"ip addr add {own}/15 dev eth0; ip addr del {own}/24 dev eth0")
            run(lab, node, f"ip route replace default via {gateway} dev eth0; ip neigh flush dev eth0")
        lab.topology.file.write_text(wide)
        for node in ("a1", "a2", "b1", "b2"):
            lab.start_agent(node)
        intent = read_cluster(tmp_path, wide)
        seen = replace(lab, topology=replace(lab.topology, intent=intent))
        says(seen, "a1", "peer b1 is not established" if by == "ipip" else "no probe reply from b1 by eth0")
        text = "no neighbour answers on eth0 for 10.1.0.3"
        wait_until(lambda: text in str(findings(seen, "a1")), within_s=30)
        assert "or the mask of 10.0.0.1/15 is too wide" in str(findings(seen, "a1"))
        fails(lab, intent, f"{text}: the file's mask may be too wide")
