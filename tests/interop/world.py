"""
Our agent in a network namespace, and two more places on its network segment where others' routers can live.

    us 10.99.0.2, fd99::2      one 10.99.0.10, fd99::10      two 10.99.0.3, fd99::3

A world with more routers than that has three, 10.99.0.4, and four, 10.99.0.5.

By Calico's comparison of addresses as strings, `us` connects to `one` and waits for `two`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from bgpctl import client
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab import build, netns
from bgpctl.lab.build import Names
from bgpctl.lab.daemons.session_options import Place
from bgpctl.lab.load import Load, both_directions
from bgpctl.lab.topology import Topology
from tests.topologies import read_topology

Part: TypeAlias = str
"""us, one, two, three or four."""

ADDRESS: Final[Mapping[Part, Address]] = {
    "us": Address.parse("10.99.0.2"),
    "one": Address.parse("10.99.0.10"),
    "two": Address.parse("10.99.0.3"),
    "three": Address.parse("10.99.0.4"),
    "four": Address.parse("10.99.0.5"),
}
ADDRESS6: Final[Mapping[Part, Address]] = {
    "us": Address.parse("fd99::2"),
    "one": Address.parse("fd99::10"),
    "two": Address.parse("fd99::3"),
}
BLOCK: Final[Mapping[Part, Prefix]] = {
    "us": Prefix.parse("10.244.1.0/26"),
    "one": Prefix.parse("10.244.2.0/26"),
    "two": Prefix.parse("10.244.3.0/26"),
}
BLOCK6: Final[Mapping[Part, Prefix]] = {
    "us": Prefix.parse("fd00:244:1::/122"),
    "one": Prefix.parse("fd00:244:2::/122"),
    "two": Prefix.parse("fd00:244:3::/122"),
}
POOL: Final = Prefix.parse("10.244.0.0/16")

POOLS: Final = """\
calico_backend: bird
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: None}
  six: {cidr: "fd00:244::/32", encapsulation: None}
"""
US: Final = "  us: {address: 10.99.0.2/24, blocks: [10.244.1.0/26]}\n"
ONE: Final = "  one: {address: 10.99.0.10/24, blocks: [10.244.2.0/26]}\n"
TWO: Final = "  two: {address: 10.99.0.3/24, blocks: [10.244.3.0/26]}\n"
MEMBERS: Final = f"{POOLS}nodes:\n{US}{ONE}"
"""A cluster of two nodes; `one` runs another BGP daemon."""

_NETWORK: Final = f"""\
{POOLS}nodes:
  us: {{address: 10.99.0.2/24, address6: "fd99::2/64", blocks: [10.244.1.0/26]}}
  one: {{address: 10.99.0.10/24, address6: "fd99::10/64", blocks: [10.244.2.0/26]}}
  two: {{address: 10.99.0.3/24, address6: "fd99::3/64", blocks: [10.244.3.0/26]}}
{{more}}segments: {{lan: [10.99.0.0/24, "fd99::/64"]}}
workloads:
  web-us: {{node: us, address: 10.244.1.10}}
  web-one: {{node: one, address: 10.244.2.10}}
"""
_FORWARDING: Final = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}


class World:
    """The network, and our agent, which is started by `agree` and follows its cluster file."""

    def __init__(self, directory: Path, tag: str, *more: Part) -> None:
        self.directory = directory
        self._routers = ("one", "two", *more)
        self.names = Names(f"io{os.getpid()}-{tag}")
        self._file = directory / "cluster.yaml"
        self._agent: subprocess.Popen[bytes] | None = None
        (directory / "network.yaml").write_text(_NETWORK.replace("{more}", _nodes(more)))
        self.topology: Topology = read_topology(directory / "network.yaml")
        self._ports = build.build(self.topology, self.names)
        for part in self._routers:
            netns.set_sysctls(self.names.of(part), _FORWARDING)

    def tear_down(self) -> None:
        """End everything inside and delete it."""
        build.tear_down(self.names)

    def place(self, part: Part) -> Place:
        """The place of a router that runs another BGP daemon."""
        directory = self.directory / part
        directory.mkdir(exist_ok=True)
        return Place(self.names.of(part), directory)

    # The agent ---------------------------------------------------------------------------------------------------

    @property
    def _run_dir(self) -> Path:
        return self.directory / "us"

    def agree(self, cluster: str) -> None:
        """Give our agent this cluster file, and start it if it does not run."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(cluster)
        fresh.replace(self._file)
        if self._agent is None or self._agent.poll() is not None:
            self.start_agent()

    def start_agent(self) -> None:
        """Start the agent on the cluster file that was agreed on last; it may take over from an earlier one."""
        self._run_dir.mkdir(exist_ok=True)
        command = (sys.executable, "-m", "bgpctl", "agent", "run", "--node", "us", "-f", str(self._file))
        where = ("--run-dir", str(self._run_dir))
        self._agent = netns.spawn(self.names.of("us"), (*command, *where), self.directory / "agent.log")

    def kill_agent(self) -> None:
        """Without a word, and wait until it is gone."""
        assert self._agent
        self._agent.kill()
        self._agent.wait()

    def leave(self) -> None:
        """End the agent, its speaker and everything it made but forwarding, which the next user needs too."""
        if self._agent:
            self._agent.terminate()
            self._agent.wait()
            command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(self._run_dir))
            subprocess.run(("ip", "netns", "exec", self.names.of("us"), *command), check=True, capture_output=True)
            netns.set_sysctls(self.names.of("us"), _FORWARDING)

    def kill_exabgp(self) -> None:
        """Without a word."""
        pid = int((self._run_dir / "exabgp.pid").read_text().split()[0])
        handle = os.pidfd_open(pid)
        try:
            assert pid in netns.processes(self.names.of("us"))
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)

    def show(self, view: str, **query: str) -> dict[str, Any]:
        """An answer of our agent."""
        return client.read(self._run_dir / "agent.sock", view, query)

    def ask(self, verb: str, **query: str) -> None:
        """Ask something of our agent, as an operator would."""
        client.ask(self._run_dir / "agent.sock", verb, query)

    def peer(self, address: Address) -> Mapping[str, Any]:
        """Our agent's view of one session; empty while it knows none or does not answer."""
        try:
            rows = self.show("peers")["peers"]
        except client.AgentAway:
            return {}
        return next((row for row in rows if row["address"] == str(address)), {})

    def established(self, address: Address) -> bool:
        return bool(self.peer(address).get("established"))

    def received(self, **query: str) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """Every path that our agent holds, with what became of it, by prefix and name of the peer."""
        return {(row["prefix"], row["peer"]): row for row in self.show("rib", **query)["paths"]}

    def converged(self) -> bool:
        try:
            return bool(self.show("summary")["converged"])
        except client.AgentAway:
            return False

    # The network -------------------------------------------------------------------------------------------------

    @contextmanager
    def cut(self, part: Part) -> Iterator[None]:
        """Nothing passes between a part and the others; its link stays up, and no connection is closed."""
        port = next(port for port, behind in self._ports.items() if behind.owner == part)
        netns.ip([f"link set {port} nomaster"], self.names.fabric)
        try:
            yield
        finally:
            netns.ip([f"link set {port} master br0"], self.names.fabric)

    # The kernel --------------------------------------------------------------------------------------------------

    def gateways(self, prefix: Prefix, part: Part = "us") -> set[str]:
        """The kernel's gateways of the route for exactly this prefix."""
        return _gateways(self._routes(part, str(prefix), prefix.version))

    def kernel(self, part: Part = "us") -> set[str]:
        """All prefixes that the kernel has routes for, of both IP versions."""
        return {row["dst"] for version in (4, 6) for row in self._routes(part, "", version)}

    def flush(self, protocol: str) -> None:
        """Delete what another routing daemon left on our node."""
        netns.ip([f"route flush proto {protocol}"], self.names.of("us"))

    def _routes(self, part: Part, prefix: str, version: int) -> list[dict[str, Any]]:
        exactly = ("exact", prefix) if prefix else ()
        command = ("ip", "-j", f"-{version}", "-n", self.names.of(part), "route", "show", *exactly)
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found: list[dict[str, Any]] = json.loads(shown or "[]")
        return found

    # Traffic -----------------------------------------------------------------------------------------------------

    def traffic(self, *parts: Part, pps: int) -> Load:
        """Numbered packets between the workloads of these nodes, in all directions."""
        return Load(
            self.names, both_directions([found for found in self.topology.workloads if found.node in parts]), pps
        )

    def report(self) -> str:
        """Everything that helps to understand a failure."""
        parts = [f"--- {log}\n{log.read_text(errors='replace')[-4000:]}" for log in self.directory.glob("**/*log")]
        with contextlib.suppress(client.AgentAway):
            parts.append(f"--- what was received\n{json.dumps(self.show('rib')['paths'], indent=1)}")
        for part in ("us", *self._routers):
            command = ("ip", "netns", "exec", self.names.of(part), "ss", "-tnpo")
            connections = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            parts.append(f"--- {part}\n{netns.routes(self.names.of(part))}\n{connections}")
        return "\n".join(parts)


def _gateways(rows: list[dict[str, Any]]) -> set[str]:
    hops = [hop for row in rows for hop in row.get("nexthops", [row])]
    return {hop["gateway"] for hop in hops if "gateway" in hop}


def _nodes(parts: Iterable[Part]) -> str:
    return "".join(f"  {part}: {{address: {ADDRESS[part]}/24}}\n" for part in parts)


@contextmanager
def made(tag: str, *more: Part) -> Iterator[World]:
    """A world with `more` routers than one and two, and its end."""
    # Short, because a unix socket's path has 107 characters at most; FRR's user has to get there.
    with tempfile.TemporaryDirectory(prefix="io") as directory:
        world = World(Path(directory), tag, *more)
        try:
            yield world
        finally:
            world.tear_down()
