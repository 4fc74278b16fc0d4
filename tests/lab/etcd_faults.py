"""Faults of a lab's etcd under traffic, and a change through it afterwards that has to reach all kernels."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import count

from bgpctl.lab import netns, stores
from bgpctl.lab.lab import Lab
from bgpctl.ports import NotPossibleNow, Unavailable
from bgpctl.store.etcd import importing, records
from bgpctl.store.etcd.gateway import Gateway, Rejected
from bgpctl.store.etcd.kv import Kv
from tests.lab.rig import ip
from tests.waiting import wait_until

WITHIN_S = 40.0
_BLOCKS = count(64)


def at_store(lab: Lab, act: Callable[[Kv], object], member: str | None = None) -> object:
    """Do something to the etcd from the host of a member."""
    options = stores.options_of(lab.topology, lab.directory)
    return netns.inside(lab.names.of(member or lab.topology.stores[-1]), lambda: act(Kv(Gateway(options), "default")))


def all_heard(lab: Lab) -> bool:
    return all(is_followed(lab, node.name) for node in lab.topology.agents)


def is_followed(lab: Lab, node: str) -> bool:
    store = lab.read(node, "summary")["store"]
    return bool(store["heard"] and not store["held_off"])


def none_heard(lab: Lab) -> bool:
    return not any(is_followed(lab, node.name) for node in lab.topology.agents)


def change_reaches_all(lab: Lab, writer: str | None = None) -> float:
    """A block more for b2: the time from its commit until each other node's kernel has the route."""
    block = f"10.244.{next(_BLOCKS)}.0/26"

    def put(kv: Kv) -> bool:
        key = f"{records.ALLOCATIONS}b2"
        try:
            was = kv.read(key).entries[key]
            given = records.written_allocations(["10.244.4.0/26", block], [])
            return kv.commit({key: was.revision}, {key: given}) is not None
        except (Unavailable, Rejected):
            return False

    wait_until(lambda: bool(at_store(lab, put, writer)), within_s=WITHIN_S)
    began_s = time.monotonic()
    wait_until(lambda: all(block in ip(lab, node, "route") for node in ("a1", "a2", "b1")), within_s=WITHIN_S)
    return time.monotonic() - began_s


# Faults of a member: each begins, and returns its end ------------------------------------------------------------


def killed(lab: Lab, member: str) -> Callable[[], None]:
    process = lab.stores[member]
    process.kill()
    process.wait()
    return lambda: lab.start_store(member)


def paused(lab: Lab, member: str) -> Callable[[], None]:
    process = lab.stores[member]
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


def partitioned(lab: Lab, member: str) -> Callable[[], None]:
    """Its cable is out, at the other end."""
    port = next(name for name, port in lab.ports.items() if port.owner == member)
    subprocess.run(("ip", "-n", lab.names.fabric, "link", "set", port, "down"), check=True)
    return lambda: ip_up(lab, port)


def ip_up(lab: Lab, port: str) -> None:
    subprocess.run(("ip", "-n", lab.names.fabric, "link", "set", port, "up"), check=True)


def cut_off(lab: Lab, member: str) -> Callable[[], None]:
    """From the other members, and reachable by clients: it is there, and knows nothing new."""
    rules = (
        "table inet cut { chain in { type filter hook input priority 0; tcp dport 2380 drop; tcp sport 2380 drop; }; }"
    )
    nft(lab, member, rules)
    return lambda: nft(lab, member, "delete table inet cut")


def nft(lab: Lab, member: str, rules: str) -> None:
    subprocess.run(("ip", "netns", "exec", lab.names.of(member), "nft", "-f", "-"), input=rules, text=True, check=True)


def wiped(lab: Lab, member: str) -> Callable[[], object]:
    """It starts without content; its end is that an operator imports the cluster again."""
    known = str(lab.read("a1", "summary")["store"]["uuid"])
    killed(lab, member)
    shutil.rmtree(lab.directory / "etcd" / member)
    lab.start_store(member)
    parts = importing.parts_of(lab.topology.intent)

    def put(kv: Kv) -> bool:
        try:
            importing.put(kv, "/lab.yaml", parts, known)
        except NotPossibleNow:  # it has only just begun to start
            return False
        return True

    return lambda: wait_until(lambda: bool(at_store(lab, put)), within_s=WITHIN_S)


def restored(lab: Lab, member: str) -> Callable[[], None]:
    """It has what it had before the last change; its end is that an operator says so."""
    killed(lab, member)
    data = lab.directory / "etcd" / member
    shutil.copytree(data, f"{data}-backup")
    lab.start_store(member)
    change_reaches_all(lab)
    killed(lab, member)
    shutil.rmtree(data)
    shutil.move(f"{data}-backup", data)
    lab.start_store(member)
    return lambda: renew(lab)


def renew(lab: Lab) -> None:
    def try_it(kv: Kv) -> bool:
        try:
            importing.renew(kv)
        except NotPossibleNow:
            return False
        return True

    wait_until(lambda: bool(at_store(lab, try_it)), within_s=WITHIN_S)


def compacted(lab: Lab, member: str) -> Callable[[], None]:
    """While agents do not hear it, their place in its history is forgotten."""
    end = paused(lab, member)
    wait_until(lambda: none_heard(lab), within_s=WITHIN_S)

    def compact() -> None:
        end()
        at_store(lab, lambda kv: kv.commit({}, {"other/key": "1"}))
        revision = str(at_store(lab, lambda kv: kv.read(records.META).revision))
        at_store(lab, lambda kv: kv.gateway.call("/v3/kv/compaction", {"revision": revision}))

    return compact
