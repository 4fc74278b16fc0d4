"""
The host as programs know it that attach workloads without the agent: where its cluster file is, and the time.

Refuses to know: options of a command line, how a workload is attached (attach/workloads.py).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bgpctl.attach.workloads import Times
from bgpctl.core.ipam.ledger import Moment
from bgpctl.process.clock import LinuxClock

CLUSTER_FILE: Final = Path("/etc/bgpctl/cluster.yaml")


def now() -> Times:
    """The time, for cool-downs and for readers."""
    clock = LinuxClock()
    return Times(Moment(clock.boot_id(), clock.since_boot_s()), time.time())
