"""
Hosts that become a cluster by commands alone: each in a network namespace, with directories of its own.

    host1 10.0.0.1 ─┬─ 10.0.0.254 router 10.1.0.254 ─── host3 10.1.0.3
    host2 10.0.0.2 ─┘
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from bgpctl.lab import etcd, netns
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.options import options_of
from tests.waiting import wait_until

WITHIN_S: Final = 60.0
ADDRESSES: Final = {"host1": "10.0.0.1/24", "host2": "10.0.0.2/24", "host3": "10.1.0.3/24"}
POOL: Final = "10.244.0.0/16"
_ROUTERS: Final = {"10.0.0": "10.0.0.254/24", "10.1.0": "10.1.0.254/24"}
_BGPCTL: Final = (sys.executable, "-m", "bgpctl")


@dataclass(slots=True)
class Hosts:
    """`directory` has one for each host: its settings `etc`, its state `var`, its agent's `run`, its logs."""

    directory: Path
    prefix: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def namespace(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def home(self, host: str) -> Path:
        return self.directory / host

    def run(self, host: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command of bgpctl on a host, in its directory."""
        home = self.home(host)
        variables = {
            **os.environ,
            "BGPCTL_RUN_DIR": str(home / "run"),
            "BGPCTL_KEYS": str(home / "etc" / "keys"),
            "BGPCTL_STATE_DIR": str(home / "var"),
        }
        command = ("ip", "netns", "exec", self.namespace(host), *_BGPCTL, *words)
        return subprocess.run(
            command, cwd=home, env=variables, input=given, capture_output=True, text=True, check=False, timeout=120
        )

    def does(self, host: str, *words: str) -> str:
        """The output of a command that has to succeed."""
        done = self.run(host, *words)
        assert done.returncode == 0, f"{host}: {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def cluster(self, host: str, verb: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command of `bgpctl cluster` about the files of this host."""
        return self.run(host, "cluster", verb, *words, *self.places(host), given=given)

    def places(self, host: str) -> tuple[str, ...]:
        home = self.home(host)
        return ("--directory", str(home / "etc"), "--state-dir", str(home / "var"))

    def init(self) -> str:
        done = self.cluster("host1", "init", "--pool", POOL, "--node", "host1")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        self.start("host1", "serve", "cluster", "serve", *self.places("host1"))
        return done.stdout

    def invite(self, *options: str) -> str:
        """The text of a new join file."""
        done = self.cluster("host1", "invite", "-", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def join(self, host: str, *options: str) -> str:
        done = self.cluster(host, "join", "--from", "-", "--node", host, *options, given=self.invite())
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, host: str, name: str, *words: str) -> None:
        """A program that goes on, with a log."""
        log = self.home(host) / f"{name}.log"
        self.running[f"{host} {name}"] = netns.spawn(self.namespace(host), (*_BGPCTL, *words), log)

    def stop(self, host: str, name: str) -> None:
        process = self.running.pop(f"{host} {name}")
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    def agent(self, host: str) -> None:
        home = self.home(host)
        files = ("--store", str(home / "etc" / "store.yaml"), "--keys", str(home / "etc" / "keys"))
        self.start(host, "agent", "agent", "run", "--node", host, *files, "--run-dir", str(home / "run"))

    def kv(self, host: str, file: str = "store.yaml") -> Kv:
        """What is in the store, for calls inside the host's namespace."""
        options = options_of(str(self.home(host) / "etc" / file))
        return Kv(Gateway(options, PATIENT_S), options.cluster)

    def workload(self, host: str) -> str:
        """One with an address of the host's block: the address."""
        self.add_namespace(f"w{host}")
        cluster = self.home(host) / "cluster.yaml"
        cluster.write_text(self.does(host, "cluster", "export", "--store", str(self.home(host) / "etc" / "store.yaml")))
        words = ("--netns", self.namespace(f"w{host}"), "--pool", "default", "-f", str(cluster), "--node", host)
        self.does(host, "workload", "add", "web", *words)
        shown = self.ip(f"w{host}", "-4", "-o", "address", "show", "dev", "eth0")
        return shown.split("inet ")[1].split("/")[0]

    def reaches(self, host: str, address: str) -> bool:
        command = ("ip", "netns", "exec", self.namespace(f"w{host}"), "ping", "-c", "1", "-W", "1", address)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def ip(self, name: str, *words: str) -> str:
        return subprocess.run(
            ("ip", "-n", self.namespace(name), *words), capture_output=True, text=True, check=True
        ).stdout

    def add_namespace(self, name: str) -> None:
        subprocess.run(("ip", "netns", "add", self.namespace(name)), check=True)
        self.ip(name, "link", "set", "lo", "up")


@contextmanager
def hosts(directory: Path) -> Iterator[Hosts]:
    """All three with their router; at the end nothing of them is left."""
    if missing := etcd.missing():
        pytest.skip(missing)
    directory.mkdir(exist_ok=True)
    made = Hosts(directory, f"bj{os.getpid()}-")
    try:
        _wire(made)
        yield made
    finally:
        for name in netns.names(made.prefix):
            netns.delete(name)
        for process in made.running.values():
            process.wait(30)


def _wire(made: Hosts) -> None:
    made.add_namespace("router")
    for network, address in _ROUTERS.items():
        made.ip("router", "link", "add", f"br{network}", "type", "bridge")
        made.ip("router", "link", "set", f"br{network}", "up")
        made.ip("router", "address", "add", address, "dev", f"br{network}")
    netns.set_sysctls(made.namespace("router"), {"net/ipv4/ip_forward": "1"})
    for host, address in ADDRESSES.items():
        made.home(host).mkdir()
        made.add_namespace(host)
        network = address.rpartition(".")[0]
        peer = ("peer", "name", host, "netns", made.namespace("router"))
        made.ip(host, "link", "add", "eth0", "type", "veth", *peer)
        made.ip("router", "link", "set", host, "master", f"br{network}", "up")
        made.ip(host, "address", "add", address, "dev", "eth0")
        made.ip(host, "link", "set", "eth0", "up")
        made.ip(host, "route", "add", "default", "via", f"{network}.254")


def converged(made: Hosts, host: str) -> bool:
    """True if the host's agent says so."""
    return "converged" in made.run(host, "show", "summary").stdout


def all_converge(made: Hosts, *names: str) -> None:
    for host in names:
        wait_until(lambda host=host: converged(made, host), within_s=WITHIN_S)  # type: ignore[misc]
