"""Workloads added to a node and deleted from it, on the running kernel: real namespaces, packets, and a real ledger."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bgpctl.attach import ledger_file, netns, status, workloads
from bgpctl.attach.ledger_file import LedgerFile, LedgerUnusable
from bgpctl.attach.status import NotPossible, State
from bgpctl.attach.wiring import Wiring
from bgpctl.attach.workloads import Done, NotUndone, Times
from bgpctl.cli.main import main
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.blocks import NotGiven, Rule
from bgpctl.core.ipam.ledger import Ledger, Moment, Request, Workload
from bgpctl.core.net.addresses import Address, Mac, Prefix
from bgpctl.core.net.objects import WorkloadFilter
from bgpctl.kernel import workload_filter
from tests.cluster import blocks, two_racks, with_ipv6
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

INTENT = with_ipv6(two_racks())
FORGED = "10.244.1.60"
NOBODY = 65534


class Host:
    """The node a1 in the thread's namespace. `spaces` are the names of namespaces for workloads."""

    def __init__(self, directory: Path, spaces: list[str]) -> None:
        self.directory = directory
        self.spaces = spaces

    def add(self, name: str, space: str, *pools: str, intent: Intent = INTENT, **more: Any) -> tuple[Workload, Done]:
        node = intent.node("a1")
        assert node
        return workloads.add(self.directory, intent, node, Request(name, space, pools or ("blue",), **more), self.now())

    def delete(self, name: str) -> Workload | None:
        return workloads.delete(self.directory, name, self.now().moment)

    def now(self) -> Times:
        return Times(Moment("boot", time.monotonic()), time.time())

    def states(self) -> dict[str, State]:
        return {found.workload.name: found.state for found in status.statuses(self.directory)}

    def ledger(self) -> Ledger:
        return ledger_file.read(self.directory)

    def traces(self) -> list[str]:
        """Links, routes and neighbours of workloads in the kernel of the node."""
        shows = ("link", "-4 route show table main", "-6 route show table main", "neighbour show nud permanent")
        lines = [line for words in shows for line in shown(f"ip -o {words}").splitlines()]
        return [line for line in lines if "cali" in line]


def shown(command: str) -> str:
    return subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout


def reaches(space: str, address: Address, *words: str) -> bool:
    command = ("ip", "netns", "exec", space, "ping", "-c", "1", "-W", "1", *words, str(address))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    spaces = [f"wl{os.getpid()}-{number}" for number in range(3)]
    with own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10:a::1/64 dev eth0 nodad")
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            Path("/proc/sys", name).write_text("1")
        netns.ip([f"netns add {space}" for space in spaces])
        try:
            yield Host(tmp_path / "state", spaces)
        finally:
            netns.ip([f"netns delete {space}" for space in spaces])


def child(act: Callable[[], object]) -> int:
    """A process of its own, in this thread's namespace, that does this; its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except NotGiven:
            code = 6
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    """The exit code of a child; the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Packets ---------------------------------------------------------------------------------------------------------


def test_two_namespaces_of_one_host_reach_each_other_with_both_ip_versions_and_full_size(host: Host) -> None:
    one, other, _ = host.spaces
    (first, done), (second, _) = host.add("one", one, "blue", "six"), host.add("other", other, "blue", "six")
    assert done is Done.ADDED
    assert [str(address) for address in first.addresses] == ["10.244.1.1", "fd00:10:244::141"]
    assert [str(address) for address in second.addresses] == ["10.244.1.2", "fd00:10:244::142"]
    for address, header_bytes in zip(second.addresses, (28, 48), strict=True):
        full = ("-M", "do", "-s", str(second.mtu_bytes - header_bytes))
        wait_until(partial(reaches, one, address, *full), within_s=15)
    wait_until(lambda: host.states() == {"one": State.UP, "other": State.UP}, within_s=15)


def test_a_source_that_is_not_its_own_is_dropped_and_counted(host: Host) -> None:
    one, other, _ = host.spaces
    workload_filter.put(WorkloadFilter((Prefix.parse("10.244.0.0/16"),), (), (), 179), ())
    first, second = host.add("one", one)[0], host.add("other", other)[0]
    wait_until(lambda: reaches(one, second.addresses[0]), within_s=15)
    netns.ip([f"address add {FORGED}/32 dev eth0"], one)
    before = workload_filter.dropped().get(first.device, {}).get("source", 0)
    assert not reaches(one, second.addresses[0], "-I", FORGED)
    assert workload_filter.dropped()[first.device]["source"] > before


def test_mac_link_name_and_a_namespace_given_by_path_are_as_asked_for(host: Host) -> None:
    space = host.spaces[0]
    mac = Mac("02:00:00:00:00:77")
    with subprocess.Popen(("ip", "netns", "exec", space, "cat"), stdin=subprocess.PIPE) as inside:
        path = f"/proc/{inside.pid}/ns/net"
        own = Path("/proc/thread-self/ns/net").stat().st_ino
        wait_until(lambda: Path(path).stat().st_ino != own, within_s=15)
        found, _ = host.add("db", path, mac=mac, inner="net1", labels=(("app", "db"),))
        inside.communicate()
    (link,) = netns.ip_shows(("link", "show", "net1"), space)
    assert (link["address"], link["mtu"]) == (mac, found.mtu_bytes)
    assert host.ledger().workloads["db"] == found


# Faults ----------------------------------------------------------------------------------------------------------


def killed_at(step: int, act: Callable[[], object]) -> int:
    """
    Do it in a child, which is killed before its step of this number: a change of the kernel, or of the ledger. 0 if it
    has fewer steps.
    """

    def run() -> None:
        left = iter(range(step))

        def counted(original: Callable[..., None]) -> Callable[..., None]:
            def replaced(*words: Any, **more: Any) -> None:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                original(*words, **more)

            return replaced

        patch = pytest.MonkeyPatch()
        for place, name in ((netns, "ip"), (netns, "set_sysctls"), (LedgerFile, "write")):
            patch.setattr(place, name, counted(getattr(place, name)))
        act()

    return ended(child(run))


def test_after_a_kill_at_any_step_another_addition_or_a_deletion_mends(host: Host) -> None:
    space = host.spaces[0]
    for step in range(20):
        code = killed_at(step, lambda: host.add("db", space, "blue", "six"))
        assert code in {0, -signal.SIGKILL}
        if code == 0:
            break
        assert host.states().get("db") in {None, State.ABSENT, State.INCOMPLETE}
        before = host.ledger().workloads.get("db")
        found, _ = host.add("db", space, "blue", "six")
        assert before is None or before.addresses == found.addresses
        assert host.states()["db"] in {State.UP, State.DOWN}
        assert host.add("db", space, "blue", "six") == (found, Done.THERE)
        host.delete("db")
        assert killed_at(step, lambda: host.add("db", space, "blue", "six")) == -signal.SIGKILL
        host.delete("db")
        assert (host.traces(), host.ledger().workloads) == ([], {})
    assert step >= 6


def test_after_a_kill_at_any_step_of_a_deletion_another_one_mends(host: Host) -> None:
    space = host.spaces[0]
    for step in range(10):
        host.add("db", space)
        code = killed_at(step, lambda: host.delete("db"))
        left = host.delete("db")
        assert (host.traces(), host.ledger().workloads) == ([], {})
        if code == 0:
            break
        assert left
    assert step >= 2


def test_a_command_that_outlives_its_caller_keeps_the_lock(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shown("which ip").strip()
    begun, go = tmp_path / "begun", tmp_path / "go"
    os.mkfifo(go)
    slow = tmp_path / "bin" / "ip"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *batch*) : >{begun}; read _ <{go};; esac\nexec {real} "$@"\n')
    slow.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
        pid = child(lambda: host.add("db", host.spaces[0]))
    wait_until(begun.exists, within_s=15)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL
    with (host.directory / "workloads.lock").open("rb") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        go.write_text("go\n")
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert host.delete("db")
    assert host.traces() == []


def test_twenty_at_once_have_twenty_addresses_and_a_block_gives_no_more_than_it_has(host: Host) -> None:
    small = replace(INTENT, allocations=blocks(a1=["10.244.1.0/28"]))
    names = [f"w{number}" for number in range(20)]
    extra = [f"{host.spaces[0]}-{number}" for number in range(20)]
    netns.ip([f"netns add {space}" for space in extra])
    try:
        pids = [child(partial(host.add, name, space, intent=small)) for name, space in zip(names, extra, strict=True)]
        codes = sorted(map(ended, pids))
        held = [address for found in host.ledger().workloads.values() for address in found.addresses]
        assert codes == [0] * 15 + [6] * 5
        assert sorted(map(str, held)) == sorted(f"10.244.1.{number}" for number in range(1, 16))
        assert len(shown("ip -o link show group 179").splitlines()) == 15
    finally:
        netns.ip([f"netns delete {space}" for space in extra])


def test_what_fails_leaves_the_host_and_the_ledger_as_they_were(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.add("one", host.spaces[0])
    before, traces = host.ledger(), host.traces()

    def fails(*_: object) -> None:
        raise RuntimeError("ip failed: no")

    with monkeypatch.context() as patched:
        patched.setattr(Wiring, "workload_commands", fails)
        with pytest.raises(NotPossible, match="ip failed: no"):
            host.add("db", host.spaces[1])
    assert (host.ledger(), host.traces()) == (before, traces)
    with monkeypatch.context() as patched:
        patched.setattr(Wiring, "workload_commands", fails)
        original = netns.ip
        patched.setattr(netns, "ip", lambda lines, *where: fails() if "delete" in lines[0] else original(lines, *where))
        with pytest.raises(NotUndone, match="bgpctl workload del db"):
            host.add("db", host.spaces[1])
    assert host.states()["db"] is State.INCOMPLETE
    host.delete("db")
    assert (host.ledger().workloads, host.traces()) == (before.workloads, traces)


def test_an_addition_that_cannot_be_recorded_is_undone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.add("one", host.spaces[0])
    before, traces, original = host.ledger(), host.traces(), LedgerFile.write

    def full(file: LedgerFile, ledger: Ledger) -> None:
        if any(found.complete and found.name == "db" for found in ledger.workloads.values()):
            raise LedgerUnusable("workloads.json cannot be used: No space left on device")
        original(file, ledger)

    monkeypatch.setattr(LedgerFile, "write", full)
    with pytest.raises(LedgerUnusable, match="No space left"):
        host.add("db", host.spaces[1])
    assert (host.ledger(), host.traces()) == (before, traces)


# A boot, and what is in the way ----------------------------------------------------------------------------------


def test_after_a_boot_the_same_command_gives_the_same_addresses(host: Host) -> None:
    one, other, third = host.spaces
    first = host.add("one", one, "blue", "six")[0]
    host.add("other", other)
    shell(f"link delete {first.device}")  # as with the namespaces of a boot
    assert host.states()["one"] is State.ABSENT
    found, done = host.add("one", third, "blue", "six")
    assert (found.addresses, done, found.request.netns) == (first.addresses, Done.REBUILT, third)
    wait_until(lambda: reaches(third, host.ledger().workloads["other"].addresses[0]), within_s=15)


def test_a_namespace_that_was_made_anew_under_its_name_is_attached_again(host: Host) -> None:
    space = host.spaces[0]
    first = host.add("one", space)[0]
    netns.ip([f"netns delete {space}", f"netns add {space}"])  # the kernel removes the old cable some time later
    found, done = host.add("one", space)
    assert (found.addresses, done) == (first.addresses, Done.REBUILT)
    assert host.add("one", space)[1] is Done.THERE


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        ("route delete 10.244.1.1/32", "node"),
        ("neighbour delete 10.244.1.1 dev DEVICE", "node"),
        ("link set DEVICE down", "node"),
        ("link set DEVICE group 0", "node"),
        ("address delete 10.244.1.1/32 dev eth0", "inside"),
        ("route delete default", "inside"),
        ("link set eth0 down", "inside"),
    ],
)
def test_a_workload_that_is_not_as_it_was_made_is_rebuilt_by_the_same_command(
    host: Host, damage: str, where: str
) -> None:
    space = host.spaces[0]
    found, _ = host.add("db", space)
    netns.ip([damage.replace("DEVICE", found.device)], None if where == "node" else space)
    if where == "node":
        assert host.states()["db"] is not State.UP
    assert host.add("db", space) == (found, Done.REBUILT)
    assert host.add("db", space) == (found, Done.THERE)


def test_addresses_that_the_kernel_has_for_something_else_are_not_given(host: Host) -> None:
    shell(
        "route add blackhole 10.244.1.0/26 proto 179",  # as the agent's, for the block
        "route add 10.244.1.1/32 dev eth0",
        "addr add 10.244.1.2/32 dev lo",
        "route add unreachable 10.244.1.3/32 table 7",
        "neighbour add 10.244.1.4 lladdr 02:00:00:00:00:04 dev eth0 nud permanent",
    )
    assert str(host.add("db", host.spaces[0])[0].addresses[0]) == "10.244.1.5"
    with pytest.raises(NotGiven) as caught:
        host.add("web", host.spaces[1], addresses=(Address.parse("10.244.1.3"),))
    assert caught.value.rule is Rule.ADDRESS_IN_USE


def test_nothing_in_a_namespace_is_replaced(host: Host) -> None:
    space, other, _ = host.spaces
    host.add("db", space)
    before, traces = host.ledger(), host.traces()
    with pytest.raises(NotPossible, match="has a link eth0 already"):
        host.add("web", space)
    with pytest.raises(NotPossible, match="has a default route of IPv4 already, by eth0"):
        host.add("web", space, inner="eth1")
    netns.ip(["link add dummy0 type veth peer name dummy1", "link set dummy0 up"], other)
    with pytest.raises(NotPossible, match="dummy0"):
        host.add("web", other, inner="dummy0")
    assert (host.ledger(), host.traces()) == (before, traces)


def test_a_name_that_is_taken_is_refused(host: Host) -> None:
    one, other, _ = host.spaces
    host.add("db", one)
    for again in ({"space": other}, {"space": one, "labels": (("app", "db"),)}):
        space = again.pop("space")
        with pytest.raises(NotGiven) as caught:
            host.add("db", str(space), **again)
        assert caught.value.rule is Rule.NAME_TAKEN


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("nowhere", "there is no network namespace nowhere"),
        ("/etc/passwd", "there is no network namespace /etc/passwd"),
        ("/proc/self/ns/uts", "none of networks"),
        ("/proc/thread-self/ns/net", "this node's own"),
    ],
)
def test_what_is_no_other_network_namespace_is_refused(host: Host, space: str, words: str) -> None:
    with pytest.raises(netns.NoNamespace, match=words):
        host.add("db", space)
    assert (host.ledger().workloads, host.traces()) == ({}, [])


def test_another_node_or_network_namespace_is_noticed(host: Host) -> None:
    shell("addr delete 10.0.0.1/24 dev eth0")
    with pytest.raises(NotPossible, match="is on no link of this network namespace"):
        host.add("db", host.spaces[0])
    assert host.ledger().workloads == {}


# The ledger ------------------------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_any_user_can_read_the_ledger_and_only_root_writes_it(host: Host, public: Path) -> None:
    host.directory = public / "state"
    before = os.umask(0o077)
    try:
        host.add("db", host.spaces[0])
    finally:
        os.umask(before)

    def as_nobody() -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        assert host.states() == {"db": State.UP}
        with pytest.raises(LedgerUnusable, match="Permission denied"):
            host.delete("db")

    wait_until(lambda: host.states() == {"db": State.UP}, within_s=15)
    assert ended(child(as_nobody)) == 0
    assert host.ledger().workloads.keys() == {"db"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"schema": "bgpctl/workload-ledger/v3"}',
        "\\x00",
        '{"schema": "bgpctl/workload-ledger/v1", "node": 1}',
    ],
)
def test_a_damaged_ledger_is_never_taken_for_an_empty_one(host: Host, content: str) -> None:
    host.add("db", host.spaces[0])
    file = host.directory / "workloads.json"
    file.write_text(content)
    for act in (lambda: host.add("web", host.spaces[1]), lambda: host.delete("db"), host.states):
        with pytest.raises(LedgerUnusable, match=r"workloads\.json is damaged"):
            act()
    assert file.read_text() == content


def test_nothing_is_read_or_written_through_a_link_or_of_another_user(host: Host, tmp_path: Path) -> None:
    host.add("db", host.spaces[0])
    file, aside = host.directory / "workloads.json", tmp_path / "aside.json"
    file.rename(aside)
    file.symlink_to(aside)
    with pytest.raises(LedgerUnusable):
        host.delete("db")
    file.unlink()
    aside.rename(file)
    file.chmod(0o666)
    with pytest.raises(LedgerUnusable, match="other users can write"):
        host.delete("db")
    file.chmod(0o644)
    linked = tmp_path / "linked"
    linked.symlink_to(host.directory)
    with pytest.raises(LedgerUnusable):
        workloads.delete(linked, "db", host.now().moment)
    host.directory.chmod(0o777)
    with pytest.raises(LedgerUnusable, match="other users can write"):
        host.delete("db")
    assert json.loads(file.read_text())["workloads"].keys() == {"db"}


def test_drafts_of_a_writer_that_was_killed_are_removed(host: Host) -> None:
    host.add("db", host.spaces[0])

    def killed(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def run() -> None:
        pytest.MonkeyPatch().setattr(os, "rename", killed)
        host.add("web", host.spaces[1])

    assert ended(child(run)) == -signal.SIGKILL
    assert len(list(host.directory.iterdir())) == 3
    assert host.add("web", host.spaces[1])[1] is Done.ADDED
    assert sorted(file.name for file in host.directory.iterdir()) == ["workloads.json", "workloads.lock"]


def test_a_ledger_of_another_node_is_refused(host: Host) -> None:
    host.add("db", host.spaces[0])
    node = INTENT.node("a2")
    assert node
    with pytest.raises(NotGiven) as caught:
        workloads.add(host.directory, INTENT, node, Request("web", host.spaces[1], ("blue",)), host.now())
    assert caught.value.rule is Rule.OTHER_NODE


# The command line ------------------------------------------------------------------------------------------------


def test_the_command_line_adds_lists_shows_and_deletes_with_exit_codes(host: Host, tmp_path: Path) -> None:
    space, other, _ = host.spaces
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "calico_backend: vxlan\n"
        "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN, blockSize: 30}}\n"
        "nodes: {a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/30]}, b1: {address: 10.1.0.3/24}}\n"
    )

    def bgpctl(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["workload", "--state-dir", str(host.directory), *words])
        return result.exit_code, result.output

    def add(name: str, where: str, *words: str) -> tuple[int, str]:
        return bgpctl("add", name, "--netns", where, "-f", str(file), "--node", "a1", *words)

    assert add("db", space, "--pool", "blue") == (0, "db has 10.244.1.1 on eth0, MTU 1450\n")
    assert add("db", space, "--pool", "blue") == (0, "db is there already, and has 10.244.1.1 on eth0, MTU 1450\n")
    code, text = add("web", other, "--ip", "10.244.1.2", "-o", "json")
    assert (code, json.loads(text)["addresses"], json.loads(text)["outcome"]) == (0, ["10.244.1.2"], "added")
    refused = {
        ("db", other, "--pool", "blue"): (6, "workload db is attached to"),
        ("db", space, "--ip", "10.244.1.3"): (6, "there is another workload db, with 10.244.1.1"),
        ("x", space, "--dev", "eth1", "--ip", "10.244.1.1"): (6, "10.244.1.1 is workload db's"),
        ("x", space, "--pool", "blue"): (6, "has a link eth0 already"),
        ("x", other, "--dev", "eth1", "--pool", "blue"): (6, "has a default route of IPv4 already"),
        ("x", other, "--pool", "red"): (2, "the cluster file has no pool red"),
        ("x", "nowhere", "--pool", "blue"): (2, "there is no network namespace nowhere"),
        ("x", other, "--ip", "10.244.7.1"): (2, "10.244.7.1 is in no block of node a1"),
    }
    for words, (code, text) in refused.items():
        found = add(*words)
        assert (found[0], text in found[1]) == (code, True), found
    assert [line.split()[:3] for line in bgpctl("list")[1].splitlines()[1:]] == [
        ["db", "10.244.1.1", "up"],
        ["web", "10.244.1.2", "up"],
    ]
    assert bgpctl("del", "db", "db") == (0, "db is deleted, with 10.244.1.1\nthere is no workload db\n")
    assert bgpctl("show", "db")[0] == 2
    assert host.ledger().workloads.keys() == {"web"}
