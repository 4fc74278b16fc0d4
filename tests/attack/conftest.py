"""Clusters under attack, one for each driver, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.tunnels_rig import DRIVERS, Cluster, cluster
from tests.attack.workloads_rig import COLUMNS


@pytest.fixture(scope="module", params=DRIVERS)
def under_attack(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster(*DRIVERS[request.param]) as made:
        yield made


@pytest.fixture(scope="module", params=DRIVERS)
def untracked(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Without natOutgoing, whose table has the kernel track connections, and put fragments together at once."""
    with cluster(*DRIVERS[request.param], masqueraded=False) as made:
        yield made


@pytest.fixture(scope="module", params=COLUMNS)
def workloads(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster(*COLUMNS[request.param]) as made:
        yield made


@pytest.fixture(scope="module", params=["direct", "direct-ipv6"])
def unmasqueraded(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Without natOutgoing: what leaves has its own address, and connections are not tracked."""
    with cluster(*COLUMNS[request.param], masqueraded=False) as made:
        yield made
