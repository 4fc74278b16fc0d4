"""Docker with bgpctl's networks for longer: many containers, what is collected in time, and a host that boots."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bgpctl.core.net.addresses import Address
from tests.docker.plugin_rig import BOTH, Host, hosts
from tests.waiting import wait_until

CONTAINERS = int(os.environ.get("BGPCTL_TEST_CONTAINERS", "20"))
AT_ONCE = 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    with hosts(tmp_path_factory.mktemp("many")) as made:
        for host in made:
            host.docker("network", "create", *BOTH, "blue")
        yield made


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


def test_what_the_daemon_never_removed_is_collected_within_two_minutes(pair: list[Host]) -> None:
    """The plugin and its socket are gone at the stop of a container: Docker gives up, and does not ask again."""
    host = pair[0]
    host.start("kept", "blue")
    host.start("lost", "blue")
    kept = {*map(Address.parse, host.addresses("kept"))}
    with host.without_plugin():
        host.docker("rm", "-f", "lost")
    assert len(host.links()) == 2
    wait_until(lambda: len(host.links()) == 1, within_s=120)
    (workload,) = host.ledger().workloads.values()
    assert (set(workload.addresses), dict(host.ledger().reserved)) == (kept, {})
    host.docker("rm", "-f", "kept")


def test_after_a_boot_containers_start_with_nothing_left_and_no_address_twice(pair: list[Host]) -> None:
    host = pair[0]
    for name in ("web", "peer"):
        host.start(name, "blue", "--restart=always")
    host.boot()
    wait_until(lambda: len(host.docker("ps", "-q").split()) == 2, within_s=60)
    own = [*host.addresses("web"), *host.addresses("peer")]
    assert len(set(own)) == 4
    assert host.reaches("peer", *own) == ""
    assert {str(a) for workload in host.ledger().workloads.values() for a in workload.addresses} == set(own)
    host.docker("rm", "-f", "web", "peer")
    assert host.links() == []
