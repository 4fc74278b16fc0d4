"""Whatever else can change about a cluster changes under traffic too, there and back, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from bgpctl.lab.lab import Lab
from tests.lab.changes import CHANGES, changed, concerned, finished, left_to_do, nothing_left_to_do, prepared, problems
from tests.lab.rig import CONVERGE_S, kill
from tests.lab.traffic import nothing_lost
from tests.waiting import SLOWNESS, wait_until


def follows(lab: Lab, text: str) -> None:
    """Write the file, and wait until every node has applied it."""
    lab.topology.file.write_text(text)
    wait_until(lambda: nothing_left_to_do(lab), within_s=30 * SLOWNESS)


def follow_one_late(lab: Lab, text: str) -> None:
    """One node reads the file only once the others have done what they can without it."""
    *others, late = concerned(lab, text)
    untouched = {node: left_to_do(lab, node, text) for node in others}

    def has_done_what_it_can(node: str) -> bool:
        left, waiting = left_to_do(lab, node, text), problems(lab, node)
        begun = left != untouched[node] or bool(waiting)
        return begun and "prepare" not in left and all(late in p for p in waiting if p.startswith("traffic to"))

    lab.agents[late].send_signal(signal.SIGSTOP)
    try:
        lab.topology.file.write_text(text)
        wait_until(lambda: all(map(has_done_what_it_can, others)), within_s=30)
    finally:
        lab.agents[late].send_signal(signal.SIGCONT)
    follows(lab, text)


def follow_one_killed(lab: Lab, text: str) -> None:
    """The agent of one node ends once it has begun, and another one finds what it left."""
    node = concerned(lab, text)[0]
    untouched = left_to_do(lab, node, text)
    lab.topology.file.write_text(text)
    wait_until(lambda: left_to_do(lab, node, text) != untouched)
    kill(lab, node, signal.SIGKILL)
    lab.start_agent(node)
    assert lab.wait(CONVERGE_S)
    follows(lab, text)


@pytest.mark.parametrize("what", CHANGES)
def test_it_changes_there_and_back_without_loss(lab_of: Callable[[str], Lab], what: str) -> None:
    """There with one that reads it late, back with one whose agent is killed meanwhile."""
    change = CHANGES[what]
    lab = lab_of(change.topology)
    before = lab.topology.file.read_text()
    after = changed(before, change.edits)
    with nothing_lost(lab):
        for follow, text, back in ((follow_one_late, after, False), (follow_one_killed, before, True)):
            prepared(lab, change, back=back)
            follow(lab, text)
            finished(lab, change, back=back)
        wait_until(lambda: nothing_left_to_do(lab))


def test_the_file_may_have_a_nodes_new_address_before_its_host_has(lab_of: Callable[[str], Lab]) -> None:
    """The others go on sending to the former address, and say so; the node itself goes on as it was."""
    change = CHANGES["address with both"]
    lab = lab_of(change.topology)
    with nothing_lost(lab):
        lab.topology.file.write_text(changed(lab.topology.file.read_text(), change.edits))
        wait_until(lambda: all(problems(lab, name) for name in lab.agents))
        prepared(lab, change)
        wait_until(lambda: nothing_left_to_do(lab), within_s=30 * SLOWNESS)
        finished(lab, change)
        wait_until(lambda: nothing_left_to_do(lab))
