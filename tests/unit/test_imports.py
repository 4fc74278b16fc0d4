"""The modules that a running agent keeps in memory: what other commands need is not among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from bgpctl.speaker import bridge, launch, patches
from bgpctl.speaker.launch import RunDir

LEFT_OUT: Final = {
    "asyncio": "pyroute2 stands on it, but its messages do not",
    "bgpctl.agent.config_changes": "imported by the first plan or edit",
    "bgpctl.agent.journal_file": "imported when a journal is written",
    "bgpctl.agent.metrics": "imported by the first scrape",
    "bgpctl.cli.operate": "another command",
    "bgpctl.cli.replay": "another command",
    "bgpctl.cli.show": "another command",
    "bgpctl.cli.validate": "another command",
    "bgpctl.core.simulate.fleet": "for plans",
    "bgpctl.lab": "no part of an agent",
    "bgpctl.store.etcd": "imported for a store in etcd",
    "importlib.metadata": "imported when a journal is written",
    "jsonschema": "for tests and editors",
    "netaddr": "imported for the first MAC address of a cluster file",
    "prometheus_client": "imported by the first scrape",
    "pyroute2": "its messages are imported by the first change of a link",
    "rich": "prints tables",
}
"""With the reason."""


LINK: Final = """
from bgpctl.kernel.link_messages import create_link
create_link({"ifname": "test0", "kind": "veth", "peer": "test1"})
"""


SHOW: Final = "lambda sys: print(*sys.modules)"
"""Printed at the end, however the program ends."""


@pytest.fixture(scope="module")
def imported() -> frozenset[str]:
    return modules_after("import bgpctl.cli.agent")


def modules_after(program: str, *options: str) -> frozenset[str]:
    command = (sys.executable, *options, "-c", f"import atexit, sys; atexit.register({SHOW}, sys)\n{program}")
    return frozenset(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_an_agent_imports_its_loop_and_its_ports(imported: frozenset[str]) -> None:
    assert imported >= {"bgpctl.agent.runner", "bgpctl.kernel.linux", "bgpctl.speaker.exabgp", "bgpctl.store.file"}


@pytest.mark.parametrize("module", sorted(LEFT_OUT))
def test_an_agent_starts_without(module: str, imported: frozenset[str]) -> None:
    assert module not in imported, LEFT_OUT[module]


def test_to_change_a_link_takes_no_more_of_pyroute2_than_its_messages() -> None:
    imported = modules_after(LINK)
    assert "pyroute2.netlink.rtnl.ifinfmsg" in imported
    assert not imported & {"asyncio", "pyroute2", "pyroute2.iproute"}


def test_all_of_pyroute2_can_be_imported_after_its_messages() -> None:
    assert "pyroute2.iproute" in modules_after(f"{LINK}\nfrom pyroute2 import IPRoute")


def test_the_bridge_imports_what_it_needs_and_no_more() -> None:
    path = [str(Path(bridge.__file__).parent)]
    imported = modules_after(f"import sys; sys.path += {path}; import bridge", "-I", "-S")
    assert "bridge" in imported
    assert not imported & {"contextlib", "json", "pathlib", "re", "typing"}


def test_exabgp_starts_without_asyncio_and_without_a_debugger() -> None:
    program, *arguments = launch.server(RunDir(Path("/nowhere")), patched=True)[3:]
    assert Path(program) == Path(patches.__file__)
    argv = [program, arguments[0], "version"]  # the command that ends at once
    imported = modules_after(f"import runpy, sys; sys.argv = {argv}; runpy.run_path({program!r}, None, '__main__')")
    assert "exabgp.reactor.loop" in imported
    assert not imported & {"asyncio.base_events", "bdb", "ssl"}


def test_exabgp_knows_the_names_of_ports_once_one_is_asked_for() -> None:
    program = """
import sys
from bgpctl.speaker.patches import unused_modules
unused_modules()
from exabgp.bgp.message.update.nlri.flow import Port
assert not hasattr(sys.modules["exabgp.protocol.ip.port"].Port, "names")
assert Port.named("tcpmux+2") == Port.named("3") == 3
assert len(sys.modules["exabgp.protocol.ip.port"].Port.names) > 4000
"""
    assert "exabgp.protocol.ip.port" in modules_after(program)
