"""
Hosts with Docker: nodes of a lab whose agents route the blocks, each with a daemon of its own and the plugin beside it.

A host has a mount namespace of its own with an empty /run, because Docker finds plugins below /run/docker. The plugin's
socket is held by the test, as systemd holds it: calls wait there while the plugin does not run.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from bgpctl.attach import ledger_file
from bgpctl.attach import netns as attach_netns
from bgpctl.core.ipam.ledger import Ledger
from bgpctl.core.ipam.names import STATUS_FILE
from bgpctl.lab import lab as labs
from bgpctl.lab import netns, stores
from bgpctl.lab.build import Names
from bgpctl.lab.lab import Lab
from tests.lab.rig import CONVERGE_S, lab_report
from tests.topologies import read_topology
from tests.waiting import wait_until

IMAGE: Final = "busybox"
BUSYBOX: Final = Path("/bin/busybox")
TOPOLOGY: Final = """\
calico_backend: bird
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIP, blockSize: 24}
  six: {cidr: "fd00:10:244::/48", encapsulation: VXLAN, blockSize: 120}
nodes:
  a1: {address: 10.0.0.1/24, address6: "fd00:10:a::1/64", blocks: [10.244.1.0/24, "fd00:10:244:1::/120"]}
  a2: {address: 10.0.0.2/24, address6: "fd00:10:a::2/64", blocks: [10.244.2.0/24, "fd00:10:244:2::/120"]}
segments:
  rack-a: [10.0.0.0/24, "fd00:10:a::/64"]
"""
"""IPv4 by IP in IP, IPv6 by VXLAN."""
IN_ETCD: Final = f"{TOPOLOGY}hosts:\n  store: {{addresses: [10.0.0.253/24]}}\netcd: [store]\n"
IN_FILES: Final = f"channelPort: 9179\n{TOPOLOGY}"
"""With the channel between agents, by which names come from other nodes."""
RESOLVER: Final = "169.254.1.1"
NETWORK: Final = ("-d", "bgpctl", "--ipam-driver", "bgpctl")
BOTH: Final = (*NETWORK, "--ipv6", "--ipam-opt", "pool=blue,six")
_START: Final = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
_OWN_RUN: Final = """\
set -e
lab=$(mktemp -d)
mount --bind /run/bgpctl "$lab"
mount -t tmpfs tmpfs /run
mkdir -p /run/bgpctl /run/docker
mount --move "$lab" /run/bgpctl
rmdir "$lab"
mkdir /run/docker/plugins
exec sleep infinity
"""


def needs_engine() -> None:
    """Skip the test where there is no engine to start."""
    if os.geteuid() != 0:
        pytest.skip("root: network namespaces")
    for program in ("dockerd", "docker"):
        if not shutil.which(program):
            pytest.skip(f"docker: no {program} is installed")
    if not BUSYBOX.exists():
        pytest.skip("busybox-static: containers run it")


class Host:
    """A node of a lab with Docker."""

    def __init__(self, lab: Lab, node: str, place: Path) -> None:
        place.mkdir()
        self.lab, self.node, self.place = lab, node, place
        self.namespace = lab.names.of(node)
        self.state = place / "state"
        enter = ("nsenter", f"--net={attach_netns.NETNS / self.namespace}")
        apart = ("unshare", "--mount", "--propagation", "private")
        self._holder = subprocess.Popen((*enter, *apart, "sh", "-c", _OWN_RUN), start_new_session=True)
        self._inside = Path(f"/proc/{self._holder.pid}/root")
        plugins = self._inside / "run/docker/plugins"
        wait_until(lambda: plugins.exists() and self._program() == "sleep", within_s=15)
        self._at = plugins / "bgpctl.sock"
        self._socket = self._hold()
        self.plugin: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self.resolver: subprocess.Popen[bytes] | None = None

    def _hold(self) -> socket.socket:
        """The plugin's socket, as the service manager has it."""
        held = socket.socket(socket.AF_UNIX)
        held.bind(str(self._at))
        held.listen(64)
        return held

    def _program(self) -> str:
        return Path(f"/proc/{self._holder.pid}/comm").read_text().strip()

    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--net=/proc/{self._holder.pid}/ns/net")

    def attempt(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command on this host, as an operator types it."""
        ours = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DOCKER_HOST": self.engine,
            "BGPCTL_STATE_DIR": str(self.state),
            "BGPCTL_RUN_DIR": str(self.lab.run_dir(self.node)),
        }
        variables = {**os.environ, **ours}
        return subprocess.run(
            (*self._enter(), *command), capture_output=True, text=True, check=False, env=variables, timeout=120
        )

    def run(self, *command: str) -> str:
        """The output of a command on this host, which must succeed."""
        done = self.attempt(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr, self.log("plugin"))
        return done.stdout

    def _where(self) -> tuple[str, ...]:
        """The cluster, this node and its ledger, as options of a service."""
        cluster = ("-f", str(self.place.parent / "cluster.yaml"))
        if self.lab.topology.stores:
            cluster = ("--store", str(self.lab.run_dir(self.node) / stores.STORE_FILE))
        return *cluster, "--node", self.node, "--state-dir", str(self.state)

    # The plugin ------------------------------------------------------------------------------------------------

    def start_plugin(self) -> None:
        command = (
            sys.executable,
            "-m",
            "bgpctl",
            "docker-plugin",
            *self._where(),
            "--docker",
            str(self._docker_socket()),
        )
        handle = self._socket.fileno()
        with (self.place / "plugin.log").open("ab") as output:
            self.plugin = subprocess.Popen(
                (*self._enter(), sys.executable, "-c", _START, str(handle), *command),
                pass_fds=(handle,),
                env={**os.environ, "LISTEN_FDS": "1"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill_plugin(self) -> None:
        assert self.plugin
        self.plugin.kill()
        self.plugin.wait(15)

    def waiting_calls(self) -> int:
        """Connections to the plugin's socket that nobody has accepted: the queue of a listening socket (ss(8))."""
        shown = subprocess.check_output(("ss", "-xlH", "src", str(self._at)), text=True)
        return sum(int(row.split()[2]) for row in shown.splitlines())

    def forget(self) -> None:
        """The ledger is lost."""
        (self.state / "workloads.json").unlink()

    @contextmanager
    def without_plugin(self) -> Iterator[None]:
        """Neither the plugin nor its socket is there."""
        self.kill_plugin()
        self._socket.close()
        self._at.unlink()
        yield
        self._socket = self._hold()
        self.start_plugin()

    def boot(self) -> None:
        """
        As after a loss of power: all programs end, and the kernel has nothing of containers; then everything starts.
        The namespace itself stays, because the agent lives there.
        """
        assert self.daemon
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait(15)
        self.kill_plugin()
        for process in self._of_containers():
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not self._of_containers(), within_s=15)
        for link in self.links():
            subprocess.run(("ip", "-n", self.namespace, "link", "delete", link), check=False)
        empty = "find . -mindepth 1 ! -path './docker/plugins*' ! -path ./docker -delete"
        self.run("sh", "-c", f"umount /run/docker/netns/*; cd /run && {empty}")
        self.start_plugin()
        self.start_daemon()

    def _of_containers(self) -> list[int]:
        """The processes of Docker, which have this host's mount namespace, and those that its shims have started."""
        ours = _mounts(self._holder.pid)
        running = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        found = {pid for pid in running if _mounts(pid) == ours}
        started = {pid for pid in running if _parent(pid) in found}
        return sorted((found | started) - {self._holder.pid})

    def ledger(self) -> Ledger:
        return ledger_file.read(self.state)

    def links(self) -> list[str]:
        """The links of workloads in the host's namespace that the driver made."""
        shown = attach_netns.ip_shows(("link", "show", "group", "179"), self.namespace)
        of_docker = [item["ifname"] for item in shown if item.get("ifalias", "").startswith("docker/")]
        left = [item["ifname"] for item in attach_netns.ip_shows(("link", "show"), self.namespace)]
        return sorted(of_docker + [name for name in left if name.startswith("temp")])

    # Names -----------------------------------------------------------------------------------------------------

    def start_resolver(self) -> None:
        run_dir, keys = self.lab.run_dir(self.node), self.lab.keys(self.node)
        own = ("--run-dir", str(run_dir), "--keys", str(keys))
        command = (*self._enter(), sys.executable, "-m", "bgpctl", "resolver", *self._where(), *own)
        with (self.place / "resolver.log").open("ab") as output:
            self.resolver = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        wait_until((run_dir / STATUS_FILE).exists, within_s=30)

    def names(self) -> set[str]:
        """All that its resolver knows."""
        rows = self.lab.read(self.node, "names")["names"]
        return {name for row in rows for name in row["names"]}

    # Docker ----------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        return f"unix://{self._docker_socket()}"

    def _docker_socket(self) -> Path:
        return self.place / "docker.sock"

    def start_daemon(self, *more: str, wait: bool = True) -> None:
        where = ("-H", self.engine, "--data-root", str(self.place / "data"))
        with (self.place / "daemon.log").open("ab") as output:
            self.daemon = subprocess.Popen(
                (*self._enter(), "dockerd", *where, "-p", "/run/docker.pid", *more),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if wait:
            self.wait_for_daemon()

    def wait_for_daemon(self) -> None:
        def answers() -> bool:
            assert self.daemon
            assert self.daemon.poll() is None, self.log("daemon")
            return self.try_docker("version").returncode == 0

        wait_until(answers, within_s=60)

    def stop_daemon(self) -> None:
        assert self.daemon
        self.daemon.terminate()
        self.daemon.wait(60)

    def kill_daemon(self) -> None:
        """With its containerd, of which nothing may seem to be left where no init reaps it; containers stay."""
        assert self.daemon
        file = self._inside / "run/docker/containerd/containerd.pid"
        containerd = int(file.read_text())
        self.daemon.kill()
        self.daemon.wait(15)
        with suppress(ProcessLookupError):
            os.kill(containerd, signal.SIGKILL)
        file.unlink()

    def import_image(self) -> None:
        """An image without a registry: busybox, under its names."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            tar.add(BUSYBOX, "bin/busybox")
            for name in subprocess.check_output((BUSYBOX, "--list"), text=True).split():
                if name == BUSYBOX.name:
                    continue
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        self.try_docker("import", "-", IMAGE, content=content.getvalue()).check_returncode()

    def try_docker(self, *words: str, content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = ("docker", "-H", self.engine, *words)
        return subprocess.run(command, input=content, capture_output=True, check=False, timeout=120)

    def docker(self, *words: str) -> str:
        """The output of a command of Docker, which must succeed."""
        done = self.try_docker(*words)
        text = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, (words, text, self.log("plugin"))
        return done.stdout.decode().strip()

    def refusal(self, *words: str) -> str:
        """The text with which a command of Docker fails."""
        done = self.try_docker(*words)
        assert done.returncode != 0, (words, done.stdout)
        return done.stderr.decode()

    def start(self, name: str, network: str, *more: str) -> None:
        """A container that stays."""
        self.docker(
            "run", "-d", "--stop-signal=KILL", "--name", name, "--network", network, *more, IMAGE, "sleep", "99999"
        )

    def start_all(self, network: str, *names: str) -> None:
        for name in names:
            self.start(name, network)

    def addresses(self, name: str) -> list[str]:
        """A container's addresses in all its networks, IPv4 and IPv6 of each."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}"
        return self.docker("inspect", "-f", form, name).split()

    def sandbox(self, name: str) -> str:
        """The path of a container's network namespace, for this process."""
        return f"{self._inside}{self.docker('inspect', '-f', '{{.NetworkSettings.SandboxKey}}', name)}".replace(
            "/var/run", "/run"
        )

    def reaches(self, name: str, *targets: str) -> str:
        """Empty if a container reaches all of them; the first one that it does not."""
        script = 'for a; do ping -c 1 -W 5 "$a" >/dev/null || { echo "$a"; exit; }; done'
        return self.docker("exec", name, "sh", "-c", script, "sh", *targets)

    def log(self, name: str) -> str:
        path = self.place / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def mend(self) -> None:
        """Have both run again, after a test that failed."""
        if self.plugin and self.plugin.poll() is not None:
            self.start_plugin()
        if self.daemon and self.daemon.poll() is not None:
            self.start_daemon()

    def end(self) -> None:
        """End everything of this host."""
        self.mend()
        if self.daemon and self.daemon.poll() is None:
            for container in self.try_docker("ps", "-aq").stdout.decode().split():
                self.try_docker("rm", "-f", container)
            self.stop_daemon()
        if self.resolver and self.resolver.poll() is None:
            self.resolver.terminate()
            self.resolver.wait(15)
        if self.plugin and self.plugin.poll() is None:
            self.plugin.terminate()
            self.plugin.wait(15)
        self._socket.close()
        self._holder.kill()
        self._holder.wait(15)


def _mounts(pid: int) -> int:
    """The mount namespace of a process; 0 if it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    except OSError:
        return 0


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def together(*acts: Any) -> None:
    """All at once; the first failure is raised."""
    errors: list[BaseException] = []

    def run(act: Any) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (handed to the caller's thread)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def hosts(
    place: Path, nodes: Sequence[str] = ("a1", "a2"), topology: str = TOPOLOGY, *daemon: str
) -> Iterator[list[Host]]:
    """Nodes of one lab with Docker and the plugin, and the image; the agents have converged. `daemon`: its options."""
    needs_engine()
    file = place / "cluster.yaml"
    file.write_text(topology)
    name = f"p{os.getpid()}-{place.name[-8:].strip('-_')}"
    made: list[Host] = []
    try:
        lab = labs.up(read_topology(file), name, keep=False)
        assert lab.wait(CONVERGE_S), lab_report(lab)  # before Docker's firewall is there
        made += [Host(lab, node, place / node) for node in nodes]
        for host in made:
            host.start_plugin()
        together(*(partial(host.start_daemon, *daemon) for host in made))
        together(*(host.import_image for host in made))
        for host in made:  # as Docker does where it is the one who switches forwarding on
            host.run("iptables", "-P", "FORWARD", "DROP")
            host.run("ip6tables", "-P", "FORWARD", "DROP")
        yield made
    finally:
        together(*(partial(host.end) for host in made))
        labs.down(name)
        assert netns.names(Names(name).prefix) == []


def in_blue(made: Sequence[Host]) -> None:
    """Make the network `blue` on each host."""
    for host in made:
        host.docker("network", "create", *BOTH, "blue")


@contextmanager
def left_clean(host: Host) -> Iterator[Host]:
    """The host for one test, of which nothing may be left on it."""
    yield host
    host.mend()
    host.try_docker("rm", "-f", *host.docker("ps", "-aq").split())
    wait_until(lambda: not host.links(), within_s=15)
    assert (host.ledger().workloads, host.ledger().reserved) == ({}, {})
