"""Docker with bgpctl's networks for longer: many containers, parts that are down, Compose, and a host that boots."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bgpctl.core.net.addresses import Address
from tests.docker.plugin_rig import BOTH, IMAGE, Host, hosts, in_blue, left_clean
from tests.waiting import wait_until

CONTAINERS = int(os.environ.get("BGPCTL_TEST_CONTAINERS", "20"))
AT_ONCE = 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    with hosts(tmp_path_factory.mktemp("many")) as made:
        in_blue(made)
        yield made


@pytest.fixture
def one(pair: list[Host]) -> Iterator[Host]:
    """The first host, on which nothing may be left of a test."""
    with left_clean(pair[0]) as host:
        yield host


def test_of_many_containers_none_has_anothers_address_and_nothing_is_left(pair: list[Host]) -> None:
    """Each reports its addresses from inside, and lives for as long as it takes to read them."""
    host, lock = pair[0], threading.Lock()
    in_use: set[str] = set()
    twice: list[str] = []

    def live(number: int) -> None:
        name = f"m{number}"
        host.start(name, "blue")
        own = set(host.addresses(name))
        with lock:
            twice.extend(in_use & own)
            in_use.update(own)
        assert len(own) == 2
        with lock:
            in_use.difference_update(own)
        host.docker("rm", "-f", name)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(live, range(CONTAINERS)))
    assert twice == []
    assert (host.links(), dict(host.ledger().workloads), dict(host.ledger().reserved)) == ([], {}, {})


def test_what_the_daemon_never_removed_is_collected_within_two_minutes(one: Host) -> None:
    """The plugin and its socket are gone at the stop of a container: Docker gives up, and does not ask again."""
    host = one
    host.start("kept", "blue")
    host.start("lost", "blue")
    kept = {*map(Address.parse, host.addresses("kept"))}
    with host.without_plugin():
        host.docker("rm", "-f", "lost")
    assert len(host.links()) == 3  # the container's end too: Docker has moved it here
    wait_until(lambda: len(host.links()) == 1, within_s=120)
    (workload,) = host.ledger().workloads.values()
    assert (set(workload.addresses), dict(host.ledger().reserved)) == (kept, {})


def test_after_a_boot_containers_start_with_nothing_left_and_no_address_twice(one: Host) -> None:
    host = one
    for name in ("web", "peer"):
        host.start(name, "blue", "--restart=always")
    host.boot()
    wait_until(lambda: len(host.docker("ps", "-q").split()) == 2, within_s=60)
    own = [*host.addresses("web"), *host.addresses("peer")]
    assert len(set(own)) == 4
    assert host.reaches("peer", *own) == ""
    assert {str(a) for workload in host.ledger().workloads.values() for a in workload.addresses} == set(own)


def test_a_container_of_two_networks_starts_again_and_is_reached_in_both(one: Host) -> None:
    one.docker("network", "create", *BOTH, "second")
    one.start("peer", "blue")
    one.start("web", "blue")
    one.docker("network", "connect", "second", "web")
    one.docker("restart", "web")
    own = one.addresses("web")
    assert len(own) == 4
    assert one.reaches("peer", *own) == ""
    one.docker("network", "disconnect", "blue", "web")
    assert one.reaches("peer", *one.addresses("web")) == ""
    one.docker("rm", "-f", "web")
    one.docker("network", "rm", "second")


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose")
def test_a_compose_project_comes_up_again_and_goes(one: Host, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)

    def run(*words: str) -> None:
        command = ("docker-compose", "-H", one.engine, "-p", "shop", *words)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run("up", "-d", "--scale", "web=3")
    run("up", "-d", "--scale", "web=3")
    assert one.reaches("shop_db_1", "10.244.1.99", "web") == ""
    run("down", "-t", "0")


COMPOSE = f"""\
version: "2.4"
networks:
  green:
    driver: bgpctl
    driver_opts: {{bgpctl.mtu: "1400"}}
    ipam: {{driver: bgpctl, options: {{pool: blue}}, config: [{{subnet: 10.244.0.0/16}}]}}
services:
  web: {{image: {IMAGE}, command: sleep 99999, networks: [green], stop_signal: KILL}}
  db: {{image: {IMAGE}, command: sleep 99999, networks: {{green: {{ipv4_address: 10.244.1.99}}}}, stop_signal: KILL}}
"""


# Parts that are down ---------------------------------------------------------------------------------------------


def test_what_is_asked_for_while_the_plugin_is_down_is_done_when_it_is_there(one: Host) -> None:
    one.start("old", "blue")
    one.kill_plugin()
    asked = [
        threading.Thread(target=one.start, args=("new", "blue"), daemon=True),
        threading.Thread(target=one.docker, args=("rm", "-f", "old"), daemon=True),
    ]
    for thread in asked:
        thread.start()
    wait_until(lambda: one.waiting_calls() == 2, within_s=15)
    one.start_plugin()
    for thread in asked:
        thread.join(60)
    assert one.docker("ps", "-a", "--format", "{{.Names}}") == "new"
    assert held(one) == set(one.addresses("new"))


def held(host: Host) -> set[str]:
    """The addresses that are some container's in the ledger, reserved ones too."""
    ledger = host.ledger()
    own = (address for workload in ledger.workloads.values() for address in workload.addresses)
    return {str(address) for address in (*own, *ledger.reserved)}


def test_a_container_starts_again_with_the_daemon_also_if_the_plugin_comes_later(one: Host) -> None:
    one.start("web", "blue", "--restart=always")
    one.start("peer", "blue", "--restart=always")
    one.stop_daemon()
    assert (one.links(), held(one)) == ([], set())
    one.kill_plugin()
    one.start_daemon(wait=False)
    wait_until(lambda: one.waiting_calls() > 0, within_s=30)
    one.start_plugin()
    one.wait_for_daemon()
    assert_up(one)


def assert_up(host: Host) -> None:
    """Both containers are up, reach each other, and nothing else is held."""
    wait_until(lambda: len(host.docker("ps", "-q").split()) == 2, within_s=30)
    assert host.reaches("peer", *host.addresses("web")) == ""
    assert held(host) == {*host.addresses("web"), *host.addresses("peer")}
    assert len(host.links()) == 2


def test_after_a_kill_of_the_daemon_its_containers_start_with_nothing_left(one: Host) -> None:
    one.start("web", "blue", "--restart=always")
    one.start("peer", "blue", "--restart=always")
    one.kill_daemon()
    one.start_daemon()
    assert_up(one)


def test_containers_that_outlive_the_daemon_keep_their_traffic_and_a_killed_plugin_adopts_them(one: Host) -> None:
    one.stop_daemon()
    one.start_daemon("--live-restore")
    one.start("web", "blue")
    one.start("peer", "blue")
    before = held(one)
    one.stop_daemon()
    one.kill_plugin()
    one.forget()
    one.start_daemon("--live-restore", wait=False)
    one.start_plugin()
    one.wait_for_daemon()
    assert one.reaches("peer", *one.addresses("web")) == ""
    wait_until(lambda: held(one) == before, within_s=60)
    one.start("third", "blue")
    assert not before & set(one.addresses("third"))
