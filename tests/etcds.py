"""Real etcd members on this host's loopback, and what they keep as their test reads and writes it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.lab import etcd
from bgpctl.lab.etcd import Member
from bgpctl.ports import Unavailable
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway, Rejected
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.options import Endpoint, Options
from tests.waiting import wait_until

LOOPBACK = Address.parse("127.0.0.1")


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Etcd:
    """One cluster of members, which can be killed, paused and wiped."""

    def __init__(self, directory: Path, number: int = 1, more: Mapping[str, str] | None = None) -> None:
        if missing := etcd.missing():
            pytest.skip(missing)
        ports = free_ports(2 * number)
        self.members = [
            Member(f"m{index}", LOOPBACK, directory / f"m{index}", ports[2 * index], ports[2 * index + 1])
            for index in range(number)
        ]
        self.more = more
        self.directory = directory
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for member in self.members:
            self.start(member)
        self.wait()

    def options(self, cluster: str, snapshot: Path | None = None) -> Options:
        endpoints = tuple(Endpoint(tls=False, host="127.0.0.1", port=member.client_port) for member in self.members)
        return Options(endpoints, cluster, snapshot=snapshot)

    def kv(self, cluster: str) -> Kv:
        return Kv(Gateway(self.options(cluster), PATIENT_S), cluster)

    def wait(self) -> None:
        """Until it answers for a majority."""

        def answers() -> bool:
            try:
                self.kv("none").read("meta")
            except (Unavailable, Rejected):
                return False
            return True

        wait_until(answers, within_s=30)

    def start(self, member: Member) -> None:
        with (self.directory / f"{member.name}.log").open("ab") as log:
            self.running[member.name] = subprocess.Popen(
                etcd.command(member, self.members, self.more), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def pause(self, member: Member) -> None:
        os.kill(self.running[member.name].pid, signal.SIGSTOP)

    def resume(self, member: Member) -> None:
        os.kill(self.running[member.name].pid, signal.SIGCONT)

    def kill(self, member: Member) -> None:
        process = self.running.pop(member.name)
        process.kill()
        process.wait()

    def wipe(self, member: Member) -> None:
        """All that it has kept is gone; it must not run."""
        shutil.rmtree(member.directory)

    def close(self) -> None:
        for member in [member for member in self.members if member.name in self.running]:
            self.resume(member)
            self.kill(member)
