"""
Everything of ours removed from a node.

Refuses to know: a running agent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bgpctl.agent import service_memory
from bgpctl.core.dataplane.effects import Failure, Op, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.dataplane.plan import cleanup as removal_of_ours
from bgpctl.ports import Kernel, RunDirectory, Speaker


def clean_up(
    open_kernel: Callable[[], Kernel], speaker: Speaker, run_directory: RunDirectory
) -> tuple[Sequence[Op], tuple[Failure, ...]]:
    """
    Withdraw the addresses of services, end the node's BGP speaker, remove everything that is ours from its kernel, and
    put back the sysctls that were changed.

    Returns:
        The operations, and those that the kernel refused.

    Raises:
        AlreadyRunning: an agent runs; it would put everything back.
        Unavailable: the kernel cannot be opened, or a BGP speaker still announces for this node.
    """
    with run_directory.hold():
        speaker.shutdown(service_memory.announced(run_directory))
        speaker.close()
        service_memory.forget(run_directory)
        kernel = open_kernel()
        try:
            restored = (Remove(before, NOT_WANTED) for before in kernel.changed_sysctls())
            ops = (*removal_of_ours(kernel.observe()), *restored)
            return ops, kernel.apply(ops)
        finally:
            kernel.close()
