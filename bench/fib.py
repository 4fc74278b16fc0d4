"""
Cost of keeping a routing table: bgpctl beside BIRD's kernel protocol, `ip -batch` and the kernel's own limit.

Every subject works in the same fresh network namespace, in interleaved rounds; the result is the median of the rounds.
CPU seconds are those of the subject's process, the kernel's work on its behalf included, from /proc and rusage.

    ROUTES=100000 GATEWAYS=5000 python -m bench.fib bench/results/fib.json
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.common.ending import ends_orderly
from bgpctl.agent.service import collect_seldom
from bgpctl.core.dataplane.effects import Op, Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED, cleanup, plan
from bgpctl.core.fabric import Desired
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import NextHop, Route, key_of
from bgpctl.kernel import encode
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.netlink import pack

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SIZES = [int(n) for n in os.environ.get("ROUTES", "1000 10000 100000").split()]
FANOUTS = [int(n) for n in os.environ.get("GATEWAYS", "50 500 5000").split()]
LINK = "vx0"
MOVED = 10_000
MOVED_FROM = Address.parse("10.201.0.1")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """So many routes, spread over so many gateways behind one device."""

    routes: int
    gateways: int

    def prefix(self, index: int) -> Prefix:
        return Prefix(4, (11 << 24) + index * 64, 26)

    def gateway(self, index: int, shift: int = 0) -> Address:
        return Address(4, (10 << 24) + (200 << 16) + (index + shift) % self.gateways + 1)

    @property
    def moved_to(self) -> Address:
        """A gateway that is in use already: half of those are found before it, half of them after."""
        return self.gateway(self.gateways // 2)

    def table(self, shift: int = 0) -> Iterator[tuple[Prefix, Address]]:
        return ((self.prefix(index), self.gateway(index, shift)) for index in range(self.routes))


def of_one_peer(gateway: Address) -> Iterator[tuple[Prefix, Address]]:
    """The routes of one more peer, beside those of a load."""
    return ((Prefix(4, (13 << 24) + index * 64, 26), gateway) for index in range(MOVED))


def shell(*lines: str) -> None:
    subprocess.run(("ip", "-batch", "-"), input="\n".join(lines), text=True, check=True)


def fresh() -> None:
    """An empty table with the device that all gateways are behind."""
    subprocess.run(("ip", "link", "del", "eth0"), stderr=subprocess.DEVNULL, check=False)
    shell(
        "link add eth0 type veth peer name eth1",
        "address add 10.0.0.1/24 dev eth0",
        "link set eth0 up",
        "link set eth1 up",
        f"link add {LINK} type vxlan id 9 dstport 4788 local 10.0.0.1 dev eth0 nolearning",
        f"address add 10.200.255.254/32 dev {LINK}",
        f"link set {LINK} up",
    )


@contextmanager
def measured(into: list[tuple[float, float]], cpu_s: Callable[[], float]) -> Iterator[None]:
    cpu, wall = cpu_s(), time.perf_counter()
    yield
    into.append((cpu_s() - cpu, time.perf_counter() - wall))


def own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Samples:
    """(case, subject) -> [(cpu_s, wall_s), ...]."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def take(self, case: str, subject: str, cpu_s: Callable[[], float]) -> AbstractContextManager[None]:
        return measured(self.of.setdefault((case, subject), []), cpu_s)


def wanted(load: Load, shift: int = 0) -> Desired:
    hops = {load.gateway(i): NextHop(0x42000000 + i, LINK, load.gateway(i), onlink=True) for i in range(load.gateways)}
    routes = (Route(prefix, next_hop=hops[gateway].id) for prefix, gateway in load.table(shift))
    dataplane = Dataplane.of((*hops.values(), *routes))
    return Desired(dataplane, {key_of(obj): NOT_WANTED for obj in dataplane})


def apply(kernel: LinuxKernel, ops: Sequence[Op]) -> None:
    failures = kernel.apply(ops)
    assert not failures, failures[:3]


def run_bgpctl(load: Load, samples: Samples) -> None:
    """
    Observation, plan and application: all that the agent does beside waiting, and as the agent does it, with a mirror
    that follows the kernel's notifications. It observes again after each application, which is measured by itself: no
    other program does that.
    """
    fresh()
    kernel = LinuxKernel()
    kernel.watch(lambda: None)
    first, second = wanted(load), wanted(load, shift=1)
    with samples.take("install", "bgpctl", own_cpu_s):
        apply(kernel, plan(first, kernel.observe()).ops)
    with samples.take("first observation after an installation", "bgpctl", own_cpu_s):
        assert plan(first, kernel.observe()).ops == ()
    with samples.take("comparison with a dump", "bgpctl", own_cpu_s):
        assert kernel.resync() is None
    with samples.take("reconcile after 1 % damage", "bgpctl", own_cpu_s):
        damage(load)  # by another process; that its notifications are read is ours
        apply(kernel, plan(first, kernel.observe()).ops)
    with samples.take("replace", "bgpctl", own_cpu_s):
        apply(kernel, plan(second, kernel.observe()).ops)
    move_bgpctl(kernel, load, samples)
    with samples.take("first observation after a replacement", "bgpctl", own_cpu_s):
        kernel.observe()
    with samples.take("withdraw", "bgpctl", own_cpu_s):
        apply(kernel, cleanup(kernel.observe()))
    kernel.close()


def move_bgpctl(kernel: LinuxKernel, load: Load, samples: Samples) -> None:
    """All routes of one more peer go by another's gateway: its next-hop object is replaced."""
    hop = NextHop(0x43000000, LINK, MOVED_FROM, onlink=True)
    objects: list[NextHop | Route] = [hop]
    objects += [Route(prefix, next_hop=hop.id) for prefix, _ in of_one_peer(MOVED_FROM)]
    apply(kernel, [Put(obj, NOT_WANTED) for obj in objects])
    with samples.take("move one peer", "bgpctl", own_cpu_s):
        apply(kernel, [Put(hop._replace(gateway=load.moved_to), NOT_WANTED)])
    apply(kernel, [Remove(obj, NOT_WANTED) for obj in reversed(objects)])


def damage(load: Load) -> None:
    shell(*(f"route del {load.prefix(index)}" for index in range(0, load.routes, 100)))


def lines(verb: str, table: Iterator[tuple[Prefix, Address]]) -> str:
    return "\n".join(f"route {verb} {prefix} via {gateway} dev {LINK} onlink proto 4" for prefix, gateway in table)


def run_ip(load: Load, samples: Samples) -> None:
    fresh()
    batch("install", lines("replace", load.table()), samples)
    batch("replace", lines("replace", load.table(shift=1)), samples)
    shell(lines("replace", of_one_peer(MOVED_FROM)))
    batch("move one peer", lines("replace", of_one_peer(load.moved_to)), samples)
    batch("withdraw", "\n".join(f"route del {prefix}" for prefix, _ in load.table()), samples)


def batch(case: str, text: str, samples: Samples) -> None:
    with samples.take(case, "ip-batch", children_cpu_s):
        shell(text)


def run_limit(load: Load, samples: Samples) -> None:
    """The kernel alone: messages packed beforehand, sent as they are."""
    fresh()
    kernel = LinuxKernel()
    desired = wanted(load)
    apply(kernel, [Put(hop, NOT_WANTED) for hop in desired.dataplane.next_hops])
    requests = [encode.put(route, 0) for route in desired.dataplane.routes]
    packed = [pack(request, 1) for request in requests]
    blobs = [b"".join(packed[i : i + 500]) for i in range(0, len(packed), 500)]
    with samples.take("install", "kernel-limit", own_cpu_s):
        for blob in blobs:
            kernel._netlink._send(blob)
    kernel.close()


class Bird:
    """A BIRD that learns its routes from `static` and gives them to the kernel."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, load: Load) -> None:
        """Two tables with other gateways, of which the first wins while it is enabled; then two of one peer."""
        protocols = (
            ("table1", 200, load.table()),
            ("table2", 100, load.table(shift=1)),
            ("peer1", 200, of_one_peer(MOVED_FROM)),
            ("peer2", 100, of_one_peer(load.moved_to)),
        )
        text = "\n".join(static(*protocol) for protocol in protocols)
        (self._directory / "bird.conf").write_text(f"""router id 10.0.0.1;
protocol device {{ scan time 60; }}
protocol kernel {{ disabled; ipv4 {{ export all; import none; }}; scan time 3600; }}
{text}
""")

    def start(self) -> None:
        where = (
            "-c",
            str(self._directory / "bird.conf"),
            "-s",
            str(self._directory / "ctl"),
            "-P",
            str(self._directory / "pid"),
        )
        self._process = subprocess.Popen(("bird", "-f", *where))
        wait((self._directory / "ctl").exists)

    def control(self, *words: str) -> None:
        subprocess.run(("birdc", "-s", str(self._directory / "ctl"), *words), stdout=subprocess.DEVNULL, check=True)

    def cpu_s(self) -> float:
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count(protocol: str, gateway: str | None = None) -> int:
    via = ("via", gateway) if gateway else ()
    shown = subprocess.run(("ip", "route", "show", "proto", protocol, *via), capture_output=True, text=True, check=True)
    return shown.stdout.count("\n")


def static(name: str, preference: int, table: Iterator[tuple[Prefix, Address]]) -> str:
    routes = "\n".join(f"  route {prefix} via {gateway}%{LINK} onlink;" for prefix, gateway in table)
    return f"protocol static {name} {{\n  ipv4 {{ preference {preference}; }};\n{routes}\n}}"


def leads(prefix: Prefix, gateway: Address) -> bool:
    shown = subprocess.run(("ip", "route", "show", str(prefix)), capture_output=True, text=True, check=True)
    return f"via {gateway} " in shown.stdout


def settled(load: Load, table: Sequence[tuple[Prefix, Address]]) -> bool:
    """BIRD hands routes over in its own order: a few are asked for, then all are counted."""
    sample = (table[0], table[len(table) // 2], table[-1])
    return all(leads(*route) for route in sample) and count("bird") >= load.routes and all(gateways_are(table))


def gateways_are(table: Sequence[tuple[Prefix, Address]]) -> Iterator[bool]:
    lines = subprocess.run(("ip", "route", "show", "proto", "bird"), capture_output=True, text=True, check=True).stdout
    present = {(words[0], words[2]) for words in map(str.split, lines.splitlines())}
    return ((str(prefix), str(gateway)) in present for prefix, gateway in table)


def run_bird(load: Load, samples: Samples) -> None:
    """Without BIRD's reading of its configuration: the kernel protocol alone is switched on and off."""
    fresh()
    with tempfile.TemporaryDirectory() as directory:
        bird = Bird(Path(directory))
        bird.configure(load)
        bird.start()
        bird.control("show", "status")
        bird.control("disable", "peer1")
        bird.control("disable", "peer2")
        cases = (
            ("install", ("enable", "kernel1"), load.table()),
            ("replace", ("disable", "table1"), load.table(shift=1)),
            ("", ("enable", "peer1"), of_one_peer(MOVED_FROM)),
            ("", ("enable", "peer2"), of_one_peer(MOVED_FROM)),
            ("move one peer", ("disable", "peer1"), of_one_peer(load.moved_to)),
        )
        for case, command, table in cases:
            expected = list(table)
            with samples.take(case, "bird", bird.cpu_s) if case else nullcontext():
                bird.control(*command)
                wait(lambda: settled(load, expected))  # noqa: B023 (called at once)
        with samples.take("withdraw", "bird", bird.cpu_s):
            bird.control("disable", "kernel1")
            wait(lambda: count("bird") == 0)
        bird.stop()


SUBJECTS: tuple[Callable[[Load, Samples], None], ...] = (run_bgpctl, run_bird, run_ip, run_limit)


def measure(load: Load) -> list[dict[str, object]]:
    samples = Samples()
    for _ in range(ROUNDS):
        for subject in SUBJECTS:
            subject(load, samples)
    return [
        {
            "case": case,
            "routes": load.routes,
            "gateways": load.gateways,
            "subject": subject,
            "cpu_s": round(statistics.median(cpu for cpu, _ in taken), 5),
            "wall_s": round(statistics.median(wall for _, wall in taken), 5),
        }
        for (case, subject), taken in samples.of.items()
    ]


def show(records: Sequence[dict[str, object]]) -> None:
    for record in records:
        of = f"{record['routes']:>7} routes {record['gateways']:>5} gateways"
        what = f"{record['case']:<26} {record['subject']:<13}"
        print(f"{of}  {what} cpu {record['cpu_s']:>9} s  wall {record['wall_s']:>9} s")


def main(output: Path) -> None:
    collect_seldom()  # as the agent does
    records: list[dict[str, object]] = []
    for routes in SIZES:
        for gateways in FANOUTS:
            if gateways <= routes:
                found = measure(Load(routes, gateways))
                show(found)
                records += found
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    # A namespace of its own, which ends with the process: nothing of the host's is touched.
    if os.environ.get("BENCH_INSIDE") != "1":
        command = ("unshare", "--net", sys.executable, "-m", "bench.fib", *sys.argv[1:])
        os.execvpe(command[0], command, {**os.environ, "BENCH_INSIDE": "1"})
    ends_orderly()
    main(Path(sys.argv[1]))
