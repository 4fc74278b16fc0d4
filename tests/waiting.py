"""Waiting for a condition, never for a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SLOWNESS = float(os.environ.get("BGPCTL_TEST_SLOWNESS", "1"))
"""How many times slower than usual this machine is; an emulated one is about ten times."""


def wait_until(holds: Callable[[], bool], *, within_s: float = 10.0) -> float:
    """Wait for a condition and return how long that took; a deadline that passes fails the test."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s * SLOWNESS, f"not within {within_s * SLOWNESS} s"
        time.sleep(0.002)
    return time.monotonic() - began_s
