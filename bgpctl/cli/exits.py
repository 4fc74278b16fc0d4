"""Exit codes: part of the interface, never dependent on the output format."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """The meaning of a command's exit code."""

    OK = 0
    DIFFERENT = 1
    """Differences, or a check failed."""
    INVALID = 2
    """Usage, or an invalid configuration."""
    UNREACHABLE = 3
    """The agent does not answer."""
    TIMED_OUT = 4
    """Not converged in time."""
    PARTLY = 5
    """Applied partly; the failures were listed."""
    REFUSED = 6
    """A guard refused."""
    FAILED = 7
    """A part of the agent failed by a defect; its log has the traceback. Started again, it goes on."""
    INTERRUPTED = 130
    """Ended by Ctrl-C: 128 and the number of SIGINT, as in a shell."""
