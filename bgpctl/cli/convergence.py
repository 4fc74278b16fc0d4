"""
Waiting for a node to converge.

Refuses to know: what convergence is; the agent's summary has it.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from bgpctl import client
from bgpctl.cli.progress import progress_of

_POLL_S: Final = 0.1


def await_convergence(run_dir: Path, within_s: float, generation: int = 0) -> bool:
    """
    Wait until this node has converged on a configuration that was read at least `generation` times, at most so long;
    also for an agent that does not answer yet. Whether it has.
    """
    deadline_s = time.monotonic() + within_s
    with progress_of("converge") as progress:
        while time.monotonic() < deadline_s:
            with contextlib.suppress(client.AgentAway):
                found = client.read(run_dir / client.SOCKET, "summary", any_version=True)
                if found["converged"] and found.get("generation", generation) >= generation:
                    return True
                progress.stage(str(found.get("state", "")))
            time.sleep(_POLL_S)
    return False
