"""A project of docker-compose on two hosts at once: services find each other by name across hosts, also in numbers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bgpctl.lab import etcd
from tests.docker.plugin_rig import IMAGE, IN_ETCD, IN_FILES, RESOLVER, Host, hosts, together
from tests.waiting import wait_until

COMPOSE = """\
version: "2.4"
networks:
  shop: {{driver: bgpctl, enable_ipv6: true, ipam: {{driver: bgpctl, options: {{pool: "blue,six"}}}}}}
services:
  web-{node}: {{image: {image}, command: sleep 99999, networks: [shop], dns: {resolver}, stop_signal: KILL}}
  db-{node}: {{image: {image}, command: sleep 99999, networks: [shop], dns: {resolver}, stop_signal: KILL}}
"""
WEBS = 4


@pytest.fixture(params=["etcd", "files"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Host]]:
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose")
    if request.param == "etcd" and (missing := etcd.missing()):
        pytest.skip(missing)
    topology = {"etcd": IN_ETCD, "files": IN_FILES}[request.param]
    place = tmp_path / request.param
    place.mkdir()
    with hosts(place, ("a1", "a2"), topology) as made:
        for host in made:
            host.start_resolver()
        yield made


def compose(host: Host, *words: str) -> None:
    file = host.place / "docker-compose.yml"
    file.write_text(COMPOSE.format(image=IMAGE, node=host.node, resolver=RESOLVER))
    command = ("docker-compose", "-H", host.engine, "-p", "p", "-f", str(file), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def containers(host: Host) -> list[str]:
    return [*(f"p_web-{host.node}_{number}" for number in range(1, WEBS + 1)), f"p_db-{host.node}_1"]


def test_ten_containers_of_a_project_on_two_hosts_reach_each_other_by_name_and_address(pair: list[Host]) -> None:
    up = ("up", "-d", "--scale")
    together(*(partial(compose, host, *up, f"web-{host.node}={WEBS}") for host in pair))
    addresses = {name: host.addresses(name) for host in pair for name in containers(host)}
    assert len({address for own in addresses.values() for address in own}) == 20
    for host in pair:
        for name in containers(host):
            others = [other for other in addresses if other != name]
            assert host.reaches(name, *(address for other in others for address in addresses[other])) == ""
            wait_until(partial(reaches_by_name, host, name, others), within_s=30)
    for host, other in (pair, pair[::-1]):
        service = {address for name in containers(other)[:WEBS] for address in addresses[name]}
        shown = host.docker("exec", containers(host)[-1], "nslookup", f"web-{other.node}.p_shop.bgpctl")
        assert service <= set(shown.split())
    together(*(partial(compose, host, "down", "-t", "0") for host in pair))
    wait_until(lambda: not any(host.names() for host in pair), within_s=30)


def reaches_by_name(host: Host, name: str, others: list[str]) -> bool:
    return host.reaches(name, *(f"{other}.p_shop.bgpctl" for other in others)) == ""
