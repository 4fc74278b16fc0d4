"""A store in a real etcd: what it outlives, what it holds off, and how it goes on."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Loaded, NotPossibleNow, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.process.fake import FakeClock
from bgpctl.store.etcd import configuration, importing, records
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway, Rejected
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.options import Options
from bgpctl.store.etcd.store import EtcdStore
from bgpctl.store.texts import proposal_of
from tests.documents import load as understood
from tests.etcds import Etcd
from tests.waiting import wait_until

WITHIN_S = 40.0
POOLS = "calico_backend: vxlan\npools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}\n"


def cluster_of(nodes: int) -> str:
    lines = (
        f"  n{index}: {{address: 10.0.{index // 250}.{index % 250 + 1}/16, blocks: [10.244.{index}.0/26]}}\n"
        for index in range(nodes)
    )
    return f"{POOLS}nodes:\n{''.join(lines)}"


class Agent:
    """A store that is followed, as an agent does, and the last that it reported."""

    def __init__(self, options: Options, clock: LinuxClock | FakeClock | None = None) -> None:
        self.store = EtcdStore(options, clock or LinuxClock())
        self.last: Loaded = self.store.load()
        self.reports = 0
        self.store.watch(self._note)

    def _note(self, loaded: Loaded) -> None:
        self.last = loaded
        self.reports += 1

    def knows(self, node: str) -> bool:
        return isinstance(self.last, Intent) and self.last.node(node) is not None

    def status_says(self, words: str) -> bool:
        status = self.store.status()
        return any(words in text for text in (status.reason, *status.problems))


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    running = Etcd(tmp_path)
    yield running
    running.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Etcd]:
    running = Etcd(tmp_path, 3)
    yield running
    running.close()


@pytest.fixture
def agents() -> Iterator[Callable[..., Agent]]:
    made: list[Agent] = []

    def make(options: Options, clock: FakeClock | None = None, *, knows: bool = True) -> Agent:
        agent = Agent(options, clock)
        made.append(agent)
        wait_until(lambda: isinstance(agent.last, Intent) is knows, within_s=30)
        return agent

    yield make
    for agent in made:
        agent.store.close()


def fill(etcd: Etcd, nodes: int = 2, *, replaces: str | None = None) -> importing.Imported:
    intent = understood(cluster_of(nodes))
    assert isinstance(intent, Intent)
    return importing.put(etcd.kv("c"), "/etc/c.yaml", importing.parts_of(intent), replaces)


def patient(options: Options) -> EtcdStore:
    """As an operator's command has it, which waits for a busy etcd."""
    return EtcdStore(options, LinuxClock(), answer_s=PATIENT_S)


def add(etcd: Etcd, name: str, block: str, kv: Kv | None = None) -> None:
    """A node comes, as one that joins."""
    puts = {
        f"{records.NODES}{name}": records.written_node({"address": f"10.0.9.{block.split('.')[2]}/16"}),
        f"{records.ALLOCATIONS}{name}": records.written_allocations([block], []),
    }
    (kv or etcd.kv("c")).commit({}, puts)


def test_nodes_and_blocks_come_and_go_by_watch(etcd: Etcd, agents: Callable[..., Agent]) -> None:
    fill(etcd)
    agent = agents(etcd.options("c"))
    assert agent.last == understood(cluster_of(2))
    add(etcd, "new", "10.244.100.0/26")
    wait_until(lambda: agent.knows("new"), within_s=WITHIN_S)
    etcd.kv("c").commit({}, {}, [f"{records.NODES}new", f"{records.ALLOCATIONS}new"])
    wait_until(lambda: agent.last == understood(cluster_of(2)), within_s=WITHIN_S)


def test_a_large_cluster_is_read_in_pages_and_its_configuration_written_in_parts(etcd: Etcd) -> None:
    kv = etcd.kv("c")
    many = {f"{records.NODES}n{index}": records.written_node({"address": "10.0.0.1/16"}) for index in range(2500)}
    for puts in configuration.batches_of(many):
        kv.commit({}, puts)
    assert kv.list(records.NODES).entries.keys() == many.keys()
    text = "".join(f"# {index} {'x' * 100}\n" for index in range(30_000))
    files, blobs = configuration.files_of(["/a"], [text])
    head = replace(configuration.present(kv).head, generation=1, files=files)
    configuration.commit(kv, configuration.present(kv), head, blobs)
    found = kv.read(*(f"{records.BLOBS}{name}" for name in files[0].blobs)).entries
    assert "".join(records.read_blob(found[f"{records.BLOBS}{name}"].value) for name in files[0].blobs) == text
    configuration.commit(kv, configuration.present(kv), replace(head, files=()), {})
    assert not kv.list(records.BLOBS).entries


def test_of_two_writers_at_once_one_is_refused_and_a_lost_answer_is_known(etcd: Etcd) -> None:
    kv = etcd.kv("c")
    was = configuration.present(kv)
    configuration.commit(kv, was, replace(was.head, generation=1), {})
    with pytest.raises(configuration.Overtaken):
        configuration.commit(kv, was, replace(was.head, generation=1), {})


# Away ----------------------------------------------------------------------------------------------------------


def test_with_the_store_away_all_stays_and_an_agent_starts_with_what_is_on_disk(
    etcd: Etcd, agents: Callable[..., Agent], tmp_path: Path
) -> None:
    fill(etcd)
    options = etcd.options("c", tmp_path / "s" / "snapshot.json")
    agent = agents(options)
    (member,) = etcd.members
    reports = agent.reports
    etcd.kill(member)
    wait_until(lambda: not agent.store.status().is_heard, within_s=WITHIN_S)
    assert agent.last == understood(cluster_of(2))
    assert agent.reports == reports
    agent.store.close()
    again = agents(options)
    assert again.last == understood(cluster_of(2))
    assert again.store.status().is_from_disk
    with pytest.raises(NotPossibleNow, match="cannot be changed"):
        again.store.undo()
    etcd.start(member)
    etcd.wait()
    add(etcd, "new", "10.244.100.0/26")
    wait_until(lambda: again.knows("new"), within_s=WITHIN_S)
    assert not again.store.status().is_from_disk


def test_without_a_store_and_without_a_disk_the_agent_waits_and_says_so(
    etcd: Etcd, agents: Callable[..., Agent], tmp_path: Path
) -> None:
    (member,) = etcd.members
    etcd.kill(member)
    agent = agents(etcd.options("c", tmp_path / "none.json"), knows=False)
    assert not isinstance(agent.last, Intent)
    assert "does not answer" in agent.last[0].message
    etcd.start(member)
    etcd.wait()
    fill(etcd)
    wait_until(lambda: agent.knows("n0"), within_s=WITHIN_S)


def test_a_paused_store_is_noticed_and_followed_again(etcd: Etcd, agents: Callable[..., Agent]) -> None:
    fill(etcd)
    agent = agents(etcd.options("c"))
    (member,) = etcd.members
    etcd.pause(member)
    wait_until(lambda: not agent.store.status().is_heard, within_s=WITHIN_S)
    etcd.resume(member)
    add(etcd, "new", "10.244.100.0/26")
    wait_until(lambda: agent.knows("new"), within_s=WITHIN_S)


def test_a_wiped_store_deletes_nothing_and_one_that_has_all_again_is_followed(
    etcd: Etcd, agents: Callable[..., Agent]
) -> None:
    fill(etcd)
    agent = agents(etcd.options("c"))
    (member,) = etcd.members
    etcd.kill(member)
    etcd.wipe(member)
    etcd.start(member)
    etcd.wait()
    wait_until(lambda: agent.status_says("has lost its content"), within_s=WITHIN_S)
    assert agent.last == understood(cluster_of(2))
    fill(etcd)
    wait_until(lambda: not agent.store.status().problems, within_s=WITHIN_S)
    add(etcd, "new", "10.244.100.0/26")
    wait_until(lambda: agent.knows("new"), within_s=WITHIN_S)


def test_other_content_is_held_off_until_an_operator_says_that_it_replaces_the_known(
    etcd: Etcd, agents: Callable[..., Agent]
) -> None:
    fill(etcd, 3)
    agent = agents(etcd.options("c"))
    known = agent.store.status().uuid
    kv = etcd.kv("c")
    kv.commit({}, {}, [*kv.list("cluster/").entries, records.META])
    fill(etcd, 2)
    wait_until(lambda: agent.status_says("has other content"), within_s=WITHIN_S)
    assert agent.last == understood(cluster_of(3))
    fill(etcd, 2, replaces=known)
    wait_until(lambda: agent.last == understood(cluster_of(2)), within_s=WITHIN_S)


def test_a_store_restored_from_a_backup_is_held_off_until_it_is_renewed(
    etcd: Etcd, agents: Callable[..., Agent], tmp_path: Path
) -> None:
    fill(etcd)
    (member,) = etcd.members
    etcd.kill(member)
    shutil.copytree(member.directory, tmp_path / "backup")
    etcd.start(member)
    etcd.wait()
    agent = agents(etcd.options("c"))
    add(etcd, "new", "10.244.100.0/26")
    wait_until(lambda: agent.knows("new"), within_s=WITHIN_S)
    etcd.kill(member)
    etcd.wipe(member)
    shutil.copytree(tmp_path / "backup", member.directory)
    etcd.start(member)
    etcd.wait()
    wait_until(lambda: agent.status_says("gone back"), within_s=WITHIN_S)
    assert agent.knows("new")
    importing.renew(etcd.kv("c"))
    wait_until(lambda: not agent.knows("new"), within_s=WITHIN_S)


def test_a_compacted_history_is_read_anew(etcd: Etcd, agents: Callable[..., Agent]) -> None:
    fill(etcd)
    agent = agents(etcd.options("c"))
    (member,) = etcd.members
    kv = etcd.kv("c")
    etcd.pause(member)
    wait_until(lambda: not agent.store.status().is_heard, within_s=WITHIN_S)
    etcd.resume(member)
    add(etcd, "new", "10.244.100.0/26")
    revision = kv.read(records.META).revision
    kv.gateway.call("/v3/kv/compaction", {"revision": str(revision)})
    add(etcd, "later", "10.244.101.0/26")
    wait_until(lambda: agent.knows("new") and agent.knows("later"), within_s=WITHIN_S)


# Members -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_with_a_member_gone_the_agent_goes_on_with_another(
    three: Etcd, agents: Callable[..., Agent], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(three)
    agent = agents(three.options("c"))
    endpoint = agent.store.kv.gateway.endpoint
    followed = next(member for member in three.members if member.client_port == endpoint.port)
    rest = replace(three.options("c"), endpoints=tuple(one for one in three.options("c").endpoints if one != endpoint))
    writer = Kv(Gateway(rest), "c")
    began_s = time.monotonic()
    three.kill(followed) if fault == "kill" else three.pause(followed)
    wait_until(lambda: wrote(three, writer), within_s=30)
    wait_until(lambda: agent.knows("new"), within_s=30)
    with capsys.disabled():
        print(f"{fault} of the member that is followed: a change known after {time.monotonic() - began_s:.2f} s")


def wrote(etcd: Etcd, kv: Kv) -> bool:
    try:
        add(etcd, "new", "10.244.100.0/26", kv)
    except (Unavailable, Rejected):
        return False
    return True


# Rights --------------------------------------------------------------------------------------------------------


def test_a_token_that_etcd_knows_no_more_is_renewed_and_the_password_is_nowhere(
    etcd: Etcd, agents: Callable[..., Agent], tmp_path: Path
) -> None:
    fill(etcd)
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    with_password(etcd, "root", "correct horse")
    with pytest.raises(Rejected):
        etcd.kv("c").read("meta")
    options = replace(etcd.options("c", tmp_path / "snapshot.json"), user="root", password_file=secret)
    agent = agents(options)
    assert agent.knows("n0")
    (member,) = etcd.members
    etcd.kill(member)
    etcd.start(member)
    writer = Kv(Gateway(options, PATIENT_S), "c")
    wait_until(lambda: wrote(etcd, writer), within_s=WITHIN_S)
    wait_until(lambda: agent.knows("new"), within_s=WITHIN_S)
    agent.store.close()
    assert "horse" not in (tmp_path / "snapshot.json").read_text()
    assert "horse" not in repr(options)


def with_password(etcd: Etcd, user: str, password: str) -> None:
    call = etcd.kv("c").gateway.call
    call("/v3/auth/user/add", {"name": user, "password": password})
    call("/v3/auth/role/add", {"name": "root"})
    call("/v3/auth/user/grant", {"user": user, "role": "root"})
    call("/v3/auth/enable", {})


# Versions ------------------------------------------------------------------------------------------------------


def test_a_later_versions_records_are_left_as_they_are_and_what_was_known_stays(
    etcd: Etcd, agents: Callable[..., Agent]
) -> None:
    fill(etcd)
    agent = agents(etcd.options("c"))
    kv = etcd.kv("c")
    later = json.dumps({"format": 2, "node": "n0"})
    kv.commit({}, {f"{records.NODES}n0": later, records.HEAD: json.dumps({"format": 2})})
    wait_until(lambda: agent.status_says("nodes/n0 is left as it is: it has format 2"), within_s=WITHIN_S)
    wait_until(lambda: agent.status_says("cluster/head is left as it is"), within_s=WITHIN_S)
    assert agent.last == understood(cluster_of(2))
    with pytest.raises(NotPossibleNow, match="format 2"):
        patient(etcd.options("c")).propose(proposal_of((POOLS,)))
    assert kv.read(f"{records.NODES}n0").entries[f"{records.NODES}n0"].value == later


# Changes -------------------------------------------------------------------------------------------------------


def test_an_unconfirmed_change_returns_though_the_one_who_made_it_is_gone(
    etcd: Etcd, agents: Callable[..., Agent]
) -> None:
    fill(etcd)
    clock = FakeClock()
    other = agents(etcd.options("c"), clock)
    changed = POOLS.replace("VXLAN}", "VXLANCrossSubnet}")
    before = other.last
    patient(etcd.options("c")).propose(proposal_of((changed,)), 60.0)
    wait_until(lambda: other.store.unconfirmed_s() == 60.0, within_s=WITHIN_S)
    clock.advance(60)
    wait_until(lambda: other.last == before and other.store.unconfirmed_s() is None, within_s=WITHIN_S)


def test_a_node_that_a_change_cuts_off_from_the_store_returns_by_itself(
    etcd: Etcd, agents: Callable[..., Agent]
) -> None:
    fill(etcd)
    clock = FakeClock()
    agent = agents(etcd.options("c"), clock)
    before = agent.last
    patient(etcd.options("c")).propose(proposal_of((POOLS.replace("VXLAN}", "VXLANCrossSubnet}"),)), 60.0)
    wait_until(lambda: agent.store.unconfirmed_s() == 60.0 and agent.last != before, within_s=WITHIN_S)
    (member,) = etcd.members
    etcd.kill(member)
    wait_until(lambda: not agent.store.status().is_heard, within_s=WITHIN_S)
    clock.advance(60)
    wait_until(lambda: agent.last == before, within_s=WITHIN_S)


def test_many_writers_and_a_watch_agree_in_the_end(etcd: Etcd, agents: Callable[..., Agent]) -> None:
    fill(etcd)
    agent = agents(etcd.options("c"))

    def write(first: int) -> None:
        kv = etcd.kv("c")
        for index in range(first, first + 20):
            add(etcd, f"w{index}", f"10.244.{index}.0/26", kv)

    threads = [threading.Thread(target=write, args=(100 + 20 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: all(agent.knows(f"w{index}") for index in range(100, 180)), within_s=WITHIN_S)
    assert agent.last == patient(etcd.options("c")).load()
