"""Clusters under attack, one for each driver, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.tunnels_rig import DRIVERS, Cluster, cluster


@pytest.fixture(scope="module", params=DRIVERS)
def under_attack(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster(*DRIVERS[request.param]) as made:
        yield made


@pytest.fixture(scope="module", params=DRIVERS)
def untracked(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Without natOutgoing, whose table has the kernel track connections, and put fragments together at once."""
    with cluster(*DRIVERS[request.param], masqueraded=False) as made:
        yield made
