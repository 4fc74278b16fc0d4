"""
A process that outlives us: started in its own session, found again by a pid file, signalled by pidfd.

Refuses to know: what the process does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bgpctl import filesystem

_TERMINATE_WITHIN_S: Final = 5.0
_START_TICKS: Final = 22
"""Field of /proc/PID/stat, proc(5), counted from 1."""
_CPU_TICKS: Final = slice(14 - 3, 16 - 3)
"""utime and stime, among the fields from the third one on."""

# The process writes its own pid file before it becomes the program: killed at any moment, we leave no process behind
# that the next of us cannot find. Pid and start time survive exec.
_RECORD_AND_BECOME: Final = (
    'file=$1; shift; echo $$ $(cut -d" " -f22 /proc/$$/stat) >"$file.new" && mv "$file.new" "$file" && exec "$@"'
)


class Process:
    """
    A process held by pidfd (pidfd_open(2)): a signal never reaches a later process with the same pid.

    Attributes:
        pid: its process id.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._pidfd

    def ended(self, *, within_s: float = 0) -> bool:
        """True if the process ends within so many seconds. Reaps it if it is our child."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(within_s * 1000):
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        return True

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; no error if the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def end(self) -> None:
        """SIGTERM, some seconds, SIGKILL. Returns when the process has ended."""
        self.kill(signal.SIGTERM)
        if not self.ended(within_s=_TERMINATE_WITHIN_S):
            self.kill()
            self.ended(within_s=_TERMINATE_WITHIN_S)

    def environment(self) -> dict[str, str]:
        """The environment that it was started with; empty if it has ended. Raises OSError: it cannot be read now."""
        try:
            entries = Path(f"/proc/{self.pid}/environ").read_text(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return {}
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    def cpu_ticks(self) -> int:
        """The CPU time that it has used, in ticks of SC_CLK_TCK; 0 if that is not known."""
        fields = _stat(self.pid)
        return sum(map(int, fields[_CPU_TICKS])) if fields else 0

    def close(self) -> None:
        """Let go of the process, which runs on."""
        os.close(self._pidfd)


def start(argv: Sequence[str], environment: Mapping[str, str], pid_file: Path, log_file: Path) -> Process:
    """
    Start a process with exactly this environment, its output appended to `log_file`.

    Raises:
        OSError: it could not be started.
    """
    pid_file.unlink(missing_ok=True)
    command = ("/bin/sh", "-c", _RECORD_AND_BECOME, "sh", str(pid_file), *argv)
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        command[0],
        command,
        dict(environment),
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_file), output, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ),
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
    )
    # Our child, and not yet waited for: the pid is its own.
    try:
        return Process(pid, os.pidfd_open(pid))
    except OSError:
        os.kill(
            pid, signal.SIGKILL
        )  # without a descriptor it could not be kept, and the next try would be a second one
        os.waitpid(pid, 0)
        raise


def find(pid_file: Path) -> Process | None:
    """
    The running process that wrote `pid_file`; None if there is none, also when its pid is another's by now.

    Raises:
        OSError: it cannot be found out now; there may be one.
    """
    try:
        pid, started = (int(word) for word in pid_file.read_text().split())
        pidfd = os.pidfd_open(pid)
    except (FileNotFoundError, ProcessLookupError, ValueError, OverflowError):
        return None
    except OSError as error:
        if error.errno in {errno.EISDIR, errno.EINVAL}:  # no pid file
            return None
        raise
    process = Process(pid, pidfd)
    # The pidfd first, the comparison after it: the order makes sure that both mean the same process.
    if _start_ticks(pid) == started and not process.ended():
        return process
    process.close()
    return None


def runs(pid_file: Path) -> bool:
    """True if the process that wrote `pid_file` runs."""
    found = find(pid_file)
    if found is not None:
        found.close()
    return found is not None


def adopt(pid: int, pid_file: Path) -> Process | None:
    """A process that lost its pid file, which is written anew; None if it has ended. Raises OSError."""
    try:
        process = Process(pid, os.pidfd_open(pid))
    except ProcessLookupError:
        return None
    if (started := _start_ticks(pid)) is None or process.ended():
        process.close()
        return None
    with filesystem.ours(pid_file.parent) as directory:
        filesystem.make_room(directory, pid_file.name)
        filesystem.replace(directory, pid_file.name, f"{pid} {started}\n".encode())
    return process


def _start_ticks(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[_START_TICKS - 3]) if fields else None


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) from the third one on; none if the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The second field is the program's name in parentheses and may itself contain blanks and parentheses.
    return stat.rpartition(")")[2].split()
